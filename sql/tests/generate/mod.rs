//! Random tables, rows and clauses, with the values that go wrong.

#![allow(dead_code, clippy::unwrap_used)]

use std::fmt::Write;
use std::sync::Arc;

use brooklet_sql::{CaseMap, Collation, Column, RelationName, TableSchema, TextOrder};

mod binary;
pub mod connect;
pub mod constructs;
pub mod database;
pub mod domains;
pub mod expression;
mod formats;
pub mod forms;
mod making;
mod named;
pub mod ranges;
pub mod readable;
mod spellings;
mod templates;
pub mod texts;
pub mod typed;
mod values;

use constructs::CONSTRUCTS;
use values::{BOOLEANS, ODD_DATES, ODD_NUMBERS, ODD_UUIDS, pattern, text};
#[allow(unused_imports)] // Each test binary uses what it needs.
pub use values::{row, value};

/// A small generator of random numbers; the seed is all of its state.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Text,
    Bool,
    Uuid,
    Calendar,
    Opaque,
}

/// Name, type in SQL, `pg_type.oid` of the base type, what it holds.
pub const COLUMNS: [(&str, &str, u32, Kind); 22] = [
    ("i2", "int2", 21, Kind::Number),
    ("i4", "int4", 23, Kind::Number),
    ("Quoted i4", "int4", 23, Kind::Number),
    ("i8", "int8", 20, Kind::Number),
    ("f4", "float4", 700, Kind::Number),
    ("f8", "float8", 701, Kind::Number),
    ("n", "numeric", 1700, Kind::Number),
    ("n2", "numeric(12,2)", 1700, Kind::Number),
    ("di", "domain_int", 23, Kind::Number),
    ("t", "text", 25, Kind::Text),
    ("v", "varchar", 1043, Kind::Text),
    ("c", "text COLLATE \"C\"", 25, Kind::Text),
    ("dt", "domain_text", 25, Kind::Text),
    ("b", "bool", 16, Kind::Bool),
    ("b2", "bool", 16, Kind::Bool),
    ("u", "uuid", 2950, Kind::Uuid),
    ("d", "date", 1082, Kind::Calendar),
    ("ts", "timestamp", 1114, Kind::Calendar),
    ("tz", "timestamptz", 1184, Kind::Calendar),
    ("j", "jsonb", 3802, Kind::Opaque),
    ("das", "domain_int[]", 1007, Kind::Opaque),
    ("dts", "domain_text[]", 1009, Kind::Opaque),
];

/// The table, given the collation of its columns without one of their own.
pub fn table(default: &Collation) -> TableSchema {
    let column = |&(name, sql_type, oid, kind): &(&str, &str, u32, Kind)| Column {
        name: name.to_owned(),
        // Which numbers these have is all the same, as long as they are no built-in type's.
        type_oid: if sql_type.starts_with("domain_") { 90_000 + oid } else { oid },
        base_type_oid: oid,
        type_name: sql_type.to_owned(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: domains::of(sql_type),
        parts: Vec::new(),
        rewritten: 0,
        generated: false,
        collation: match (kind, name) {
            (Kind::Text, "c") => Some(Collation::c()),
            (Kind::Text, _) | (_, "dts") => Some(default.clone()),
            _ => None,
        },
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "oracle".into() },
        columns: COLUMNS.iter().map(column).collect(),
    }
}

/// A collation that orders bytes and folds Latin letters.
pub fn latin() -> Collation {
    let pairs = ('A'..='Z').chain('À'..='Ö').map(|c| (c, c.to_lowercase().next().unwrap()));
    Collation {
        name: "latin".into(),
        order: TextOrder::Bytes,
        deterministic: true,
        case_map: Some(Arc::new(CaseMap::new(pairs))),
        is_default: true,
    }
}

/// A clause and its parameters.
pub struct Clause {
    pub text: String,
    pub params: Vec<String>,
    /// What it is made of.
    pub constructs: Vec<&'static str>,
}

impl Clause {
    /// The clause with its parameters as string constants, which is what they stand for.
    pub fn inlined(&self) -> String {
        let mut text = self.text.clone();
        for (index, value) in self.params.iter().enumerate().rev() {
            let quoted = brooklet_sql::name::literal(value);
            text = text.replace(&format!("${}", index + 1), &quoted);
        }
        text
    }
}

/// A random clause.
pub fn clause(random: &mut Random) -> Clause {
    let mut generator = Generator { random, params: Vec::new(), constructs: Vec::new() };
    let depth = generator.random.below(4);
    let text = generator.predicate(depth);
    Clause { text, params: generator.params, constructs: generator.constructs }
}

/// The same text with a few characters lost, doubled or moved.
pub fn damage(random: &mut Random, text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        if characters.is_empty() {
            break;
        }
        let (at, other) = (random.below(characters.len()), random.below(characters.len()));
        match random.below(4) {
            0 => drop(characters.remove(at)),
            1 => characters.insert(at, characters[other]),
            2 => characters.swap(at, other),
            _ => characters.insert(at, SPECIAL[random.below(SPECIAL.len())]),
        }
    }
    characters.into_iter().collect()
}

const SPECIAL: [char; 24] = [
    '(', ')', '\'', '"', '-', '+', '*', '/', '<', '=', '>', '!', '.', ',', ':', ' ', '\n', '\\',
    'E', '0', '9', '_', 'e', '$',
];

struct Generator<'a> {
    random: &'a mut Random,
    params: Vec<String>,
    constructs: Vec<&'static str>,
}

impl Generator<'_> {
    /// Remembers what is made, and makes it.
    fn used(&mut self, construct: &'static str) -> &'static str {
        assert!(CONSTRUCTS.contains(&construct), "{construct} is not listed");
        self.constructs.push(construct);
        construct
    }

    fn predicate(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf();
        }
        match self.random.below(10) {
            0..=2 => {
                let (left, right) = (self.predicate(depth - 1), self.predicate(depth - 1));
                format!("({left} {} {right})", self.used("AND"))
            }
            3..=5 => {
                let (left, right) = (self.predicate(depth - 1), self.predicate(depth - 1));
                format!("({left} {} {right})", self.used("or"))
            }
            6 => format!("{} {}", self.used("NOT"), self.predicate(depth - 1)),
            7 => {
                let test = self.random.pick(&[
                    "TRUE",
                    "NOT TRUE",
                    "FALSE",
                    "NOT FALSE",
                    "UNKNOWN",
                    "NOT UNKNOWN",
                    "NULL",
                    "NOT NULL",
                ]);
                format!("({}) IS {}", self.predicate(depth - 1), self.used(test))
            }
            8 => {
                let operator = self.random.pick(&["=", "<>", "<", "IS DISTINCT FROM"]);
                let (left, right) = (self.predicate(depth - 1), self.predicate(depth - 1));
                format!("(({left}) {} ({right}))", self.used(operator))
            }
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) -> String {
        let kinds = [
            Kind::Number,
            Kind::Number,
            Kind::Text,
            Kind::Text,
            Kind::Calendar,
            Kind::Calendar,
            Kind::Bool,
            Kind::Uuid,
        ];
        let kind = kinds[self.random.below(kinds.len())];
        match self.random.below(22) {
            20 | 21 => {
                self.used("domain[]");
                domains::clause(self.random)
            }
            0..=7 => {
                let operator = self.random.pick(&["=", "=", "=", "<>", "!=", "<", "<=", ">", ">="]);
                let (left, right) = (self.operand(kind), self.operand(kind));
                format!("{left} {} {right}", self.used(operator))
            }
            8 => {
                let not = self.not();
                let (left, right) = (self.operand(kind), self.operand(kind));
                format!("({left} IS {not}{} {right})", self.used("DISTINCT FROM"))
            }
            9..=11 => self.list(kind),
            12 => {
                let (not, symmetric) = (self.not(), self.random.pick(&["", "", "SYMMETRIC "]));
                let operand = self.untyped(kind);
                let (low, high) = (self.operand(kind), self.operand(kind));
                let between =
                    self.used(if symmetric.is_empty() { "BETWEEN" } else { "BETWEEN SYMMETRIC" });
                format!("({operand} {not}{between} {low} AND {high})")
            }
            13 | 14 => self.like(),
            15 => self.read(),
            16 => {
                let column = self.random.below(COLUMNS.len());
                format!("{} IS {}{}", self.name(column), self.not(), self.used("NULL"))
            }
            17 => self
                .random
                .pick(&[
                    "b",
                    "b2",
                    "true",
                    "false",
                    "NULL",
                    "NOT b",
                    "b IS NOT TRUE",
                    "'yes'",
                    "oracle.b",
                ])
                .to_owned(),
            18 => {
                // Sides of different kinds: mostly refusals, by both.
                let other = kinds[self.random.below(kinds.len())];
                format!("{} = {}", self.operand(kind), self.operand(other))
            }
            _ => format!("{} = {}", self.column(kind), self.constant(kind)),
        }
    }

    fn not(&mut self) -> &'static str {
        if self.random.chance(40) { "NOT " } else { "" }
    }

    fn list(&mut self, kind: Kind) -> String {
        let not = self.not();
        let operand = if self.random.chance(85) { self.column(kind) } else { self.untyped(kind) };
        let mut text = format!("{operand} {not}{} (", self.used("IN"));
        for element in 0..=self.random.below(5) {
            let next = match self.random.below(20) {
                0 => "NULL".to_owned(),
                1 => self.column(kind),
                _ => self.constant(kind),
            };
            write!(text, "{}{next}", if element > 0 { ", " } else { "" }).unwrap();
        }
        text + ")"
    }

    fn like(&mut self) -> String {
        let (not, operator) = (self.not(), self.random.pick(&["LIKE", "ILIKE"]));
        let operand = if self.random.chance(90) {
            self.column(Kind::Text)
        } else {
            self.constant(Kind::Text)
        };
        let pattern = match self.random.below(10) {
            0 => self.column(Kind::Text),
            1 => {
                let pattern = text(self.random);
                let escape = self.random.pick(&["'!'", "''", "'a'", "'é'", "'\\'", "'ab'"]);
                let pattern = brooklet_sql::name::literal(&pattern);
                format!("{pattern} {} {escape}", self.used("ESCAPE"))
            }
            2 => {
                let pattern = pattern(self.random);
                self.parameter(pattern)
            }
            _ => brooklet_sql::name::literal(&pattern(self.random)),
        };
        format!("({operand} {not}{} {pattern})", self.used(operator))
    }

    /// Text of the row as a date or an instant.
    fn read(&mut self) -> String {
        let target = self.random.pick(&["date", "timestamp", "timestamptz"]);
        let of = match self.random.below(8) {
            0 => self.column(Kind::Text),
            1..=3 => format!("{}::text", self.column(Kind::Calendar)),
            _ => {
                let text = readable::text(self.random, "moment format").unwrap_or_default();
                format!(
                    "{}||left({},0)",
                    brooklet_sql::name::literal(&text),
                    self.column(Kind::Text)
                )
            }
        };
        self.used("text::date");
        let operator = self.random.pick(&["=", "<", ">=", "<>", "IS DISTINCT FROM"]);
        format!("(({of})::{target} {operator} {})", self.operand(Kind::Calendar))
    }

    fn operand(&mut self, kind: Kind) -> String {
        match self.random.below(20) {
            0 => "NULL".to_owned(),
            1..=10 => self.column(kind),
            _ => self.constant(kind),
        }
    }

    /// An operand that Postgres compares more than once: a parameter would keep the type of the
    /// first comparison, where the string constant it is replaced with would not.
    fn untyped(&mut self, kind: Kind) -> String {
        let before = self.params.len();
        let operand = self.operand(kind);
        if self.params.len() == before {
            return operand;
        }
        self.params.truncate(before);
        self.column(kind)
    }

    fn column(&mut self, kind: Kind) -> String {
        let of_kind: Vec<usize> = (0..COLUMNS.len()).filter(|at| COLUMNS[*at].3 == kind).collect();
        let column = of_kind[self.random.below(of_kind.len())];
        self.name(column)
    }

    fn name(&mut self, column: usize) -> String {
        let (name, ..) = COLUMNS[column];
        match self.random.below(6) {
            _ if name.contains(' ') => format!("\"{name}\""),
            0 => format!("oracle.{name}"),
            1 => name.to_uppercase(),
            2 => format!("(\"{name}\")"),
            _ => name.to_owned(),
        }
    }

    fn parameter(&mut self, value: String) -> String {
        self.used("$");
        self.params.push(value);
        format!("${}", self.params.len())
    }

    fn constant(&mut self, kind: Kind) -> String {
        let types: &[&str] = match kind {
            Kind::Number => &["int2", "int4", "bigint", "real", "double precision", "numeric"],
            Kind::Text => &["text", "varchar", "character varying"],
            Kind::Bool => &["bool", "boolean"],
            Kind::Uuid => &["uuid"],
            Kind::Calendar => &["date", "timestamp", "timestamptz", "timestamp with time zone"],
            Kind::Opaque => unreachable!(),
        };
        if kind == Kind::Number && self.random.chance(45) {
            let number = self.random.pick(&[
                "0",
                "1",
                "2",
                "-1",
                "1.5",
                "1.50",
                "1.1",
                "16777217",
                "3000000000",
                "9007199254740993",
                "-2147483648",
                "9223372036854775808",
                "1e3",
                ".5",
                "5.",
                "1e-2",
                "1e400",
                "- 2",
                "+7",
                "-32768",
                "100000",
                "2.5",
            ]);
            return match self.random.below(8) {
                0 => format!("{number}::{}", self.random.pick(types)),
                1 => format!("CAST({number} AS {})", self.random.pick(types)),
                _ => number.to_owned(),
            };
        }
        if kind == Kind::Bool && self.random.chance(40) {
            return self.random.pick(&["true", "FALSE"]).to_owned();
        }
        let value = self.constant_text(kind);
        let quoted = brooklet_sql::name::literal(&value);
        let sql_type = self.random.pick(types);
        match self.random.below(10) {
            0 => format!("{quoted}::{sql_type}"),
            1 => format!("CAST({quoted} AS {sql_type})"),
            2 => format!("{sql_type} {quoted}"),
            // Postgres casts text to a date only when it gets there, so its refusals are no guide.
            3 if kind != Kind::Calendar => format!("{quoted}::text::{sql_type}"),
            4 | 5 => self.parameter(value),
            _ => quoted,
        }
    }

    fn constant_text(&mut self, kind: Kind) -> String {
        let odd = match kind {
            Kind::Number => self.random.pick(&ODD_NUMBERS),
            Kind::Text => return text(self.random),
            Kind::Bool => self.random.pick(&BOOLEANS),
            Kind::Uuid => self.random.pick(&ODD_UUIDS),
            _ => self.random.pick(&ODD_DATES),
        };
        if self.random.chance(35) {
            return odd.to_owned();
        }
        let of_kind: Vec<usize> = (0..COLUMNS.len()).filter(|at| COLUMNS[*at].3 == kind).collect();
        let column = of_kind[self.random.below(of_kind.len())];
        value(self.random, column).unwrap_or_else(|| odd.to_owned())
    }
}
