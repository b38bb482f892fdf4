//! Table tests of dates and times.

use super::*;

#[test]
fn dates_survive_text() {
    for text in [
        "4714-11-24 BC",
        "0044-03-15 BC",
        "0001-12-31 BC",
        "0001-01-01",
        "1999-12-31",
        "2000-02-29",
        "2024-01-31",
        "12024-01-01",
        "5874897-12-31",
        "infinity",
        "-infinity",
    ] {
        assert_eq!(date_text(date(text).unwrap()), text);
    }
    assert_eq!(date("2000-01-01"), Ok(0));
    assert_eq!(date("epoch"), date("1970-1-1"));
    assert_eq!(date("20240105"), date("2024-01-05"));
    assert_eq!(date("2024-01-05T23:00:00-05"), date("2024-01-05"));
}

#[test]
fn timestamps_survive_text() {
    for text in [
        "4714-11-24 00:00:00 BC",
        "2024-01-01 00:00:00",
        "1999-12-31 23:59:59.5",
        "294276-12-31 23:59:59.999999",
        "infinity",
    ] {
        assert_eq!(timestamp_text(timestamp(text).unwrap(), false), text);
    }
    for (text, same) in [
        ("2024-01-01", "2024-01-01 00:00:00+00"),
        ("2024-01-01 24:00:00", "2024-01-02Z"),
        ("2024-06-30 23:59:60", "2024-07-01 00:00:00"),
        ("2024-01-01 12:30", "2024-01-01T14:30:00.000+02"),
        ("2024-01-01 00:00:00.1234567", "2024-01-01 00:00:00.123457"),
        ("2024-01-01 05:30:15 +05:30:15", "2024-01-01 00:00:00 z"),
        ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00 bc"),
    ] {
        let same = same.replace("2024-01-02Z", "2024-01-02 00:00:00Z");
        assert_eq!(timestamptz(text), timestamptz(&same), "{text}");
    }
    assert_eq!(timestamp("2024-01-01 10:00:00+05"), timestamp("2024-01-01 10:00"));
}

#[test]
fn the_forms_people_write() {
    for text in [
        "Jan 5 2024",
        "January 5, 2024",
        "5 jan 2024",
        "Fri Jan 5 2024",
        "2024/01/05",
        "1/5/2024",
        "1-5-24",
        "2024.005",
        "20240105",
        "240105",
        "J2460315",
        "at 00:00 on Jan 5 2024 AD",
        "20240105T000000Z",
        "12:00 AM Jan 5 2024 utc",
        "2024-01-05 05:30+0530",
        "1/5/2024 allballs",
    ] {
        assert_eq!(timestamptz(text), timestamptz("2024-01-05 00:00:00+00"), "{text}");
    }
    assert_eq!(timestamptz("J2460315.5"), timestamptz("2024-01-05 12:00 PM"));
    assert_eq!(time("12:30 AM"), time("00:30"));
    assert_eq!(time("101112.5"), time("10:11:12.5"));
    assert_eq!(time("2024-01-05 10:11-08"), time("10:11-08:00"));
    let digits = "1".repeat(200);
    assert_eq!(time(&format!("10:11:12.{digits}")), Err(CalendarError::Syntax));
}

#[test]
fn refuses_what_is_no_instant() {
    use CalendarError::{Clock, Field, Range, Syntax, Zone};
    for (text, why) in [
        ("2024-02-30", Field),
        ("2023-02-29", Field),
        ("2024-13-01", Field),
        ("0000-01-01", Field),
        ("2024-01-01 25:00", Field),
        ("2024-01-01 24:00:01", Field),
        ("2024-01-01 23:59:60.5", Field),
        ("2024-01-01 00:00+16", Field),
        ("4714-11-23 BC", Range),
        ("294277-01-01", Range),
        ("today", Clock),
        ("now", Clock),
        ("Jan 5 2024 tomorrow", Clock),
        ("24-01-05", Field),
        ("2024-01-01 10:00 Europe/Berlin", Zone),
        ("2024-01-01 10:00 EST", Zone),
        ("2024-01-01 10:00 PM-08", Zone),
        ("2024-01-01 epoch", Syntax),
        ("y2024m01d05", Syntax),
        ("", Syntax),
        ("BC", Syntax),
        ("é", Syntax),
        ("2024-01-01é", Syntax),
        ("2024-01-01 1é", Syntax),
        ("-", Syntax),
        ("99999999-01-01", Range),
    ] {
        assert_eq!(timestamptz(text), Err(why), "{text}");
    }
    assert_eq!(date("5874898-01-01"), Err(Range));
}

#[test]
fn days_and_instants_compare_across() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let late = date("5874897-12-31").unwrap();
    assert_eq!(compare_date(late, timestamp("294276-12-31 23:59:59").unwrap()), Greater);
    assert_eq!(compare_date(late, i64::MAX), Less);
    assert_eq!(compare_date(i32::MAX, i64::MAX), Equal);
    assert_eq!(compare_date(i32::MIN, i64::MIN), Equal);
    assert_eq!(compare_date(0, 0), Equal);
    assert_eq!(midnight(late), None);
    assert_eq!(day_of_midnight(DAY_MICROS * 3), Some(3));
    assert_eq!(day_of_midnight(1), None);
}
