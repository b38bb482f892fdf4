//! One life of a server's inner parts on a disk that fails, all on one thread: chance says which part
//! goes on next, so that a seed repeats a life exactly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use brooklet_dataflows::{Event, ShapeId};
use brooklet_sql::{Lsn, Tables};
use tokio::sync::{mpsc, watch};

use super::super::{FoundLogs, open_stores, replay, restore};
use super::members::{self, Lane, Subquery};
use super::postgres::{Postgres, Question, Stream, schema};
use super::records::{Known, Records};
use super::world::World;
pub(super) use super::world::{Ended, Task};
use crate::change_log::{ChangeLog, Flushed, Rolled, Writer};
use crate::engine::{Engine, Mail};
use crate::epoch::begin_dir;
use crate::ingest::{Entry, Ingest, confirm_one};
use crate::members::watch::Watch;
use crate::replication::Database;
use crate::replication::memberships::Memberships;
use crate::replication::schema::Schemas;
use crate::shape_log::pack::PackError;
use crate::shape_log::{Appender, Encoded, LogPoint, ShapeLog, ShapeLogs};
use crate::shapes::Shape;
use crate::shapes::base::{Base, SnapshotState, Stage};
use crate::shapes::catalog::ShapeRecord;
use crate::shapes::chunks::Chunks;
use crate::shapes::create::{CreateError, Workshop, early, finish, install};
use crate::shapes::recent::RecentCommits;
use crate::shapes::registry::Registry;
use crate::shapes::retention::Retention;
use crate::shapes::stored::Stored;
use crate::shapes::visibility::Seen;
use crate::storage::tests::faulty::Faulty;

/// Goes on once everything is open.
type Begin = Box<dyn FnOnce(World) -> Life>;

pub(super) struct Life {
    pub(super) world: World,
    pub(super) ingest: Ingest,
    batches: mpsc::Receiver<Mail>,
    confirms: Confirms,
    appenders: [Appender; 2],
    pub(super) stream: Stream,
    pub(super) shop: Arc<Workshop>,
    pub(super) registry: Arc<Registry>,
    pub log: ChangeLog,
    pub shapes: HashMap<ShapeId, Arc<Shape>>,
    pub(super) durable: watch::Receiver<Lsn>,
    rolled: mpsc::UnboundedReceiver<Rolled>,
    unsealed: Vec<Rolled>,
    pub(super) tasks: Vec<Task>,
    pub(super) retention: Arc<tokio::sync::Mutex<Retention>>,
    /// One log is folded after the other.
    pub(super) folding: Arc<tokio::sync::Mutex<()>>,
    next_id: u64,
}

/// How the rest of the process may go on.
pub(super) enum Step {
    /// The dataflow takes these.
    Dataflow(Vec<Event>),
    /// Nothing to hand on.
    Other,
}

fn database() -> Database {
    // Nothing connects to it.
    Database::new("postgresql://nobody@127.0.0.1:1/none", None, 1).unwrap()
}

impl Life {
    /// Starts as `core` does.
    pub fn start(world: World, disk: &Faulty) -> Result<Life, (World, Ended)> {
        let opened = Life::open(&world, disk);
        match opened {
            Ok(open) => Ok(open(world)),
            Err(error) => Err((world, error)),
        }
    }

    fn open(world: &World, disk: &Faulty) -> Result<Begin, Ended> {
        let _context = world.runtime.enter();
        let (storage, dir) = (disk.handle(), Path::new("/storage/epoch-1"));
        [Path::new("/storage"), dir].into_iter().try_for_each(|dir| begin_dir(&*storage, dir))?;
        let (log, writer, commits) = ChangeLog::open(&storage, &dir.join("changes"))?;
        world.check_confirmed(writer.end());
        let (stores, appenders) = open_stores(&storage, dir, &writer)?;
        let (engine, batches) = Engine::here();
        let schemas = Schemas::new(database(), Arc::clone(&stores.layouts));
        world.records.lock().unwrap().found(&stores.records);
        let logs = [&*stores.logs, &*stores.members.logs];
        let (found, repaired) = ((stores.records, stores.found), world.repaired());
        let shapes = revive(found, &stores.stored, logs, &schemas, &world.repairs);
        world.runtime.block_on(replay(&log, stores.position.max(repaired), &shapes, &engine))?;
        let (unsealed, begun_after) = (log.unsealed(&commits), writer.last_commit());
        let (recent, start) = (Arc::new(RecentCommits::new(commits)), writer.end());
        let (lane, watch, members, checkpoint) =
            Lane::open(world, stores.members, &shapes, &log, start)?;
        let (ingest, confirms, durable, rolled) = ingest(writer, &recent, watch);
        let shop = Arc::new(Workshop {
            database: database(),
            publication: schemas.publication("p".into(), Memberships::new([], |_, _| {})),
            schemas,
            engine,
            change_log: log.clone(),
            recent,
            logs: stores.logs,
            appender: stores.appender,
            packs: stores.packs,
            encoded: Encoded::default(),
            catalog: stores.catalog,
            partitions: stores.partitions,
            durable: durable.clone(),
            begun_after,
            postings: stores.postings,
            large: stores.large.0,
            members,
            chunk_bytes: 300,
        });
        let (ended, next_id, templates) = (stores.ended, stores.next_id, stores.templates);
        Ok(Box::new(move |mut world: World| {
            let registry = Registry::new(Arc::clone(&shop), templates, shapes, next_id, true);
            let stream = Stream::connect(&mut world.postgres.lock().unwrap(), start);
            world.lane = Some(lane);
            let tasks = members::begun(&world, &registry, ended, checkpoint);
            let shapes = registry.finished().into_iter().map(|shape| (shape.id(), shape)).collect();
            let retention = Retention::new(Arc::clone(&registry), None);
            world.rng = world.rng.fork();
            world.later = [0, 0, 10, 40][world.rng.below(4)];
            Life {
                world,
                ingest,
                batches,
                confirms,
                appenders,
                stream,
                shop,
                registry,
                log,
                shapes,
                durable,
                rolled,
                unsealed,
                tasks,
                retention: Arc::new(tokio::sync::Mutex::new(retention)),
                folding: Arc::default(),
                next_id,
            }
        }))
    }

    pub fn end(self) -> World {
        // What was published may have been confirmed in the last moment.
        self.hear();
        World { lane: None, ..self.world }
    }

    pub fn emitter(&self) -> crate::shape_log::AppenderHandle {
        self.shop.appender.clone()
    }

    pub fn records(&self) -> &Arc<Mutex<Records>> {
        &self.world.records
    }

    pub fn postgres(&self) -> &Arc<Mutex<Postgres>> {
        &self.world.postgres
    }

    /// The slot hears what is durable.
    pub(super) fn hear(&self) {
        let mut postgres = self.world.postgres.lock().unwrap();
        postgres.confirmed = postgres.confirmed.max(*self.durable.borrow());
    }

    /// Whether the dataflow has something to do.
    pub(super) fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Something happens.
    pub fn step(&mut self) -> Result<Step, Ended> {
        self.hear();
        if self.batches.len() > 8 {
            return Ok(self.dataflow());
        }
        match self.world.rng.below(100) {
            0..19 => self.world.postgres.lock().unwrap().commit(),
            19 => self.checkpoint(),
            20..22 => self.world.postgres.lock().unwrap().noise(),
            22..23 if self.world.rng.percent(5) => self.world.postgres.lock().unwrap().alter(),
            23..43 => self.receive()?,
            43..45 => self.confirms.flushed = Some(self.ingest.writer.flushed()),
            45..55 => self.confirm()?,
            55..68 => return Ok(self.dataflow()),
            68..78 => self.append()?,
            78..83 => _ = self.create(),
            83 => self.remove(),
            84..90 => self.poll()?,
            90..92 => self.fold(),
            92 => self.slow_catalog(),
            93..95 => self.cut()?,
            95 => self.seal(),
            96 => self.retain(),
            97..98 => self.sync_postings(),
            98 => self.retain(),
            _ => self.read()?,
        }
        Ok(Step::Other)
    }

    /// Until nothing is left to do: everything has arrived everywhere. `None` then.
    pub fn catch_up(&mut self) -> Result<Option<Step>, Ended> {
        self.hear();
        if !self.batches.is_empty() {
            return Ok(Some(self.dataflow()));
        }
        let done = self.stream.is_done(&self.world.postgres.lock().unwrap());
        if !done {
            self.receive()?;
            return Ok(Some(Step::Other));
        }
        self.confirms.flushed = None;
        self.confirm()?;
        self.append()?;
        self.poll()?;
        // What tasks have told the thread of subqueries.
        self.append()?;
        // Only the one that follows the ends is always there.
        let waits = self.tasks.len() > 1 || members::is_behind(self);
        if waits {
            // Rows of subqueries may wait until the stream has passed their snapshot.
            let wal = self.world.postgres.lock().unwrap().wal;
            self.hand_on(vec![Entry::Idle(Lsn(wal))])?;
        }
        Ok((waits || !self.batches.is_empty()).then_some(Step::Other))
    }

    pub(super) fn receive(&mut self) -> Result<(), Ended> {
        let most = 1 + self.world.rng.below(8);
        let slice = self.stream.slice(&mut self.world.postgres.lock().unwrap(), most);
        self.hand_on(slice)
    }

    /// Appends a slice; the dataflow has yet to take its events.
    pub(super) fn hand_on(&mut self, slice: Vec<Entry>) -> Result<(), Ended> {
        let mut events = Vec::new();
        self.ingest.slice(slice, &mut events)?;
        if !events.is_empty() {
            self.shop.engine.send_blocking(events)?;
        }
        self.ingest.watch.flush();
        self.world.lane.iter_mut().for_each(Lane::settle);
        Ok(())
    }

    /// What was appended becomes durable, or what was when that began.
    pub(super) fn confirm(&mut self) -> Result<(), Ended> {
        let begun = self.confirms.flushed.take();
        let flushed = begun.unwrap_or_else(|| self.ingest.writer.flushed());
        Ok(confirm_one(&flushed, &self.confirms.durable)?)
    }

    /// The connection breaks and comes back.
    fn cut(&mut self) -> Result<(), Ended> {
        if self.world.rng.percent(80) {
            self.hand_on(vec![Entry::Cut])?;
        }
        self.hear();
        let durable = *self.durable.borrow();
        self.stream = Stream::connect(&mut self.world.postgres.lock().unwrap(), durable);
        Ok(())
    }

    pub(super) fn dataflow(&mut self) -> Step {
        let mut events = Vec::new();
        for _ in 0..1 + self.world.rng.below(4) {
            if let Ok(Mail::Events(mut batch)) = self.batches.try_recv() {
                events.append(&mut batch);
            }
        }
        if events.is_empty() { Step::Other } else { Step::Dataflow(events) }
    }

    pub(super) fn append(&mut self) -> Result<(), Ended> {
        Ok(self.appenders.iter_mut().try_for_each(|appender| appender.turn())?)
    }

    pub(super) fn sync_postings(&mut self) {
        for appender in [&self.shop.appender, &self.shop.members.appender] {
            let appender = appender.clone();
            self.tasks.push(Box::pin(async move { _ = appender.sync().await }));
        }
    }

    pub(super) fn poll(&mut self) -> Result<(), Ended> {
        let mut tasks = std::mem::take(&mut self.tasks);
        let mut left = Vec::new();
        while !tasks.is_empty() {
            let mut task = tasks.remove(0);
            if !self.world.poll(&mut task)? {
                left.push(task);
            }
        }
        self.tasks = left;
        while let Some(slice) = self.world.lane.as_mut().and_then(Lane::slice) {
            self.hand_on(slice)?;
        }
        Ok(())
    }

    pub(super) fn seal(&mut self) {
        while let Ok(rolled) = self.rolled.try_recv() {
            self.unsealed.push(rolled);
        }
        if let Some(next) = self.unsealed.first().copied()
            && self.shop.both_logs().iter().all(|logs| logs.durable() >= next.end)
        {
            self.unsealed.remove(0);
            // What cannot be sealed stays as it is.
            let sealed = self.log.seal(&next).is_ok();
            self.world.records.lock().unwrap().sealed += usize::from(sealed);
        }
    }

    /// A client asks for a shape, unless there are many.
    pub(super) fn create(&mut self) -> Option<Arc<Shape>> {
        self.shapes.retain(|_, shape| shape.is_alive());
        if self.shapes.len() > 6 {
            return None;
        }
        let rng = &mut self.world.rng;
        let below = [None, Some(3), Some(7)][rng.below(3)];
        let mut question =
            Question { table: rng.below(2), below, listed: rng.percent(50), subquery: None };
        if self.world.subqueries && rng.percent(50) {
            let subquery = Some(Subquery::random(rng));
            question = Question { below: None, listed: true, subquery, ..question };
        }
        let all = self.world.postgres.lock().unwrap().tables.each_ref().map(|table| table.added);
        let added = all[question.table];
        let tables = (0..2).map(|table| schema(table, all[table]));
        let tables: Tables = tables.map(|table| (table.name.clone(), table)).collect();
        let id = ShapeId(self.next_id);
        self.next_id += 1;
        let handle = self.world.records.lock().unwrap().begin(id, question, added);
        let log = Arc::new(ShapeLog::new(id, self.shop.chunk_bytes));
        let mut defined = members::defined(question, added, &tables);
        self.registry.templates().share(&mut defined);
        let base = Base::new(handle, LogPoint::BEGIN, 0, SnapshotState::starting());
        let shape = Arc::new(Shape::new(defined, log, base));
        self.shapes.insert(id, Arc::clone(&shape));
        self.registry.adopt(&shape);
        let (shop, registry) = (Arc::clone(&self.shop), Arc::clone(&self.registry));
        let (postgres, records) = (Arc::clone(self.postgres()), Arc::clone(self.records()));
        let asked = Arc::clone(&shape);
        self.tasks.push(Box::pin(async move {
            let made = match question.subquery {
                None => make(&shop, &shape, &postgres, &records).await,
                Some(_) => members::make(&shop, &shape, &postgres, &records).await,
            };
            match made {
                Ok(()) => records.lock().unwrap().finished(id),
                Err(_) => {
                    records.lock().unwrap().change(id, |known| known.removing = true);
                    registry.end(&[shape]).await;
                    records.lock().unwrap().change(id, |known| known.removed = true);
                }
            }
        }));
        Some(asked)
    }

    fn remove(&mut self) {
        let finished: Vec<ShapeId> = self.records().lock().unwrap().removable();
        let mut alive: Vec<_> = finished.iter().filter_map(|id| self.shapes.get(id)).collect();
        alive.sort_by_key(|shape| shape.id());
        if alive.is_empty() {
            return;
        }
        let shape = Arc::clone(alive[self.world.rng.below(alive.len())]);
        let (registry, records) = (Arc::clone(&self.registry), Arc::clone(self.records()));
        self.shapes.remove(&shape.id());
        records.lock().unwrap().change(shape.id(), |known| known.removing = true);
        self.tasks.push(Box::pin(async move {
            let id = shape.id();
            registry.end(&[shape]).await;
            records.lock().unwrap().change(id, |known| known.removed = true);
        }));
    }

    /// A client reads a shape as far as it goes.
    fn read(&mut self) -> Result<(), Ended> {
        let mut ids: Vec<ShapeId> = self.shapes.keys().copied().collect();
        ids.sort_unstable();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.world.rng.below(ids.len())];
        // A request that fails ends nothing else.
        let Ok(Some((begin, found))) = super::check::entries(self, &self.shapes[&id]) else {
            return Ok(());
        };
        let mut records = self.world.records.lock().unwrap();
        let postgres = self.world.postgres.lock().unwrap();
        if let Some(known) = records.get_mut(id) {
            known.read(begin, &found, &postgres, false);
        }
        Ok(())
    }

    /// The rows of a base, in the order of their text.
    pub fn rows(&self, base: &Base) -> Result<Vec<brooklet_sql::Row>, Ended> {
        let mut rows = Vec::new();
        for place in &base.batches() {
            rows.append(&mut self.shop.packs.read(place)?);
        }
        Ok(rows)
    }
}

/// As `create::create` does it; what Postgres does there, the model does.
async fn make(
    shop: &Workshop,
    shape: &Arc<Shape>,
    postgres: &Mutex<Postgres>,
    records: &Mutex<Records>,
) -> Result<(), CreateError> {
    let after = install(shop, shape).await?;
    let streamed = shop.recent.up_to(after);
    let (seen, rows, breaks_at) = {
        let mut records = records.lock().unwrap();
        let known: &mut Known = records.get_mut(shape.id()).ok_or(CreateError::Ended)?;
        let mut postgres = postgres.lock().unwrap();
        if postgres.tables[known.question.table].added != known.added {
            return Err(CreateError::Ended);
        }
        let taken = postgres.snapshot(known.question);
        known.contains = Some(taken.contains);
        (Seen::new(taken.visibility, taken.until), taken.rows, taken.breaks_at)
    };
    Postgres::rows_come(postgres).await;
    let early = early(shop, shape, &seen.visibility, streamed.to_vec()).await?;
    let begun = shop.appender.begin(vec![(shape.id(), early)], Arc::clone(&seen)).await;
    let late = begun.map_err(|_| CreateError::Ended)? || shop.logs.durable() < after;
    drop(streamed);
    shop.recent.forget_visible(&seen.visibility);
    let base = shape.newest();
    base.update(|state| state.stage = Stage::Running(Arc::clone(&seen)));
    let mut chunks = Chunks::new(&shop.packs, shop.chunk_bytes, shape, &base);
    let internal = |error: PackError| CreateError::Internal(error.to_string());
    for (at, row) in rows.into_iter().enumerate() {
        if breaks_at == Some(at) {
            return Err(CreateError::busy());
        }
        chunks.push(|place| row.get(place)).map_err(internal)?;
    }
    chunks.flush().map_err(internal)?;
    finish(shop, shape, &seen, late, || true).await
}

/// The shapes that were found: none may be lost.
fn revive(
    (records, found): (Vec<ShapeRecord>, FoundLogs),
    stored: &Stored,
    logs: [&ShapeLogs; 2],
    schemas: &Schemas,
    repairs: &[Lsn],
) -> Vec<Shape> {
    let (shapes, left_out) = restore(records, stored, found, logs, schemas, repairs);
    assert!(left_out.is_empty());
    shapes
}

/// What makes durable what was appended.
struct Confirms {
    /// What it is at.
    flushed: Option<Flushed>,
    durable: watch::Sender<Lsn>,
}

/// What appends, what confirms, and where they say how far it is durable and what may be sealed.
fn ingest(
    writer: Writer,
    recent: &Arc<RecentCommits>,
    watch: Watch,
) -> (Ingest, Confirms, watch::Receiver<Lsn>, mpsc::UnboundedReceiver<Rolled>) {
    let (durable, position) = watch::channel(writer.end());
    let (rolled, files) = mpsc::unbounded_channel();
    let ingest = Ingest { writer, recent: Arc::clone(recent), rolled, watch, skipping: false };
    (ingest, Confirms { flushed: None, durable }, position, files)
}
