//! The values that go wrong: as rows hold them and as clauses may spell them.

use brooklet_sql::Row;

use super::{COLUMNS, Random};

/// A column's value as Postgres prints it.
pub fn value(random: &mut Random, column: usize) -> Option<String> {
    if random.chance(15) {
        return None;
    }
    let (_, sql_type, _, _) = COLUMNS[column];
    let text = match sql_type {
        "int2" => random.pick(&INT2),
        "int4" | "domain_int" => random.pick(&INT4),
        "int8" => random.pick(&INT8),
        "float4" => random.pick(&FLOAT4),
        "float8" => random.pick(&FLOAT8),
        "numeric(12,2)" => random.pick(&["0.00", "1.00", "1.50", "-2.25", "NaN", "9999999999.99"]),
        "numeric" => return Some(numeric(random)),
        "bool" => random.pick(&["t", "f"]),
        "uuid" => random.pick(&UUIDS),
        "date" => random.pick(&DATES),
        "timestamp" => return Some(random.pick(&TIMESTAMPS).to_owned()),
        "timestamptz" => {
            let text = random.pick(&TIMESTAMPS);
            return Some(match text.strip_suffix(" BC") {
                _ if text.ends_with("infinity") => text.to_owned(),
                Some(bare) => format!("{bare}+00 BC"),
                None => format!("{text}+00"),
            });
        }
        "jsonb" => random.pick(&["{}", "1", "null"]),
        "domain_int[]" => random.pick(&super::domains::INTEGERS[..7]),
        "domain_text[]" => random.pick(&super::domains::TEXTS),
        _ => return Some(text(random)),
    };
    Some(text.to_owned())
}

const INT2: [&str; 7] = ["-32768", "-1", "0", "1", "2", "7", "32767"];
const INT4: [&str; 7] = ["-2147483648", "-1", "0", "1", "2", "16777217", "2147483647"];
const INT8: [&str; 10] = [
    "-9223372036854775808",
    "-1",
    "0",
    "1",
    "2",
    "16777217",
    "3000000000",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
];
const FLOAT4: [&str; 12] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "-0",
    "0",
    "1.1",
    "1.5",
    "2",
    "1.6777216e+07",
    "1e-45",
    "3.4028235e+38",
    "0.1",
];
const FLOAT8: [&str; 16] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "-0",
    "0",
    "1.1",
    "1.5",
    "2",
    "16777217",
    "5e-324",
    "1.7976931348623157e+308",
    "0.1",
    "9007199254740992",
    "1.100000023841858",
    "1e+15",
    "9.223372036854776e+18",
];
const UUIDS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000000",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];
const DATES: [&str; 13] = [
    "4714-11-24 BC",
    "0044-03-15 BC",
    "0001-12-31 BC",
    "0001-01-01",
    "1999-12-31",
    "2000-01-01",
    "2024-01-31",
    "2024-02-29",
    "12024-01-01",
    "294277-01-01",
    "5874897-12-31",
    "infinity",
    "-infinity",
];

const TIMESTAMPS: [&str; 12] = [
    "4714-11-24 00:00:00 BC",
    "0044-03-15 12:00:00 BC",
    "0001-01-01 00:00:00",
    "1999-12-31 23:59:59.999999",
    "2000-01-01 00:00:00",
    "2024-01-31 00:00:00",
    "2024-01-31 12:30:00.123456",
    "2024-01-31 12:30:00.5",
    "12024-01-01 00:00:00",
    "294276-12-31 23:59:59.999999",
    "infinity",
    "-infinity",
];

fn numeric(random: &mut Random) -> String {
    if random.chance(4) {
        return format!("1{}", "0".repeat(400));
    }
    if random.chance(2) {
        return format!("0.{}1", "0".repeat(399));
    }
    random
        .pick(&[
            "0",
            "0.00",
            "1",
            "1.50",
            "1.5",
            "1.500000",
            "-0.001",
            "2",
            "12345678901234567890.1",
            "12345678901234567890.2",
            "NaN",
            "Infinity",
            "-Infinity",
            "9007199254740993",
            "0.1",
            "-9223372036854775808",
            "9223372036854775808.00",
            "1.1",
            "16777217",
        ])
        .to_owned()
}

/// Text with everything that LIKE and quoting trip over.
pub fn text(random: &mut Random) -> String {
    if random.chance(20) {
        let alphabet = ['a', 'b', 'A', '%', '_', '\\', 'é', '\n', '日', ' '];
        return (0..random.below(6)).map(|_| alphabet[random.below(alphabet.len())]).collect();
    }
    random
        .pick(&[
            "",
            "a",
            "A",
            "a ",
            " a",
            "a%b",
            "a_b",
            "a\\b",
            "a\nb",
            "é",
            "É",
            "e\u{301}",
            "日本",
            "ß",
            "SS",
            "İ",
            "ı",
            "abc",
            "ABC",
            "%",
            "_",
            "\\",
            "10",
            "9",
            "t",
            "NULL",
            "it's",
            "ǅ",
            "Äb",
            "äb",
            "\u{10FFFF}",
            "abc\n",
        ])
        .to_owned()
}

/// A LIKE pattern.
pub fn pattern(random: &mut Random) -> String {
    if random.chance(30) {
        return text(random);
    }
    random
        .pick(&[
            "a%", "%b", "_", "__", "a\\%b", "a\\\\b", "%é%", "É", "%", "", "%_", "_%_", "a%b",
            "\\\\", "日_", "%a%b%", "%\\_%", "ä%", "İ", "%B", "A%", "%%", "%\\", "a\\",
        ])
        .to_owned()
}

/// A row of such values.
pub fn row(random: &mut Random) -> (Vec<Option<String>>, Row) {
    let values: Vec<Option<String>> =
        (0..COLUMNS.len()).map(|column| value(random, column)).collect();
    let row = Row::new(values.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap();
    (values, row)
}

pub const ODD_NUMBERS: [&str; 24] = [
    " 1 ",
    "+2",
    "1e2",
    "nan",
    "inf",
    "-INFINITY",
    "abc",
    "",
    "1e400",
    "1e-400",
    "1e39",
    "1e-46",
    "99999",
    "1.",
    ".",
    "0x10",
    "1_0",
    "9223372036854775808",
    "1.5",
    "-0",
    "1e",
    "0.1e1",
    "\t3\n",
    "++1",
];
pub const BOOLEANS: [&str; 13] =
    ["true", "t", "YES", "n", "off", "1", "0", " T ", "o", "maybe", "", "of", "on"];
pub const ODD_UUIDS: [&str; 9] = [
    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    "a0eebc99",
    " a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "00000000-0000-0000-0000-000000000000",
    "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
];
pub const ODD_DATES: [&str; 45] = [
    "epoch",
    "20240131",
    "2024-1-31",
    "2024-02-30",
    "2024-01-31",
    "2024-01-31 10:00",
    "2024-01-31T24:00:00Z",
    "2024-01-31 00:00:00",
    "2024-01-31 12:30:00.1234565",
    "2024-01-31 12:30:00.0000005",
    "INFINITY",
    "2024-01-31 23:59:60",
    "2024-01-31 10:00:00+05:30",
    "2024-01-31 10:00 -08",
    "2024-01-31 25:00",
    "0001-01-01 00:00:00+15 BC",
    "0044-03-15 bc",
    "0000-01-01",
    "12024-01-01",
    "5874897-12-31",
    "5874898-01-01",
    "294277-01-01",
    "4714-11-23 BC",
    "2024-01-31 12:30:00.5+00",
    " 2024-01-31 ",
    "today",
    "Jan 5 2024",
    "5-jan-24 12:30 pm",
    "1/31/2024",
    "2024.031",
    "20240131T123000",
    "12:30 Jan 31 2024 UTC",
    "31/1/2024",
    "",
    "garbage",
    "2024-01-31 12:30:60.5",
    "1999-12-31 23:59:59.9999999",
    "2024-01-31 10:00+15:59:59",
    "2024-01-31 10:00+16",
    "294276-12-31 23:59:59.9999999",
    "99-01-01",
    "2024-01",
    "2024-01-31 AD",
    "2024-01-31 12:30:00 +00:00 BC",
    "2024-01-31 1:2:3",
];
