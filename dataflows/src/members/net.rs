//! What a transaction does to kept rows, whatever came in between.

use std::collections::HashMap;

use brooklet_sql::Row;

use super::{Counts, KeptName};
use crate::change::Change;

/// What a transaction does to the rows kept under one name.
#[derive(Default)]
pub(super) struct Net {
    /// How much more often each row is there.
    pub(super) delta: HashMap<Row, i64>,
    /// Rows that it made, also if it unmade them again.
    pub(super) made: HashMap<Row, u32>,
    /// By place in the transaction: whether its old row is one that it made itself.
    pub(super) intermediate: Vec<bool>,
}

impl Net {
    pub(super) fn of(name: &KeptName, changes: &[Change]) -> Net {
        let mut net = Net { intermediate: vec![false; changes.len()], ..Net::default() };
        for (at, change) in changes.iter().enumerate().filter(|(_, c)| c.table == name.table) {
            if let Some(old) = change.old.as_ref().and_then(|row| name.project(row)) {
                if let Some(made) = net.made.get_mut(&old).filter(|made| **made > 0) {
                    *made -= 1;
                    net.intermediate[at] = true;
                }
                *net.delta.entry(old).or_default() -= 1;
            }
            if let Some(new) = change.new.as_ref().and_then(|row| name.project(row)) {
                *net.made.entry(new.clone()).or_default() += 1;
                *net.delta.entry(new).or_default() += 1;
            }
        }
        net
    }
}

/// Adds what a transaction does to rows, or takes it away.
pub fn count(name: &KeptName, changes: &[Change], sign: i64, into: &mut Counts) {
    for (row, delta) in Net::of(name, changes).delta {
        into.add(&row, sign * delta);
    }
}
