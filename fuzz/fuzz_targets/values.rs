//! Any text as a value of every type: reading ends in a value or an error, and a value that is
//! printed and read again is the same; so is what a row's text is cast to.

#![no_main]

use brooklet_sql::{Kind, Predicate, Row, Truth, compile, row_key};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

mod every_type;

static PREDICATES: OnceLock<Vec<Predicate>> = OnceLock::new();
static CASTS: OnceLock<Vec<Predicate>> = OnceLock::new();
const CAST_TO: [&str; 6] = ["date", "timestamp", "timestamptz", "time", "timetz", "interval"];

fuzz_target!(|text: &str| {
    let table = every_type::table();
    let predicates = PREDICATES.get_or_init(|| {
        let clauses = table.columns.iter().map(|column| {
            let name = &column.name;
            match column.base_type_oid {
                // Nothing compares `json`; looking into it may only be an error.
                114 => format!("{name} #>> '{{a,-1}}' IS NULL OR {name}::text = {name}::text"),
                _ => format!("CASE WHEN {name} IS NULL THEN {name} ELSE {name} END = {name}"),
            }
        });
        clauses.filter_map(|clause| compile(&clause, &[], &table).ok()).collect()
    });
    // `g` is text.
    let casts = CASTS.get_or_init(|| {
        let clauses = CAST_TO.map(|to| format!("g::{to} = g::{to}::text::{to}"));
        clauses.iter().map(|clause| compile(clause, &[], &table).expect("a cast")).collect()
    });
    for column in &table.columns {
        // A decimal needs a modifier; of others it says nothing.
        for type_modifier in [-1, (38 << 16 | 10) + 4] {
            let _ = Kind::of(&brooklet_sql::Column { type_modifier, ..column.clone() }).holds(text);
        }
    }
    let values = vec![Some(text); table.columns.len()];
    let Ok(row) = Row::new(values) else { return };
    for (cast, to) in casts.iter().zip(CAST_TO) {
        if let Ok(truth) = cast.evaluate(&row) {
            assert_eq!(truth, Truth::True, "{text:?} as {to} is not itself");
        }
    }
    for (column, predicate) in predicates.iter().enumerate() {
        let _ = row_key(&table, &[column], &row);
        if let Ok(truth) = predicate.evaluate(&row) {
            assert_eq!(truth, Truth::True, "{} is not itself", table.columns[column].name);
        }
    }
});
