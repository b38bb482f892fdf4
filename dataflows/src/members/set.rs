//! What a subquery selects: how often each key is there, now and before the open transaction.
//!
//! *Invariant*: what a [`View`] says of either state is what a table of three-valued membership says of the rows
//! that were counted in and out.

use std::collections::BTreeMap;

use brooklet_sql::subquery::membership_truth;
use brooklet_sql::{MemberKey, Truth};

use super::keys::{KeyId, Keys};
use super::sets::SetId;

/// Which state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before the open transaction.
    Before,
    /// With all of it.
    After,
}

/// Bytes of a key with a NULL besides its own.
const PARTIAL_BYTES: usize = 64;

/// What a set has besides its keys without a NULL, which are in [`Keys`].
#[derive(Debug, Default)]
pub(super) struct MemberSet {
    /// Keys with a NULL; those that have just gone are still there, with none.
    partial: BTreeMap<MemberKey, u64>,
    rows: u64,
    /// What the open transaction adds; taking it away gives the state before.
    changed: BTreeMap<KeyId, i64>,
    changed_partial: BTreeMap<MemberKey, i64>,
    rows_changed: i64,
    /// Bytes of keys with a NULL, by estimate.
    pub(super) partial_bytes: usize,
    /// How many keys without a NULL there are, those that have just gone among them.
    pub(super) keys: usize,
}

impl MemberSet {
    /// Counts rows of a key in or out.
    pub(super) fn add(&mut self, keys: &mut Keys, id: SetId, key: MemberKey, delta: i64) {
        self.rows = self.rows.saturating_add_signed(delta);
        self.rows_changed += delta;
        if key.has_null {
            let bytes = PARTIAL_BYTES + key.len();
            let count = self.partial.entry(key.clone()).or_insert_with(|| {
                self.partial_bytes += bytes;
                0
            });
            *count = count.saturating_add_signed(delta);
            *self.changed_partial.entry(key).or_default() += delta;
            return;
        }
        let Some((key, is_new)) = keys.change(id, &key, delta) else { return };
        self.keys += usize::from(is_new);
        *self.changed.entry(key).or_default() += delta;
    }

    /// The open transaction is over, or was only the filling of an empty set.
    pub(super) fn close(&mut self, keys: &mut Keys, id: SetId) {
        for key in std::mem::take(&mut self.changed).into_keys() {
            if keys.count(id, key) == 0 {
                keys.settle(id, key);
                self.keys -= 1;
            }
        }
        for key in std::mem::take(&mut self.changed_partial).into_keys() {
            if self.partial.get(&key) == Some(&0) {
                self.partial_bytes -= PARTIAL_BYTES + key.len();
                self.partial.remove(&key);
            }
        }
        self.rows_changed = 0;
    }
}

/// A set with its keys.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) id: SetId,
    pub(super) set: &'a MemberSet,
    pub(super) keys: &'a Keys,
}

impl<'a> View<'a> {
    /// The keys without a NULL that are there now and were not before, or the other way round.
    pub(super) fn moved(self) -> impl Iterator<Item = MemberKey> + use<'a> {
        let moved =
            move |key: &&KeyId| self.has(**key, When::Before) != self.has(**key, When::After);
        let ids = self.set.changed.keys().filter(moved);
        ids.filter_map(move |id| self.keys.key(*id))
    }

    /// Whether what tests say of keys that are not concerned may have changed: the set is empty now, or
    /// was, or a key with a NULL came or went.
    pub(super) fn moves_all(self) -> bool {
        let moved = |key: &MemberKey| {
            self.has_partial(key, When::Before) != self.has_partial(key, When::After)
        };
        self.has_rows(When::Before) != self.has_rows(When::After)
            || self.set.changed_partial.keys().any(moved)
    }

    /// Whether the open transaction has changed anything.
    pub(super) fn is_changed(self) -> bool {
        self.moves_all() || self.moved().next().is_some()
    }

    /// What a test of a row with this key says; to who does not heed NULL it may be false instead, which need not be
    /// looked for.
    pub(super) fn truth(self, key: &MemberKey, when: When, heeds_null: bool) -> Truth {
        let found = if key.has_null { None } else { self.keys.find(key) };
        let has_key = found.is_some_and(|key| self.has(key, when));
        membership_truth(self.has_rows(when), has_key, || heeds_null && self.may_equal(key, when))
    }

    fn has_rows(self, when: When) -> bool {
        had(self.set.rows, self.set.rows_changed, when)
    }

    fn has(self, key: KeyId, when: When) -> bool {
        let changed = self.set.changed.get(&key).copied().unwrap_or_default();
        had(self.keys.count(self.id, key), changed, when)
    }

    fn has_partial(self, key: &MemberKey, when: When) -> bool {
        let now = self.set.partial.get(key).copied().unwrap_or_default();
        let changed = self.set.changed_partial.get(key).copied().unwrap_or_default();
        had(now, changed, when)
    }

    /// Whether a key that is not there is equal to one that is wherever neither is NULL.
    fn may_equal(self, key: &MemberKey, when: When) -> bool {
        let mut partial = self.set.partial.keys();
        if partial.any(|other| key.may_equal(other) && self.has_partial(other, when)) {
            return true;
        }
        let full = |id: KeyId| {
            let other = self.keys.key(id);
            other.is_some_and(|other| key.may_equal(&other)) && self.has(id, when)
        };
        key.has_null && self.keys.of_set(self.id).any(full)
    }
}

/// Whether there is any, given how many there are now and how many more than before.
fn had(now: u64, changed: i64, when: When) -> bool {
    match when {
        When::After => now > 0,
        When::Before => now.saturating_add_signed(-changed) > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{key, pair};

    /// A set with keys that others have, too.
    #[derive(Default)]
    struct Alone {
        set: MemberSet,
        keys: Keys,
    }

    const ID: SetId = SetId(7);

    impl Alone {
        fn new() -> Alone {
            let mut alone = Alone::default();
            for other in [SetId(6), SetId(8)] {
                alone.keys.change(other, &key(Some(1)), 1);
                alone.keys.change(other, &key(Some(2)), 1);
            }
            alone
        }

        fn add(&mut self, key: MemberKey, delta: i64) {
            self.set.add(&mut self.keys, ID, key, delta);
        }

        fn close(&mut self) {
            self.set.close(&mut self.keys, ID);
            assert_eq!(self.set.keys, self.keys.of_set(ID).count());
        }

        fn view(&self) -> View<'_> {
            View { id: ID, set: &self.set, keys: &self.keys }
        }

        fn truth(&self, key: &MemberKey, when: When) -> Truth {
            self.view().truth(key, when, true)
        }
    }

    /// The table of three-valued membership, for one column.
    #[test]
    fn membership_has_three_values() {
        let mut set = Alone::new();
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
        assert!(set.view().moves_all());
        set.close();
        set.add(key(Some(1)), -1);
        assert!(!set.view().is_changed(), "one of two");
        set.add(key(Some(1)), -1);
        assert!(set.view().is_changed() && !set.view().moves_all(), "the NULL is still a row");
        assert_eq!(set.truth(&key(Some(1)), When::After), Truth::Null);
        assert_eq!(set.truth(&key(Some(1)), When::Before), Truth::True);
        set.close();
        set.add(key(None), -1);
        assert_eq!(set.truth(&key(Some(2)), When::Before), Truth::Null, "a NULL that is gone");
        assert_eq!(set.truth(&key(Some(2)), When::After), Truth::False);
    }

    #[test]
    fn rows_of_columns_are_compared_place_by_place() {
        let mut set = Alone::default();
        set.add(pair(Some(1), Some(2)), 1);
        let truth = |set: &Alone, one, other| set.truth(&pair(one, other), When::After);
        assert_eq!(truth(&set, Some(1), Some(2)), Truth::True);
        assert_eq!(truth(&set, Some(2), Some(1)), Truth::False);
        assert_eq!(truth(&set, Some(1), None), Truth::Null);
        assert_eq!(truth(&set, Some(3), None), Truth::False, "differs where both are known");
        assert_eq!(truth(&set, None, None), Truth::Null);
        set.add(pair(Some(5), None), 1);
        assert_eq!(truth(&set, Some(5), Some(9)), Truth::Null);
        assert_eq!(truth(&set, Some(6), Some(9)), Truth::False);
        for (one, other) in [(Some(1), None), (None, None), (Some(5), Some(9))] {
            let unheeded = set.view().truth(&pair(one, other), When::After, false);
            assert_eq!(unheeded, Truth::False, "NULL, but nobody asks");
        }
        assert_eq!(set.view().truth(&pair(Some(1), Some(2)), When::After, false), Truth::True);
    }

    #[test]
    fn a_key_names_the_sets_that_have_it_and_goes_with_the_last() {
        let (mut keys, mut set) = (Keys::default(), MemberSet::default());
        let (one, other) = (SetId(1), SetId(2));
        keys.change(one, &key(Some(5)), 1);
        set.add(&mut keys, other, key(Some(5)), 1);
        set.close(&mut keys, other);
        let id = keys.find(&key(Some(5))).unwrap();
        assert_eq!(keys.sets(id).collect::<Vec<_>>(), [one, other]);
        set.add(&mut keys, other, key(Some(5)), -1);
        assert_eq!(keys.sets(id).count(), 2, "it had it before");
        set.close(&mut keys, other);
        assert_eq!(keys.sets(id).collect::<Vec<_>>(), [one]);
        keys.forget(one);
        assert!(keys.find(&key(Some(5))).is_none());
        assert_eq!(keys.bytes(), 0);
    }
}
