//! Under which adding to the publication the changes of tables have been streamed.
//!
//! Every adding has a number of its own, so a table that was taken out and is back can be told from one that never
//! was: nobody has decoded what was written in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where what shapes stand for is noted, to outlive the process.
type Noted = Box<dyn Fn(u32, u32) + Send + Sync>;

/// What is known of the tables that shapes are about.
pub struct Memberships {
    known: Mutex<HashMap<u32, Known>>,
    noted: Noted,
    /// How often a table was prepared.
    prepared: AtomicU64,
}

struct Known {
    /// The adding that holds; `None` if shapes are older than that is noted.
    membership: Option<u32>,
    /// Whether the table was prepared under it, with no writer from before, and may still be so.
    holds: bool,
    /// Whether it was another one before that, under which there are shapes.
    again: bool,
    /// Whether such shapes are ending. As long as one of both is so, what is noted is the other one.
    ending: bool,
    /// Whether it was found to be out, and not prepared since: nothing stands for anything.
    out: bool,
    /// Which of all preparations was its last.
    prepared: u64,
}

impl Memberships {
    /// What finished shapes stand for by table, if that is known; `noted` is told of every change, and may wait for
    /// the disk.
    pub fn new(
        tables: impl IntoIterator<Item = (u32, Option<u32>)>,
        noted: impl Fn(u32, u32) + Send + Sync + 'static,
    ) -> Memberships {
        let (again, ending, out, prepared) = (false, false, false, 0);
        let known = |membership| Known { membership, holds: true, again, ending, out, prepared };
        let tables = tables.into_iter().map(|(table, membership)| (table, known(membership)));
        let (known, noted) = (Mutex::new(tables.collect()), Box::new(noted));
        Memberships { known, noted, prepared: AtomicU64::new(0) }
    }

    /// To be asked for before Postgres is asked what there is, for [`Memberships::was_out`].
    pub fn now(&self) -> u64 {
        self.prepared.load(Ordering::Acquire)
    }

    /// The membership under which a table is prepared, if it is; `Some(None)` if only that one is not known.
    pub fn holding(&self, table: u32) -> Option<Option<u32>> {
        self.known().get(&table).filter(|known| known.holds).map(|known| known.membership)
    }

    /// Whether a shape that was begun under it is still right to stand for it: nobody knows of another one.
    pub fn is_still(&self, table: u32, membership: u32) -> bool {
        self.known()
            .get(&table)
            .is_none_or(|known| !known.out && known.membership.is_none_or(|now| now == membership))
    }

    /// It is prepared. Where shapes stand for another one this is noted once they have ended: else the next process
    /// would take them for right, if this one ends first.
    pub fn prepared(&self, table: u32, membership: u32) {
        let older = {
            let mut known = self.known();
            let before = known.get(&table);
            let again = before.is_some_and(|before| {
                before.again || before.membership.is_some_and(|before| before != membership)
            });
            let ending = before.is_some_and(|before| before.ending);
            let (membership, out) = (Some(membership), false);
            let prepared = self.prepared.fetch_add(1, Ordering::AcqRel) + 1;
            let now = Known { membership, holds: true, again, ending, out, prepared };
            known.insert(table, now);
            again || ending
        };
        if !older {
            (self.noted)(table, membership);
        }
    }

    /// The shapes that a table was out for have ended, on disk.
    pub fn ended(&self, table: u32) {
        let now = {
            let mut all = self.known();
            let Some(known) = all.get_mut(&table) else { return };
            let all_ended = std::mem::take(&mut known.ending) && !known.again;
            known.membership.filter(|_| all_ended)
        };
        now.into_iter().for_each(|membership| (self.noted)(table, membership));
    }

    /// It may no longer be prepared. What shapes stand for is the same.
    pub fn forget(&self, table: u32) {
        self.known().get_mut(&table).into_iter().for_each(|known| known.holds = false);
    }

    /// Whether finished shapes of a table may lack something, now that this is its membership: it was taken
    /// out, and is back or not. It is so until [`Memberships::ended`]. `asked` is [`Memberships::now`] of before Postgres
    /// was asked: of a table that was prepared since the answer may be older, and the next one will do.
    pub fn was_out(&self, table: u32, membership: Option<u32>, asked: u64) -> bool {
        let adopted = {
            let mut all = self.known();
            let Some(known) = all.get_mut(&table) else { return false };
            known.ending |= std::mem::take(&mut known.again);
            if known.ending || known.prepared > asked {
                return known.ending;
            }
            if known.membership.is_some() {
                known.ending = known.membership != membership;
                if known.ending {
                    // Those that are made from here on stand for what is found.
                    (known.membership, known.holds) = (membership, false);
                    known.out = membership.is_none();
                }
                return known.ending;
            }
            if known.out {
                return false;
            }
            known.membership = membership;
            membership
        };
        // Of shapes from before it was noted, what is found first has to do.
        adopted.into_iter().for_each(|membership| (self.noted)(table, membership));
        adopted.is_none()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn was_out(members: &Memberships, table: u32, membership: Option<u32>) -> bool {
        members.was_out(table, membership, members.now())
    }

    #[test]
    fn what_postgres_said_before_a_table_was_prepared_does_not_count() {
        let members = Memberships::new([(1, Some(10))], |_, _| ());
        let asked = members.now();
        members.prepared(2, 20);
        assert!(!members.was_out(2, None, asked) && members.is_still(2, 20));
        assert!(members.was_out(1, None, asked), "that one was not");
        assert!(was_out(&members, 2, None) && !members.is_still(2, 20));
    }

    #[test]
    fn a_table_that_is_back_is_told_from_one_that_never_was_out() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let noted = {
            let notes = Arc::clone(&notes);
            move |table, membership| notes.lock().unwrap().push((table, membership))
        };
        let members = Memberships::new([(1, Some(10)), (2, None)], noted);
        assert_eq!(
            (members.holding(1), members.holding(2), members.holding(3)),
            (Some(Some(10)), Some(None), None)
        );
        assert!(
            !was_out(&members, 1, Some(10))
                && was_out(&members, 1, Some(11))
                && was_out(&members, 1, None)
        );
        assert!(!was_out(&members, 2, Some(20)) && was_out(&members, 2, Some(21)));
        assert!(!was_out(&members, 3, None));
        members.forget(1);
        assert_eq!(members.holding(1), None);
        members.prepared(1, 12);
        assert!(was_out(&members, 1, Some(12)), "its older shapes");
        members.prepared(1, 12);
        assert!(was_out(&members, 1, Some(12)), "they have not ended yet");
        assert_eq!(*notes.lock().unwrap(), [(2, 20)]);
        members.ended(1);
        assert!(!was_out(&members, 1, Some(12)));
        members.prepared(3, 30);
        assert!(!was_out(&members, 3, Some(30)));
        assert_eq!(*notes.lock().unwrap(), [(2, 20), (1, 12), (3, 30)]);
        members.prepared(1, 13);
        assert!(members.is_still(1, 13) && !members.is_still(1, 12) && members.is_still(9, 1));
        assert!(was_out(&members, 1, Some(13)));
        members.prepared(1, 14);
        members.ended(1);
        assert!(was_out(&members, 1, Some(14)), "others than those that have ended");
        members.ended(1);
        assert_eq!(*notes.lock().unwrap(), [(2, 20), (1, 12), (3, 30), (1, 14)]);
        assert!(was_out(&members, 3, Some(31)), "it is back");
        members.prepared(3, 31);
        assert_eq!(notes.lock().unwrap().last(), Some(&(1, 14)), "as long as older ones are there");
        members.ended(3);
        assert!(!was_out(&members, 3, Some(31)), "those that were made meanwhile are right");
        assert!(was_out(&members, 1, None) && !members.is_still(1, 14));
        members.ended(1);
        assert!(
            !was_out(&members, 1, None) && !members.is_still(1, 14) && members.holding(1).is_none()
        );
        members.prepared(1, 15);
        assert!(!was_out(&members, 1, Some(15)));
        assert_eq!(notes.lock().unwrap()[4..], [(3, 31), (1, 15)]);
    }
}
