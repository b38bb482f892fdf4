//! Formats of `to_char`, `to_date` and their kin, put together at random.

use super::Random;

/// What takes them; kinds that end in `format` are constants. Errors of what has no blank behind its
/// comma are compared strictly: Postgres evaluates all of it.
pub const FORMAT_TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("text", "to_char({}, {})", &["numeric", "number format"]),
    ("text", "to_char({}, {})", &["int4", "number format"]),
    ("text", "to_char({}, {})", &["int8", "number format"]),
    ("text", "to_char({}, {})", &["int2", "number format"]),
    ("text", "to_char({}, {})", &["float8", "number format"]),
    ("text", "to_char({}, {})", &["float4", "number format"]),
    ("text", "to_char({} / 1000, {})", &["numeric", "number format"]),
    ("text", "to_char({} % 1000, {})", &["int4", "number format"]),
    ("text", "to_char({}, {})", &["interval", "length format"]),
    ("text", "to_char({} * 1234567, {})", &["interval", "length format"]),
    ("date", "to_date({}||left(t,0),{})", &["damaged", "read format"]),
    ("timestamptz", "to_timestamp({}||left(t,0),{})", &["damaged", "read format"]),
    ("timestamptz", "to_timestamp({}||left(t,3),{})", &["damaged", "read format"]),
    ("date", "to_date({}, {})", &["text", "read format"]),
    ("date", "to_date({}::text,{})", &["date", "read format"]),
    ("timestamptz", "to_timestamp({}::text,{})", &["timestamptz", "read format"]),
    (
        "timestamptz",
        "to_timestamp(to_char({},{}),{})",
        &["timestamp", "read format", "read format"],
    ),
    ("timestamptz", "to_timestamp(substr({}::text,{}),{})", &["timestamp", "k", "read format"]),
    ("timestamptz", "to_timestamp({}::text,'YYYYMMDD'||{})", &["int4", "read format"]),
    ("numeric", "to_number({}, {})", &["text", "number format"]),
    ("numeric", "to_number({}::text, {})", &["numeric", "number format"]),
    ("numeric", "to_number(to_char({}, {}), {})", &["int4", "number format", "number format"]),
];

/// Zones whose rules go wrong most easily: half an hour of summer, a day that was left out, months of winter,
/// odd seconds, and none at all.
pub const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Etc/GMT+3",
];

pub const ZONE_TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("timestamp", "({} AT TIME ZONE {})", &["timestamptz", "zone format"]),
    ("timestamp", "(({} + {}) AT TIME ZONE {})", &["timestamptz", "interval", "zone format"]),
    ("timestamptz", "({} AT TIME ZONE {})", &["timestamp", "zone format"]),
    ("timestamptz", "timezone({}, {} + {})", &["zone format", "timestamp", "interval"]),
    ("date", "({} AT TIME ZONE {})::date", &["timestamptz", "zone format"]),
    ("timestamptz", "date_trunc('day', {}, {})", &["timestamptz", "zone format"]),
    ("timestamptz", "date_trunc('hour', {}, {})", &["timestamptz", "zone format"]),
    ("timestamptz", "date_trunc('week', {}, {})", &["timestamptz", "zone format"]),
    ("timestamptz", "date_trunc('month', {}, {})", &["timestamptz", "zone format"]),
    ("timestamptz", "date_trunc('century', {}, {})", &["timestamptz", "zone format"]),
    (
        "timestamptz",
        "make_timestamptz({}, {}, {}, {}, 30, {}, {})",
        &["year", "k", "k", "k", "float8", "zone format"],
    ),
    (
        "timestamptz",
        "make_timestamptz(2024, {}, {}, {}, 15, 7.5, timezone => {})",
        &["k", "k", "k", "zone format"],
    ),
    ("timestamptz", "make_timestamptz({}, 3, 31, {}, 30, 0, {})", &["year", "k", "zone format"]),
    ("timestamptz", "date_trunc('minute', {}, 'utc')", &["timestamptz"]),
    ("interval", "date_trunc('hour', {})", &["interval"]),
    ("interval", "date_trunc('day', {})", &["interval"]),
    ("interval", "date_trunc('month', {} * 7)", &["interval"]),
    ("interval", "date_trunc('quarter', {} * 7)", &["interval"]),
    ("interval", "date_trunc('decade', {} * 7)", &["interval"]),
    ("interval", "date_trunc('milliseconds', {} / 7)", &["interval"]),
];

/// What regular expressions match: patterns of which it is known, over texts of few letters.
pub const SPAN_TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("text", "regexp_replace({}, {}, {})", &["letters format", "span format", "new format"]),
    ("text", "regexp_replace({}, {}, {}, 'g')", &["letters format", "span format", "new format"]),
    ("text", "regexp_replace({}, {}, {}, 'g')", &["text", "span format", "new format"]),
    ("text", "regexp_replace({}, '[^0-9]+', '', 'g')", &["text"]),
    ("text", "regexp_replace({}, {}, {})", &["text", "span format", "text"]),
    ("text[]", "regexp_match({}, {})", &["letters format", "span format"]),
    ("text[]", "regexp_match({}, {})", &["text", "span format"]),
    ("text", "substring({} from {})", &["letters format", "span format"]),
    ("text", "substring({}, {})", &["text", "span format"]),
    ("text", "regexp_substr({}, {})", &["letters format", "span format"]),
    ("int4", "regexp_count({}, {})", &["letters format", "span format"]),
    ("int4", "regexp_count({}, {})", &["text", "span format"]),
    ("int4", "regexp_count({}, {}, {})", &["letters format", "span format", "k"]),
    (
        "int4",
        "regexp_count({}, {}, {}, {})",
        &["letters format", "span format", "place", "option format"],
    ),
    ("text", "regexp_substr({}, {}, {})", &["letters format", "span format", "place"]),
    ("text", "regexp_substr({}, {}, {}, {})", &["letters format", "span format", "place", "place"]),
    (
        "text",
        "regexp_substr({}, {}, {}, {}, {})",
        &["letters format", "span format", "place", "place", "option format"],
    ),
    (
        "text",
        "regexp_substr({}, {}, {}, {}, {}, {})",
        &["letters format", "span format", "place", "place", "option format", "place"],
    ),
    ("int4", "regexp_instr({}, {})", &["letters format", "span format"]),
    ("int4", "regexp_instr({}, {}, {})", &["text", "span format", "k"]),
    ("int4", "regexp_instr({}, {}, {}, {})", &["letters format", "span format", "place", "place"]),
    (
        "int4",
        "regexp_instr({}, {}, {}, {}, {})",
        &["letters format", "span format", "place", "place", "place"],
    ),
    (
        "int4",
        "regexp_instr({}, {}, {}, {}, 1, {})",
        &["letters format", "span format", "place", "place", "option format"],
    ),
    (
        "int4",
        "regexp_instr({}, {}, {}, {}, 0, {}, {})",
        &["letters format", "span format", "place", "place", "option format", "place"],
    ),
    (
        "text",
        "regexp_replace({}, {}, {}, {})",
        &["letters format", "span format", "new format", "option format"],
    ),
    (
        "text",
        "regexp_replace({}, {}, {}, {})",
        &["letters format", "span format", "new format", "place"],
    ),
    (
        "text",
        "regexp_replace({}, {}, {}, {}, {})",
        &["letters format", "span format", "new format", "place", "place"],
    ),
    (
        "text",
        "regexp_replace({}, {}, {}, {}, {}, {})",
        &["letters format", "span format", "new format", "place", "place", "option format"],
    ),
    ("text[]", "regexp_match({}, {}, {})", &["letters format", "span format", "option format"]),
    ("bool", "regexp_like({}, {}, {})", &["letters format", "span format", "option format"]),
    ("bool", "regexp_like({}, '^[a-c]|Bc$', 'i')", &["text"]),
];

const ATOMS: [&str; 10] = ["a", "b", "c", ".", "[ab]", "[^a]", "[bc]", "é", "[a-c]", "a"];
const REPEATS: [&str; 12] = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}", "?", "*"];
const NEW_PIECES: [&str; 10] = ["x", "\\1", "\\2", "\\&", "\\\\", "\\", "\\9", "é", "-", "\\q"];

fn span(random: &mut Random, depth: usize) -> String {
    let mut pattern = String::new();
    for _ in 0..1 + random.below(4) {
        if depth > 0 && random.chance(30) {
            let open = random.pick(&["(", "(", "(?:"]);
            pattern += &format!("{open}{})", span(random, depth - 1));
        } else {
            pattern += random.pick(&ATOMS);
            pattern += random.pick(&REPEATS);
        }
    }
    pattern
}

const NUMBER_PIECES: [&str; 24] = [
    "9", "9", "9", "9", "0", "0", "0", "99", "999", "000", ".", ".", ".9", ",", ",", "MI", "PL",
    "SG", "PR", " ", "-", "$", "\"a b\"", "fm",
];

const LENGTH_PIECES: [&str; 30] = [
    "YYYY", "YYY", "YY", "Y", "CC", "Q", "MM", "DDD", "DD", "WW", "W", "HH24", "HH12", "HH", "MI",
    "SS", "SSSSS", "MS", "US", "AM", "p.m.", "hh24", "FMMM", "FMHH", "fmyyyy", "FMDD", ":", "-",
    " ", "\"a b\"",
];

const READ_PIECES: [&str; 50] = [
    "YYYY-MM-DD",
    "YYYY-MM-DD",
    "YYYYMMDD",
    "DD Mon YYYY",
    "Dy, DD Month YYYY",
    "MM/DD/YY",
    "HH24:MI:SS",
    "HH24:MI:SS.US",
    "HH12:MI AM",
    "HHMISS",
    "YYYY",
    "YYYY",
    "MM",
    "MM",
    "DD",
    "DD",
    "HH24",
    "HH12",
    "HH",
    "MI",
    "SS",
    "MS",
    "US",
    "AM",
    "p.m.",
    "Mon",
    "MONTH",
    "Dy",
    "DAY",
    "YYY",
    "YY",
    "Y",
    "FMMM",
    "FMDD",
    "FMYYYY",
    "FMHH24",
    "fmus",
    "FMMonth",
    "-",
    "-",
    ":",
    " ",
    " ",
    ".",
    "/",
    "  ",
    "\"T\"",
    "\"1 \"",
    "é",
    "5",
];

/// Texts that templates read, mostly with something wrong in them.
const DAMAGED_PIECES: [&str; 60] = [
    "2024-01-31",
    "2024-02-29",
    "2023-02-29",
    "20240131",
    "31 Jan 2024",
    "Wed, 31 January 2024",
    "1/5/69",
    "12:30:15",
    "23:59:59.999999",
    "12:30 PM",
    "01:00 am",
    "123015",
    "2024",
    "0000",
    "-44",
    "12024",
    "294277",
    "5874898",
    "99999999999",
    "01",
    "12",
    "13",
    "31",
    "32",
    "00",
    "24",
    "59",
    "60",
    "7",
    "5",
    "025",
    "25",
    "250",
    "123456",
    "2147483647",
    "429496730",
    "-5",
    "+5",
    "am",
    "P.M.",
    "PM",
    "jan",
    "May",
    "DECEMBER",
    "sun",
    "Saturday",
    "Sept",
    "-",
    "-",
    ":",
    " ",
    " ",
    "  ",
    ".",
    "/",
    "T",
    "é",
    "\t",
    "x",
    "69",
];

fn damaged(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(6) {
        text += random.pick(&DAMAGED_PIECES);
        if random.chance(50) {
            text += random.pick(&["-", " ", ":", "  ", "/", ".", ""]);
        }
    }
    text
}

/// A text as a template would print it, so that many are read.
fn fitting(random: &mut Random) -> String {
    let (year, month, day) = (1900 + random.below(200), 1 + random.below(13), 1 + random.below(31));
    let (hour, minute) = (random.below(25), random.below(61));
    match random.below(6) {
        0 => format!("{year}-{month:02}-{day:02}"),
        1 => format!("{year}-{month}-{day} {hour}:{minute}"),
        2 => format!("{year}{month:02}{day:02}{hour:02}{minute:02}"),
        3 => format!("{month}/{day}/{}", year % 100),
        4 => format!("{day} {} {year}", random.pick(&["Jan", "feb", "MARCH", "Apr.", "juny"])),
        _ => format!("{hour}:{minute}:{day} {}", random.pick(&["AM", "pm", "a.m.", ""])),
    }
}

/// A constant of a kind; `None` of other kinds.
pub fn format(random: &mut Random, kind: &str) -> Option<String> {
    let pieces: &[&str] = match kind {
        "number format" => &NUMBER_PIECES,
        "length format" => &LENGTH_PIECES,
        "read format" => &READ_PIECES,
        "span format" => {
            let (start, end) = (random.pick(&["", "", "^"]), random.pick(&["", "", "$"]));
            let pattern = format!("{start}{}{end}", span(random, 2));
            return Some(brooklet_sql::name::literal(&pattern));
        }
        "new format" => {
            let new: String = (0..random.below(4)).map(|_| random.pick(&NEW_PIECES)).collect();
            return Some(brooklet_sql::name::literal(&new));
        }
        "letters format" => {
            let letters = ["a", "b", "c", "a", "b", "é", "\n", "A", "B"];
            let text: String = (0..random.below(12)).map(|_| random.pick(&letters)).collect();
            let row = random.pick(&["t", "left(t, 3)", "left(t, 0)"]);
            return Some(format!("({} || {row})", brooklet_sql::name::literal(&text)));
        }
        "option format" => {
            let options = ["", "i", "g", "gi", "ic", "ci", "s", "ti", "i"];
            return Some(brooklet_sql::name::literal(random.pick(&options)));
        }
        "coding format" => {
            let codings = ["hex", "base64", "escape", "HEX"];
            return Some(brooklet_sql::name::literal(random.pick(&codings)));
        }
        "place" => return Some(random.pick(&["1", "1", "2", "3", "4", "7", "0", "-1"]).to_owned()),
        "year" => {
            let years = ["2024", "2011", "1893", "1883", "-44", "1", "2600", "294276", "0"];
            return Some(random.pick(&years).to_owned());
        }
        "zone format" => return Some(brooklet_sql::name::literal(random.pick(&ZONES))),
        "damaged" => {
            let text = if random.chance(50) { damaged(random) } else { fitting(random) };
            return Some(brooklet_sql::name::literal(&text));
        }
        _ => {
            let text = super::readable::text(random, kind)?;
            return Some(brooklet_sql::name::literal(&text));
        }
    };
    let mut format = match kind {
        "number format" => random.pick(&["", "", "FM"]).to_owned(),
        _ => String::new(),
    };
    let longest = if kind == "read format" { 4 } else { 7 };
    for _ in 0..=random.below(longest) {
        format += random.pick(pieces);
    }
    Some(brooklet_sql::name::literal(&format))
}
