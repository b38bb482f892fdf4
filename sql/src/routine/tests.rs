//! What has code against what the tests make: nothing may go unproved.

use std::collections::BTreeSet;

use super::function;
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::oid::Oid;

#[path = "../../tests/generate/mod.rs"]
mod generate;

use generate::Random;
use generate::expression::{Expression, expression, random_type};

/// Enough that what is made at all is made many times.
const EXPRESSIONS: usize = 15_000;

/// Names that are written otherwise, and one of the expressions that mean them.
const SPELLED: &[(&str, &str)] = &[
    ("~~", "LIKE"),
    ("!~~", "NOT LIKE"),
    ("~~*", "ILIKE"),
    ("!~~*", "NOT ILIKE"),
    ("substring", "substring("),
    ("btrim", "trim("),
    ("like_escape", "ESCAPE"),
    ("similar_to_escape", "SIMILAR TO"),
    ("timezone", "AT TIME ZONE"),
    ("position", "position("),
    ("extract", "extract("),
    ("overlaps", " OVERLAPS "),
];

fn of_parts(one: &Expression, into: &mut BTreeSet<String>) {
    into.insert(one.template.clone());
    one.operands.iter().for_each(|operand| of_parts(operand, into));
}

/// Every template that the comparison with Postgres comes to.
fn made() -> BTreeSet<String> {
    let mut random = Random::new(7);
    let mut made = BTreeSet::new();
    for _ in 0..EXPRESSIONS {
        let wanted = if random.chance(30) { "bool" } else { random_type(&mut random) };
        let depth = 1 + random.below(4);
        of_parts(&expression(&mut random, wanted, depth), &mut made);
    }
    made.extend(generate::texts::constructs().map(|one| one.template.to_owned()));
    made
}

fn has_code(name: &str, is_operator: bool, operands: std::ops::RangeInclusive<usize>) -> bool {
    let of = |routine: &crate::catalog::Routine| {
        let arguments: Vec<DataType> = routine.arguments.iter().map(|oid| (*oid).into()).collect();
        let readable = |one: &DataType| one.is_readable() || polymorphic(one.oid);
        arguments.iter().chain([&routine.result.into()]).all(readable)
            && function(routine.name, routine.code, is_operator, &arguments).is_some()
    };
    if is_operator {
        operands.into_iter().any(|count| catalog().operators(name, count).iter().any(of))
    } else {
        catalog().functions(name).iter().any(of)
    }
}

fn polymorphic(oid: Oid) -> bool {
    catalog().type_of(oid).is_some_and(|entry| entry.name.starts_with("any"))
}

#[test]
fn every_function_and_operator_with_code_is_compared_with_postgres() {
    let made = made();
    let names = |table: &'static str| -> BTreeSet<&'static str> {
        table.lines().filter_map(|line| line.split('\t').next()).collect()
    };
    let is_made = |wanted: &str, found: &dyn Fn(&str) -> bool| {
        let spelled = SPELLED.iter().filter(|(name, _)| *name == wanted);
        made.iter().any(|template| {
            found(template) || spelled.clone().any(|(_, words)| template.contains(words))
        })
    };
    let mut missing = Vec::new();
    for name in names(include_str!("../../catalog/functions.tsv")) {
        let call = format!("{name}(");
        let found = |template: &str| {
            template.match_indices(&call).any(|(at, _)| {
                !template[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        // A type's name is a cast, whichever way it is written.
        let cast = |template: &str| found(template) || template.ends_with(&format!("::{name}"));
        if has_code(name, false, 0..=0) && !is_made(name, &cast) {
            missing.push(name);
        }
    }
    for symbol in names(include_str!("../../catalog/operators.tsv")) {
        let infix = format!(" {symbol} ");
        let prefix = format!("({symbol} ");
        let found = |template: &str| template.contains(&infix) || template.starts_with(&prefix);
        if has_code(symbol, true, 1..=2) && !is_made(symbol, &found) {
            missing.push(symbol);
        }
    }
    assert!(missing.is_empty(), "these have code that no test compares with Postgres: {missing:?}");
}

#[test]
fn every_template_is_made() {
    let made = made();
    let missing: Vec<&str> = generate::expression::templates()
        .map(|(_, text, _)| *text)
        .filter(|text| !made.contains::<str>(text))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
