//! The logs of all shapes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use brooklet_dataflows::{EndReason, ShapeId};
use brooklet_sql::Lsn;

use super::log::ShapeLog;
use super::numbered::Numbered;
use crate::epoch::RepairSeen;
use crate::shapes::visibility::Visibility;

/// The logs of all shapes and how far the stream has come; shared with readers.
#[derive(Default)]
pub struct ShapeLogs {
    logs: RwLock<Numbered>,
    /// Transactions from which on somebody reads, with how many do.
    read: Mutex<BTreeMap<Lsn, usize>>,
    processed: AtomicU64,
    durable: AtomicU64,
    given_up: AtomicU64,
    /// Shapes that the stream has ended, and of how many the catalogue knows.
    ends: (AtomicU64, AtomicU64),
    /// What shapes contain that have the entries of a repair, by its place.
    seen: RwLock<BTreeMap<Lsn, Arc<Visibility>>>,
}

impl ShapeLogs {
    /// Every transaction up to here is in the logs of all shapes. Sample it before a log's end: then
    /// it is never ahead of what is read.
    #[must_use]
    pub fn processed(&self) -> Lsn {
        Lsn(self.processed.load(Ordering::Acquire))
    }

    /// Every transaction up to here is durable in the posting log.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Repairs bring shapes to what these say.
    pub fn note_seen(&self, seen: impl IntoIterator<Item = RepairSeen>) {
        let mut all = self.seen.write().unwrap_or_else(|e| e.into_inner());
        all.extend(seen.into_iter().map(|seen| (seen.at, Arc::new(seen.visibility))));
    }

    /// What a shape contains behind its entries of a repair; nothing if none stands there.
    #[must_use]
    pub fn seen_at(&self, lsn: Lsn) -> Option<Arc<Visibility>> {
        self.seen.read().unwrap_or_else(|e| e.into_inner()).get(&lsn).cloned()
    }

    /// How many shapes the stream has ended.
    #[must_use]
    pub fn ends_told(&self) -> u64 {
        self.ends.0.load(Ordering::Acquire)
    }

    pub(super) fn tell_end(&self) {
        self.ends.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Of how many of those the catalogue knows: the first ones.
    #[must_use]
    pub fn ends_settled(&self) -> u64 {
        self.ends.1.load(Ordering::Acquire)
    }

    /// The catalogue knows of one more.
    pub fn settle_end(&self) {
        self.ends.1.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn set_durable(&self, lsn: Lsn) {
        self.durable.store(lsn.0, Ordering::Release);
    }

    /// Makes a log known to the appender.
    pub fn insert(&self, log: &Arc<ShapeLog>) {
        self.logs.write().unwrap_or_else(|e| e.into_inner()).insert(log);
    }

    /// Ends a log.
    pub fn remove(&self, shape: ShapeId, why: EndReason) {
        let log = self.logs.write().unwrap_or_else(|e| e.into_inner()).remove(shape);
        if let Some(log) = log {
            log.close(why);
            self.note_given_up();
        }
    }

    /// A log gives entries up.
    pub fn note_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that has happened: as long as this stays, no entry that was referred to is free.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Acquire)
    }

    /// Keeps what entries from `lsn` on refer to, as long as the pin lives.
    #[must_use]
    pub fn pin(self: &Arc<ShapeLogs>, lsn: Lsn) -> Pin {
        *self.pins().entry(lsn).or_default() += 1;
        Pin { logs: Arc::clone(self), lsn }
    }

    /// The first transaction that is pinned.
    #[must_use]
    pub fn oldest_read(&self) -> Option<Lsn> {
        self.pins().keys().next().copied()
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<Lsn, usize>> {
        self.read.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether a shape's log is one of these.
    #[must_use]
    pub fn has(&self, shape: ShapeId) -> bool {
        self.get(shape).is_some()
    }

    pub(super) fn get(&self, shape: ShapeId) -> Option<Arc<ShapeLog>> {
        self.logs.read().unwrap_or_else(|e| e.into_inner()).get(shape).cloned()
    }

    pub(super) fn advance(&self, lsn: Lsn) {
        self.processed.fetch_max(lsn.0, Ordering::AcqRel);
    }
}

/// Logs that somebody walks over.
pub trait Logs {
    /// Shows every log that is there all the time, some of them twice.
    fn each(&self, each: &mut dyn FnMut(&Arc<ShapeLog>));
}

impl Logs for ShapeLogs {
    fn each(&self, each: &mut dyn FnMut(&Arc<ShapeLog>)) {
        for number in 0.. {
            // Others come and go in between.
            let piece = self.logs.read().unwrap_or_else(|e| e.into_inner()).piece(number);
            let Some(piece) = piece else { return };
            piece.iter().for_each(&mut *each);
        }
    }
}

/// Somebody reads entries from here on.
pub struct Pin {
    logs: Arc<ShapeLogs>,
    lsn: Lsn,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Entry::Occupied(mut pinned) = self.logs.pins().entry(self.lsn) {
            *pinned.get_mut() -= 1;
            if *pinned.get() == 0 {
                pinned.remove();
            }
        }
    }
}
