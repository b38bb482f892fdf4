//! Any text as a value of every type: reading ends in a value or an error, and a value that is
//! printed and read again is the same; so is what a row's text is cast to.

#![no_main]

use brooklet_sql::statement::{CITEXT, CITEXT_ARRAY};
use brooklet_sql::{Kind, Predicate, Row, Truth, compile, row_key};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

mod every_type;

/// With the column that each is about.
static PREDICATES: OnceLock<Vec<(usize, Predicate)>> = OnceLock::new();
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
                // Nor arrays of it.
                199 => format!("cardinality({name}) = cardinality({name})"),
                // What would be a `citext` is not of a column.
                CITEXT | CITEXT_ARRAY => format!("{name} = {name}"),
                _ => format!("CASE WHEN {name} IS NULL THEN {name} ELSE {name} END = {name}"),
            }
        });
        let compiled = |clause: String| match compile(&clause, &[], &table) {
            Ok(predicate) => predicate,
            Err(error) => panic!("{clause}: {error}"),
        };
        clauses.map(compiled).enumerate().collect()
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
    for at in 0..table.columns.len() {
        let _ = row_key(&table, &[at], &row);
    }
    for (column, predicate) in predicates {
        if let Ok(truth) = predicate.evaluate(&row) {
            assert_eq!(truth, Truth::True, "{} is not itself", table.columns[*column].name);
        }
    }
});
