//! The stream from slot to slot: when one is lost, a new one is made and shapes are told what they
//! missed.
//!
//! *Enters*: a session that ended because its slot is gone. *Leaves*: a session on a new slot, every
//! shape holding what Postgres had where that slot begins, under its old handles. *Invariant*: while
//! it is not known what was missed, nobody is told to be up to date; what is told of it is durable
//! first, so that a repair that is cut off is simply done again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brooklet_dataflows::{Posting, ShapeId};
use brooklet_sql::{Lsn, TableSchema, statement};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::core::CoreEnd;
use crate::epoch::{MetaFile, RepairSeen};
use crate::ingest::{Entry, RepairEntry};
use crate::limits::RECONNECT_PAUSE;
use crate::replication::partitions::{Partition, partitions};
use crate::replication::preflight;
use crate::replication::session::{self, Cluster, Session, SessionError};
use crate::replication::slot::{self, NewSlot};
use crate::replication::snapshot::{Snapshot, SnapshotError};
use crate::shape_log::{HeldTransaction, Logs};
use crate::shapes::create::{Workshop, make_durable};
use crate::shapes::definition::LogMode;
use crate::shapes::difference::{Changes, DifferenceError};
use crate::shapes::reconcile::reconcile;
use crate::shapes::visibility::Visibility;
use crate::shapes::{Registry, Shape};

mod members;
mod places;

pub(crate) use places::Place;
pub use places::first_place;
use places::pieces;

/// How long to wait before looking again how far the dataflow has come.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);
/// 2000-01-01 in seconds since 1970: where Postgres begins to count.
const POSTGRES_EPOCH: u64 = 946_684_800;

/// The stream, and what is needed when its slot is lost.
pub struct Stream {
    /// On the slot.
    pub session: Session,
    /// The shapes.
    pub registry: Arc<Registry>,
    /// Remembers that a repair is due.
    pub meta: Arc<MetaFile>,
    /// Told whether it is unknown what was missed.
    pub lost: watch::Sender<bool>,
}

/// Why a repair did not come to its end.
enum Failure {
    /// Handles cannot be kept.
    StartOver(String),
    /// It may work later.
    Later(anyhow::Error),
    /// The process is ending.
    Stopped,
}

/// Why a shape was not repaired.
enum Unrepaired {
    /// It cannot be: it ends.
    Unfit(String),
    /// Nothing can be, for now.
    Later(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Later(error.into())
    }
}

impl From<SnapshotError> for Unrepaired {
    fn from(error: SnapshotError) -> Unrepaired {
        let code = match &error {
            SnapshotError::Database(database) => database.code().map(str::to_owned),
            SnapshotError::Copy(_) | SnapshotError::Description(_) => None,
        };
        match code.as_deref() {
            // The table is gone, may not be read, or the filter fails for a row of it.
            Some(code) if ["42", "3F", "22"].iter().any(|class| code.starts_with(class)) => {
                Unrepaired::Unfit(error.to_string())
            }
            _ => Unrepaired::Later(error.into()),
        }
    }
}

impl From<DifferenceError> for Unrepaired {
    fn from(error: DifferenceError) -> Unrepaired {
        match error {
            DifferenceError::Snapshot(error) => error.into(),
            error => Unrepaired::Unfit(error.to_string()),
        }
    }
}

/// A new slot and what its repair stands for.
struct Begun {
    slot: NewSlot,
    cluster: Cluster,
    xid: u32,
    /// What its snapshot contains.
    visibility: Visibility,
}

impl Begun {
    /// The repair's own place. One less than where the slot begins, since a commit record may begin
    /// exactly there; none begins here.
    fn at(&self) -> Lsn {
        Lsn(self.slot.begin.0.saturating_sub(1))
    }
}

impl Stream {
    /// Streams until that cannot go on; `lost` says why a repair comes first, if one does.
    pub async fn run(mut self, mut lost: Option<String>) -> CoreEnd {
        loop {
            if let Some(reason) = lost.take()
                && let Err(end) = self.until_repaired(&reason).await
            {
                return end;
            }
            let (session, error) = match self.session.run().await {
                Ok(ended) => ended,
                Err(error) => return CoreEnd::Failed(error.into()),
            };
            self.session = session;
            match error {
                error if error.loses_the_slot() => lost = Some(error.to_string()),
                SessionError::OtherDatabase(_) | SessionError::PublicationLost(_) => {
                    return CoreEnd::StartOver(error);
                }
                other => return CoreEnd::Failed(other.into()),
            }
        }
    }

    async fn until_repaired(&mut self, reason: &str) -> Result<(), CoreEnd> {
        tracing::error!(
            reason,
            "the replication slot is lost: shapes are compared with the database before anybody is told to be up to date"
        );
        self.lost.send_replace(true);
        let mut stop = self.session.stop.clone();
        let mut pause = RECONNECT_PAUSE.0;
        loop {
            let repaired = tokio::select! {
                repaired = self.repair() => repaired,
                _ = stop.wait_for(|stop| *stop) => Err(Failure::Stopped),
            };
            match repaired {
                Ok(()) => break,
                Err(Failure::StartOver(reason)) => {
                    return Err(CoreEnd::StartOver(SessionError::SlotLost(reason)));
                }
                Err(Failure::Stopped) => return Err(CoreEnd::Failed(SessionError::Stopped.into())),
                Err(Failure::Later(error)) => {
                    tracing::warn!(%error, "what was missed is not known yet; tried again");
                }
            }
            if timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
                return Err(CoreEnd::Failed(SessionError::Stopped.into()));
            }
            pause = (pause * 2).min(RECONNECT_PAUSE.1);
        }
        self.registry.halt(None);
        self.lost.send_replace(false);
        Ok(())
    }

    /// One try. Whatever an earlier one has left is taken back or compared again.
    async fn repair(&mut self) -> Result<(), Failure> {
        self.meta.repair_due()?;
        let end = self.settle().await?;
        self.end_unfit().await;
        let begun = self.begin(end).await?;
        let at = begun.at();
        reconcile(&self.registry).await?;
        let kept = self.kept(&begun).await?;
        let brought = self.compare(&begun).await?;
        let Begun { slot: NewSlot { begin, exporter, .. }, cluster, xid, visibility } = begun;
        drop(exporter);
        let shop = Arc::clone(self.registry.workshop());
        if brought.iter().any(|(_, postings)| !postings.is_empty()) {
            // Said behind the entries for ever, so known before there are any.
            let seen = RepairSeen { at, visibility };
            self.meta.repair_seen(seen.clone())?;
            [&shop.logs, &shop.members.logs]
                .into_iter()
                .for_each(|logs| logs.note_seen([seen.clone()]));
        }
        let (shapes, place) = (brought.len(), Place { begin, end, xid });
        let entries = bring(&shop, &self.session.slices, place, brought).await;
        let entries = entries.ok_or(Failure::Stopped)?;
        self.remember_members(kept, at).await?;
        if cluster != self.session.cluster {
            shop.recent.clear();
        }
        self.session.cluster = cluster;
        self.meta.repair_done()?;
        tracing::info!(%begin, shapes, entries, "shapes hold what the database has; the stream goes on from a new slot");
        Ok(())
    }

    /// Waits until everything that was streamed is in the logs, and durable. Returns the end of it.
    async fn settle(&self) -> Result<Lsn, Failure> {
        let (ask, answer) = oneshot::channel();
        self.send(vec![Entry::Cut, Entry::Settle(ask)]).await?;
        let end = answer.await.map_err(|_| Failure::Stopped)?;
        let shop = self.registry.workshop();
        while shop.logs.processed().0 + 1 < end.0 {
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        make_durable(shop, &shop.appender).await?;
        self.forget_members().await?;
        Ok(end)
    }

    /// Ends the shapes that cannot be compared: those that are being made, whose rows may lack what
    /// the stream did not bring; those that hold no rows; those whose rows have no key, so that
    /// nobody can say how often a client has one.
    async fn end_unfit(&self) {
        let reason = "the replication slot was lost, it is not known yet what was missed";
        let mut unfit = self.registry.halt(Some(reason.to_owned()));
        let finished = self.registry.finished();
        let incomparable = |shape: &Arc<Shape>| {
            shape.template.definition.log == LogMode::ChangesOnly
                || shape.table().primary_key().is_empty()
        };
        unfit.extend(finished.into_iter().filter(incomparable));
        if !unfit.is_empty() {
            self.registry.remove(unfit).await;
        }
    }

    /// Checks that this is the database we know, and makes a slot there, above everything that was
    /// served.
    async fn begin(&self, end: Lsn) -> Result<Begun, Failure> {
        let Session { database, names, publication, cluster: known, .. } = &self.session;
        let (client, server) = preflight::server(database).await?;
        let wire = database.replication(&names.slot, &names.publication);
        let cluster = session::identify(wire).await?;
        if cluster.system_id != known.system_id {
            let reason = format!("the database is another one now: system {}", cluster.system_id);
            return Err(Failure::StartOver(reason));
        }
        let found = client.query_opt(statement::PUBLICATION, &[&names.publication]).await?;
        if found.map(|row| row.get("oid")) != Some(*publication) {
            let reason = format!("publication {} is gone, or another one", names.publication);
            return Err(Failure::StartOver(reason));
        }
        // Not one of somebody else's.
        slot::state(&client, &server, &names.slot).await?;
        // The changes of a repair are nobody's; this one did nothing else.
        let own = client.query_one("SELECT pg_current_xact_id()::text", &[]).await?;
        let own: u64 = own.get::<_, &str>(0).parse()?;
        let slot = slot::renew(database, &client, names).await?;
        if slot.begin <= end {
            let reason =
                format!("a new slot begins at {}, and we have served up to {end}", slot.begin);
            return Err(Failure::StartOver(reason));
        }
        let snapshot = Snapshot::joined(database, &slot.snapshot).await?;
        let visibility = snapshot.seen.visibility.clone();
        snapshot.end().await?;
        let begun = Begun { slot, cluster, xid: own as u32, visibility };
        self.meta.repair_at(begun.at(), end, &begun.cluster)?;
        Ok(begun)
    }

    /// Hands on what every shape lacks; returns the postings.
    async fn compare(&self, begun: &Begun) -> Result<Vec<(ShapeId, Vec<Posting>)>, Failure> {
        let (first, answer) = oneshot::channel();
        let begin = RepairEntry::Begin { lsn: begun.at(), xid: begun.xid, first };
        self.send(vec![Entry::Repair(begin)]).await?;
        let mut seq = answer.await.map_err(|_| Failure::Stopped)?;
        let mut by_table: HashMap<u32, Vec<Arc<Shape>>> = HashMap::new();
        for shape in self.registry.finished() {
            by_table.entry(shape.table().oid).or_default().push(shape);
        }
        let mut brought = Vec::new();
        for (table, shapes) in by_table {
            // Files are sealed by the definition that stands before the changes.
            let Some(relation) = self.session.layouts.current(table) else {
                self.registry.remove(shapes).await;
                continue;
            };
            let entry = RepairEntry::Relation(Arc::clone(&relation));
            self.send(vec![Entry::Repair(entry)]).await?;
            for shape in shapes.iter().filter(|shape| shape.is_alive()) {
                let slices = self.session.slices.clone();
                let changes = Changes::new(slices, shape, &relation, seq);
                match self.shape(shape, changes, begun).await {
                    Ok((postings, next)) => {
                        seq = next;
                        brought.push((shape.id(), postings));
                    }
                    Err(Unrepaired::Later(error)) => return Err(Failure::Later(error)),
                    Err(Unrepaired::Unfit(reason)) if self.session.slices.is_closed() => {
                        tracing::debug!(reason, "the change log has stopped");
                        return Err(Failure::Stopped);
                    }
                    Err(Unrepaired::Unfit(reason)) => {
                        let (handle, table) = (shape.handle(), &shape.table().name);
                        tracing::warn!(%handle, %table, reason, "a shape ends with the slot");
                        self.registry.remove(vec![Arc::clone(shape)]).await;
                        // Changes of it may have been handed on before.
                        seq = self.next_seq().await?;
                    }
                }
            }
        }
        Ok(brought)
    }

    /// Compares one shape with the snapshot.
    async fn shape(
        &self,
        shape: &Arc<Shape>,
        changes: Changes,
        begun: &Begun,
    ) -> Result<(Vec<Posting>, u64), Unrepaired> {
        let shop = self.registry.workshop();
        let table = shape.table();
        let unfit = |reason: &str| Err(Unrepaired::Unfit(reason.to_owned()));
        if shape.until().is_none_or(|until| until >= begun.at()) {
            return unfit("its snapshot is of a history that did not go on");
        }
        let before = leaves(shop, shape).await?;
        let inner = members::inner_tables(shape);
        let tables: Vec<&TableSchema> = inner.iter().chain([table]).map(|table| &**table).collect();
        let snapshot = Snapshot::exported(&shop.database, &tables, &begun.slot.snapshot).await?;
        if !members::have_their_files(&snapshot, &tables).await? {
            return unfit("its table was rewritten or emptied meanwhile");
        }
        let compared = changes.compare(shop, shape, &snapshot).await?;
        // The lock is still held: what the catalogue says now is true of what was read.
        let now = shop.publication.inspect(&[table.oid]).await.map_err(later)?;
        if !now.iter().any(|now| now.keeps(&shape.template, shape.plan.read())) {
            return unfit("its table is another one now");
        }
        if !members::keeps(shop, shape).await.map_err(later)? {
            return unfit("a table of its subqueries is another one now");
        }
        snapshot.end().await?;
        if !table.partitioned {
            return Ok(compared);
        }
        let after = leaves(shop, shape).await?;
        let generation = shop.partitions.agree(table.oid, &after).await.map_err(later)?;
        if before != after || shape.generation() < generation {
            return unfit("the table's partitions are others now");
        }
        Ok(compared)
    }

    async fn next_seq(&self) -> Result<u64, Failure> {
        let (ask, answer) = oneshot::channel();
        self.send(vec![Entry::Repair(RepairEntry::NextSeq(ask))]).await?;
        answer.await.map_err(|_| Failure::Stopped)
    }

    async fn send(&self, slice: Vec<Entry>) -> Result<(), Failure> {
        self.session.slices.send(slice).await.map_err(|_| Failure::Stopped)
    }
}

/// Ends the repair's transaction in the change log. Once that is durable, what shapes lack goes into
/// their logs; that is durable when it returns how many entries there were. `None` if the process is
/// ending.
pub(crate) async fn bring(
    shop: &Workshop,
    slices: &mpsc::Sender<Vec<Entry>>,
    place: Place,
    brought: Vec<(ShapeId, Vec<Posting>)>,
) -> Option<usize> {
    let (at, begin) = (place.at(), place.begin);
    let commit = RepairEntry::Commit { end_lsn: begin, time: now() };
    slices.send(vec![Entry::Repair(commit)]).await.ok()?;
    let mut durable = shop.durable.clone();
    durable.wait_for(|durable| *durable >= begin).await.ok()?;
    for logs in shop.both_logs() {
        logs.each(&mut |log| log.note_repairs(&[first_place(at)]));
    }
    let mut entries = 0;
    for (shape, postings) in brought {
        entries += postings.len();
        let of_members = shop.members.logs.has(shape);
        let appender = if of_members { &shop.members.appender } else { &shop.appender };
        for (lsn, postings) in pieces(postings, at, begin.0 - place.end.0) {
            let brought = postings.into();
            let transaction = HeldTransaction { lsn, xid: place.xid, brought };
            appender.repair(shape, transaction).await.ok()?;
        }
    }
    for appender in [&shop.appender, &shop.members.appender] {
        appender.pass(begin).await.ok()?;
        appender.sync().await.ok()?;
    }
    Some(entries)
}

fn later(error: impl Into<anyhow::Error>) -> Unrepaired {
    Unrepaired::Later(error.into())
}

async fn leaves(shop: &Workshop, shape: &Shape) -> Result<Vec<Partition>, Unrepaired> {
    if !shape.table().partitioned {
        return Ok(Vec::new());
    }
    let client = shop.database.pooled().await.map_err(later)?;
    partitions(&client, &[shape.table().oid]).await.map_err(later)
}

/// Microseconds since 2000-01-01.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.saturating_sub(Duration::from_secs(POSTGRES_EPOCH));
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
