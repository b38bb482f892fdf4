//! Giving disk back: what no shape refers to any more is deleted, what is mostly so is written again
//! without it.
//!
//! *Enters*: the places of all entries and rows that shapes refer to. *Leaves*: a smaller disk.
//! *Invariant*: nothing goes that a shape, a reader at work, a shape in creation or a restart may
//! need. What becomes free in one round goes in the next, so that whoever looked a moment ago still
//! finds it.

mod changes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use brooklet_dataflows::ShapeId;
use brooklet_sql::Lsn;

use super::create::{CreateError, Workshop};
use super::evict;
use super::fold::remember;
use super::registry::Registry;
use super::shape::Shape;
use super::visibility::Visibility;
use crate::replication::snapshot::Snapshot;
use crate::shape_log::BatchPlace;
use crate::shape_log::pack::PackError;
use crate::shape_log::posting_files::Numbers;
use crate::shape_log::posting_rewrite::{RewriteError, runs};

/// Looks for what can go, at intervals.
pub struct Retention {
    registry: Arc<Registry>,
    /// Bytes on disk beyond which shapes end.
    disk_max: Option<u64>,
    /// Up to here the change log was free of readers and newcomers a round ago.
    free_to: Lsn,
    /// Bytes of the files of changes that stayed when they were last looked at.
    kept: u64,
    /// Files of shapes with subqueries that nobody referred to a round ago, and how many ends had been told by then.
    unused: (Vec<Numbers>, u64),
    /// Batches that were copied a round ago.
    copied: Vec<BatchPlace>,
    /// Packs that are mostly unused, each with the shapes that may have rows there.
    sparse: HashMap<u32, Sparse>,
    /// What was looked at last, and found nothing.
    looked: Looked,
    /// Rounds until what the last shapes to end have left is gone.
    settling: u32,
}

/// Who may have rows in a pack.
struct Sparse {
    shapes: BTreeSet<ShapeId>,
    /// For so many rounds. Others may come to share its batches.
    rounds: u32,
}

/// For so many rounds it is believed whose rows a pack holds: most are gone with the second.
const SPARSE_ROUNDS: u32 = 4;

/// A walk over all entries finds what the last one has found as long as these are the same.
#[derive(Default, PartialEq, Eq)]
struct Looked {
    /// How often logs have given entries up, and the complete files that were there.
    postings: Option<(u64, Vec<Numbers>)>,
    /// The same of files of changes.
    changes: Option<(u64, Vec<u64>)>,
}

/// What a shape leaves behind is free after so many rounds.
const SETTLING_ROUNDS: u32 = 4;

impl Retention {
    /// For all shapes of the registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, disk_max: Option<u64>) -> Retention {
        Retention {
            registry,
            disk_max,
            free_to: Lsn::ZERO,
            kept: 0,
            unused: (Vec::new(), 0),
            copied: Vec::new(),
            sparse: HashMap::new(),
            looked: Looked::default(),
            settling: 0,
        }
    }

    /// Runs until the server stops.
    pub async fn run(mut self, pause: Duration) {
        let mut interval = tokio::time::interval(pause);
        loop {
            interval.tick().await;
            let shop = Arc::clone(self.registry.workshop());
            if let Err(error) = self.round(look(&shop)).await {
                tracing::warn!(%error, "disk is not given back; tried again");
            }
        }
    }

    /// One look; `visible` says what Postgres shows.
    pub(crate) async fn round(
        &mut self,
        visible: impl Future<Output = Result<Visibility, CreateError>>,
    ) -> Result<(), CreateError> {
        let packs = &self.registry.workshop().packs;
        packs.release(&std::mem::take(&mut self.copied));
        // One that fails does not keep the others from giving back.
        let postings = self.clean_postings().await;
        let deleted = self.delete_unused();
        let catalog = clean_catalog(&self.registry).await;
        let packs = self.clean_packs().await;
        let changes = match visible.await {
            Ok(visible) => self.clean_changes(&visible).await,
            Err(error) => Err(error),
        };
        // Last: what goes by itself costs nobody a shape.
        self.keep_within_budget().await;
        postings.and(deleted).and(catalog).and(packs).and(changes)
    }

    /// Ends the shapes that nobody has asked for the longest, as long as the disk is too full.
    async fn keep_within_budget(&mut self) {
        let Some(max) = self.disk_max else { return };
        self.settling = self.settling.saturating_sub(1);
        let used = self.held();
        if used > max && self.settling == 0 {
            self.settling = SETTLING_ROUNDS;
            tracing::warn!(used, max, "more is stored than allowed: shapes end");
            evict::free(&self.registry, used - max).await;
        }
    }

    /// Bytes on disk that may be there for the sake of shapes, so that it is not in vain to end some. Not the changes that
    /// nobody has looked at yet, of which it is not known whether any shape wants them; not rows that were copied, where
    /// they were before; not the checkpoint of what is kept for subqueries, which is written anew only when much has
    /// happened, and has a limit of its own.
    fn held(&self) -> u64 {
        let shop = self.registry.workshop();
        // Where several shapes have shared rows they are there once.
        let places = self.copied.iter().map(|place| ((place.pack(), place.at()), place.bytes()));
        let copied: u64 = places.collect::<HashMap<_, _>>().values().sum();
        let others = shop.change_log.bytes() + shop.members.checkpoints.bytes() + copied;
        bytes(shop).saturating_sub(others) + self.kept
    }

    /// Writes posting files again that are mostly dead.
    pub(crate) async fn clean_postings(&mut self) -> Result<(), CreateError> {
        let shop = self.registry.workshop();
        // Before the look: what is given up meanwhile is looked for again.
        let now = (shop.logs.given_up(), shop.postings.complete());
        if self.looked.postings.as_ref() == Some(&now) {
            return Ok(());
        }
        self.looked.postings = None;
        if clean_postings(shop).await? {
            self.looked.postings = Some(now);
        }
        Ok(())
    }

    /// Rows lie in files of shapes with subqueries at places that postings name: they go as a whole or not at all. Not
    /// before the catalogue knows of the ends that they tell of.
    fn delete_unused(&mut self) -> Result<(), CreateError> {
        let members = &self.registry.workshop().members;
        let now = (members.postings.unused(), members.logs.ends_told());
        let (unused, told) = std::mem::replace(&mut self.unused, now);
        if members.logs.ends_settled() < told {
            return Ok(());
        }
        let deleted = members.postings.delete_unused(&unused);
        deleted.map_err(|error| CreateError::Internal(error.to_string()))
    }

    async fn clean_changes(&mut self, visible: &Visibility) -> Result<(), CreateError> {
        let shop = Arc::clone(self.registry.workshop());
        let now_free = free_to(&self.registry, visible);
        // Also of those who have come since and read what was there a round ago.
        let free_to = std::mem::replace(&mut self.free_to, now_free).min(now_free);
        let mut sealed = shop.change_log.sealed();
        sealed.retain(|file| file.last_lsn <= free_to);
        self.kept = sealed.iter().map(|file| file.bytes).sum();
        let given_up = shop.both_logs().iter().map(|logs| logs.given_up()).sum();
        let now = (given_up, sealed.iter().map(|file| file.first_seq).collect());
        if sealed.is_empty() || self.looked.changes.as_ref() == Some(&now) {
            return Ok(());
        }
        self.looked.changes = None;
        let cleaning = Arc::clone(&shop);
        let cleaned = tokio::task::spawn_blocking(move || changes::clean(&cleaning, &sealed));
        let cleaned = cleaned.await.map_err(io::Error::other).and_then(|cleaned| cleaned);
        let kept = shop.change_log.sealed().into_iter().filter(|file| file.last_lsn <= free_to);
        self.kept = kept.map(|file| file.bytes).sum();
        if !cleaned.map_err(|error| CreateError::Internal(error.to_string()))? {
            self.looked.changes = Some(now);
        }
        Ok(())
    }

    /// Copies what is left of packs that are mostly unused. Only shapes that have rows there are looked at.
    pub(crate) async fn clean_packs(&mut self) -> Result<(), CreateError> {
        let sparse = Arc::new(self.registry.workshop().packs.sparse());
        self.sparse.retain(|pack, found| {
            found.rounds += 1;
            sparse.contains(pack) && found.rounds < SPARSE_ROUNDS
        });
        let new = sparse.iter().filter(|pack| !self.sparse.contains_key(pack)).copied();
        let new: BTreeSet<u32> = new.collect();
        let mut first = Ok(());
        if !new.is_empty() {
            let registry = Arc::clone(&self.registry);
            let found = tokio::task::spawn_blocking(move || shapes_in(&registry, new)).await;
            let (found, all) = found.map_err(CreateError::internal)?;
            first = all.map_err(CreateError::internal);
            let sparse = |(pack, shapes)| (pack, Sparse { shapes, rounds: 0 });
            self.sparse.extend(found.into_iter().map(sparse));
        }
        // In an order that a test can repeat. Those that are not finished are looked at again.
        let found = self.sparse.values().flat_map(|found| &found.shapes);
        let shapes: BTreeSet<ShapeId> = found.copied().collect();
        for id in shapes {
            let Some(shape) = self.registry.by_id(id) else { continue };
            if shape.is_complete() {
                // Rows that cannot be read are one shape's.
                let moved = self.move_from(&sparse, &shape).await;
                first = first.and(moved);
            }
        }
        first
    }

    /// Copies a shape's rows that are in these packs.
    async fn move_from(
        &mut self,
        packs: &Arc<HashSet<u32>>,
        shape: &Arc<Shape>,
    ) -> Result<(), CreateError> {
        let shop = self.registry.workshop();
        self.registry.note_look();
        let _turn = shop.catalog.turn().await;
        let (sparse, store, moving) = (Arc::clone(packs), shop.packs.clone(), Arc::clone(shape));
        let copying = tokio::task::spawn_blocking(move || {
            let moves = |place: &BatchPlace| sparse.contains(&place.pack());
            move_rows(&moving, moves, |place| store.copy(moving.id(), place))
        });
        let (moved, error) = copying.await.map_err(CreateError::internal)?;
        let all = error.map_or(Ok(()), |error| Err(CreateError::internal(error)));
        if moved.is_empty() {
            return all;
        }
        shop.packs.sync().await.map_err(CreateError::internal)?;
        let Some(record) = shape.record() else { return Ok(()) };
        match remember(&self.registry, shape, record).await {
            // Its end has released what it referred to then.
            Ok(()) | Err(CreateError::Ended) => self.copied.extend(moved),
            Err(error) => return Err(error),
        }
        all
    }
}

/// Writes posting files again that are mostly dead; `true` if there are none.
pub(crate) async fn clean_postings(shop: &Arc<Workshop>) -> Result<bool, CreateError> {
    let internal = |error: &dyn std::fmt::Display| CreateError::Internal(error.to_string());
    let found = Arc::clone(shop);
    let runs = tokio::task::spawn_blocking(move || runs(&found.postings, &*found.logs)).await;
    let runs = runs.map_err(|error| internal(&error))?;
    let mut all = Ok(runs.is_empty());
    for mut run in runs {
        let found = Arc::clone(shop);
        let noted = tokio::task::spawn_blocking(move || {
            run.note_live(&*found.logs);
            // Afterwards: also of shapes that have ended meanwhile the catalogue must know.
            (run, found.logs.ends_told())
        });
        let (run, told) = noted.await.map_err(|error| internal(&error))?;
        // What is dead must be so for a restart. What else ends entries is in the catalogue before.
        if shop.logs.ends_settled() < told {
            return all.and(Ok(false));
        }
        let found = Arc::clone(shop);
        let written = tokio::task::spawn_blocking(move || run.write(&found.postings, &*found.logs));
        match written.await.map_err(|error| internal(&error))? {
            Ok(()) => {}
            Err(RewriteError::Fatal(error)) => crate::frame::fsync_failed(&error),
            // It stays as it is, and the others go.
            Err(error) => all = all.and(Err(internal(&error))),
        }
    }
    all
}

/// Writes the catalogue again if it is mostly dead.
pub(crate) async fn clean_catalog(registry: &Registry) -> Result<(), CreateError> {
    let shop = registry.workshop();
    shop.partitions.forget_unused(|| registry.templates().tables());
    let written = shop.catalog.compact().await;
    written.map(|_| ()).map_err(|error| CreateError::Internal(error.to_string()))
}

/// Bytes on disk.
#[must_use]
pub fn bytes(shop: &Workshop) -> u64 {
    shop.change_log.bytes()
        + shop.packs.bytes()
        + shop.postings.bytes()
        + shop.members.postings.bytes()
        + shop.members.checkpoints.bytes()
        + shop.catalog.bytes()
}

/// What Postgres shows now.
async fn look(shop: &Workshop) -> Result<Visibility, CreateError> {
    let snapshot = Snapshot::take(&shop.database).await?;
    let visible = snapshot.seen.visibility.clone();
    snapshot.end().await?;
    Ok(visible)
}

/// Up to where nobody but finished shapes needs the change log.
fn free_to(registry: &Registry, visible: &Visibility) -> Lsn {
    let shop = registry.workshop();
    shop.recent.forget_visible(visible);
    let recent = shop.recent.oldest().unwrap_or(Lsn(u64::MAX));
    let held = registry.held_back();
    let read = shop.logs.oldest_read();
    let limits = [Some(recent), held, read].into_iter().flatten();
    let before = limits.map(|lsn| Lsn(lsn.0.saturating_sub(1)));
    before.chain([shop.durable()]).min().unwrap_or_default()
}

/// The shapes that have rows in each of these packs. A pack says itself who stored them; only where others refer to some of
/// it as well, all are asked, once for all such packs. Blocks on files, and for as long as that takes.
fn shapes_in(
    registry: &Registry,
    new: BTreeSet<u32>,
) -> (HashMap<u32, BTreeSet<ShapeId>>, Result<(), PackError>) {
    let packs = &registry.workshop().packs;
    let mut found: HashMap<u32, BTreeSet<ShapeId>> = HashMap::new();
    let mut shared = HashSet::new();
    let mut first = Ok(());
    for pack in new {
        let named = match packs.shapes_in(pack) {
            Ok(named) => named.into_iter(),
            // It stays as it is, and the others go.
            Err(error) => {
                first = first.and(Err(error));
                continue;
            }
        };
        let named: Vec<Arc<Shape>> = named.filter_map(|id| registry.by_id(id)).collect();
        let own = named.iter().flat_map(|shape| places(shape)).filter(|one| one.pack() == pack);
        let mut held: HashMap<u64, (BatchPlace, u32)> = HashMap::new();
        own.for_each(|place| held.entry(place.at()).or_insert((place, 0)).1 += 1);
        let bytes: u64 = held.values().map(|(place, _)| place.bytes()).sum();
        let mut places = held.values();
        if bytes < packs.live_in(pack) || places.any(|(one, own)| packs.references(one) > *own) {
            shared.insert(pack);
        }
        found.insert(pack, named.iter().map(|shape| shape.id()).collect());
    }
    let all = if shared.is_empty() { Vec::new() } else { registry.finished() };
    for shape in all {
        for place in places(&shape).filter(|place| shared.contains(&place.pack())) {
            found.entry(place.pack()).or_default().insert(shape.id());
        }
    }
    (found, first)
}

/// Where a shape's rows are.
fn places(shape: &Shape) -> impl Iterator<Item = BatchPlace> + use<> {
    shape.bases().into_iter().flat_map(|base| base.batches())
}

/// Copies the batches of a shape that are to move; returns the places that nothing refers to any more: where
/// they were, or the copies if the shape has ended meanwhile and given up its rows. Blocks on files.
fn move_rows<E>(
    shape: &Shape,
    moves: impl Fn(&BatchPlace) -> bool,
    mut copy: impl FnMut(&BatchPlace) -> Result<BatchPlace, E>,
) -> (Vec<BatchPlace>, Option<E>) {
    let (mut unused, mut error) = (Vec::new(), None);
    for base in shape.bases().iter().filter(|base| base.is_complete()) {
        let mut copies = BTreeMap::new();
        for (at, place) in base.batches().iter().enumerate().filter(|(_, place)| moves(place)) {
            match copy(place) {
                Ok(copied) => _ = copies.insert(at, copied),
                // It stays where it is.
                Err(failed) => error = error.or(Some(failed)),
            }
        }
        base.update(|state| {
            for (at, place) in state.batches.iter_mut().enumerate() {
                if let Some(new) = copies.remove(&at) {
                    unused.push(std::mem::replace(place, new));
                }
            }
        });
        unused.extend(copies.into_values());
    }
    (unused, error)
}
