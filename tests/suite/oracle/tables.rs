//! Random tables over every type that a predicate may use.
//!
//! Values come from small pools, so that keys collide, rows enter and leave filters, and each pool has its type's
//! awkward members: extremes, NaN, infinities, empty text, wildcards, blanks, letters with accents.

use crate::harness::Rng;

/// A type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub values: &'static [&'static str],
    /// Bare literals that Postgres compares with the type.
    pub numbers: &'static [&'static str],
}

impl Kind {
    /// Whether it is ordered by a collation.
    pub fn is_text(&self) -> bool {
        self.name == "text" || self.name == "varchar(12)"
    }
}

const TEXTS: &[&str] = &[
    "", "a", "A", "ab", "a b", "a%b", "a_b", "é", "É", "z", "a\\b", "o'x", "ä", "_a", "%", "b",
    "a ", "a\nb", "10", "9",
];
const SMALL: &[&str] = &["0", "1", "-1", "2", "5", "1.5", "100000", "0.0"];

/// Every type in scope.
pub const KINDS: &[Kind] = &[
    Kind { name: "int2", values: &["0", "1", "-1", "2", "5", "32767", "-32768"], numbers: SMALL },
    Kind {
        name: "int4",
        values: &["0", "1", "-1", "2", "5", "2147483647", "-2147483648"],
        numbers: SMALL,
    },
    Kind {
        name: "int8",
        values: &[
            "0",
            "1",
            "-1",
            "2",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
        ],
        numbers: &[
            "0",
            "1",
            "9007199254740993",
            "9007199254740992.5",
            "3000000000",
            "9223372036854775808",
        ],
    },
    Kind {
        name: "float4",
        values: &[
            "0",
            "-0",
            "1",
            "1.1",
            "-1.5",
            "16777216",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e20",
            "0.1",
        ],
        numbers: &["0", "1", "1.1", "0.1", "16777217", "-1.5"],
    },
    Kind {
        name: "float8",
        values: &[
            "0",
            "-0",
            "1",
            "1.1",
            "-1.5",
            "1e300",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-300",
            "0.1",
        ],
        numbers: &["0", "1", "1.1", "0.1", "16777217", "-1.5"],
    },
    Kind {
        name: "numeric",
        values: &[
            "0",
            "1",
            "1.0",
            "1.50",
            "1.5",
            "-1",
            "12345678901234567890.1",
            "12345678901234567890.2",
            "NaN",
            "0.1",
        ],
        numbers: &["0", "1", "1.5", "1.500", "12345678901234567890.1", "-0.0", "0.10"],
    },
    Kind { name: "text", values: TEXTS, numbers: &[] },
    Kind { name: "varchar(12)", values: TEXTS, numbers: &[] },
    Kind { name: "bool", values: &["true", "false"], numbers: &[] },
    Kind {
        name: "uuid",
        values: &[
            "00000000-0000-0000-0000-000000000000",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
        numbers: &[],
    },
    Kind {
        name: "date",
        values: &[
            "2024-02-29",
            "2024-03-01",
            "1999-12-31",
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "12024-01-01",
        ],
        numbers: &[],
    },
    Kind {
        name: "timestamp",
        values: &[
            "2024-02-29 10:00:00",
            "2024-02-29 10:00:00.5",
            "2000-01-01 00:00:00",
            "infinity",
            "-infinity",
            "0044-03-15 10:00:00 BC",
        ],
        numbers: &[],
    },
    Kind {
        name: "timestamptz",
        values: &[
            "2024-02-29 10:00:00+00",
            "2024-02-29 10:00:00.5+00",
            "2024-02-29 12:00:00+02",
            "infinity",
            "-infinity",
            "1999-12-31 23:59:59.999999+00",
        ],
        numbers: &[],
    },
];

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
}

impl Column {
    /// A value as a typed literal, NULL now and then.
    pub fn literal(&self, rng: &mut Rng) -> String {
        if self.nullable && rng.percent(20) {
            return "NULL".to_owned();
        }
        format!("{}::{}", quote(rng.pick::<&str>(self.kind.values)), self.kind.name)
    }
}

/// A table: key columns first.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// How many of the columns are the key: none, one or two.
    pub key: usize,
}

impl Table {
    /// A random one.
    pub fn random(name: &str, rng: &mut Rng) -> Table {
        let key = *rng.pick(&[0, 1, 1, 2, 2]);
        let mut columns: Vec<Column> = Vec::new();
        for number in 0..key {
            let kind = *rng.pick(KINDS);
            columns.push(Column { name: format!("k{number}"), kind, nullable: false });
        }
        for number in 0..rng.between(2, 6) {
            // Quoted names need quoting everywhere.
            let name =
                if rng.percent(20) { format!("\"C {number}\"") } else { format!("c{number}") };
            columns.push(Column { name, kind: *rng.pick(KINDS), nullable: rng.percent(75) });
        }
        Table { name: name.to_owned(), columns, key }
    }

    /// Its definition; the key's columns are in another order than the table's.
    pub fn create(&self) -> String {
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .rev()
            .map(|column| {
                let not_null = if column.nullable { "" } else { " NOT NULL" };
                format!("{} {}{not_null}", column.name, column.kind.name)
            })
            .collect();
        if self.key > 0 {
            parts.push(format!("PRIMARY KEY ({})", self.key_names().join(", ")));
        }
        format!("CREATE TABLE {} ({})", self.name, parts.join(", "))
    }

    /// The names of the key's columns.
    pub fn key_names(&self) -> Vec<&str> {
        self.columns[..self.key].iter().map(|column| column.name.as_str()).collect()
    }

    /// A selection of columns with the whole key, or none for all; a table without a key is selected whole.
    pub fn some_columns(&self, rng: &mut Rng) -> Option<String> {
        if self.key == 0 || rng.percent(60) {
            return None;
        }
        let rest = self.columns[self.key..]
            .iter()
            .filter(|_| rng.percent(50))
            .map(|column| column.name.as_str());
        let mut names = self.key_names();
        names.extend(rest);
        Some(names.join(","))
    }
}

/// A value as a text literal.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
