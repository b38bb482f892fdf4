//! What is known of a log: small for one that nothing happens to, since there may be a million.

use std::sync::Arc;

use brooklet_dataflows::EndReason;
use brooklet_sql::Lsn;
use tokio::sync::watch;

use super::super::block::Block;
use super::super::{LogPoint, Offset};
use super::HeldTransaction;
use crate::shapes::visibility::Seen;

/// Which transactions of the stream the shape takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The snapshot is not taken yet: all are held.
    Waiting,
    /// The stream has not passed the snapshot yet: those it contains are dropped.
    Filtering,
    /// Those after the snapshot: the rows that the log begins with are of exactly its end.
    After,
    /// All.
    Following,
}

pub(super) struct State {
    /// What the first snapshot saw; `None` before it is taken and once it no longer matters.
    pub seen: Option<Arc<Seen>>,
    /// `None` is the same as nothing of it, and that the log is empty and begins at its very beginning.
    pub more: Option<Box<More>>,
    /// The weight beyond which the log is large against its rows; `u64::MAX` once somebody was told.
    pub large_at: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    pub phase: Phase,
    pub ended: Option<EndReason>,
    /// Its record in the catalogue goes, and none may come after.
    pub leaving: bool,
}

/// What a log has that something happens to.
pub(super) struct More {
    /// Every entry after this place is there.
    pub begin: Offset,
    /// The last entry, the bytes of the chunk that it is in, and those of all entries there ever were.
    pub last: LogPoint,
    pub blocks: Vec<Block>,
    pub chunk_ends: Vec<Offset>,
    /// Where no client can stand that we have answered: behind the one, before the other.
    pub gaps: Vec<(Offset, Lsn)>,
    /// Exists only while somebody waits.
    pub waiters: Option<watch::Sender<()>>,
    /// Until the snapshot is taken.
    pub waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub installed_after: Option<Lsn>,
    pub held: Vec<HeldTransaction>,
}

impl State {
    pub fn new(chunk_bytes: u64, phase: Phase) -> State {
        State {
            seen: None,
            more: None,
            large_at: u64::MAX,
            chunk_bytes: u32::try_from(chunk_bytes).unwrap_or(u32::MAX),
            phase,
            ended: None,
            leaving: false,
        }
    }

    pub fn is_newly_large(&mut self) -> bool {
        let large = self.last().weight > self.large_at;
        if large {
            self.large_at = u64::MAX;
        }
        large
    }

    pub fn blocks(&self) -> &[Block] {
        self.more.as_ref().map_or(&[], |more| &more.blocks)
    }

    pub fn begin(&self) -> Offset {
        self.more.as_ref().map_or(LogPoint::BEGIN.offset, |more| more.begin)
    }

    pub fn last(&self) -> LogPoint {
        self.more.as_ref().map_or(LogPoint::BEGIN, |more| more.last)
    }

    /// Whether nobody whom we have answered can stand there.
    pub fn is_in_gap(&self, after: Offset) -> bool {
        let gaps = self.more.as_ref().map_or(&[][..], |more| &more.gaps);
        gaps.iter().any(|(from, to)| *from < after && after.tx < to.0)
    }

    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(More::nothing()))
    }

    pub fn waiting(&mut self) -> &mut Waiting {
        self.more().waiting.get_or_insert_default()
    }

    /// What has come until the snapshot was taken, which is now.
    pub fn waited(&mut self) -> Waiting {
        let waiting = self.more.as_mut().and_then(|more| more.waiting.take());
        self.tidy();
        waiting.map_or_else(Waiting::default, |waiting| *waiting)
    }

    /// Takes every transaction from now on.
    pub fn follow(&mut self) {
        if self.phase == Phase::Waiting {
            self.waited();
        }
        (self.phase, self.seen) = (Phase::Following, None);
    }

    pub fn wake(&mut self) {
        let Some(more) = &mut self.more else { return };
        match &more.waiters {
            Some(waiters) if waiters.receiver_count() > 0 => {
                waiters.send_replace(());
            }
            _ => {
                more.waiters = None;
                self.tidy();
            }
        }
    }

    /// Gives back what holds nothing.
    pub fn tidy(&mut self) {
        self.more.take_if(|more| {
            let More { begin, last, blocks, chunk_ends, gaps, waiters, waiting } = &**more;
            let nothing = blocks.is_empty() && chunk_ends.is_empty();
            let nowhere = *begin == LogPoint::BEGIN.offset && *last == LogPoint::BEGIN;
            nothing && nowhere && gaps.is_empty() && waiters.is_none() && waiting.is_none()
        });
    }
}

impl More {
    fn nothing() -> More {
        More {
            begin: LogPoint::BEGIN.offset,
            last: LogPoint::BEGIN,
            blocks: Vec::new(),
            chunk_ends: Vec::new(),
            gaps: Vec::new(),
            waiters: None,
            waiting: None,
        }
    }

    pub fn is_waited_for(&self) -> bool {
        self.waiters.as_ref().is_some_and(|waiters| waiters.receiver_count() > 0)
    }
}
