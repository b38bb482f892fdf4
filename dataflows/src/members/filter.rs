//! A predicate with the sets that it asks.

use std::cell::Cell;

use brooklet_sql::{Membership, Predicate, Row, Truth};

use super::set::When;
use super::sets::SetId;
use super::sets::Sets;
use crate::verdict::is_true;

/// A predicate with the sets that it asks.
#[derive(Clone)]
pub(super) struct Filter {
    pub(super) predicate: Option<Predicate>,
    /// Of each of its tests of subqueries.
    pub(super) tests: Box<[Test]>,
}

/// What a test of a subquery needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) set: SetId,
    /// Which index finds the kept rows that have a key.
    pub(super) index: u32,
    /// Which link finds the sets that have a row's key.
    pub(super) link: u64,
}

impl Filter {
    pub(super) fn memberships(&self) -> &[Membership] {
        self.predicate.as_ref().map_or(&[], Predicate::memberships)
    }

    /// Its tests with what they need.
    pub(super) fn tests(&self) -> impl Iterator<Item = (usize, &Membership, &Test)> {
        let tests = self.memberships().iter().zip(&self.tests);
        tests.enumerate().map(|(at, (membership, test))| (at, membership, test))
    }

    pub(super) fn is_positive(&self, at: usize) -> bool {
        self.predicate.as_ref().is_some_and(|predicate| predicate.form().is_positive(at))
    }

    /// The sets of the tests that it matters for whether they are false or NULL.
    pub(super) fn heeded(&self) -> impl Iterator<Item = SetId> {
        self.tests().filter(|(at, ..)| !self.is_positive(*at)).map(|(_, _, test)| test.set)
    }

    /// Whether a row is let in.
    pub(super) fn holds(&self, row: &Row, when: When, sets: &Sets) -> bool {
        sets.costs.count(&sets.costs.evaluated);
        let Some(predicate) = &self.predicate else { return true };
        if self.tests.is_empty() {
            return is_true(predicate.matches(row));
        }
        let mut answers = Vec::with_capacity(self.tests.len());
        for (at, membership, test) in self.tests() {
            let Some(set) = sets.view(test.set) else { return false };
            let heeds_null = !predicate.form().is_positive(at);
            let answer = set.truth(&membership.outer_key(row), when, heeds_null);
            // The common case, and the predicate need not be asked.
            if answer != Truth::True && predicate.form().is_required(at) {
                return false;
            }
            answers.push(answer);
        }
        is_true(predicate.matches_members(row, &answers))
    }
}

/// What has been done so far, counted for tests: it must not depend on how many shapes there are.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Filters evaluated for a row.
    pub(super) evaluated: Cell<u64>,
    /// Sets asked what a transaction brings them.
    pub(super) sets: Cell<u64>,
    /// Shapes asked what a transaction brings them.
    pub(super) shapes: Cell<u64>,
    /// Kept rows looked at.
    pub(super) rows: Cell<u64>,
    /// Entries of maps from keys to sets, and from sets to who asks them.
    pub(super) entries: Cell<u64>,
}

impl Counters {
    pub(super) fn count(&self, counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Filters evaluated for a row.
    pub evaluated: u64,
    /// Sets asked what a transaction brings them.
    pub sets: u64,
    /// Shapes asked what a transaction brings them.
    pub shapes: u64,
    /// Kept rows looked at.
    pub rows: u64,
    /// Entries of indexes looked at.
    pub entries: u64,
}
