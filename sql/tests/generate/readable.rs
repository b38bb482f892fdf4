//! Texts of rows that are cast to dates, times and intervals: those that are read, those that are nearly so,
//! and those that only Postgres reads.

use super::{Random, damage, forms};

/// Casts of what is no constant. Errors of what has no blank behind its comma are compared strictly.
pub const READABLE_TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("date", "({}||left(t,0))::date", &["moment format"]),
    ("timestamp", "({}||left(t,0))::timestamp", &["moment format"]),
    ("timestamptz", "({}||left(v,0))::timestamptz", &["moment format"]),
    ("timestamp", "({}||left(t,0))::timestamp(2)", &["moment format"]),
    ("timestamptz", "CAST({}||left(t,1) AS timestamp(0) with time zone)", &["moment format"]),
    ("date", "date({}||left(t,0))", &["moment format"]),
    ("date", "cast(left(t2,0)||left({},10) as date)", &["moment format"]),
    ("time", "({}||left(t,0))::time", &["hours format"]),
    ("timetz", "({}||left(t,0))::timetz", &["hours format"]),
    ("time", "({}||left(t,0))::time(3)", &["hours format"]),
    ("interval", "({}||left(t,0))::interval", &["duration format"]),
    ("interval", "({}||left(v,1))::interval", &["duration format"]),
    ("date", "{}::text::date", &["date"]),
    ("timestamp", "{}::text::timestamp", &["timestamp"]),
    ("timestamptz", "{}::text::timestamptz", &["timestamptz"]),
    ("date", "{}::text::date", &["timestamptz"]),
    ("timestamptz", "{}::text::timestamptz", &["timestamp"]),
    ("time", "{}::text::time", &["time"]),
    ("timetz", "{}::text::timetz", &["timetz"]),
    ("interval", "{}::text::interval", &["interval"]),
    ("date", "{}::date", &["text"]),
    ("timestamptz", "({}->>left(t,1))::timestamptz", &["jsonb"]),
    (
        "timestamptz",
        "(jsonb_extract_path_text('{\"a\":\"2024-01-31T10:30:15.5Z\"}',left('a'||t,1)))::timestamptz",
        &[],
    ),
    ("interval", "{}::interval", &["varchar"]),
];

/// Text of a kind, a constant; `None` of other kinds.
pub fn text(random: &mut Random, kind: &str) -> Option<String> {
    let text = match kind {
        "moment format" => moment(random),
        "hours format" => hours(random) + &offset(random),
        "duration format" => duration(random),
        _ => return None,
    };
    Some(match random.below(20) {
        0..=2 => damage(random, &text).replace('\0', ""),
        3 => forms::form(random).1,
        4 => text + random.pick(&["\n", " ", "\u{a0}", "x", " BC", " PM", "\u{660}", "Z", "+00"]),
        5 => random.pick(&[" ", "\n", "\t", "at ", "Fri ", "+", "@ "]).to_owned() + &text,
        _ => text,
    })
}

/// A number of so many digits, often at its bounds.
fn digits(random: &mut Random, most: usize, width: usize) -> String {
    let value = match random.below(12) {
        0 => most,
        1 => most + 1,
        2 => 0,
        _ => random.below(most + 1),
    };
    let width = if random.chance(10) { 1 } else { width };
    format!("{value:0width$}")
}

fn fraction(random: &mut Random, longest: usize) -> String {
    let length = random.below(longest + 2);
    if length == 0 || random.chance(40) {
        return String::new();
    }
    let one = |random: &mut Random| {
        if random.chance(40) { '9' } else { char::from(b'0' + random.below(10) as u8) }
    };
    format!(".{}", (0..length).map(|_| one(random)).collect::<String>())
}

fn day(random: &mut Random) -> String {
    let year = match random.below(12) {
        0 => random
            .pick(&[
                "0000", "0001", "0044", "4713", "4714", "9999", "10000", "294276", "294277",
                "5874897", "5874898",
            ])
            .to_owned(),
        1 => random.pick(&["024", "24", "12345678"]).to_owned(),
        _ => (1890 + random.below(200)).to_string(),
    };
    let (month, day) = (digits(random, 12, 2), digits(random, 31, 2));
    if random.chance(15) { format!("{year}{month}{day}") } else { format!("{year}-{month}-{day}") }
}

fn hours(random: &mut Random) -> String {
    let (hour, minute) = (digits(random, 23, 2), digits(random, 59, 2));
    match random.below(8) {
        0 => format!("{hour}:{minute}"),
        1 => format!("{hour}{minute}{}", digits(random, 59, 2)),
        2 => random
            .pick(&[
                "24:00:00",
                "24:00",
                "23:59:60",
                "23:59:59.9999999",
                "24:00:00.000001",
                "00:00:60.5",
            ])
            .to_owned(),
        _ => format!("{hour}:{minute}:{}{}", digits(random, 59, 2), fraction(random, 9)),
    }
}

fn offset(random: &mut Random) -> String {
    let blank = random.pick(&["", "", " "]);
    let size = match random.below(10) {
        0..=3 => return String::new(),
        4 | 5 => random
            .pick(&["Z", "z", "UTC", " UTC", " GMT", " CET", " Europe/Berlin", "utc"])
            .to_owned(),
        _ => {
            let (sign, hour) = (random.pick(&["+", "-"]), digits(random, 15, 2));
            let minute = digits(random, 59, 2);
            let rest =
                [String::new(), format!(":{minute}"), minute.clone(), format!(":{minute}:30")];
            format!("{sign}{hour}{}", rest[random.below(4)])
        }
    };
    format!("{blank}{size}")
}

fn moment(random: &mut Random) -> String {
    if random.chance(4) {
        let words = [
            "infinity",
            "-infinity",
            "Infinity",
            "INFINITY",
            "epoch",
            "today",
            "now",
            "",
            "+infinity",
        ];
        return random.pick(&words).to_owned();
    }
    let mut text = day(random);
    if random.chance(70) {
        text += random.pick(&["T", " ", "T", " ", "t", "  ", ""]);
        text += &hours(random);
        text += &offset(random);
    }
    text + if random.chance(6) { " BC" } else { "" }
}

fn count(random: &mut Random) -> String {
    let size = match random.below(12) {
        0 => random.pick(&["99999999", "100000000", "2147483647", "0", "00"]).to_owned(),
        _ => random.below(100).to_string(),
    };
    random.pick(&["", "", "", "-", "+"]).to_owned() + &size
}

fn duration(random: &mut Random) -> String {
    let mut text = String::new();
    if random.chance(40) {
        text += "P";
        for letter in ["Y", "M", "W", "D"] {
            if random.chance(35) {
                text += &(count(random).replace('+', "") + letter);
            }
        }
        if random.chance(60) {
            text += "T";
            for letter in ["H", "M", "S"] {
                if random.chance(50) {
                    text += &count(random).replace('+', "");
                    text += &if letter == "S" { fraction(random, 6) } else { String::new() };
                    text += letter;
                }
            }
        }
        return text;
    }
    let names = ["year", "mon", "month", "week", "day", "hour", "minute", "min", "sec", "second"];
    for name in names {
        if random.chance(25) {
            text += &count(random);
            text += &if name == "sec" { fraction(random, 6) } else { String::new() };
            text += &format!(" {name}{} ", random.pick(&["", "s"]));
        }
    }
    if random.chance(50) {
        text += random.pick(&["", "-", "+"]);
        text += &hours(random);
    }
    if random.chance(60) { text.trim_end().to_owned() } else { text }
}
