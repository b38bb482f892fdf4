//! Whatever a user sends, compiling ends in a predicate or a refusal that points into the text.

#![allow(clippy::unwrap_used)]

use brooklet_sql::{Row, Truth, compile, limits};

mod generate;

use generate::Random;

const FRAGMENTS: [&str; 84] = [
    "a",
    "i4",
    "t",
    "b",
    "\"Quoted i4\"",
    "n",
    "d",
    "j",
    "oracle",
    ".",
    "public",
    "$1",
    "$2",
    "$0",
    "$",
    "1",
    "1.5",
    "1e5",
    ".",
    "-",
    "+",
    "'x'",
    "''",
    "'",
    "\"",
    "\"\"",
    "E'\\n'",
    "E'\\",
    "$$",
    "$q$",
    "(",
    ")",
    ",",
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "==",
    "::",
    ":",
    ";",
    "[",
    "]",
    "*",
    "/",
    "and",
    "or",
    "not",
    "is",
    "null",
    "true",
    "false",
    "unknown",
    "distinct",
    "from",
    "in",
    "between",
    "symmetric",
    "like",
    "ilike",
    "escape",
    "cast",
    "as",
    "int4",
    "date",
    "timestamp",
    "with",
    "time",
    "zone",
    "double",
    "precision",
    "case",
    "any",
    "--",
    "/*",
    "*/",
    "\n",
    "é",
    "\u{A0}",
    "\0",
    "🦀",
];

fn check(text: &str, params: &[String], row: &Row) {
    let table = generate::table(&generate::latin());
    match compile(text, params, &table) {
        Ok(predicate) => {
            let _ = predicate.matches(row);
            if predicate.sql().len() <= limits::WHERE_BYTES_MAX {
                let again = compile(&predicate.sql(), &[], &table);
                assert_eq!(again.unwrap().sql(), predicate.sql(), "{text}");
            }
        }
        Err(error) => {
            let length = text.chars().count();
            assert!(error.location.is_none_or(|at| at <= length), "{text:?} {error}");
            assert!(!error.reason.is_empty());
        }
    }
}

#[test]
fn garbage_is_refused_without_panic() {
    let mut random = Random::new(0x6a5ba6e);
    let (_, row) = generate::row(&mut random);
    let params = ["1".to_owned(), "x\\".to_owned()];
    for _ in 0..60_000 {
        let mut text = String::new();
        for _ in 0..random.below(14) {
            text += FRAGMENTS[random.below(FRAGMENTS.len())];
            if random.chance(70) {
                text.push(' ');
            }
        }
        check(&text, &params, &row);
    }
    for _ in 0..20_000 {
        let length = random.below(24);
        let text: String =
            (0..length).map(|_| char::from_u32(random.below(0x300) as u32).unwrap()).collect();
        check(&text, &params, &row);
    }
}

#[test]
fn damaged_clauses_are_refused_without_panic() {
    let mut random = Random::new(0xdeadbeef);
    for _ in 0..10_000 {
        let (_, row) = generate::row(&mut random);
        let clause = generate::clause(&mut random);
        check(&generate::damage(&mut random, &clause.text), &clause.params, &row);
    }
}

#[test]
fn the_largest_clauses_end_quickly() {
    let mut random = Random::new(1);
    let (_, row) = generate::row(&mut random);
    let fill = |fragment: &str| fragment.repeat(limits::WHERE_BYTES_MAX / fragment.len());
    let wide = |head: &str, fragment: &str, tail: &str| {
        let room = limits::WHERE_BYTES_MAX - head.len() - tail.len();
        format!("{head}{}{tail}", fragment.repeat(room / fragment.len()))
    };
    for fragment in
        ["(", "not ", "- ", "+", "b and ", "/*", "'", "$", "i4=1 or ", "b is ", "::int4", "="]
    {
        check(&fill(fragment), &[], &row);
    }
    check(&wide("b", " and b", ""), &[], &row);
    check(&wide("i4 = 0", " or i4 = 1 and i8 = 2", ""), &[], &row);
    check(&wide("i4 in (1", ",2", ")"), &[], &row);
    check(&wide("n in (1", ",1e999", ")"), &[], &row);
    check(&wide("t like '", "%a_", "'"), &[], &row);
    let nested = format!("{}b{}", "(b or not (b2 and ".repeat(60), "))".repeat(60));
    check(&nested, &[], &row);
    let list: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    let list = list.join(",");
    check(&format!("i4 in ({list}) and i8 in ({list}) and i2 in ({list})"), &[], &row);
}

#[test]
fn many_ranges_of_one_column_are_asked_of_a_value_that_no_shortcut_knows() {
    let place = generate::COLUMNS.iter().position(|(name, ..)| *name == "n").unwrap();
    let mut cells = vec![None; generate::COLUMNS.len()];
    cells[place] = Some("NaN");
    let row = Row::new(cells).unwrap();
    let ranges: Vec<String> = (1000..6000).map(|low| format!("n>{low}")).collect();
    // With the stack that threads have.
    let asked = std::thread::spawn(move || {
        let table = generate::table(&generate::latin());
        let predicate = compile(&ranges.join(" and "), &[], &table).unwrap();
        assert_eq!(predicate.matches(&row), Truth::True, "NaN is above all");
    });
    asked.join().unwrap();
}

#[test]
fn a_level_does_not_double_the_work_of_the_one_below() {
    let mut random = Random::new(2);
    let (_, row) = generate::row(&mut random);
    let nested = |head: &str, middle: &str, tail: &str| {
        format!("{}{middle}{}", head.repeat(60), tail.repeat(60))
    };
    // Parsed once, though each of them may be of two forms.
    for clause in [
        nested("substring(", "t", ",1)") + " = 'x'",
        nested("overlay(", "t", ",'x',1)") + " = 'x'",
        nested("substring(", "t", " from 1)") + " = 'x'",
    ] {
        check(&clause, &[], &row);
        assert!(compile(&clause, &[], &generate::table(&generate::latin())).is_ok(), "{clause}");
    }
    // What is compared twice is copied, and these are all copies.
    for clause in [
        nested("nullif(", "i4", ",1)") + " = 2",
        nested("(", "(i4 > 1)", " between b and b)"),
        nested("(", "(i4 > 1)", " between symmetric b and b)"),
        nested("(case ", "b", " when b then b when not b then b end)"),
    ] {
        let refused = compile(&clause, &[], &generate::table(&generate::latin())).unwrap_err();
        assert!(refused.reason.contains("parts are not supported"), "{clause}: {refused}");
    }
}
