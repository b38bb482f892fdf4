//! Any text as a clause: compiling ends in a predicate or a refusal, and a predicate's own text
//! compiles to the same predicate.

#![no_main]

use brooklet_sql::{Row, compile, compile_for_server, compile_order};
use libfuzzer_sys::fuzz_target;

mod every_type;

fuzz_target!(|text: &str| {
    let table = every_type::table();
    let params = ["1".to_owned(), "{a,b}".to_owned()];
    let _ = compile_for_server(text, &params, &table, None);
    let _ = compile_order(text, &table, None);
    let Ok(predicate) = compile(text, &params, &table) else { return };
    let nothing = table.columns.iter().map(|_| None).collect::<Vec<_>>();
    if let Ok(row) = Row::new(nothing) {
        let _ = predicate.evaluate(&row);
    }
    if predicate.sql().len() <= brooklet_sql::limits::WHERE_BYTES_MAX {
        let again = compile(&predicate.sql(), &[], &table).expect("our own text");
        assert_eq!(again.sql(), predicate.sql());
    }
});
