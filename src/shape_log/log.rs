//! The log of one shape, in memory: where its entries are and who waits for more.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use brooklet_dataflows::{EndReason, Posting, ShapeId};
use brooklet_sql::Lsn;
use tokio::sync::watch;

use super::block::Block;
use super::chunk_ends::ChunkEnds;
use super::postings::News;
use super::{LogPoint, Offset};
use crate::shapes::visibility::Seen;
use state::{Phase, State};

/// The shape has ended: its clients fetch anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnded;

/// Why there are no entries to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceError {
    /// The shape has ended.
    Ended,
    /// The entries after this place are no longer all there: whoever stands here fetches anew.
    Forgotten,
}

/// What a whole transaction brings to a shape.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// What was written down while it was open. Belongs to no transaction yet.
    pub parts: Vec<Block>,
    /// Whether one of those breaks a promise: that is not written down.
    pub parts_break_promise: bool,
    /// The rest.
    pub postings: Vec<Posting>,
}

impl Brought {
    /// Whether the shape cannot have it.
    #[must_use]
    pub fn breaks_promise(&self) -> bool {
        self.parts_break_promise || self.postings.iter().any(|posting| posting.breaks_promise)
    }
}

impl From<Vec<Posting>> for Brought {
    fn from(postings: Vec<Posting>) -> Brought {
        Brought { postings, ..Brought::default() }
    }
}

/// A transaction that waits for the shape's snapshot.
#[derive(Debug, Clone)]
pub struct HeldTransaction {
    /// Its place.
    pub lsn: Lsn,
    /// Its 32-bit id.
    pub xid: u32,
    /// What it brings to the shape.
    pub brought: Brought,
}

/// What a reader gets next.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Where the entries are; the first and the last block may reach beyond the slice.
    pub blocks: Vec<Block>,
    /// Entries after this one,
    pub after: Offset,
    /// up to this one.
    pub end: Offset,
    /// Whether that is the end of the log.
    pub up_to_date: bool,
}

/// The log of one shape.
pub struct ShapeLog {
    shape: ShapeId,
    /// Held for a few pointer moves only, never across I/O or an await.
    state: Mutex<State>,
}

/// With what counts its references: there may be a million that nothing happens to.
const _: () = assert!(size_of::<ShapeLog>() + 2 * size_of::<usize>() <= 64);

impl ShapeLog {
    /// A log that holds back all transactions until its snapshot is taken.
    #[must_use]
    pub fn new(shape: ShapeId, chunk_bytes: u64) -> ShapeLog {
        ShapeLog { shape, state: Mutex::new(State::new(chunk_bytes, Phase::Waiting)) }
    }

    /// A log that is read back at a restart: the entries after `begin` are to be published.
    #[must_use]
    pub fn restored(
        shape: ShapeId,
        chunk_bytes: u64,
        seen: Arc<Seen>,
        begin: LogPoint,
    ) -> ShapeLog {
        let mut state = State::new(chunk_bytes, Phase::Filtering);
        state.seen = Some(seen);
        if begin != LogPoint::BEGIN {
            let more = state.more();
            (more.begin, more.last) = (begin.offset, begin);
        }
        ShapeLog { shape, state: Mutex::new(state) }
    }

    /// The rows that the log begins with hold every transaction up to there, and no other.
    pub fn begins_after(&self, seen: Arc<Seen>) {
        let mut state = self.state();
        state.waited();
        (state.phase, state.seen) = (Phase::After, Some(seen));
    }

    /// The same of a log that is read back.
    pub fn begins_exactly(&self) {
        self.state().phase = Phase::After;
    }

    /// What the first snapshot saw, as long as that matters to the log.
    #[must_use]
    pub fn seen(&self) -> Option<Arc<Seen>> {
        self.state().seen.clone()
    }

    /// Bytes of a chunk.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        u64::from(self.state().chunk_bytes)
    }

    /// Which shape.
    #[must_use]
    pub fn shape(&self) -> ShapeId {
        self.shape
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A receiver that changes whenever the log does. Subscribe first, look second.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        let mut state = self.state();
        state.more().waiters.get_or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Whether somebody waits for news.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.state().more.as_ref().is_some_and(|more| more.is_waited_for())
    }

    /// The last entry's offset, `0_inf` for none.
    pub fn end(&self) -> Result<Offset, LogEnded> {
        let state = self.state();
        if state.ended.is_some() { Err(LogEnded) } else { Ok(state.last().offset) }
    }

    /// Whether the log has entries of this transaction.
    #[must_use]
    pub fn has_transaction(&self, lsn: Lsn) -> bool {
        let state = self.state();
        let blocks = state.blocks();
        let at = blocks.partition_point(|block| block.lsn < lsn);
        blocks.get(at).is_some_and(|block| block.lsn == lsn)
    }

    /// Why the shape ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        self.state().ended
    }

    /// The last transaction the dataflow did not show this shape, once known and as long as the snapshot
    /// is not taken.
    #[must_use]
    pub fn installed_after(&self) -> Option<Lsn> {
        let state = self.state();
        state.more.as_ref()?.waiting.as_ref()?.installed_after
    }

    /// The entries after `after`, up to the end of the chunk that the first of them is in.
    pub fn slice(&self, after: Offset) -> Result<Slice, SliceError> {
        let state = self.state();
        if state.ended.is_some() {
            return Err(SliceError::Ended);
        }
        if after < state.begin() || state.is_in_gap(after) {
            return Err(SliceError::Forgotten);
        }
        let chunk_ends = state.more.as_ref().map_or(&[][..], |more| &more.chunk_ends);
        let chunk = chunk_ends.partition_point(|end| *end <= after);
        let end = chunk_ends.get(chunk).copied().unwrap_or(state.last().offset);
        let first = state.blocks().partition_point(|block| block.end() <= after);
        let rest = &state.blocks()[first..];
        let count = rest.partition_point(|block| block.end() < end) + 1;
        let blocks = rest[..count.min(rest.len())].to_vec();
        let up_to_date = end == state.last().offset;
        Ok(Slice { blocks, after, end: end.max(after), up_to_date })
    }

    /// Whether a place is of another shape's log: before all that clients of ours were told of, who `born` at that place
    /// were told nothing earlier. Who stands there never hears of what happened between the two logs.
    #[must_use]
    pub fn is_before_all(&self, place: Offset, born: Lsn) -> bool {
        let state = self.state();
        let first = match state.begin() {
            Offset::SNAPSHOT_END => state.blocks().first().map(|block| block.lsn.0),
            begin => Some(begin.tx),
        };
        // The place right before a transaction is told, too.
        place.tx > 0 && place.tx.saturating_add(1) < first.map_or(born.0, |first| first.min(born.0))
    }

    /// The slot was lost, and what was missed was brought at each of these places, the oldest first.
    /// Whoever claims to stand between our last entry before and there was answered by a server that
    /// had more than we.
    pub fn note_repairs(&self, places: &[Lsn]) {
        let mut state = self.state();
        // Of a log without entries, of which there may be a million, the last gap contains the others.
        let skipped = if state.blocks().is_empty() { places.len().saturating_sub(1) } else { 0 };
        for lsn in &places[skipped..] {
            let before = state.blocks().partition_point(|block| block.lsn < *lsn);
            let last = before.checked_sub(1).and_then(|at| state.blocks().get(at));
            let from = last.map_or(state.begin(), Block::end).max(state.begin());
            if from.tx >= lsn.0 {
                continue;
            }
            let gaps = &mut state.more().gaps;
            match gaps.iter_mut().find(|(known, _)| *known == from) {
                Some((_, to)) => *to = (*to).max(*lsn),
                None => gaps.push((from, *lsn)),
            }
        }
    }

    /// Every entry after this place can be read.
    #[must_use]
    pub fn begin_offset(&self) -> Offset {
        self.state().begin()
    }

    /// Forgets the entries up to `offset`: nobody who stands before it is answered any more.
    pub fn forget_before(&self, offset: Offset) {
        let mut state = self.state();
        let Some(more) = &mut state.more else { return };
        more.begin = more.begin.max(offset);
        let blocks = more.blocks.partition_point(|block| block.end() <= offset);
        more.blocks.drain(..blocks);
        more.blocks.shrink_to_fit();
        let chunks = more.chunk_ends.partition_point(|end| *end <= offset);
        more.chunk_ends.drain(..chunks);
        more.chunk_ends.shrink_to_fit();
        let begin = more.begin;
        more.gaps.retain(|(_, to)| begin.tx < to.0);
        more.gaps.shrink_to_fit();
        state.tidy();
    }

    /// The places of all entries up to the end of the log, and that end.
    pub fn all(&self) -> Result<(Vec<Block>, LogPoint), LogEnded> {
        let state = self.state();
        if state.ended.is_some() {
            return Err(LogEnded);
        }
        Ok((state.blocks().to_vec(), state.last()))
    }

    /// Whether the log takes every transaction: none that comes is in the first snapshot.
    #[must_use]
    pub fn is_past_snapshot(&self, processed: Lsn) -> bool {
        let state = self.state();
        match (state.phase, &state.seen) {
            (Phase::Filtering | Phase::After, Some(seen)) => processed >= seen.until,
            (phase, _) => phase == Phase::Following,
        }
    }

    /// Where the first snapshot stands in the stream, while that matters.
    #[must_use]
    pub fn holds_back(&self) -> Option<Lsn> {
        let state = self.state();
        let first = || state.more.as_ref()?.waiting.as_ref()?.held.first().map(|first| first.lsn);
        (state.phase == Phase::Waiting).then(|| first().unwrap_or(Lsn(u64::MAX)))
    }

    /// Bytes of all entries there ever were, by the measure of chunks.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.state().last().weight
    }

    /// Sets the weight beyond which the log is large against its rows; `true` if it is already.
    pub fn large_beyond(&self, weight: u64) -> bool {
        let mut state = self.state();
        state.large_at = weight;
        state.is_newly_large()
    }

    /// Notes where in the stream the dataflow began.
    pub(super) fn install(&self, after: Lsn) {
        let mut state = self.state();
        if state.phase == Phase::Waiting {
            state.waiting().installed_after = Some(after);
        }
        state.wake();
    }

    /// Gives back what a transaction brings if it is to be appended now. Else it is dropped (the
    /// snapshot has it) or held.
    pub(super) fn admit(&self, lsn: Lsn, xid: u32, brought: Brought) -> Option<Brought> {
        let mut state = self.state();
        if state.ended.is_some() {
            return None;
        }
        let (phase, seen) = (state.phase, state.seen.as_deref());
        match (phase, seen) {
            (Phase::Waiting, _) => {
                state.waiting().held.push(HeldTransaction { lsn, xid, brought });
                None
            }
            (Phase::Filtering | Phase::After, Some(seen)) if lsn <= seen.until => {
                let lacks = phase == Phase::Filtering && !seen.visibility.contains(xid);
                lacks.then_some(brought)
            }
            _ => {
                state.follow();
                Some(brought)
            }
        }
    }

    /// The snapshot is taken: returns the held transactions it does not contain, in order; from now
    /// on those up to its end are filtered as they come.
    pub(super) fn begin(&self, seen: &Arc<Seen>) -> Vec<HeldTransaction> {
        let mut state = self.state();
        let held = state.waited().held;
        (state.phase, state.seen) = (Phase::Filtering, Some(Arc::clone(seen)));
        let lacks = |t: &HeldTransaction| t.lsn > seen.until || !seen.visibility.contains(t.xid);
        held.into_iter().filter(lacks).collect()
    }

    /// Adds what one transaction brought, now that it can be read. Waits for the disk where it came
    /// in parts; one thread does this, so nothing is added meanwhile. Says once that the log has become
    /// large, see [`ShapeLog::large_beyond`].
    pub(crate) fn publish(&self, news: News) -> io::Result<bool> {
        let News { parts, postings, blocks } = news;
        let Some(end) = blocks.last().or(parts.last()).map(Block::end) else {
            return Ok(false);
        };
        if end <= self.begin_offset() || self.ended().is_some() {
            // Read back, and forgotten before; or nobody reads it any more.
            return Ok(false);
        }
        let lsn = Lsn(end.tx);
        let mut chunks = self.chunk_ends();
        for part in &parts {
            part.read()?.iter().for_each(|posting| chunks.add(lsn, posting));
        }
        postings.iter().for_each(|posting| chunks.add(lsn, posting));
        let mut state = self.state();
        if state.ended.is_some() {
            return Ok(false);
        }
        let more = state.more();
        if more.blocks.is_empty() {
            // Most logs of many shapes hold one block or two.
            more.blocks.reserve_exact(parts.len() + blocks.len());
        }
        more.blocks.extend(parts.into_iter().chain(blocks));
        more.chunk_ends.append(&mut chunks.ends);
        more.last = chunks.last;
        state.wake();
        Ok(state.is_newly_large())
    }

    fn chunk_ends(&self) -> ChunkEnds {
        let state = self.state();
        ChunkEnds { size: u64::from(state.chunk_bytes), last: state.last(), ends: Vec::new() }
    }

    /// Ends the shape for all who read it; its waiters learn of it at once. What it refers to stays: for
    /// a restart that may still find it.
    pub(crate) fn halt(&self, why: EndReason) {
        let mut state = self.state();
        state.ended.get_or_insert(why);
        state.follow();
        state.wake();
    }

    /// The same, and nothing is referred to any more.
    pub(crate) fn close(&self, why: EndReason) {
        self.halt(why);
        if let Some(more) = &mut self.state().more {
            more.blocks = Vec::new();
        }
    }
}

mod keeping;
mod state;
#[cfg(test)]
mod tests;
