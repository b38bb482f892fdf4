//! What a subquery selects: how often each key is there, now and before the open transaction.

use std::collections::HashMap;

use brooklet_sql::subquery::membership_truth;
use brooklet_sql::{MemberKey, Truth};

/// Which state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the open transaction.
    Before,
    /// With all of it.
    After,
}

/// The keys that a subquery selects, counted.
#[derive(Debug, Default)]
pub struct MemberSet {
    /// Keys without a NULL.
    full: HashMap<MemberKey, u64>,
    /// Keys with one.
    partial: HashMap<MemberKey, u64>,
    rows: u64,
    /// What the open transaction adds; taking it away gives the state before.
    changed: HashMap<MemberKey, i64>,
    rows_changed: i64,
    /// Keys with a NULL among those.
    gone: Vec<MemberKey>,
}

impl MemberSet {
    /// Counts rows of a key in or out.
    pub fn add(&mut self, key: MemberKey, delta: i64) {
        let counts = if key.has_null { &mut self.partial } else { &mut self.full };
        let after = counts.get(&key).copied().unwrap_or_default().saturating_add_signed(delta);
        match after {
            0 => {
                counts.remove(&key);
                self.gone.extend(key.has_null.then(|| key.clone()));
            }
            after => _ = counts.insert(key.clone(), after),
        }
        self.rows = self.rows.saturating_add_signed(delta);
        self.rows_changed += delta;
        let changed = self.changed.entry(key).or_default();
        *changed += delta;
    }

    /// The open transaction is over, or was only the filling of an empty set.
    pub fn close(&mut self) {
        if !self.changed.is_empty() {
            (self.changed, self.gone) = (HashMap::new(), Vec::new());
        }
        self.rows_changed = 0;
    }

    /// The keys that are there now and were not before, or the other way round.
    pub fn moved(&self) -> impl Iterator<Item = &MemberKey> {
        let moved = |key: &MemberKey| self.has(key, When::Before) != self.has(key, When::After);
        self.changed.keys().filter(move |key| moved(key))
    }

    /// Whether what tests say of keys that are not concerned may have changed: the set is empty now, or
    /// was, or a key with a NULL came or went.
    #[must_use]
    pub fn moves_all(&self) -> bool {
        self.has_rows(When::Before) != self.has_rows(When::After)
            || self.moved().any(|key| key.has_null)
    }

    /// Whether the open transaction has changed anything.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.moves_all() || self.moved().next().is_some()
    }

    /// What a test of a row with this key says.
    #[must_use]
    pub fn truth(&self, key: &MemberKey, when: When) -> Truth {
        let has_key = !key.has_null && self.has(key, when);
        membership_truth(self.has_rows(when), has_key, || self.may_equal(key, when))
    }

    /// Bytes that the keys take, by estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        64 * (self.full.len() + self.partial.len())
    }

    fn has_rows(&self, when: When) -> bool {
        match when {
            When::After => self.rows > 0,
            When::Before => self.rows.saturating_add_signed(-self.rows_changed) > 0,
        }
    }

    fn has(&self, key: &MemberKey, when: When) -> bool {
        let counts = if key.has_null { &self.partial } else { &self.full };
        let now = counts.get(key).copied().unwrap_or_default();
        match when {
            When::After => now > 0,
            When::Before => {
                let changed = self.changed.get(key).copied().unwrap_or_default();
                now.saturating_add_signed(-changed) > 0
            }
        }
    }

    /// Whether a key that is not there is equal to one that is wherever neither is NULL.
    fn may_equal(&self, key: &MemberKey, when: When) -> bool {
        let found = |other: &MemberKey| key.may_equal(other) && self.has(other, when);
        if self.partial.keys().any(found) {
            return true;
        }
        match key.has_null {
            // Those that are gone count before.
            true => self.full.keys().any(found) || self.changed.keys().any(found),
            false => self.gone.iter().any(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{key, pair};

    /// The table of three-valued membership, for one column.
    #[test]
    fn membership_has_three_values() {
        let mut set = MemberSet::default();
        assert_eq!(set.truth(&key(Some(1)), When::After), Truth::False, "empty");
        assert_eq!(set.truth(&key(None), When::After), Truth::False, "empty, NULL");
        set.add(key(Some(1)), 2);
        assert_eq!(set.truth(&key(Some(1)), When::After), Truth::True);
        assert_eq!(set.truth(&key(Some(2)), When::After), Truth::False);
        assert_eq!(set.truth(&key(None), When::After), Truth::Null);
        assert_eq!(set.truth(&key(Some(1)), When::Before), Truth::False);
        set.close();
        set.add(key(None), 1);
        assert_eq!(set.truth(&key(Some(1)), When::After), Truth::True);
        assert_eq!(set.truth(&key(Some(2)), When::After), Truth::Null, "a NULL among them");
        assert_eq!(set.truth(&key(Some(2)), When::Before), Truth::False);
        assert!(set.moves_all());
        set.close();
        set.add(key(Some(1)), -1);
        assert!(!set.is_changed(), "one of two");
        set.add(key(Some(1)), -1);
        assert!(set.is_changed() && !set.moves_all(), "the NULL is still a row");
        assert_eq!(set.truth(&key(Some(1)), When::After), Truth::Null);
        assert_eq!(set.truth(&key(Some(1)), When::Before), Truth::True);
    }

    #[test]
    fn rows_of_columns_are_compared_place_by_place() {
        let mut set = MemberSet::default();
        set.add(pair(Some(1), Some(2)), 1);
        let truth = |set: &MemberSet, one, other| set.truth(&pair(one, other), When::After);
        assert_eq!(truth(&set, Some(1), Some(2)), Truth::True);
        assert_eq!(truth(&set, Some(2), Some(1)), Truth::False);
        assert_eq!(truth(&set, Some(1), None), Truth::Null);
        assert_eq!(truth(&set, Some(3), None), Truth::False, "differs where both are known");
        assert_eq!(truth(&set, None, None), Truth::Null);
        set.add(pair(Some(5), None), 1);
        assert_eq!(truth(&set, Some(5), Some(9)), Truth::Null);
        assert_eq!(truth(&set, Some(6), Some(9)), Truth::False);
    }
}
