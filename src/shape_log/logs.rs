//! The logs of all shapes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Instant;

use brooklet_dataflows::{EndReason, ShapeId};
use brooklet_sql::Lsn;

use super::log::ShapeLog;
use super::numbered::Numbered;
use crate::epoch::RepairSeen;
use crate::limits::FOLD_GRACE;
use crate::shapes::visibility::Visibility;

/// The logs of all shapes and how far the stream has come; shared with readers.
#[derive(Default)]
pub struct ShapeLogs {
    logs: RwLock<Numbered>,
    /// Transactions from which on somebody reads, by the reader's number, and since when.
    read: Mutex<BTreeMap<(Lsn, u64), Instant>>,
    readers: AtomicU64,
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

    pub(super) fn tell_ends(&self, shapes: usize) {
        self.ends.0.fetch_add(shapes as u64, Ordering::AcqRel);
    }

    /// Of how many of those the catalogue knows: the first ones.
    #[must_use]
    pub fn ends_settled(&self) -> u64 {
        self.ends.1.load(Ordering::Acquire)
    }

    /// The catalogue knows of so many more.
    pub fn settle_ends(&self, shapes: usize) {
        self.ends.1.fetch_add(shapes as u64, Ordering::AcqRel);
    }

    pub(super) fn set_durable(&self, lsn: Lsn) {
        self.durable.store(lsn.0, Ordering::Release);
    }

    /// Makes a log known to the appender.
    pub fn insert(&self, log: &Arc<ShapeLog>) {
        self.logs.write().unwrap_or_else(|e| e.into_inner()).insert(log);
    }

    /// Ends some logs.
    pub fn remove(&self, shapes: &[ShapeId], why: EndReason) {
        let removed: Vec<Arc<ShapeLog>> = {
            let mut logs = self.logs.write().unwrap_or_else(|e| e.into_inner());
            shapes.iter().filter_map(|shape| logs.remove(*shape)).collect()
        };
        for log in removed {
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
        let place = (lsn, self.readers.fetch_add(1, Ordering::Relaxed));
        self.pins().insert(place, Instant::now());
        Pin { logs: Arc::clone(self), place }
    }

    /// The first transaction that is pinned. Not by those who have read for too long: what they need stays as
    /// long as logs refer to it, and if that ends before they do, so does their body, not whole.
    #[must_use]
    pub fn oldest_read(&self) -> Option<Lsn> {
        self.oldest_read_at(Instant::now())
    }

    fn oldest_read_at(&self, now: Instant) -> Option<Lsn> {
        let pins = self.pins();
        let counts = |since: &Instant| now.duration_since(*since) < FOLD_GRACE;
        pins.iter().find(|(_, since)| counts(since)).map(|((lsn, _), _)| *lsn)
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<(Lsn, u64), Instant>> {
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
    place: (Lsn, u64),
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.logs.pins().remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_what_he_reads_for_ever() {
        let logs = Arc::new(ShapeLogs::default());
        let slow = logs.pin(Lsn(1));
        assert_eq!(logs.oldest_read(), Some(Lsn(1)));
        let late = Instant::now() + FOLD_GRACE;
        assert_eq!(logs.oldest_read_at(late), None, "it reads for too long");
        let mut others = [Lsn(9), Lsn(7), Lsn(7)].map(|lsn| logs.pin(lsn)).into_iter();
        logs.pins()
            .iter_mut()
            .filter(|((lsn, _), _)| lsn.0 > 1)
            .for_each(|(_, since)| *since = late);
        assert_eq!(logs.oldest_read_at(late), Some(Lsn(7)));
        let last = others.next();
        drop((slow, others.next()));
        assert_eq!(logs.oldest_read_at(late), Some(Lsn(7)), "there are two of it");
        drop(others);
        assert_eq!(logs.oldest_read_at(late), Some(Lsn(9)));
        drop(last);
        assert_eq!(logs.oldest_read_at(late), None);
    }
}
