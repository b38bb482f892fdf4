//! A table with a column of every type, and the values that go wrong in each.

use brooklet_sql::{Collation, Column, RelationName, TableSchema};

use super::Random;
use super::ranges::RANGE_LITERALS;

/// Name, type in SQL, the kind of expression it is, `pg_type.oid` of the base type.
pub const COLUMNS: [(&str, &str, &str, u32); 49] = [
    ("i2", "int2", "int2", 21),
    ("i4", "int4", "int4", 23),
    ("other_i4", "int4", "int4", 23),
    ("i8", "int8", "int8", 20),
    ("n", "numeric", "numeric", 1700),
    ("n2", "numeric(12,2)", "numeric", 1700),
    ("f4", "float4", "float4", 700),
    ("f8", "float8", "float8", 701),
    ("b", "bool", "bool", 16),
    ("b2", "bool", "bool", 16),
    ("t", "text", "text", 25),
    ("t2", "text", "text", 25),
    ("v", "varchar", "varchar", 1043),
    ("bp", "char(4)", "bpchar", 1042),
    ("m", "mood", "mood", 0),
    ("m2", "mood", "mood", 0),
    ("d", "date", "date", 1082),
    ("tm", "time", "time", 1083),
    ("ttz", "timetz", "timetz", 1266),
    ("ts", "timestamp", "timestamp", 1114),
    ("tz", "timestamptz", "timestamptz", 1184),
    ("iv", "interval", "interval", 1186),
    ("u", "uuid", "uuid", 2950),
    ("by", "bytea", "bytea", 17),
    ("j", "jsonb", "jsonb", 3802),
    ("ia", "int4[]", "int4[]", 1007),
    ("ta", "text[]", "text[]", 1009),
    ("na", "numeric[]", "numeric[]", 1231),
    ("ma", "mood[]", "mood[]", 0),
    ("net", "inet", "inet", 869),
    ("range", "cidr", "cidr", 650),
    ("ri", "int4range", "int4range", 3904),
    ("other_ri", "int4range", "int4range", 3904),
    ("re", "int8range", "int8range", 3926),
    ("rn", "numrange", "numrange", 3906),
    ("other_rn", "numrange", "numrange", 3906),
    ("rd", "daterange", "daterange", 3912),
    ("rs", "tsrange", "tsrange", 3908),
    ("rz", "tstzrange", "tstzrange", 3910),
    ("mi", "int4multirange", "int4multirange", 4451),
    ("me", "int8multirange", "int8multirange", 4536),
    ("mn", "nummultirange", "nummultirange", 4532),
    ("md", "datemultirange", "datemultirange", 4535),
    ("ms", "tsmultirange", "tsmultirange", 4533),
    ("mz", "tstzmultirange", "tstzmultirange", 4534),
    ("ra", "int4range[]", "int4range[]", 3905),
    ("js", "json", "json", 114),
    ("js2", "json", "json", 114),
    ("expected", "text", "expected", 25),
];

pub const MOODS: [&str; 4] = ["sad", "ok", "Very \"happy\"", "a"];

/// Values of a kind, as Postgres reads them.
pub const LITERALS: [(&str, &[&str]); 27] = [
    ("int2", &["-32768", "-1", "0", "1", "2", "7", "32767"]),
    ("int4", &["-2147483648", "-1", "0", "1", "2", "3", "2147483647"]),
    ("int8", &["-9223372036854775808", "-1", "0", "1", "3000000000", "9223372036854775807"]),
    (
        "numeric",
        &[
            "0",
            "0.00",
            "1",
            "1.50",
            "-2.5",
            "0.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "0.001",
            "12345678901234567890.1",
            "-9223372036854775808",
            "99999.995",
            "7",
            "1e30",
            "1e-20",
        ],
    ),
    (
        "float4",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "0",
            "1.1",
            "2.5",
            "-1.5",
            "1e-45",
            "3.4028235e+38",
            "16777216",
        ],
    ),
    (
        "float8",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "0",
            "1.1",
            "2.5",
            "-0.5",
            "5e-324",
            "1.7976931348623157e+308",
            "1e15",
            "0x1.8p3",
            "inf",
            "123456789.125",
        ],
    ),
    ("bool", &["t", "f", "yes", "OFF"]),
    (
        "text",
        &[
            "",
            "a",
            "A",
            "a ",
            " b",
            "a%b",
            "a_b",
            "a\\b",
            "é",
            "É",
            "日本",
            "ß",
            "abcabc",
            "10",
            "-5",
            "2024-01-31",
            "NULL",
            "{1,2}",
            "it's",
            "x,y",
            "a\nb",
            "1.5",
            "true",
            "\"q\"",
        ],
    ),
    ("varchar", &["", "a", "ab ", "É", "10", "{a,b}"]),
    ("bpchar", &["", "a", "a  ", "ab", "é", "ABCD", "abcdef"]),
    ("mood", &["sad", "ok", "Very \"happy\"", "a"]),
    (
        "date",
        &[
            "4714-11-24 BC",
            "0044-03-15 BC",
            "0001-01-01",
            "1999-12-31",
            "2000-02-29",
            "2024-01-31",
            "2024-12-30",
            "12024-01-01",
            "5874897-12-31",
            "infinity",
            "-infinity",
            "Jan 5 2024",
            "1/31/2024",
            "2024.060",
        ],
    ),
    (
        "time",
        &["12:30 AM", "101112", "00:00:00", "12:30", "23:59:59.999999", "24:00:00", "01:02:03.5"],
    ),
    ("timetz", &["00:00:00+00", "01:00:00+01", "12:30:00-05:30", "24:00:00+00"]),
    (
        "timestamp",
        &[
            "4714-11-24 00:00:00 BC",
            "0001-12-31 12:00:00 BC",
            "1969-12-31 23:59:59.999999",
            "2000-01-01",
            "2024-01-31 12:30:00.123456",
            "2024-02-29 10:00",
            "294276-12-31 23:59:59",
            "5 Mar 2024 10:11 pm",
            "2024-03-31 02:30:00",
            "2024-10-27 02:30:00",
            "2011-12-30 12:00:00",
            "1893-04-01 00:03:00",
            "20240105T101112",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "0001-12-31 12:00:00+00 BC",
            "1970-01-01 00:00:00+00",
            "2024-01-31 12:30:00.5+02",
            "2024-12-30 00:00:00Z",
            "12024-01-01 00:00:00+00",
            "2024-03-31 01:00:00+00",
            "2024-10-27 00:59:59.999999+00",
            "2011-12-30 10:00:00+00",
            "1893-03-31 23:06:31+00",
            "294276-12-31 23:00:00+00",
            "4713-11-24 00:30:00+00 BC",
            "Fri Jan 5 10:11:12 2024 UTC",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "interval",
        &[
            "P1M",
            "P30D",
            "PT24H",
            "1 day -1 hour",
            "1 year 2 mons",
            "-1 mons +1 day",
            "PT-0.5S",
            "00:00:00.000001",
            "P100Y",
            "1 week",
            "0",
            "-35 days",
        ],
    ),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{ffffffffffffffffffffffffffffffff}",
        ],
    ),
    ("bytea", &["\\x", "\\x00ff", "abc", "\\x41", "\\000a"]),
    (
        "jsonb",
        &[
            "null",
            "{}",
            "[]",
            "1",
            "1.0",
            "\"a\"",
            "true",
            "{\"a\": 1, \"b\": [1, 2, {\"c\": null}]}",
            "{\"b\": {\"a\": \"x\"}, \"a\": 1.50}",
            "[1, \"a\", [2, 3], null, 1.0]",
            "[[1, 2]]",
            "{\"a\": {\"b\": \"é\\n\"}}",
            "\"\\u00e9 \\\"q\\\"\"",
        ],
    ),
    (
        "int4[]",
        &["{}", "{1,2}", "{1,NULL}", "{NULL}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{2}", "{1,2,3,2}"],
    ),
    (
        "text[]",
        &[
            "{}",
            "{a,b}",
            "{NULL,\"NULL\"}",
            "{\"\",\"a,b\",\"q\\\"\"}",
            "{{a},{b}}",
            "{a}",
            "{A,é,\" x\"}",
        ],
    ),
    ("numeric[]", &["{}", "{1.0,2.50,NaN}", "{1}", "{NULL,0.00}"]),
    ("mood[]", &["{}", "{sad,ok}", "{NULL,a}", "{\"Very \\\"happy\\\"\"}"]),
    (
        "inet",
        &[
            "10.0.0.1",
            "10.0.0.1/32",
            "10.1.2.3/8",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::1",
            "::/0",
            "2001:db8::1/64",
            "::ffff:10.0.0.1",
            "255.255.255.255",
        ],
    ),
    ("cidr", &["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/32", "::/0"]),
    ("expected", &["x"]),
];

/// The table; its enum lives in the schema given.
pub fn table(default: &Collation, schema: &str) -> TableSchema {
    let column = |&(name, sql_type, kind, oid): &(&str, &str, &str, u32)| {
        let is_mood = kind.starts_with("mood");
        Column {
            name: name.to_owned(),
            type_oid: if is_mood { 90_000 } else { oid },
            base_type_oid: match kind {
                "mood" => 90_000,
                "mood[]" => 90_001,
                _ => oid,
            },
            type_name: if is_mood { "mood".to_owned() } else { sql_type.to_owned() },
            type_modifier: -1,
            dimensions: i32::from(kind.ends_with("[]")),
            not_null: false,
            key_position: None,
            labels: if is_mood { MOODS.map(str::to_owned).to_vec() } else { Vec::new() },
            element_type_oid: if kind == "mood[]" { 90_000 } else { 0 },
            enum_schema: if is_mood { schema.to_owned() } else { String::new() },
            enum_name: if is_mood { "mood".to_owned() } else { String::new() },
            parts: Vec::new(),
            rewritten: 0,
            generated: false,
            collation: [25, 1042, 1043, 1009].contains(&oid).then(|| default.clone()),
            number: 0,
            dropped: false,
        }
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: schema.to_owned(), table: "typed".into() },
        columns: COLUMNS.iter().map(column).collect(),
    }
}

/// A random value of a column, as Postgres reads it.
pub fn value(random: &mut Random, column: usize) -> Option<String> {
    let (name, sql_type, kind, _) = COLUMNS[column];
    if name == "expected" || random.chance(12) {
        return None;
    }
    let (_, values) =
        LITERALS.iter().chain(RANGE_LITERALS).find(|(known, _)| *known == kind).unwrap();
    loop {
        let value = random.pick(values);
        let fits = match sql_type {
            "numeric(12,2)" => value.len() < 9 && !value.contains("Inf") && !value.contains('e'),
            "char(4)" => value.chars().count() <= 4,
            _ => true,
        };
        if fits {
            return Some(value.to_owned());
        }
    }
}
