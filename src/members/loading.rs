//! Rows that are being read for shapes with subqueries, and are not kept yet.
//!
//! *Enters*: who wants rows of tables, and bytes as they come. *Leaves*: turns, and a refusal where there is no room.
//! *Invariant*: rows of one table are read for one shape in creation at a time, since the next one finds them kept; what is
//! read and what is kept have one limit together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{TooLarge, Unkept, bytes};

/// Tables that share a turn by chance cost each other a wait: more than are ever read at one time.
const TURNS: usize = 64;

/// All that is being read.
pub struct Loading {
    turns: [Arc<Mutex<()>>; TURNS],
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Held while rows of some tables are read and until they are kept; none of the tables is read by anybody else.
pub struct TableTurn(#[expect(dead_code, reason = "held to be dropped")] Vec<OwnedMutexGuard<()>>);

/// What was read and is not kept yet, until it is dropped.
pub struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
    bytes_max: usize,
}

impl Loading {
    /// Of what is read and what is kept there may be so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Loading {
        let turns = std::array::from_fn(|_| Arc::default());
        Loading { turns, bytes: Arc::default(), bytes_max }
    }

    /// Waits until nobody else reads these tables. In the order of their places, so that nobody waits in a circle.
    pub async fn turn(&self, tables: impl IntoIterator<Item = u32>) -> TableTurn {
        let mut places: Vec<usize> = tables.into_iter().map(|oid| oid as usize % TURNS).collect();
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(Arc::clone(&self.turns[place]).lock_owned().await);
        }
        TableTurn(held)
    }

    /// Nothing is read yet.
    #[must_use]
    pub fn begin(&self) -> Held {
        Held { all: Arc::clone(&self.bytes), bytes: 0, bytes_max: self.bytes_max }
    }
}

impl Held {
    /// What is held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of what was read only so much is there any more.
    pub fn shrink(&mut self, now: usize) {
        let less = self.bytes.saturating_sub(now);
        self.bytes -= less;
        self.all.fetch_sub(less, Ordering::Relaxed);
    }

    /// So many bytes were read by now.
    pub fn grow(&mut self, now: usize) -> Result<(), Unkept> {
        self.grow_beside(now, usize::try_from(bytes()).unwrap_or(usize::MAX))
    }

    fn grow_beside(&mut self, now: usize, kept: usize) -> Result<(), Unkept> {
        let more = now.saturating_sub(self.bytes);
        let all = self.all.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes += more;
        match self.bytes_max.checked_sub(kept) {
            Some(left) if all <= left => Ok(()),
            // Those that are read at the same time may come to be kept or not: later there may be room.
            Some(left) if self.bytes <= left => Err(Unkept::Crowded),
            _ => Err(TooLarge(self.bytes_max).into()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_table_is_read_for_one_shape_at_a_time() {
        let loading = Loading::new(100);
        let turn = loading.turn([1, 2, 1]).now_or_never().expect("nobody reads them");
        assert!(loading.turn([3, 2]).now_or_never().is_none());
        let other = loading.turn([3]).now_or_never().expect("who gave up holds nothing");
        drop(turn);
        loading.turn([2, 1]).now_or_never().expect("they were given back");
        drop(other);
    }

    #[test]
    fn what_is_read_and_what_is_kept_have_one_limit() {
        let loading = Loading::new(100);
        let (mut one, mut other) = (loading.begin(), loading.begin());
        assert_eq!(one.grow_beside(40, 10), Ok(()));
        assert_eq!(other.grow_beside(50, 10), Ok(()));
        assert_eq!(one.grow_beside(41, 10), Err(Unkept::Crowded));
        one.shrink(10);
        assert_eq!(other.grow_beside(80, 10), Ok(()));
        drop(one);
        assert_eq!(other.grow_beside(90, 10), Ok(()));
        assert_eq!(other.grow_beside(91, 10), Err(TooLarge(100).into()));
        drop(other);
        assert_eq!(loading.begin().grow_beside(100, 0), Ok(()));
    }
}
