//! Filters of every kind of access path, and rows for them.

use std::sync::Arc;

use brooklet_sql::{CaseMap, Collation, Column, Row, TableSchema, TextOrder};

use super::schema;

mod kinds;
mod values;

pub use kinds::{KINDS, NEVER_FALSE, NEVER_TRUE};
use values::{COLUMNS, LABELS, constants, wrong};

/// `pg_type.oid` of the enum.
const MOOD: u32 = 90_000;

/// Folds Kelvin's sign to k and the dotted capital I to i, as C libraries do.
fn collation() -> Collation {
    let ascii = ('A'..='Z').map(|c| (c, c.to_ascii_lowercase()));
    let others = [('\u{212A}', 'k'), ('İ', 'i'), ('É', 'é'), ('ß', 'ß')];
    Collation {
        name: "x".into(),
        order: TextOrder::Bytes,
        deterministic: true,
        case_map: Some(Arc::new(
            CaseMap::new(ascii.chain(others))
                .with_upper(('a'..='z').map(|c| (c, c.to_ascii_uppercase()))),
        )),
        is_default: false,
    }
}

/// With a column of every type that has an access path of its own.
pub fn table(oid: u32) -> Arc<TableSchema> {
    let columns: Vec<(&str, u32)> = COLUMNS.iter().map(|(name, oid, _)| (*name, *oid)).collect();
    let mut table = (*schema::table(oid, &format!("t{oid}"), &columns, collation)).clone();
    for column in table.columns.iter_mut().filter(|column| column.type_oid == MOOD) {
        *column = Column {
            labels: LABELS.map(str::to_owned).into(),
            enum_schema: "public".into(),
            enum_name: "mood".into(),
            ..column.clone()
        };
    }
    Arc::new(table)
}

/// Splitmix: small, good enough, the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// A template with constants in it.
pub fn filter(rng: &mut Rng, template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('#') {
        let (before, mark) = rest.split_at(at);
        text += before;
        let Some(list) = constants(&mark[1..2]) else {
            // `#>` and `#>>` are operators.
            text += "#";
            rest = &mark[1..];
            continue;
        };
        let constant = rng.pick(list);
        text += &match &mark[1..2] {
            "n" => format!("({constant})"),
            _ => format!("'{constant}'"),
        };
        rest = &mark[2..];
    }
    text + rest
}

pub fn row(rng: &mut Rng) -> Row {
    let mut values: Vec<Option<&str>> =
        COLUMNS.iter().map(|(_, _, list)| Some(rng.pick(list))).collect();
    for value in &mut values {
        match rng.below(24) {
            0 | 1 => *value = None,
            // Text that is no value of most types.
            2 => *value = Some(rng.pick(wrong())),
            _ => {}
        }
    }
    Row::new(values).unwrap()
}
