//! The thread that turns collated transactions into readable entries.
//!
//! A plain thread: it blocks on files, and the dataflow's worker blocks on it, which is how a slow
//! disk holds the stream back. *Invariant*: write, then publish, then wake, then say how far.

use std::collections::HashMap;
use std::sync::Arc;

use brooklet_dataflows::members::MemberNews;
use brooklet_dataflows::{Collated, EndReason, ShapeId, ShapePostings};
use brooklet_sql::Lsn;
use tokio::sync::{mpsc, oneshot};

use super::block::{Block, ShapeEntry};
use super::log::{Brought, HeldTransaction, ShapeLog};
use super::logs::ShapeLogs;
use super::postings::{News, PostingWriter};
use super::scale::{Load, Scale};
use crate::frame::FrameError;
use crate::limits::{COLLATED_IN_FLIGHT_MAX, SHAPES_PER_BATCH_MAX};
use crate::shapes::visibility::Seen;

/// What the appender is told.
pub enum Command {
    /// A result of the dataflow.
    Collated(Collated, Load),
    /// The snapshot of some shapes is taken.
    Begin {
        /// Which, each with the transactions from before it was installed that the snapshot does not contain.
        shapes: Vec<(ShapeId, Vec<HeldTransaction>)>,
        /// What the snapshot contains.
        seen: Arc<Seen>,
        /// Told when the entries can be read, and whether any were written now: those are not made
        /// again by a restart that has their transactions already.
        done: oneshot::Sender<bool>,
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
    /// What a transaction brings to shapes with subqueries.
    Members {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit id.
        xid: u32,
        /// What it brings.
        news: Vec<MemberNews>,
        /// Its share of what is on its way.
        load: Load,
    },
    /// Make everything so far durable; answers the position it covers.
    Sync(oneshot::Sender<Lsn>),
    /// A lone result could not be appended; the appender knows why.
    Failed,
}

/// To talk to the appender; cheap to clone.
#[derive(Clone)]
pub struct AppenderHandle {
    commands: mpsc::Sender<Command>,
    scale: Arc<Scale>,
}

/// The appender has stopped, which it does only when the process is about to end.
#[derive(Debug, thiserror::Error)]
#[error("the posting log is closed")]
pub struct AppenderClosed;

impl AppenderHandle {
    /// From the dataflow's worker; waits while the appender is behind.
    pub fn collated(&self, collated: Collated) {
        let load = self.scale.load(postings(&collated));
        // Closed means that the process is ending.
        let _ = self.commands.blocking_send(Command::Collated(collated, load));
    }

    /// See [`Command::Begin`].
    pub async fn begin(
        &self,
        shapes: Vec<(ShapeId, Vec<HeldTransaction>)>,
        seen: Arc<Seen>,
    ) -> Result<bool, AppenderClosed> {
        let (done, answer) = oneshot::channel();
        let command = Command::Begin { shapes, seen, done };
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

    /// From a plain thread: shapes have ended, of which some are told at a time.
    pub fn ended(&self, shapes: &[ShapeId], why: EndReason) {
        for some in shapes.chunks(SHAPES_PER_BATCH_MAX) {
            self.collated(Collated::Ended { shapes: some.to_vec(), why });
        }
    }

    /// Everything before `position` is in the logs.
    pub async fn pass(&self, position: Lsn) -> Result<(), AppenderClosed> {
        let passed = Command::Collated(Collated::Position(position), self.scale.nothing());
        self.commands.send(passed).await.map_err(|_| AppenderClosed)
    }

    /// See [`Command::Sync`].
    pub async fn sync(&self) -> Result<Lsn, AppenderClosed> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Sync(done)).await.map_err(|_| AppenderClosed)?;
        answer.await.map_err(|_| AppenderClosed)
    }
}

impl Command {
    /// What shares one write is counted in these: most are one.
    fn weight(&self) -> usize {
        match self {
            Command::Collated(Collated::Ended { shapes, .. }, _) => shapes.len(),
            _ => 1,
        }
    }
}

/// How many postings a message holds.
fn postings(collated: &Collated) -> usize {
    match collated {
        Collated::Part(shapes) | Collated::Transaction { shapes, .. } => {
            shapes.iter().map(|shape| shape.postings.len()).sum()
        }
        _ => 0,
    }
}

/// The stream has ended shapes, some at a time; the logs that know.
pub type Ended = (Vec<ShapeId>, EndReason, Arc<ShapeLogs>);

/// The appender's own side.
pub struct Appender {
    file: PostingWriter,
    logs: Arc<ShapeLogs>,
    commands: mpsc::Receiver<Command>,
    ended: mpsc::UnboundedSender<Ended>,
    large: mpsc::UnboundedSender<ShapeId>,
    unpublished: Vec<(Arc<ShapeLog>, News)>,
    /// What the open transaction has brought in parts.
    open: HashMap<ShapeId, Open>,
    /// Of what is not published yet.
    loads: Vec<Load>,
    reached: Lsn,
    begun: Vec<(oneshot::Sender<bool>, bool)>,
    syncs: Vec<oneshot::Sender<Lsn>>,
    /// Why a lone result could not be appended.
    failed: Option<FrameError>,
}

/// What the open transaction has brought to a shape.
#[derive(Default)]
struct Open {
    parts: Vec<Block>,
    break_promise: bool,
}

impl Appender {
    /// Prepares the appender; `ended` is told of shapes that the stream ended, `large` of those whose
    /// log has become large (both bounded by the number of shapes: each is told of once).
    #[must_use]
    pub fn new(
        file: PostingWriter,
        logs: Arc<ShapeLogs>,
        ended: mpsc::UnboundedSender<Ended>,
        large: mpsc::UnboundedSender<ShapeId>,
    ) -> (Appender, AppenderHandle) {
        let (sender, commands) = mpsc::channel(COLLATED_IN_FLIGHT_MAX);
        logs.advance(file.position());
        logs.set_durable(file.position());
        let reached = file.position();
        let (unpublished, begun, syncs) = (Vec::new(), Vec::new(), Vec::new());
        let (open, loads) = (HashMap::new(), Vec::new());
        let appender = Appender {
            file,
            logs,
            commands,
            ended,
            large,
            unpublished,
            open,
            loads,
            reached,
            begun,
            syncs,
            failed: None,
        };
        (appender, AppenderHandle { commands: sender, scale: Arc::default() })
    }

    /// What has queued up shares one write.
    pub(crate) fn turn(&mut self) -> Result<(), FrameError> {
        let mut room = COLLATED_IN_FLIGHT_MAX;
        while room > 0
            && let Ok(command) = self.commands.try_recv()
        {
            room = room.saturating_sub(command.weight());
            self.take(command)?;
        }
        self.publish()
    }

    fn take(&mut self, command: Command) -> Result<(), FrameError> {
        match command {
            Command::Collated(collated, load) => {
                self.loads.push(load);
                self.collated(collated)?;
            }
            Command::Begin { shapes, seen, done } => {
                let mut written = false;
                for (shape, early) in shapes {
                    let Some(log) = self.logs.get(shape) else { continue };
                    let held = log.begin(&seen);
                    let mut late = early.into_iter().chain(held).peekable();
                    written |= late.peek().is_some();
                    self.late(&log, late)?;
                }
                self.begun.push((done, written));
            }
            Command::Repair { shape, transaction, done } => {
                if let Some(log) = self.logs.get(shape) {
                    self.late(&log, std::iter::once(transaction))?;
                }
                self.syncs.push(done);
            }
            Command::Members { lsn, xid, news, load } => {
                self.loads.push(load);
                self.members(lsn, xid, news)?;
            }
            Command::Sync(done) => self.syncs.push(done),
            Command::Failed => {}
        }
        Ok(())
    }

    fn collated(&mut self, collated: Collated) -> Result<(), FrameError> {
        match collated {
            Collated::Part(shapes) => self.part(shapes)?,
            Collated::CutOff => self.forget_parts(),
            Collated::Transaction { lsn, xid, shapes } => {
                self.transaction(lsn, xid, shapes);
                self.reached = self.reached.max(lsn);
            }
            Collated::Position(lsn) => {
                // A commit record may begin exactly there, so it is one too many.
                self.reached = self.reached.max(Lsn(lsn.0.saturating_sub(1)));
            }
            Collated::Installed { shape, after } => {
                if let Some(log) = self.logs.get(shape) {
                    log.install(after);
                }
            }
            Collated::Ended { shapes, why } => self.end(shapes, why),
        }
        Ok(())
    }

    /// Written down for every shape: whether it takes the transaction is known at its end only.
    fn part(&mut self, mut shapes: Vec<ShapePostings>) -> Result<(), FrameError> {
        shapes.retain(|part| self.logs.get(part.shape).is_some());
        let entries: Vec<ShapeEntry<'_>> =
            shapes.iter().map(|part| (part.shape, &part.postings[..])).collect();
        let places = self.file.append_part(&entries);
        for (part, blocks) in shapes.iter().zip(places) {
            let open = self.open.entry(part.shape).or_default();
            open.parts.extend(blocks);
            open.break_promise |= part.postings.iter().any(|posting| posting.breaks_promise);
        }
        // Parts are large, and are read back at the end.
        self.file.flush()
    }

    fn forget_parts(&mut self) {
        self.open = HashMap::new();
        self.file.abort();
    }

    fn transaction(&mut self, lsn: Lsn, xid: u32, shapes: Vec<ShapePostings>) {
        let mut kept = Vec::with_capacity(shapes.len());
        for ShapePostings { shape, postings } in shapes {
            let Open { mut parts, break_promise } = self.open.remove(&shape).unwrap_or_default();
            parts.iter_mut().for_each(|part| part.belongs_to(lsn, xid));
            let brought = Brought { parts, parts_break_promise: break_promise, postings };
            let Some(log) = self.logs.get(shape) else { continue };
            let Some(brought) = log.admit(lsn, xid, brought) else { continue };
            if self.keeps_promises(&log, &brought) {
                kept.push((log, brought));
            }
        }
        if !kept.is_empty() {
            let entries: Vec<ShapeEntry<'_>> =
                kept.iter().map(|(log, brought)| (log.shape(), &brought.postings[..])).collect();
            let places = self.file.append(lsn, xid, &entries);
            let news = kept.into_iter().zip(places).map(|((log, brought), blocks)| {
                let Brought { parts, postings, .. } = brought;
                (log, News { parts, postings, blocks })
            });
            self.unpublished.extend(news);
        }
        self.forget_parts();
    }

    /// What has waited for a shape's snapshot. Parts are copied piece by piece: no frame has ended
    /// them for this shape.
    fn late(
        &mut self,
        log: &Arc<ShapeLog>,
        held: impl Iterator<Item = HeldTransaction>,
    ) -> Result<(), FrameError> {
        for HeldTransaction { lsn, xid, brought } in held {
            if !self.keeps_promises(log, &brought) {
                return Ok(());
            }
            let mut parts = Vec::with_capacity(brought.parts.len());
            for part in &brought.parts {
                let postings = part.read().map_err(|source| self.file.error(source))?;
                parts.extend(self.file.append_late(lsn, xid, log.shape(), &postings));
                self.file.flush_if_large()?;
            }
            let postings = brought.postings;
            let blocks = self.file.append_late(lsn, xid, log.shape(), &postings);
            self.unpublished.push((Arc::clone(log), News { parts, postings, blocks }));
        }
        Ok(())
    }

    /// Ends a shape whose clients would get what they were told never to get.
    fn keeps_promises(&mut self, log: &ShapeLog, brought: &Brought) -> bool {
        let broken = brought.breaks_promise();
        if broken {
            self.end(vec![log.shape()], EndReason::TableChanged);
        }
        !broken
    }

    fn end(&mut self, shapes: Vec<ShapeId>, why: EndReason) {
        self.file.append_ended(&shapes);
        self.logs.tell_ends(shapes.len());
        shapes.iter().for_each(|shape| _ = self.open.remove(shape));
        // What is not published yet finds the logs closed.
        self.logs.remove(&shapes, why);
        // Nobody listening means that the process is ending.
        let _ = self.ended.send((shapes, why, Arc::clone(&self.logs)));
    }

    fn publish(&mut self) -> Result<(), FrameError> {
        let synced = !self.syncs.is_empty();
        if synced {
            self.file.sync(self.reached)?;
        } else {
            self.file.flush()?;
        }
        for (log, news) in self.unpublished.drain(..) {
            if log.publish(news).map_err(|source| self.file.error(source))? {
                // Nobody listening means that the process is ending.
                _ = self.large.send(log.shape());
            }
        }
        self.logs.advance(self.reached);
        if synced {
            // Last: changes that no published entry refers to may be deleted up to here.
            self.logs.set_durable(self.reached);
        }
        self.loads.clear();
        // Whoever asked may have stopped waiting.
        self.begun.drain(..).for_each(|(done, written)| _ = done.send(written));
        self.syncs.drain(..).for_each(|done| _ = done.send(self.reached));
        if synced { self.file.roll() } else { Ok(()) }
    }
}

mod lone;
mod members;
#[cfg(test)]
mod tests;

pub use lone::{Results, SharedAppender};
