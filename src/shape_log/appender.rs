//! The thread that turns collated transactions into readable entries.
//!
//! A plain thread: it blocks on files, and the dataflow's worker blocks on it, which is how a slow
//! disk holds the stream back. *Invariant*: write, then publish, then wake, then say how far.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use brooklet_dataflows::{Collated, EndReason, Posting, ShapeId};
use brooklet_sql::Lsn;
use tokio::sync::{mpsc, oneshot};

use super::log::{HeldTransaction, ShapeLog};
use super::postings::{Block, PostingWriter, ShapeEntry};
use crate::frame::FrameError;
use crate::limits::COLLATED_IN_FLIGHT_MAX;
use crate::shapes::visibility::Visibility;

/// What the appender is told.
pub enum Command {
    /// A result of the dataflow.
    Collated(Collated),
    /// A shape's snapshot is taken.
    Begin {
        /// Which shape.
        shape: ShapeId,
        /// What the snapshot contains.
        visibility: Visibility,
        /// No transaction after this position is in it.
        until: Lsn,
        /// Transactions from before the shape was installed that the snapshot does not contain.
        early: Vec<HeldTransaction>,
        /// Told when the entries can be read.
        done: oneshot::Sender<()>,
    },
    /// What a repair brings to a shape, or a part of it. Durable before it can be read: no restart
    /// would make it again, the same.
    Repair {
        /// Which shape.
        shape: ShapeId,
        /// The repair's own transaction.
        transaction: HeldTransaction,
        /// Told when it is done.
        done: oneshot::Sender<Lsn>,
    },
    /// Make everything so far durable; answers the position it covers.
    Sync(oneshot::Sender<Lsn>),
}

/// The logs of all shapes and how far the stream has come; shared with readers.
#[derive(Default)]
pub struct ShapeLogs {
    logs: RwLock<HashMap<ShapeId, Arc<ShapeLog>>>,
    /// Transactions from which on somebody reads, with how many do.
    read: Mutex<BTreeMap<Lsn, usize>>,
    processed: AtomicU64,
    durable: AtomicU64,
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

    /// Makes a log known to the appender.
    pub fn insert(&self, log: &Arc<ShapeLog>) {
        let mut logs = self.logs.write().unwrap_or_else(|e| e.into_inner());
        logs.insert(log.shape(), Arc::clone(log));
    }

    /// Ends a log.
    pub fn remove(&self, shape: ShapeId, why: EndReason) {
        let log = self.logs.write().unwrap_or_else(|e| e.into_inner()).remove(&shape);
        if let Some(log) = log {
            log.close(why);
        }
    }

    /// All logs.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ShapeLog>> {
        self.logs.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect()
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

    fn get(&self, shape: ShapeId) -> Option<Arc<ShapeLog>> {
        self.logs.read().unwrap_or_else(|e| e.into_inner()).get(&shape).cloned()
    }

    fn advance(&self, lsn: Lsn) {
        self.processed.fetch_max(lsn.0, Ordering::AcqRel);
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

/// To talk to the appender; cheap to clone.
#[derive(Clone)]
pub struct AppenderHandle {
    commands: mpsc::Sender<Command>,
}

/// The appender has stopped, which it does only when the process is about to end.
#[derive(Debug, thiserror::Error)]
#[error("the posting log is closed")]
pub struct AppenderClosed;

impl AppenderHandle {
    /// From the dataflow's worker; waits while the appender is behind.
    pub fn collated(&self, collated: Collated) {
        // Closed means that the process is ending.
        let _ = self.commands.blocking_send(Command::Collated(collated));
    }

    /// See [`Command::Begin`].
    pub async fn begin(
        &self,
        shape: ShapeId,
        visibility: Visibility,
        until: Lsn,
        early: Vec<HeldTransaction>,
    ) -> Result<(), AppenderClosed> {
        let (done, answer) = oneshot::channel();
        let command = Command::Begin { shape, visibility, until, early, done };
        self.commands.send(command).await.map_err(|_| AppenderClosed)?;
        answer.await.map_err(|_| AppenderClosed)
    }

    /// See [`Command::Repair`].
    pub async fn repair(
        &self,
        shape: ShapeId,
        transaction: HeldTransaction,
    ) -> Result<(), AppenderClosed> {
        let (done, answer) = oneshot::channel();
        let command = Command::Repair { shape, transaction, done };
        self.commands.send(command).await.map_err(|_| AppenderClosed)?;
        answer.await.map(|_| ()).map_err(|_| AppenderClosed)
    }

    /// Everything before `position` is in the logs.
    pub async fn pass(&self, position: Lsn) -> Result<(), AppenderClosed> {
        let passed = Command::Collated(Collated::Position(position));
        self.commands.send(passed).await.map_err(|_| AppenderClosed)
    }

    /// See [`Command::Sync`].
    pub async fn sync(&self) -> Result<Lsn, AppenderClosed> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Sync(done)).await.map_err(|_| AppenderClosed)?;
        answer.await.map_err(|_| AppenderClosed)
    }
}

/// The appender's own side.
pub struct Appender {
    file: PostingWriter,
    logs: Arc<ShapeLogs>,
    commands: mpsc::Receiver<Command>,
    ended: mpsc::UnboundedSender<(ShapeId, EndReason)>,
    large: mpsc::UnboundedSender<ShapeId>,
    unpublished: Vec<(Arc<ShapeLog>, Vec<Posting>, Vec<Block>)>,
    reached: Lsn,
    begun: Vec<oneshot::Sender<()>>,
    syncs: Vec<oneshot::Sender<Lsn>>,
}

impl Appender {
    /// Prepares the appender; `ended` is told of shapes that the stream ended, `large` of those whose
    /// log has become large (both bounded by the number of shapes: each is told of once).
    #[must_use]
    pub fn new(
        file: PostingWriter,
        logs: Arc<ShapeLogs>,
        ended: mpsc::UnboundedSender<(ShapeId, EndReason)>,
        large: mpsc::UnboundedSender<ShapeId>,
    ) -> (Appender, AppenderHandle) {
        let (sender, commands) = mpsc::channel(COLLATED_IN_FLIGHT_MAX);
        logs.advance(file.position());
        logs.durable.store(file.position().0, Ordering::Release);
        let reached = file.position();
        let (unpublished, begun, syncs) = (Vec::new(), Vec::new(), Vec::new());
        let appender =
            Appender { file, logs, commands, ended, large, unpublished, reached, begun, syncs };
        (appender, AppenderHandle { commands: sender })
    }

    /// Runs until every handle is gone or a write fails.
    pub fn run(mut self) -> Result<(), FrameError> {
        while let Some(command) = self.commands.blocking_recv() {
            self.take(command);
            self.turn()?;
        }
        self.file.sync(self.reached)
    }

    /// What has queued up shares one write.
    pub(crate) fn turn(&mut self) -> Result<(), FrameError> {
        for _ in 1..COLLATED_IN_FLIGHT_MAX {
            let Ok(command) = self.commands.try_recv() else { break };
            self.take(command);
        }
        self.publish()
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Collated(Collated::Transaction { lsn, xid, shapes }) => {
                let admitted: Vec<_> = (shapes.into_iter())
                    .filter_map(|s| Some((self.logs.get(s.shape)?, s.postings)))
                    .filter(|(log, postings)| log.admit(lsn, xid, postings))
                    .collect();
                let kept = self.keep_promises(admitted);
                self.append(lsn, xid, kept, false);
                self.reached = self.reached.max(lsn);
            }
            Command::Collated(Collated::Position(lsn)) => {
                // A commit record may begin exactly there, so it is one too many.
                self.reached = self.reached.max(Lsn(lsn.0.saturating_sub(1)));
            }
            Command::Collated(Collated::Installed { shape, after }) => {
                if let Some(log) = self.logs.get(shape) {
                    log.install(after);
                }
            }
            Command::Collated(Collated::Ended { shape, why }) => self.end(shape, why),
            Command::Begin { shape, visibility, until, early, done } => {
                if let Some(log) = self.logs.get(shape) {
                    let held = log.begin(visibility, until);
                    for transaction in early.into_iter().chain(held) {
                        let HeldTransaction { lsn, xid, postings } = transaction;
                        let kept = self.keep_promises(vec![(Arc::clone(&log), postings)]);
                        self.append(lsn, xid, kept, true);
                    }
                }
                self.begun.push(done);
            }
            Command::Repair { shape, transaction, done } => {
                if let Some(log) = self.logs.get(shape) {
                    let HeldTransaction { lsn, xid, postings } = transaction;
                    let kept = self.keep_promises(vec![(log, postings)]);
                    self.append(lsn, xid, kept, true);
                }
                self.syncs.push(done);
            }
            Command::Sync(done) => self.syncs.push(done),
        }
    }

    /// Ends shapes whose clients would get what they were told never to get.
    fn keep_promises(
        &mut self,
        admitted: Vec<(Arc<ShapeLog>, Vec<Posting>)>,
    ) -> Vec<(Arc<ShapeLog>, Vec<Posting>)> {
        let breaks = |postings: &[Posting]| postings.iter().any(|posting| posting.breaks_promise);
        let (broken, kept): (Vec<_>, Vec<_>) =
            admitted.into_iter().partition(|(_, postings)| breaks(postings));
        broken.into_iter().for_each(|(log, _)| self.end(log.shape(), EndReason::TableChanged));
        kept
    }

    fn append(
        &mut self,
        lsn: Lsn,
        xid: u32,
        shapes: Vec<(Arc<ShapeLog>, Vec<Posting>)>,
        late: bool,
    ) {
        if shapes.is_empty() {
            return;
        }
        let entries: Vec<ShapeEntry<'_>> =
            shapes.iter().map(|(log, postings)| (log.shape(), postings.as_slice())).collect();
        let places = self.file.append(lsn, xid, &entries, late);
        let published = shapes.into_iter().zip(places);
        self.unpublished.extend(published.map(|((log, postings), place)| (log, postings, place)));
    }

    fn end(&mut self, shape: ShapeId, why: EndReason) {
        self.file.append_ended(&[shape]);
        self.unpublished.retain(|(log, ..)| log.shape() != shape);
        self.logs.remove(shape, why);
        // Nobody listening means that the process is ending.
        let _ = self.ended.send((shape, why));
    }

    fn publish(&mut self) -> Result<(), FrameError> {
        if self.syncs.is_empty() {
            self.file.flush()?;
        } else {
            self.file.sync(self.reached)?;
            self.logs.durable.store(self.reached.0, Ordering::Release);
        }
        for (log, postings, blocks) in self.unpublished.drain(..) {
            if log.publish(&postings, &blocks) {
                // Nobody listening means that the process is ending.
                _ = self.large.send(log.shape());
            }
        }
        self.logs.advance(self.reached);
        // Whoever asked may have stopped waiting.
        self.begun.drain(..).for_each(|done| _ = done.send(()));
        self.syncs.drain(..).for_each(|done| _ = done.send(self.reached));
        Ok(())
    }
}
