//! Any text as a constant of every type: reading ends in a value or a refusal; our own text of the value
//! is read as the same; and where the same text is a row's value too, the two are equal.
//!
//! A parameter has the type of the column it is compared with, which takes it through the input function
//! of that type.

#![no_main]

use brooklet_sql::{Row, Truth, compile};
use libfuzzer_sys::fuzz_target;

mod every_type;

fuzz_target!(|text: &str| {
    let table = every_type::table();
    let params = [text.to_owned()];
    let nothing = vec![None; table.columns.len()];
    for (at, column) in table.columns.iter().enumerate() {
        let clause = match column.base_type_oid {
            // Nothing compares `json`.
            114 => format!("coalesce({}, $1)::text <> ''", column.name),
            199 => format!("cardinality(coalesce({}, $1)) > 1", column.name),
            _ => format!("{} IS NOT DISTINCT FROM $1", column.name),
        };
        let Ok(predicate) = compile(&clause, &params, &table) else { continue };
        if predicate.sql().len() <= brooklet_sql::limits::WHERE_BYTES_MAX {
            let again = compile(&predicate.sql(), &[], &table).expect("our own text");
            assert_eq!(again.sql(), predicate.sql());
        }
        let mut values = nothing.clone();
        values[at] = Some(text);
        let Ok(row) = Row::new(values) else { continue };
        if let (Ok(truth), false) = (predicate.evaluate(&row), clause.contains("coalesce")) {
            assert_eq!(truth, Truth::True, "{clause} with {text:?}");
        }
    }
});
