//! The columns, and the values that they and constants have: those that are equal and do not look it, and those
//! at the ends.

/// Name, `pg_type.oid`, values of rows.
pub const COLUMNS: [(&str, u32, &[&str]); 21] = [
    ("id", 23, &["0", "1", "2", "3"]),
    ("n", 23, NUMBERS),
    ("p", 1700, DECIMALS),
    ("f", 701, FLOATS),
    ("t", 25, TEXTS),
    ("b", 16, &["t", "f"]),
    ("u", 2950, UUIDS),
    ("d", 1114, INSTANTS),
    ("tags", 1009, &["{}", "{a}", "{ab,a}", "{NULL,a}", "{\"a b\",k}", "{{a},{b}}", "{b}"]),
    ("nums", 1007, &["{}", "{1}", "{1,2}", "{2,NULL}", "[0:1]={1,2}"]),
    ("j", 3802, DOCUMENTS),
    ("c", 1042, &["a    ", "ab   ", "     ", "k    ", "a b  "]),
    ("i", 1186, SPANS),
    ("m", super::MOOD, &LABELS),
    ("w", 1082, DAYS),
    ("h", 1083, TIMES),
    ("z", 1184, MOMENTS),
    ("k", 9998, FOLDED),
    ("a", 869, ADDRESSES),
    ("y", 17, BYTES),
    ("r", 700, FLOATS),
];

const NUMBERS: &[&str] = &["0", "1", "2", "3", "4", "-1", "2147483647", "-2147483648"];
const DECIMALS: &[&str] = &[
    "0",
    "1",
    "1.0",
    "1.00",
    "1.50",
    "-2.5",
    "NaN",
    "Infinity",
    "1000000000000000000000",
    "0.001",
];
const FLOATS: &[&str] = &["0", "-0", "1.5", "-1e30", "NaN", "Infinity", "-Infinity", "1e-40"];
const TEXTS: &[&str] = &[
    "",
    "a",
    "ab",
    "abc",
    "a b",
    "a  ",
    "b",
    "k",
    "K",
    "\u{212A}is",
    "kiss",
    "İx",
    "É",
    "ß",
    "abbcabbcabbcabbcabbcabbcabbc",
    "x%_y",
    "a%b",
    "x",
];
const UUIDS: &[&str] = &[
    "00000000-0000-0000-0000-000000000000",
    "7fffffff-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];
const INSTANTS: &[&str] = &[
    "2024-01-01 00:00:00",
    "2024-01-31 12:30:00.5",
    "2024-02-01 00:00:00",
    "infinity",
    "-infinity",
    "0044-03-15 00:00:00 BC",
];
const DOCUMENTS: &[&str] = &[
    "{}",
    "{\"a\": 1}",
    "{\"a\": 1.0}",
    "{\"a\": \"x\"}",
    "{\"a\": {\"b\": \"x\"}}",
    "{\"a\": null}",
    "{\"tags\": [1, \"x\"]}",
    "{\"tags\": \"x\"}",
    "[\"x\", [\"x\"]]",
    "\"x\"",
    "{\"a\": 99999999999}",
    "{\"k\": \"x\", \"b\": {\"k\": [1]}}",
    "{\"ab\": \"a\", \"K\": \"K\", \"x%_y\": \"\"}",
    "{\"\": \"\", \"ß\": null, \"a b\": 1, \"b\": [\"k\"]}",
    "{\"\": 1, \"a\": 2, \"ab\": 3, \"abc\": 4, \"b\": \"b\", \"k\": \"k\", \"K\": null, \"É\": {\"a\": \"x\"}}",
    "[\"a\", \"k\"]",
    "\"k\"",
    "{\"a\": \"ka\", \"b\": \"kb\", \"ab\": \"k\", \"\": \"k\", \"k\": \"k\", \"K\": \"a\", \"abc\": \"abc\"}",
    "{\"a\": \"a\", \"b\": \"b\", \"ab\": 1, \"k\": 1, \"\": 1, \"x\": 1, \"a b\": \"a b\"}",
];
/// Thirty days are a month.
const SPANS: &[&str] =
    &["00:00:00", "1 day", "24:00:00", "30 days", "1 mon", "-00:00:01", "1 year"];
pub const LABELS: [&str; 3] = ["sad", "ok", "happy"];
const DAYS: &[&str] =
    &["2024-01-01", "2024-01-31", "2024-02-01", "infinity", "-infinity", "0044-03-15 BC"];
const TIMES: &[&str] = &["00:00:00", "12:30:00", "12:30:00.5", "24:00:00"];
const MOMENTS: &[&str] = &[
    "2024-01-01 00:00:00+00",
    "2024-01-01 02:00:00+02",
    "2024-01-31 23:59:59.5-01:30",
    "infinity",
    "-infinity",
];
const FOLDED: &[&str] = &["", "a", "A", "ab", "Ab", "AB", "k", "\u{212A}", "É", "é"];
const ADDRESSES: &[&str] =
    &["10.0.0.1", "10.0.0.1/32", "10.0.0.1/8", "10.0.0.0/8", "::1", "255.255.255.255"];
const BYTES: &[&str] = &["\\x", "\\x00", "\\x0061", "\\x61", "\\xff"];

/// What `#` and this letter stand for.
pub fn constants(letter: &str) -> Option<&'static [&'static str]> {
    Some(match letter {
        "n" => NUMBERS,
        "p" => DECIMALS,
        "f" => FLOATS,
        "t" => TEXTS,
        "u" => UUIDS,
        "d" => INSTANTS,
        "i" => SPANS,
        "m" => &LABELS,
        "w" => DAYS,
        "h" => TIMES,
        "z" => MOMENTS,
        "k" => FOLDED,
        "a" => ADDRESSES,
        "y" => BYTES,
        _ => return None,
    })
}

/// No values of most types.
pub fn wrong() -> &'static [&'static str] {
    &["?", "{", "", "99999999999999999999"]
}
