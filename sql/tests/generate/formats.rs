//! Formats of `to_char` and its kin, put together at random.

use super::Random;

/// What takes them; `number format` and `date format` are constants.
pub const FORMAT_TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("text", "to_char({}, {})", &["numeric", "number format"]),
    ("text", "to_char({}, {})", &["int4", "number format"]),
    ("text", "to_char({}, {})", &["int8", "number format"]),
    ("text", "to_char({}, {})", &["int2", "number format"]),
    ("text", "to_char({}, {})", &["float8", "number format"]),
    ("text", "to_char({}, {})", &["float4", "number format"]),
    ("text", "to_char({} / 1000, {})", &["numeric", "number format"]),
    ("text", "to_char({} % 1000, {})", &["int4", "number format"]),
    ("numeric", "to_number({}, {})", &["text", "number format"]),
    ("numeric", "to_number({}::text, {})", &["numeric", "number format"]),
    ("numeric", "to_number(to_char({}, {}), {})", &["int4", "number format", "number format"]),
];

const NUMBER_PIECES: [&str; 24] = [
    "9", "9", "9", "9", "0", "0", "0", "99", "999", "000", ".", ".", ".9", ",", ",", "MI", "PL",
    "SG", "PR", " ", "-", "$", "\"a b\"", "fm",
];

/// A constant of a kind; `None` of other kinds.
pub fn format(random: &mut Random, kind: &str) -> Option<String> {
    let pieces: &[&str] = match kind {
        "number format" => &NUMBER_PIECES,
        _ => return None,
    };
    let mut format = random.pick(&["", "", "FM"]).to_owned();
    for _ in 0..=random.below(7) {
        format += random.pick(pieces);
    }
    Some(brooklet_sql::name::literal(&format))
}
