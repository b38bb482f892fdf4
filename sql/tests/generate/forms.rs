//! Spellings of dates, times and numbers: those people use, and those they do not.

use super::{Random, damage};

const DATES: [&str; 34] = [
    "2024-01-05",
    "2024-1-5",
    "Jan 5 2024",
    "January 5, 2024",
    "5 Jan 2024",
    "Jan-05-2024",
    "05-Jan-2024",
    "2024-Jan-05",
    "5jan2024",
    "Jan5,2024",
    "2024/01/05",
    "2024 Jan 5",
    "2024.01.05",
    "1/5/2024",
    "1-5-24",
    "1.5.70",
    "12/31/69",
    "Sept 30 99",
    "20240105",
    "240105",
    "2024.036",
    "2024-036",
    "24036",
    "J2451187",
    "julian 2451187.6",
    "99 Feb 28",
    "Sat Mar 30 2024",
    "Thursday, 29 February 2024",
    "0044-03-15 BC",
    "March 15 44 BC",
    "12024-01-01",
    "2023-02-29",
    "2024-13-01",
    "31/12/2024",
];
const TIMES: [&str; 24] = [
    "10:11:12",
    "10:11",
    "9:5:7",
    "10:11:12.345678",
    "10:11:12.3456785",
    "12:30 AM",
    "12:30 PM",
    "11:59:59.9 pm",
    "1:00am",
    "13:00 PM",
    "24:00:00",
    "24:00:01",
    "23:59:60",
    "101112",
    "101112.5",
    "1011",
    "T101112",
    "t10:11",
    "10:",
    "10:11.5",
    "allballs",
    "256199",
    "10::12",
    "at 10:11",
];
const ZONES: [&str; 22] = [
    "Z",
    "UTC",
    "utc",
    "GMT",
    "zulu",
    "+00",
    "-08",
    "+02:30",
    "+0530",
    "-15:59:59",
    "+16",
    "+5",
    "-7:5",
    "+ 2",
    "EST",
    "Europe/Berlin",
    "PST8PDT",
    "etc/utc",
    "UCT",
    "cet",
    "dst",
    "+02:60",
];
const SEPARATORS: [&str; 9] = [" ", " ", " ", "T", "", "  ", ", ", "\t", "-"];
const WORDS: [&str; 44] = [
    "jan",
    "may",
    "sept",
    "december",
    "mon",
    "thurs",
    "am",
    "pm",
    "bc",
    "ad",
    "at",
    "on",
    "t",
    "j",
    "jd",
    "z",
    "utc",
    "epoch",
    "infinity",
    "-infinity",
    "allballs",
    "now",
    "2024",
    "24",
    "5",
    "31",
    "12",
    "036",
    "20240105",
    "101112",
    "10:11",
    "10:11:12.5",
    "2024-01-05",
    "1/5",
    "1.5",
    ".5",
    "+02",
    "-08:00",
    "99999",
    "2451187",
    "00",
    "y",
    "est",
    "0",
];
const GLUE: [&str; 11] = ["", " ", " ", " ", "-", "/", ".", ":", ",", "+", "_"];
const NUMBERS: [&str; 42] = [
    "0",
    "1",
    "-1",
    "+1",
    " 1 ",
    "1.5",
    ".5",
    "5.",
    ".",
    "1e3",
    "1E-3",
    "1e",
    "0x10",
    "0X1.8p3",
    "-0x.8p-1",
    "0x1p",
    "0x",
    "0x.p1",
    "0xfp-4",
    "0x1.fffffffffffff8p0",
    "0x1.fffffeffffffep0",
    "0x1p-1074",
    "0x1p-1075",
    "0x1.8p-1075",
    "0x1p-149",
    "0x1p128",
    "0x1p1024",
    "inf",
    "-INF",
    "+Infinity",
    "infinit",
    "nan",
    "-NaN",
    "nan(1)",
    "nan(a b)",
    "nan(",
    "1_000",
    "0o17",
    "0b1",
    "1e400",
    "1e-400",
    "12345678901234567890",
];
const KINDS: [&str; 5] = ["date", "timestamp", "timestamptz", "time", "timetz"];
const NUMBER_KINDS: [&str; 5] = ["float8", "float4", "numeric", "int4", "int8"];

/// A type and the spelling of a value of it, right or wrong.
pub fn form(random: &mut Random) -> (&'static str, String) {
    if random.chance(12) {
        let number = random.pick(&NUMBERS).to_owned();
        let number = if random.chance(30) { damage(random, &number) } else { number };
        return (NUMBER_KINDS[random.below(NUMBER_KINDS.len())], number);
    }
    let kind = KINDS[random.below(KINDS.len())];
    let form = match random.below(10) {
        0..=5 => usual(random, kind),
        6 | 7 => {
            let form = usual(random, kind);
            damage(random, &form)
        }
        _ => {
            let mut form = String::new();
            for _ in 0..=random.below(6) {
                form += random.pick(&WORDS);
                form += random.pick(&GLUE);
            }
            form
        }
    };
    (kind, form.replace('\0', ""))
}

fn usual(random: &mut Random, kind: &str) -> String {
    let date = random.pick(&DATES).to_owned();
    let time = random.pick(&TIMES).to_owned();
    let separator = random.pick(&SEPARATORS);
    let with_date = !kind.starts_with("time") || kind.starts_with("timestamp") || random.chance(20);
    let mut form = match (with_date, random.below(5)) {
        (true, 0) => date,
        (true, 1) => format!("{time}{separator}{date}"),
        (true, _) => format!("{date}{separator}{time}"),
        (false, _) => time,
    };
    if random.chance(40) {
        form += random.pick(&["", " "]);
        form += random.pick(&ZONES);
    }
    if random.chance(10) {
        form += random.pick(&[" BC", " AD", " Mon", " pm"]);
    }
    form
}

/// Whether the page about the language says that this spelling is refused.
pub fn may_be_refused(kind: &str, form: &str) -> bool {
    if NUMBER_KINDS.contains(&kind) {
        // Numerics of more than a thousand digits.
        let exponent = form.to_ascii_lowercase().split_once('e').map(|(_, exponent)| {
            exponent.trim_start_matches(['+', '-', ' ', '\n']).trim_end().len()
        });
        return kind == "numeric" && exponent.is_some_and(|digits| digits > 2);
    }
    let form = form.to_ascii_lowercase();
    let mut words = form.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let known = |word: &str| {
        let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let short = [
            "sept", "tues", "weds", "thur", "thurs", "am", "pm", "ad", "bc", "at", "on", "t", "j",
            "jd", "julian", "allballs", "utc", "gmt", "z", "zulu", "ut", "uct",
        ];
        let cut = |name: &&str| *name == word || name[..3] == *word;
        MONTHS.iter().any(cut) || days.iter().any(cut) || short.contains(&word)
    };
    // The clock, names of zones, unit letters, and whatever stands beside infinity and the epoch.
    if words.any(|word| !known(word)) {
        return true;
    }
    // Years that Postgres' arithmetic wraps round.
    if form.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 7) {
        return true;
    }
    // A word with an offset or a digit right behind it is a zone's name to Postgres, unless it is one
    // of a date's own words.
    let ends = (1..form.len()).filter(|at| {
        let (before, next) = (form.as_bytes()[at - 1], form.as_bytes()[*at]);
        let goes_on = next.is_ascii_digit() || matches!(next, b'+' | b'-' | b'/' | b'.');
        before.is_ascii_alphabetic() && goes_on
    });
    ends.map(|at| (at, form[..at].rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap())).any(
        |(at, word)| match form.as_bytes()[at] {
            digit if digit.is_ascii_digit() => {
                matches!(word, "utc" | "gmt" | "z" | "zulu" | "ut" | "uct")
            }
            // Where there is no date, months are zones too.
            _ if kind.starts_with("time") && !kind.starts_with("timestamp") => true,
            _ => zone_after_date(&form[..at - word.len()]) || !is_month(word),
        },
    )
}

/// Whether a date may be complete, so that a month is taken for a zone.
fn zone_after_date(before: &str) -> bool {
    let groups = before.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
    let groups = groups.count();
    groups >= 3 || (groups > 0 && !before.ends_with(['-', '/', '.']))
}

fn is_month(word: &str) -> bool {
    MONTHS.iter().any(|month| word == *month || word == &month[..3])
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
