//! Transactions that were streamed and may not be visible yet.
//!
//! Postgres streams a commit once it is flushed, *before* snapshots see it (a synchronous standby
//! may hold it up for long). A shape that is added in between finds the transaction neither in its
//! snapshot nor in the stream after it; so the commits are remembered until a snapshot has seen
//! them, and matched for such a shape from the change log.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_sql::Lsn;

use super::visibility::Visibility;
use crate::change_log::StoredCommit;
use crate::limits::{UNSEEN_TIME_MAX, UNSEEN_WAL_MAX};

/// The commits no snapshot has seen yet, as far as we know; in stream order.
#[derive(Default)]
pub struct RecentCommits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commits: VecDeque<StoredCommit>,
    /// The first commit of each [`Streamed`], by its number.
    held: BTreeSet<(Lsn, u64)>,
    next: u64,
}

/// Commits that a snapshot may not show. What they did stays in the change log for as long as this is kept, however
/// long the snapshot takes, and whoever else has seen them meanwhile.
pub struct Streamed {
    commits: Vec<StoredCommit>,
    held: Option<(Arc<RecentCommits>, (Lsn, u64))>,
}

impl Deref for Streamed {
    type Target = [StoredCommit];

    fn deref(&self) -> &[StoredCommit] {
        &self.commits
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some((recent, held)) = self.held.take() {
            recent.state().held.remove(&held);
        }
    }
}

impl RecentCommits {
    /// Starts with what the change log holds.
    #[must_use]
    pub fn new(commits: Vec<StoredCommit>) -> RecentCommits {
        let state = State { commits: commits.into(), ..State::default() };
        RecentCommits { state: Mutex::new(state) }
    }

    /// Starts with those of `commits`, which the change log holds, that are of the history that went on from `begin`.
    /// Not those of long ago, of which a few stay with what shapes refer to: everybody sees them, but their ids may be
    /// taken for such as are still to come once 2^31 others were given.
    #[must_use]
    pub fn since(begin: Lsn, mut commits: Vec<StoredCommit>) -> RecentCommits {
        if let Some(last) = commits.last().copied() {
            let is_old = |commit: &StoredCommit| {
                last.lsn.0.saturating_sub(commit.lsn.0) > UNSEEN_WAL_MAX
                    && last.time.saturating_sub(commit.time) > UNSEEN_TIME_MAX.as_micros() as i64
            };
            commits.retain(|commit| commit.lsn >= begin && !is_old(commit));
        }
        RecentCommits::new(commits)
    }

    /// Remembers a commit.
    pub fn push(&self, commit: StoredCommit) {
        self.state().commits.push_back(commit);
    }

    /// Forgets all: they are of a history that did not go on.
    pub fn clear(&self) {
        self.state().commits.clear();
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().commits.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().commits.is_empty()
    }

    /// The first one that is remembered, or that somebody may still read.
    #[must_use]
    pub fn oldest(&self) -> Option<Lsn> {
        let state = self.state();
        let remembered = state.commits.front().map(|commit| commit.lsn);
        let held = state.held.first().map(|(lsn, _)| *lsn);
        remembered.into_iter().chain(held).min()
    }

    /// Forgets what a snapshot has seen: every later one sees it too.
    pub fn forget_visible(&self, visibility: &Visibility) {
        self.state().commits.retain(|commit| !visibility.contains(commit.xid));
    }

    /// The commits up to `until`, in stream order. To be asked *before* a snapshot is taken: what was
    /// forgotten by then is visible in it, what is forgotten meanwhile may not be.
    #[must_use]
    pub fn up_to(self: &Arc<RecentCommits>, until: Lsn) -> Streamed {
        let mut state = self.state();
        let commits = state.commits.iter().filter(|commit| commit.lsn <= until);
        let commits: Vec<StoredCommit> = commits.copied().collect();
        let held = commits.first().map(|first| {
            let held = (first.lsn, state.next);
            state.next += 1;
            state.held.insert(held);
            (Arc::clone(self), held)
        });
        Streamed { commits, held }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(lsn: u64, xid: u32, time: i64) -> StoredCommit {
        let (lsn, end_lsn) = (Lsn(lsn), Lsn(lsn + 1));
        StoredCommit { lsn, end_lsn, xid, time, first_seq: 0, next_seq: 0, truncates: false }
    }

    #[test]
    fn what_a_snapshot_may_lack_is_held_until_it_was_read() {
        let recent = Arc::new(RecentCommits::new(vec![commit(10, 1, 0), commit(20, 2, 0)]));
        let [early, late] = [10, 30].map(|until| recent.up_to(Lsn(until)));
        assert_eq!((early.len(), late.len()), (1, 2));
        assert!(recent.up_to(Lsn(9)).is_empty());
        recent.push(commit(30, 3, 0));
        recent.forget_visible(&"3:3:".parse().unwrap());
        assert_eq!((recent.len(), recent.oldest()), (1, Some(Lsn(10))));
        drop(early);
        assert_eq!(recent.oldest(), Some(Lsn(10)));
        drop(late);
        assert_eq!(recent.oldest(), Some(Lsn(30)));
    }

    #[test]
    fn commits_of_long_ago_are_not_taken_for_such_as_are_still_to_come() {
        let days = UNSEEN_TIME_MAX.as_micros() as i64;
        let (wal, now) = (UNSEEN_WAL_MAX, 40 * days);
        let last = commit(9 * wal, 3_000_000_000, now);
        let old = commit(wal, 7, days);
        let seen: Visibility = "3000000001:3000000001:".parse().unwrap();
        assert!(!seen.contains(old.xid), "that is why it must not be asked about");
        // Of a busy database, and of a quiet one.
        let others = [commit(2 * wal, 9, now - days), commit(8 * wal, 8, days), last];
        let recent = RecentCommits::since(Lsn(1), [&[old][..], &others].concat());
        let kept: Vec<u32> = recent.state().commits.iter().map(|commit| commit.xid).collect();
        assert_eq!(kept, [9, 8, last.xid]);
        assert!(RecentCommits::since(Lsn(8 * wal + 1), others.to_vec()).len() == 1);
    }
}
