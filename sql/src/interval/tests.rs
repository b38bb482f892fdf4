//! What is read and printed, and how lengths count.

use super::*;

#[test]
fn reads_what_postgres_prints_and_what_people_write() {
    for (text, iso) in [
        ("P1Y2M3DT4H5M6.7S", "P1Y2M3DT4H5M6.7S"),
        ("1 day 2 hours", "P1DT2H"),
        ("1 year -2 mons", "P10M"),
        ("04:05:06.5", "PT4H5M6.5S"),
        ("-1 day +23 hours ago", "P1DT-23H"),
        ("3 4:05", ""),
        ("4 week -23:59:60", "P28DT-24H"),
        ("1:2:60.9999999", "PT1H3M1S"),
        ("1:2:.5", "PT1H2M0.5S"),
        ("1:2:", "PT1H2M"),
        ("1:2:61", ""),
        ("1:60", ""),
        ("-59:60.5", "PT-1H-0.5S"),
        ("60:1.5", ""),
        ("1:2:-3", ""),
        ("1:2:3:4", ""),
        ("1 week", "P7D"),
        ("PT-0.5S", "PT-0.5S"),
        ("90", "PT1M30S"),
        ("1.5 days", "P1DT12H"),
        ("P1.5W", "P10DT12H"),
        ("-1.5 mons", "P-1M-15D"),
        ("@ 1.25 years ago", "P-1Y-3M"),
        ("1.x days", ""),
        ("-.5 s", ""),
        ("5 ago", ""),
        ("PT+5S", ""),
        ("", ""),
        ("P", ""),
    ] {
        let read = Interval::read(text, None).map(|interval| interval.to_string());
        assert_eq!(read.unwrap_or_default(), iso, "{text}");
    }
    assert_eq!(Interval::read("1", Some("day")).unwrap().to_string(), "P1D");
}

#[test]
fn lengths_and_justification() {
    let i = |text| Interval::read(text, None).unwrap();
    assert_eq!(i("1 mon").span(), i("30 days").span());
    assert_eq!(i("-1 day +23 hours").justify_hours().unwrap().to_string(), "PT-1H");
    assert_eq!(i("-35 days").justify_days().unwrap().to_string(), "P-1M-5D");
}

#[test]
fn fractions_of_seconds_are_cut_but_a_clocks_are_rounded() {
    for (text, iso) in [
        ("0.0000015 s", "PT0.000001S"),
        ("-0.0000015 s", "PT-0.000001S"),
        ("0.0000025", "PT0.000002S"),
        ("0.0000005", "PT0S"),
        ("0.0000016 s", "PT0.000002S"),
        ("1.0000015", "PT1.000001S"),
        ("PT0.0000015S", "PT0.000001S"),
        ("PT1.0000015S", "PT1.000001S"),
        ("PT4.1234567S", "PT4.123457S"),
        // One float is cut, not digits.
        ("PT59.9999995S", "PT1M"),
        ("59.9999995 s", "PT59.999999S"),
        ("00:00:00.0000015", "PT0.000002S"),
        ("00:00:00.0000025", "PT0.000002S"),
        ("9223372036854 s", "PT2562047788H54S"),
        ("1. s", "PT1S"),
    ] {
        let read = Interval::read(text, None).map(|interval| interval.to_string());
        assert_eq!(read.unwrap_or_default(), iso, "{text}");
    }
    let second = Interval::read("0.0000015", Some("minute to second")).unwrap();
    assert_eq!(second.to_string(), "PT0.000001S");
}

#[test]
fn words_name_nothing_twice() {
    for (text, iso) in [
        ("1 day 1 day", ""),
        ("1 day -1 day", ""),
        ("1 mon 1 month", ""),
        ("1 century 1 century", ""),
        ("1 week 1 day", "P8D"),
        ("1 century 1 millennium", "P1100Y"),
        ("1 century 1 decade 1 year", "P111Y"),
        ("1 hour 02:00", ""),
        ("02:00 03:00", ""),
        ("02:00 5 s", ""),
        ("5 ms 02:00", ""),
        ("1 day 02:00", "P1DT2H"),
        ("1 s 1.5 s", ""),
        ("1 s 5", ""),
        ("1 day 5", "P1DT5S"),
        ("1 s 1 ms", "PT1.001S"),
        ("1.0 s 1 ms", "PT1.001S"),
        ("1.5 s 1 ms", ""),
        ("1.5 s 1 us", ""),
        ("1.5 ms 1 us", "PT0.001501S"),
        ("1 h 2 m 3.5 s", "PT1H2M3.5S"),
        ("1.5 day 02:00", "P1DT14H"),
        // To Postgres 15 they are one day and two hours.
        ("02:00 1.5 day", ""),
        ("02:00 1.5 years", "P1Y6MT2H"),
        ("P1D1D", "P2D"),
    ] {
        let read = Interval::read(text, None).map(|interval| interval.to_string());
        assert_eq!(read.unwrap_or_default(), iso, "{text}");
    }
}
