//! A running server behind its HTTP side: everything wired, nothing decided.
//!
//! A core lives as long as its replication slot can be continued. When it cannot, all shapes end and
//! a new core starts in a new *epoch*, an empty directory of its own, while HTTP stays up.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brooklet_dataflows::{Event, ShapeId};
use brooklet_sql::{Lsn, TableSchema};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::change_log::{ChangeLog, Replayed, Rolled, StoredCommit, Writer};
use crate::config::Settings;
use crate::engine::Engine;
use crate::frame::sync_dir;
use crate::ingest::{Entry, Ingest};
use crate::limits::{POSTING_SYNC_INTERVAL, SLICES_IN_FLIGHT_MAX};
use crate::replication::publication::Publication;
use crate::replication::schema::Schemas;
use crate::replication::session::{self, Cluster, Session, SessionError};
use crate::replication::slot::{self, Names, SlotState};
use crate::replication::{Database, preflight};
use crate::shape_log::postings::{PostingWriter, Recovered};
use crate::shape_log::{
    Appender, AppenderHandle, Block, PackStore, PostingReader, ShapeLog, ShapeLogs,
};
use crate::shapes::catalog::{Catalog, ShapeRecord};
use crate::shapes::create::{Workshop, prune_recent};
use crate::shapes::recent::RecentCommits;
use crate::shapes::registry::Registry;
use crate::shapes::shape::{SnapshotState, Stage};
use crate::shapes::{Defined, Shape};

/// Everything a request needs.
pub struct Core {
    /// The shapes.
    pub registry: Arc<Registry>,
    /// Reads postings.
    pub postings: PostingReader,
    /// Whether the stream is connected.
    pub connected: watch::Receiver<bool>,
    /// Ends with the core.
    tasks: JoinSet<()>,
}

/// Why a core ended.
#[derive(Debug)]
pub enum CoreEnd {
    /// The slot cannot be continued: start over in a new epoch.
    StartOver(SessionError),
    /// The process must end.
    Failed(anyhow::Error),
}

/// What a storage directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u16,
    epoch: u64,
    cluster: Cluster,
    database: String,
    slot: String,
}

/// A directory to work in, and where its log ends.
struct Epoch {
    cluster: Cluster,
    dir: PathBuf,
    log: ChangeLog,
    writer: Writer,
    commits: Vec<StoredCommit>,
}

/// Checks the database, opens or begins an epoch, restores its shapes and starts the stream.
pub async fn start(
    settings: &Settings,
    database: &Database,
) -> anyhow::Result<(Arc<Core>, mpsc::UnboundedReceiver<CoreEnd>)> {
    let names = Names::new(&settings.stream_id);
    let epoch = open_epoch(settings, database, &names).await?;
    let (ends, ended) = mpsc::unbounded_channel();
    let core = wire(settings, database, names, epoch, ends).await?;
    Ok((core, ended))
}

async fn open_epoch(
    settings: &Settings,
    database: &Database,
    names: &Names,
) -> anyhow::Result<Epoch> {
    let (client, server) = preflight::server(database).await?;
    preflight::slot_is_free(&client, &names.slot).await?;
    let published_anew = slot::publication(&client, &server, &names.publication).await?;
    let cluster = session::identify(database.replication(&names.slot, &names.publication)).await?;
    let meta_path = settings.dir.join("meta.json");
    let known: Option<Meta> = match std::fs::read(&meta_path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let state = slot::state(&client, &server, &names.slot).await?;
    if let Some(known) = &known {
        anyhow::ensure!(
            known.format == crate::frame::VERSION,
            "{} was written by another version of Brooklet: use that one, or an empty storage directory",
            settings.dir.display()
        );
        let dir = epoch_dir(&settings.dir, known.epoch);
        let same = known.cluster == cluster
            && known.database == server.database_name
            && known.slot == names.slot;
        let (log, writer, commits) = ChangeLog::open(&dir.join("changes"))?;
        match state {
            SlotState::At(confirmed) if same && !published_anew && confirmed <= writer.end() => {
                return Ok(Epoch { cluster, dir, log, writer, commits });
            }
            _ => tracing::warn!(
                slot = names.slot, ?state, held = %writer.end(), same_database = same,
                "what is stored cannot be continued from this slot: starting over, clients fetch anew"
            ),
        }
    }
    let epoch = known.map_or(1, |known| known.epoch + 1);
    let begin = slot::recreate(&client, &names.slot).await?;
    let dir = epoch_dir(&settings.dir, epoch);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let (log, mut writer, commits) = ChangeLog::open(&dir.join("changes"))?;
    writer.position(begin);
    writer.sync()?;
    let meta = Meta {
        format: crate::frame::VERSION,
        epoch,
        cluster: cluster.clone(),
        database: server.database_name,
        slot: names.slot.clone(),
    };
    write_meta(&meta_path, &meta)?;
    remove_other_epochs(&settings.dir, &dir);
    Ok(Epoch { cluster, dir, log, writer, commits })
}

fn epoch_dir(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("epoch-{epoch}"))
}

fn write_meta(path: &Path, meta: &Meta) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec_pretty(meta)?)?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, path)?;
    Ok(sync_dir(path)?)
}

/// Best effort: an old epoch costs disk, nothing else.
fn remove_other_epochs(dir: &Path, keep: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let named =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("epoch-"));
        if named && path != keep {
            _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// What is found of one shape in the posting log.
type FoundPostings = HashMap<ShapeId, Vec<(Vec<brooklet_dataflows::Posting>, Vec<Block>)>>;

async fn wire(
    settings: &Settings,
    database: &Database,
    names: Names,
    epoch: Epoch,
    ends: mpsc::UnboundedSender<CoreEnd>,
) -> anyhow::Result<Arc<Core>> {
    let Epoch { cluster, dir, log, writer, commits } = epoch;
    let (mut found, mut ended, mut last_id) = (FoundPostings::new(), HashSet::new(), 0);
    let posting_writer =
        PostingWriter::open(&dir.join("postings"), writer.end(), |recovered| match recovered {
            Recovered::Postings(shape, postings, blocks) => {
                last_id = last_id.max(shape.0);
                found.entry(shape).or_default().push((postings.to_vec(), blocks));
            }
            Recovered::Ended(shape) => _ = ended.insert(shape),
        })?;
    let (catalog, recovered) = Catalog::open(&dir.join("catalog.log"), &ended)?;
    let packs_used = recovered.shapes.iter().flat_map(|(shape, _)| &shape.batches);
    let packs = PackStore::open(&dir.join("snapshots"), &packs_used.map(|b| b.pack()).collect())?;

    let logs = Arc::new(ShapeLogs::default());
    let (ended_sender, ended_shapes) = mpsc::unbounded_channel();
    let position = posting_writer.position();
    let postings = posting_writer.reader();
    let (appender, appender_handle) =
        Appender::new(posting_writer, Arc::clone(&logs), ended_sender);
    let emitter = appender_handle.clone();
    let (engine, _) = Engine::start(move |collated| emitter.collated(collated.clone()))?;
    spawn_thread("postings", ends.clone(), move || Ok(appender.run()?))?;

    let schemas = Schemas::new(database.clone());
    let next_id = recovered.next_id.max(last_id + 1);
    let shapes = restore(recovered.shapes, found, &logs, &schemas);
    let plans = shapes.iter().map(|shape| Event::AddShape(Arc::new(shape.defined.plan(shape.id))));
    engine.send(plans.collect()).await?;
    replay(&log, position, &engine).await?;

    let recent = Arc::new(RecentCommits::new(commits));
    let (durable_sender, durable) = watch::channel(writer.end());
    let (rolled, rolled_files) = mpsc::unbounded_channel();
    let (slices, slices_receiver) = mpsc::channel::<Vec<Entry>>(SLICES_IN_FLIGHT_MAX);
    let waiting_to_be_sealed = log.unsealed();
    let ingest = Ingest {
        writer,
        engine: engine.clone(),
        recent: Arc::clone(&recent),
        durable: durable_sender,
        rolled,
        skipping: false,
    };
    spawn_thread("changes", ends.clone(), move || Ok(ingest.run(slices_receiver)?))?;

    let workshop = Arc::new(Workshop {
        publication: Publication::new(database.clone(), names.publication.clone()),
        database: database.clone(),
        schemas,
        engine,
        change_log: log.clone(),
        recent,
        logs: Arc::clone(&logs),
        appender: appender_handle.clone(),
        packs,
        catalog,
        durable: durable.clone(),
        chunk_bytes: settings.chunk_bytes,
    });
    let registry = Registry::new(Arc::clone(&workshop), shapes, next_id);
    let (connected_sender, connected) = watch::channel(false);
    let session = Session {
        database: database.clone(),
        names,
        cluster,
        slices,
        durable,
        connected: connected_sender,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&registry).follow(ended_shapes));
    tasks.spawn(keep_synced(workshop, appender_handle));
    tasks.spawn(seal(log, logs, waiting_to_be_sealed, rolled_files));
    tasks.spawn(async move {
        let error = session.run().await;
        let end = match error {
            SessionError::SlotLost(_) | SessionError::OtherDatabase(_) => CoreEnd::StartOver(error),
            other => CoreEnd::Failed(other.into()),
        };
        _ = ends.send(end);
    });
    Ok(Arc::new(Core { registry, postings, connected, tasks }))
}

/// A thread whose failure ends the process.
fn spawn_thread(
    name: &'static str,
    ends: mpsc::UnboundedSender<CoreEnd>,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> std::io::Result<()> {
    let body = move || {
        if let Err(error) = run() {
            _ = ends.send(CoreEnd::Failed(error));
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(body).map(|_| ())
}

fn restore(
    records: Vec<(ShapeRecord, Arc<TableSchema>)>,
    mut found: FoundPostings,
    logs: &ShapeLogs,
    schemas: &Schemas,
) -> Vec<Shape> {
    let mut shapes = Vec::with_capacity(records.len());
    for (record, table) in records {
        schemas.restore(&table);
        let defined = match Defined::restore(record.definition, record.source, table) {
            Ok(defined) => defined,
            Err(error) => {
                tracing::warn!(handle = record.handle, %error, "a stored shape is left out");
                continue;
            }
        };
        let visibility = record.visibility;
        let log =
            ShapeLog::restored(record.id, record.chunk_bytes, visibility.clone(), record.until);
        for (postings, blocks) in found.remove(&record.id).unwrap_or_default() {
            log.publish(&postings, &blocks);
        }
        let log = Arc::new(log);
        logs.insert(&log);
        let snapshot = SnapshotState {
            stage: Stage::Complete(visibility),
            batches: record.batches,
            chunk: record.chunks - 1,
        };
        shapes.push(Shape::new(record.handle, defined, log, snapshot));
    }
    shapes
}

/// Sends the dataflow what the posting log does not have yet.
async fn replay(log: &ChangeLog, after: Lsn, engine: &Engine) -> anyhow::Result<()> {
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

/// Makes postings durable at intervals, so that a restart replays little and sealing can go on.
async fn keep_synced(workshop: Arc<Workshop>, appender: AppenderHandle) {
    let mut interval = tokio::time::interval(POSTING_SYNC_INTERVAL);
    loop {
        interval.tick().await;
        if workshop.logs.processed() > workshop.logs.durable() && appender.sync().await.is_err() {
            return;
        }
        if let Err(error) = prune_recent(&workshop).await {
            tracing::debug!(%error, "cannot ask which commits are visible");
        }
    }
}

/// Seals files once the posting log has all of them.
async fn seal(
    log: ChangeLog,
    logs: Arc<ShapeLogs>,
    waiting: Vec<Rolled>,
    mut rolled: mpsc::UnboundedReceiver<Rolled>,
) {
    let mut waiting: std::collections::VecDeque<Rolled> = waiting.into();
    loop {
        let next = match waiting.pop_front() {
            Some(next) => next,
            None => match rolled.recv().await {
                Some(next) => next,
                None => return,
            },
        };
        while logs.durable() < next.end {
            tokio::time::sleep(POSTING_SYNC_INTERVAL).await;
        }
        let log = log.clone();
        match tokio::task::spawn_blocking(move || log.seal(&next)).await {
            Ok(Ok(())) => tracing::debug!(first_seq = next.first_seq, "sealed"),
            Ok(Err(error)) => tracing::error!(%error, "a change log file stays row-wise"),
            Err(error) => tracing::error!(%error, "sealing failed"),
        }
    }
}

impl Core {
    /// Makes durable what a clean stop can, so that the next start has nothing to replay.
    pub async fn stop(&self) {
        _ = self.registry.workshop().appender.sync().await;
    }

    /// How many background tasks run; for diagnosis.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }
}
