//! What a predicate with subqueries needs of them, and what of the row alone.
//!
//! *Enters*: an expression in which tests of subqueries are boolean columns behind the table's own. *Leaves*:
//! the same with nothing but the row in it, and the tests that it cannot be true without.
//! *Invariant*: as of `access`, whatever the tests answer: too many, never too few.

use crate::expr::Expr;
use crate::limits::ALTERNATIVES_MAX;

use super::{Access, access};

/// A way to find the rows that may match by the tests of their subqueries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberWay {
    /// One of these tests is true, as places in [`crate::Predicate::memberships`]; there is at least one.
    pub tests: Box<[usize]>,
    /// Or the row fits this.
    pub rest: Access,
}

/// The same, true at least as often, without the columns from `width` on.
pub(crate) fn of_row(expr: &Expr, width: usize) -> Expr {
    match expr {
        Expr::And(list) => Expr::And(list.iter().map(|one| of_row(one, width)).collect()),
        Expr::Or(list) => Expr::Or(list.iter().map(|one| of_row(one, width)).collect()),
        leaf => {
            let mut columns = Vec::new();
            leaf.columns(&mut columns);
            match columns.iter().any(|column| *column >= width) {
                true => Expr::Constant(Some(true)),
                false => leaf.clone(),
            }
        }
    }
}

/// Ways of which each is enough.
pub(crate) fn ways(expr: &Expr, width: usize) -> Vec<MemberWay> {
    let finish = |Needed { mut tests, rows }: Needed| {
        tests.sort_unstable();
        tests.dedup();
        let rest = match rows.is_empty() {
            true => Access::Nothing,
            false => access(&Expr::Or(rows)),
        };
        (rest != Access::All).then(|| MemberWay { tests: tests.into(), rest })
    };
    let mut ways: Vec<MemberWay> = needed(expr, width).into_iter().filter_map(finish).collect();
    // Few tests find few.
    ways.sort_by_key(|way| (way.rest != Access::Nothing, way.tests.len()));
    ways.truncate(ALTERNATIVES_MAX);
    ways
}

/// One of the tests is true, or one of the expressions over the row.
struct Needed {
    tests: Vec<usize>,
    rows: Vec<Expr>,
}

fn needed(expr: &Expr, width: usize) -> Vec<Needed> {
    match expr {
        Expr::Flag { column, expected: true } if *column >= width => {
            vec![Needed { tests: vec![column - width], rows: Vec::new() }]
        }
        Expr::Test { operand, expected: Some(true), negated: false } => needed(operand, width),
        Expr::And(list) => list.iter().flat_map(|one| needed(one, width)).collect(),
        Expr::Or(list) => {
            let mut all = Needed { tests: Vec::new(), rows: Vec::new() };
            for one in list {
                let best = needed(one, width).into_iter().min_by_key(|one| one.rows.len());
                match best {
                    Some(best) => {
                        all.tests.extend(best.tests);
                        all.rows.extend(best.rows);
                    }
                    None => all.rows.push(of_row(one, width)),
                }
            }
            // Without a test it is what the row alone says.
            if all.tests.is_empty() { Vec::new() } else { vec![all] }
        }
        _ => Vec::new(),
    }
}
