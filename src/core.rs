//! A running server behind its HTTP side: everything wired, nothing decided.
//!
//! A core lives as long as its shapes can be kept right, from slot to slot ([`crate::repair`]). When
//! they cannot, all end and a new core starts in a new *epoch*, an empty directory of its own, while
//! HTTP stays up.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use brooklet_dataflows::{EndReason, Event, ShapeId, ShapePlan};
use brooklet_sql::Lsn;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::change_log::{ChangeLog, Replayed, Writer};
use crate::config::Settings;
use crate::engine::Engine;
use crate::epoch::{self, Epoch, MetaFile};
use crate::ingest::Entry;
use crate::limits::{SHAPES_PER_BATCH_MAX, STOP_CHECKPOINT_MAX, STOP_MAX};
use crate::members::{checkpoint, concerns, load};
use crate::repair::{Stream, first_place};
use crate::replication::Database;
use crate::replication::layouts::Layouts;
use crate::replication::memberships::Memberships;
use crate::replication::rewrites::{Notes, Rewrites};
use crate::replication::schema::Schemas;
use crate::replication::session::{Cluster, Session, SessionError};
use crate::replication::slot::Names;
use crate::shape_log::posting_files::PostingFiles;
use crate::shape_log::postings::{PostingWriter, Recovered};
use crate::shape_log::{
    Appender, AppenderHandle, Encoded, LogPoint, PackStore, Results, ShapeLog, ShapeLogs,
};
use crate::shapes::Shape;
use crate::shapes::base::Base;
use crate::shapes::catalog::{Catalog, ShapeRecord};
use crate::shapes::create::Workshop;
use crate::shapes::fold::Folder;
use crate::shapes::partitions::{Partitions, Stale};
use crate::shapes::recent::RecentCommits;
use crate::shapes::reconcile::reconcile;
use crate::shapes::registry::Registry;
use crate::shapes::stored::Stored;
use crate::shapes::template::Templates;
use crate::shapes::visibility::Seen;
use crate::storage::{Directory, StorageHandle};

use members::{MemberStores, divide};
use threads::{start_appender, start_dataflow, start_ingest};
use upkeep::{keep_going, seal};

mod members;
mod threads;
mod upkeep;

/// Everything a request needs.
pub struct Core {
    /// The shapes.
    pub registry: Arc<Registry>,
    /// Whether the stream is connected.
    pub connected: watch::Receiver<bool>,
    /// Whether the slot is lost: shapes may lack what was written since, and nobody is up to date.
    pub lost: watch::Receiver<bool>,
    stop_stream: watch::Sender<bool>,
    /// Ended when the core is dropped.
    _tasks: JoinSet<()>,
}

/// Where the parts of a core say that it has ended; unbounded, each says so once.
type Ends = mpsc::UnboundedSender<CoreEnd>;

/// Why a core ended.
#[derive(Debug)]
pub enum CoreEnd {
    /// The slot cannot be continued: start over in a new epoch.
    StartOver(SessionError),
    /// The process must end.
    Failed(anyhow::Error),
}

/// Checks the database, opens or begins an epoch, restores its shapes and starts the stream.
///
/// `anew` begins an epoch in any case: the old core may not have let go of its own yet.
pub async fn start(
    settings: &Settings,
    database: &Database,
    anew: bool,
) -> anyhow::Result<(Arc<Core>, mpsc::UnboundedReceiver<CoreEnd>)> {
    let names = Names::new(&settings.stream_id);
    let epoch = epoch::open(&Directory::handle(), settings, database, &names, anew).await?;
    let (ends, ended) = mpsc::unbounded_channel();
    let core = wire(settings, database, names, epoch, ends).await?;
    Ok((core, ended))
}

/// The logs of finished shapes.
type FoundLogs = BTreeMap<ShapeId, ShapeLog>;

/// What an epoch's directory holds beside the change log.
struct Stores {
    appender: AppenderHandle,
    logs: Arc<ShapeLogs>,
    postings: PostingFiles,
    /// Where the posting log ends: the dataflow is told again what comes after.
    position: Lsn,
    ended: mpsc::UnboundedReceiver<crate::shape_log::Ended>,
    /// Shapes whose log is large against their rows.
    large: (mpsc::UnboundedSender<ShapeId>, mpsc::UnboundedReceiver<ShapeId>),
    catalog: Arc<Catalog>,
    partitions: Arc<Partitions>,
    layouts: Arc<Layouts>,
    /// Partitioned tables whose shapes must end.
    stale: mpsc::UnboundedReceiver<Stale>,
    records: Vec<ShapeRecord>,
    /// How their tables were found last.
    notes: Notes,
    /// What they have in common.
    stored: Stored,
    templates: Templates,
    next_id: u64,
    found: FoundLogs,
    packs: PackStore,
    members: MemberStores,
}

fn open_stores(
    storage: &StorageHandle,
    dir: &Path,
    changes: &Writer,
) -> anyhow::Result<(Stores, [Appender; 2])> {
    let path = dir.join("catalog.log");
    let mut recovered = Catalog::read(storage, &path)?;
    let (of_members, others) = divide(&recovered.shapes, &recovered.forms);
    let (writer, mut found, last_id) =
        open_postings(storage, &dir.join("postings"), changes.end(), &others)?;
    let (ended_sender, ended) = mpsc::unbounded_channel();
    let (large_sender, large) = mpsc::unbounded_channel();
    let told = (ended_sender.clone(), large_sender.clone());
    let (members, members_appender, member_id) =
        members::open(storage, dir, changes.end(), &of_members, told, &mut found)?;
    let last_id = last_id.max(member_id);
    recovered.keep(|shape| found.contains_key(&shape.id));
    let catalog = Catalog::rewrite(storage, &path, &recovered)?;
    let bases = recovered.shapes.iter().flat_map(|shape| &shape.bases);
    let used = bases.flat_map(|base| &base.batches);
    let packs = PackStore::open(storage, &dir.join("snapshots"), used)?;
    let logs = Arc::new(ShapeLogs::default());
    let (stale_sender, stale) = mpsc::unbounded_channel();
    let catalog = Arc::new(catalog);
    let templates = Templates::default();
    let stored = Stored::compile(&recovered.templates, &recovered.forms, &templates);
    let tables = recovered.templates.values().map(|template| &*template.table);
    let layouts = Arc::new(Layouts::new(changes.relations(), tables));
    let (remembered, own) = (Arc::clone(&catalog), Arc::clone(&layouts));
    let partitions = Partitions::new(recovered.partitions, remembered, stale_sender, own);
    let (position, postings) = (writer.position(), writer.files().clone());
    let (appender, handle) =
        Appender::new(writer, Arc::clone(&logs), ended_sender, large_sender.clone());
    let stores = Stores {
        appender: handle,
        logs,
        postings,
        position,
        ended,
        large: (large_sender, large),
        catalog,
        partitions: Arc::new(partitions),
        layouts,
        stale,
        next_id: recovered.next_id.max(last_id + 1),
        records: recovered.shapes,
        notes: recovered.notes,
        stored,
        templates,
        found,
        packs,
        members,
    };
    Ok((stores, [appender, members_appender]))
}

/// Reads the logs of the shapes in `records` back, but of those that have ended. Also returns the
/// highest number of a shape that the posting log knows.
fn open_postings(
    storage: &StorageHandle,
    dir: &Path,
    end: Lsn,
    records: &[&ShapeRecord],
) -> anyhow::Result<(PostingWriter, FoundLogs, u64)> {
    let mut seen = None;
    let logs = records.iter().map(|record| {
        let seen = Seen::like(&mut seen, &record.visibility, record.until);
        // Entries that its oldest base contains are not read.
        let begin = record.bases.first().map_or(LogPoint::BEGIN, |base| base.after);
        let (id, chunk_bytes) = (record.id, record.chunk_bytes);
        (id, ShapeLog::restored(id, chunk_bytes, seen, begin))
    });
    let (mut logs, mut last_id): (FoundLogs, u64) = (logs.collect(), 0);
    let writer = PostingWriter::open(storage, dir, end, |recovered| match recovered {
        Recovered::News(shape, news) => {
            last_id = last_id.max(shape.0);
            logs.get(&shape).map_or(Ok(()), |log| log.publish(news).map(|_| ()))
        }
        Recovered::Ended(shape) => {
            last_id = last_id.max(shape.0);
            if let Some(log) = logs.remove(&shape) {
                log.close(EndReason::Removed);
            }
            Ok(())
        }
    })?;
    Ok((writer, logs, last_id))
}

async fn wire(
    settings: &Settings,
    database: &Database,
    names: Names,
    epoch: Epoch,
    ends: Ends,
) -> anyhow::Result<Arc<Core>> {
    let Epoch { storage, cluster, publication, dir, log, writer, commits, meta, lost } = epoch;
    let meta = Arc::new(meta);
    let (mut stores, [appender, of_members]) = open_stores(&storage, &dir, &writer)?;
    let appender = start_appender("postings", appender, &ends)?;
    start_appender("member postings", of_members, &ends)?;
    let engine = start_dataflow(Results::new(appender, stores.appender.clone()), &ends)?;
    let schemas =
        Schemas::new(database.clone(), Arc::clone(&stores.layouts)).knowing(rewrites(&mut stores));
    let shapes = revive(&mut stores, &schemas, &log, &engine, (&meta, writer.end())).await?;
    let (unsealed, begun_after) = (log.unsealed(&commits), writer.last_commit());
    let recent = Arc::new(RecentCommits::since(meta.moved(), commits));
    let (rolled, rolled_files) = mpsc::unbounded_channel();
    let (plans, reached) = (member_plans(&shapes), (meta.repaired(writer.end()), writer.end()));
    let (members, watch, checkpoint) =
        members::start(stores.members, plans, settings.subquery_memory, &log, reached, &ends)
            .await?;
    let (durable, slices) =
        start_ingest(writer, &engine, recent.clone(), rolled, watch, &ends).await?;
    let members = members.handle(slices.clone());
    let ((connected_sender, connected), changed) = (watch::channel(false), Arc::new(Notify::new()));
    let ((stop_stream, stop), (lost_sender, is_lost)) =
        (watch::channel(false), watch::channel(lost.is_some()));
    let (of_table, stream) = ((publication, cluster), (slices, durable.clone()));
    let (layouts, partitions) = (stores.layouts, Arc::clone(&stores.partitions));
    let told = (Arc::clone(&changed), connected_sender, stop);
    let session = session(database, &names, of_table, layouts, partitions, stream, told);
    let workshop = Workshop {
        publication: schemas.publication(names.publication, published(&shapes, &meta)),
        database: database.clone(),
        schemas,
        engine,
        change_log: log.clone(),
        recent,
        logs: Arc::clone(&stores.logs),
        appender: stores.appender.clone(),
        postings: stores.postings,
        packs: stores.packs,
        encoded: Encoded::default(),
        large: stores.large.0,
        catalog: stores.catalog,
        partitions: stores.partitions,
        durable,
        begun_after,
        members,
        chunk_bytes: settings.chunk_bytes,
    };
    let (templates, next_id) = (stores.templates, stores.next_id);
    let registry =
        Registry::new(Arc::new(workshop), templates, shapes, next_id, settings.ends_idle());
    reconcile(&registry).await?;
    let mut tasks = keep_going(&registry, stores.appender, settings, changed);
    tasks.spawn(Arc::clone(&registry).follow(stores.ended));
    tasks.spawn(Arc::clone(&registry).follow_stale(stores.stale));
    tasks.spawn(Folder::new(registry.clone(), stores.large.1, settings.catch_up_window).run());
    tasks.spawn(seal(Arc::clone(registry.workshop()), unsealed, rolled_files));
    let with_subqueries = registry.finished_with_subqueries();
    if lost.is_none() {
        tasks.spawn(load::restore(Arc::clone(&registry), with_subqueries, checkpoint));
    }
    let stream = Stream { session, registry: Arc::clone(&registry), meta, lost: lost_sender };
    tasks.spawn(follow(stream, lost, ends));
    Ok(Arc::new(Core { registry, connected, lost: is_lost, stop_stream, _tasks: tasks }))
}

/// A session of a core's own stream.
fn session(
    database: &Database,
    names: &Names,
    (publication, cluster): (u32, Cluster),
    layouts: Arc<Layouts>,
    partitions: Arc<Partitions>,
    (slices, durable): (mpsc::Sender<Vec<Entry>>, watch::Receiver<Lsn>),
    (changed, connected, stop): (Arc<Notify>, watch::Sender<bool>, watch::Receiver<bool>),
) -> Session {
    let (database, names) = (database.clone(), names.clone());
    Session {
        database,
        names,
        publication,
        cluster,
        layouts,
        partitions,
        changed,
        slices,
        durable,
        connected,
        stop,
    }
}

/// The tables that shapes are about, those of subqueries included.
fn tables(shapes: &[Shape]) -> HashSet<u32> {
    let own = shapes.iter().map(|shape| shape.table().oid);
    own.chain(crate::members::tables(&member_plans(shapes))).collect()
}

/// How the tables of shapes are published, as far as they stand for that; what changes is noted.
fn published(shapes: &[Shape], meta: &Arc<MetaFile>) -> Memberships {
    let (known, meta) = (meta.published(), Arc::clone(meta));
    let tables = tables(shapes).into_iter().map(|table| (table, known.get(&table).copied()));
    Memberships::new(tables, move |table, membership| meta.note_published(table, membership))
}

/// How the tables of shapes were found last; what changes is noted.
fn rewrites(stores: &mut Stores) -> Rewrites {
    let (notes, catalog) = (std::mem::take(&mut stores.notes), Arc::clone(&stores.catalog));
    Rewrites::new(notes, move |table, note| catalog.note_found(table, note))
}

/// The plans of shapes with subqueries.
fn member_plans(shapes: &[Shape]) -> Vec<Arc<ShapePlan>> {
    let plans = shapes.iter().map(|shape| &shape.plan);
    plans.filter(|plan| concerns(plan)).cloned().collect()
}

/// Streams; tells why that ended.
async fn follow(stream: Stream, lost: Option<String>, ends: Ends) {
    // Nobody listening means that the process is ending.
    _ = ends.send(stream.run(lost).await);
}

/// Brings the shapes back that were found, and has the dataflow do again what is missing of their
/// logs: nothing that a repair has brought.
async fn revive(
    stores: &mut Stores,
    schemas: &Schemas,
    log: &ChangeLog,
    engine: &Engine,
    (meta, end): (&MetaFile, Lsn),
) -> anyhow::Result<Vec<Shape>> {
    // Now that the server has just answered: who reads a shape afterwards needs none.
    schemas.version().await?;
    let repairs = meta.repairs(end);
    let repaired = repairs.last().copied().unwrap_or_default();
    [&stores.logs, &stores.members.logs].into_iter().for_each(|logs| logs.note_seen(meta.seen()));
    let (records, found) = (std::mem::take(&mut stores.records), std::mem::take(&mut stores.found));
    let (shapes, left_out) = restore(
        records,
        &stores.stored,
        found,
        [&stores.logs, &stores.members.logs],
        schemas,
        &repairs,
    );
    stores.catalog.remove_all(&left_out).await?;
    replay(log, stores.position.max(repaired), &shapes, engine).await?;
    Ok(shapes)
}

fn restore(
    records: Vec<ShapeRecord>,
    stored: &Stored,
    mut found: FoundLogs,
    [logs, of_members]: [&ShapeLogs; 2],
    schemas: &Schemas,
    repairs: &[Lsn],
) -> (Vec<Shape>, Vec<ShapeId>) {
    stored.templates().for_each(|template| schemas.restore(template.table()));
    stored.subquery_tables().iter().for_each(|table| schemas.restore(table));
    let (mut shapes, mut left_out) = (Vec::with_capacity(records.len()), Vec::new());
    let repairs: Vec<Lsn> = repairs.iter().map(|at| first_place(*at)).collect();
    for record in records {
        let Some(log) = found.remove(&record.id) else { continue };
        let Some(defined) = stored.question(&record) else {
            tracing::warn!(id = record.id.0, "a stored shape is left out");
            log.close(EndReason::Removed);
            left_out.push(record.id);
            continue;
        };
        let seen = log.seen().unwrap_or_else(|| Seen::new(record.visibility, record.until));
        let mut bases = record.bases.into_iter().map(Base::restored);
        let Some(first) = bases.next() else { continue };
        log.note_repairs(&repairs);
        let log = Arc::new(log);
        let shape = Shape::new(defined, Arc::clone(&log), first);
        if concerns(&shape.plan) { of_members } else { logs }.insert(&log);
        shape.set_seen(seen);
        bases.for_each(|base| shape.add_base(Arc::new(base)));
        shape.add_retired(record.retired);
        shape.set_generation(record.generation);
        shapes.push(shape);
    }
    (shapes, left_out)
}

/// Sends the dataflow the shapes, then what the posting log does not have yet.
async fn replay(
    log: &ChangeLog,
    after: Lsn,
    shapes: &[Shape],
    engine: &Engine,
) -> anyhow::Result<()> {
    // What is in flight keeps its memory, so not all at once.
    for some in shapes.chunks(SHAPES_PER_BATCH_MAX) {
        let plans = some.iter().map(|shape| &shape.plan).filter(|plan| !concerns(plan));
        let plans = plans.map(|plan| Event::AddShape(Arc::clone(plan)));
        engine.send(plans.collect()).await?;
    }
    let (log, engine) = (log.clone(), engine.clone());
    let replayed = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let mut batch = Vec::new();
        let mut stopped = None;
        log.replay(after, |event| {
            batch.push(match event {
                Replayed::Change(change) => Event::Change(change),
                Replayed::Relation(relation) => Event::Relation(relation),
                Replayed::Truncate(tables) => Event::Truncate(tables),
                Replayed::Commit(commit) => Event::Commit { lsn: commit.lsn, xid: commit.xid },
            });
            if batch.len() >= 1024 {
                stopped = engine.send_blocking(std::mem::take(&mut batch)).err().or(stopped.take());
            }
        })?;
        engine.send_blocking(batch)?;
        stopped.map_or(Ok(()), |error| Err(error.into()))
    });
    replayed.await?
}

impl Core {
    /// Frees the slot and makes durable what can be, so that the next start has nothing to replay.
    pub async fn stop(&self) {
        self.stop_stream.send_replace(true);
        let mut connected = self.connected.clone();
        let disconnected = connected.wait_for(|connected| !connected);
        _ = tokio::time::timeout(STOP_MAX, disconnected).await;
        let shop = self.registry.workshop();
        _ = shop.appender.sync().await;
        _ = shop.members.appender.sync().await;
        // What is not written by then is read from Postgres, or replayed.
        _ = tokio::time::timeout(STOP_CHECKPOINT_MAX, checkpoint::make(shop)).await;
    }
}

#[cfg(test)]
pub(crate) mod tests;
