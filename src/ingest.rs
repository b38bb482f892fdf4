//! Between the stream and everything else: append, hand on, fsync, confirm.
//!
//! *Enters*: slices of the stream ([`Entry`]). *Leaves*: numbered events to the dataflow, the durable
//! position to the replication session. *Invariant*: a position is published only after an fsync
//! that covers it; an error ends the process before anything is confirmed.
//!
//! Slices are appended on the dataflow's own thread, which spares each write a change of threads. Events go
//! to the dataflow before the fsync, since postings are a function of the stream: after a crash they are
//! made again, the same. Fsyncs have a thread of their own, so that no write waits for that of the one before.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use brooklet_dataflows::{Change, Event};
use brooklet_sql::{Lsn, Relation};
use metrics::counter;
use tokio::sync::{mpsc, oneshot, watch};

use crate::change_log::{ChangeLogError, Flushed, Rolled, Writer};
use crate::engine::{self, InletEnded};
use crate::limits::{SLICES_PER_FLUSH_MAX, SYNC_DELAY};
use crate::shapes::recent::RecentCommits;

mod unsynced;

pub use unsynced::{Appended, Unsynced, unsynced};

/// A part of the stream, in order.
#[derive(Debug)]
pub enum Entry {
    /// A transaction begins.
    Begin {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit id.
        xid: u32,
    },
    /// Row operations of the open transaction; their seq is given here.
    Changes(Vec<Change>),
    /// A table's definition from here on.
    Relation(Arc<Relation>),
    /// The open transaction emptied these tables.
    Truncate(Vec<u32>),
    /// The open transaction is complete.
    Commit {
        /// Where its commit record ends.
        end_lsn: Lsn,
        /// When, microseconds since 2000-01-01.
        time: i64,
    },
    /// The connection broke: an open transaction will come again.
    Cut,
    /// Nothing of interest up to here.
    Idle(Lsn),
    /// Asks for the end of the log behind everything before; the dataflow passes it on.
    Settle(oneshot::Sender<Lsn>),
    /// A part of a repair: it goes into the log, and not to the dataflow.
    Repair(RepairEntry),
    /// From here on, or from the end of the open transaction, the changes of these tables are shown to
    /// shapes with subqueries, too; what goes with it is handed on at that place.
    Watch(Vec<u32>, Box<crate::members::Input>),
}

/// What shapes lack when the slot was lost, as one transaction of our own. Postings are made by
/// whoever compares.
#[derive(Debug)]
pub enum RepairEntry {
    /// It begins.
    Begin {
        /// Its place.
        lsn: Lsn,
        /// A 32-bit id.
        xid: u32,
        /// Told the seq of its first change.
        first: oneshot::Sender<u64>,
    },
    /// Asks for the seq of its next change.
    NextSeq(oneshot::Sender<u64>),
    /// The definition that the changes after it have.
    Relation(Arc<Relation>),
    /// Its changes; their seq is given here.
    Changes(Vec<Change>),
    /// It is complete.
    Commit {
        /// Where the new slot begins.
        end_lsn: Lsn,
        /// When, microseconds since 2000-01-01.
        time: i64,
    },
}

/// The change log cannot be written. The process must end: after a failed fsync nobody knows what the disk
/// holds.
#[derive(Debug, thiserror::Error)]
#[error("the change log cannot be written: {0}")]
pub struct IngestError(#[from] ChangeLogError);

/// What appends.
pub struct Ingest {
    /// Where to append.
    pub writer: Writer,
    /// Told of every commit before the dataflow is.
    pub recent: Arc<RecentCommits>,
    /// Told of files that may be sealed. Unbounded, one message per 64 MiB.
    pub rolled: mpsc::UnboundedSender<Rolled>,
    /// Shown what concerns shapes with subqueries.
    pub watch: crate::members::watch::Watch,
    /// A transaction we have already is being skipped.
    pub skipping: bool,
}

impl Ingest {
    /// Appends a slice; gives what it is to the dataflow.
    pub(crate) fn slice(
        &mut self,
        slice: Vec<Entry>,
        events: &mut Vec<Event>,
    ) -> Result<(), IngestError> {
        for entry in slice {
            self.entry(entry, events)?;
        }
        // Readers follow postings into the file, so it is written before the dataflow sees them.
        self.writer.flush()?;
        self.watch.flush_news();
        Ok(())
    }

    fn entry(&mut self, entry: Entry, events: &mut Vec<Event>) -> Result<(), IngestError> {
        match entry {
            Entry::Begin { lsn, xid } => {
                self.skipping = lsn <= self.writer.last_commit();
                if !self.skipping && self.writer.begin(lsn, xid)? {
                    self.watch.abort();
                    events.push(Event::Abort);
                }
            }
            Entry::Relation(relation) => {
                self.writer.append_relation(&relation);
                self.watch.relation(&relation);
                events.push(Event::Relation(relation));
            }
            Entry::Cut => {
                if self.writer.abort()? {
                    self.watch.abort();
                    events.push(Event::Abort);
                }
            }
            // In the middle of a transaction it may be behind the commit that is still to come.
            Entry::Idle(_) if self.writer.in_transaction() => {}
            Entry::Idle(lsn) => {
                self.writer.position(lsn);
                self.watch.position(lsn);
                events.push(Event::Position(lsn));
            }
            Entry::Settle(answer) => {
                let end = self.writer.end();
                self.watch.position(end);
                events.push(Event::Position(end));
                // Whoever asked may have given up.
                _ = answer.send(end);
            }
            Entry::Repair(entry) => self.repair(entry)?,
            Entry::Watch(tables, input) => self.watch.watch(tables, *input),
            _ if self.skipping => {}
            Entry::Changes(mut changes) => {
                self.writer.append(&mut changes);
                changes.iter().for_each(|change| self.watch.change(change));
                events.extend(changes.into_iter().map(Event::Change));
            }
            Entry::Truncate(tables) => {
                self.writer.append_truncate(&tables);
                self.watch.truncate(&tables);
                events.push(Event::Truncate(tables));
            }
            Entry::Commit { end_lsn, time } => {
                if let Some((commit, rolled)) = self.writer.commit(end_lsn, time)? {
                    let operations = commit.next_seq - commit.first_seq;
                    counter!("electric_postgres_replication_transaction_received_count")
                        .increment(1);
                    counter!("electric_postgres_replication_transaction_received_operations")
                        .increment(operations);
                    self.recent.push(commit);
                    self.watch.commit(commit.lsn, commit.xid);
                    events.push(Event::Commit { lsn: commit.lsn, xid: commit.xid });
                    // Nobody listening means that the process is ending.
                    rolled.into_iter().for_each(|rolled| _ = self.rolled.send(rolled));
                }
            }
        }
        Ok(())
    }

    /// Its commit is not remembered as one that may not be visible yet: no newcomer needs it.
    fn repair(&mut self, entry: RepairEntry) -> Result<(), IngestError> {
        match entry {
            RepairEntry::Begin { lsn, xid, first } => {
                self.writer.begin(lsn, xid)?;
                // Whoever asked may have given up: then a cut comes next.
                _ = first.send(self.writer.next_seq());
            }
            RepairEntry::NextSeq(answer) => _ = answer.send(self.writer.next_seq()),
            RepairEntry::Relation(relation) => self.writer.append_relation(&relation),
            RepairEntry::Changes(mut changes) => self.writer.append(&mut changes),
            RepairEntry::Commit { end_lsn, time } => {
                let rolled = self.writer.commit(end_lsn, time)?.and_then(|(_, rolled)| rolled);
                // Nobody listening means that the process is ending.
                rolled.into_iter().for_each(|rolled| _ = self.rolled.send(rolled));
            }
        }
        Ok(())
    }
}

/// The stream's way into the dataflow; `failed` is told why nothing is appended any more.
pub struct Inlet<F> {
    ingest: Ingest,
    slices: mpsc::Receiver<Vec<Entry>>,
    taken: Vec<Vec<Entry>>,
    flushed: Appended,
    /// Slices that were appended and that the other thread does not know of, and since when.
    news: (usize, Option<Instant>),
    failed: F,
}

impl<F: Fn(IngestError) + Send> Inlet<F> {
    /// From where slices arrive to whoever runs [`confirm`].
    pub fn new(
        ingest: Ingest,
        slices: mpsc::Receiver<Vec<Entry>>,
        flushed: Appended,
        failed: F,
    ) -> Inlet<F> {
        Inlet { ingest, slices, taken: Vec::new(), flushed, news: (0, None), failed }
    }
}

impl<F: Fn(IngestError) + Send> engine::Inlet for Inlet<F> {
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<Result<(), InletEnded>> {
        while self.taken.len() < SLICES_PER_FLUSH_MAX {
            match self.slices.poll_recv(context) {
                Poll::Ready(Some(slice)) => self.taken.push(slice),
                _ if !self.taken.is_empty() => break,
                Poll::Ready(None) => return Poll::Ready(Err(InletEnded)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn hand_on(&mut self, events: &mut Vec<Event>) -> Result<(), InletEnded> {
        self.news.0 += self.taken.len();
        self.news.1.get_or_insert_with(Instant::now);
        for slice in self.taken.drain(..) {
            let before = events.len();
            if let Err(error) = self.ingest.slice(slice, events) {
                // Readers would look for what was never written.
                events.truncate(before);
                (self.failed)(error);
                return Err(InletEnded);
            }
        }
        Ok(())
    }

    /// Nobody waits for other threads to wake up: they are told when readers have what was appended.
    fn handed_on(&mut self) -> Result<Option<Duration>, InletEnded> {
        let (slices, Some(since)) = self.news else { return Ok(None) };
        let left = SYNC_DELAY.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Some(left));
        }
        self.news = (0, None);
        self.ingest.watch.flush();
        if !self.flushed.put(self.ingest.writer.flushed(), slices) {
            return Err(InletEnded);
        }
        Ok(None)
    }
}

/// Makes durable what was appended, then says so, until nothing is appended any more. What has queued up shares one fsync.
pub fn confirm(unsynced: &Unsynced, durable: &watch::Sender<Lsn>) -> Result<(), IngestError> {
    while let Some(flushed) = unsynced.take() {
        confirm_one(&flushed, durable)?;
    }
    Ok(())
}

/// The same, once.
pub(crate) fn confirm_one(
    flushed: &Flushed,
    durable: &watch::Sender<Lsn>,
) -> Result<(), IngestError> {
    durable.send_replace(flushed.sync()?);
    Ok(())
}
