//! One shape: its question, the bases that clients begin with, its log.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use brooklet_dataflows::{ShapeId, ShapePlan};
use brooklet_sql::{Lsn, TableSchema};

use super::base::{Base, SnapshotState, Stage};
use super::catalog::Finished;
use super::create::CreateError;
use super::definition::Defined;
use super::handle::Handle;
use super::maps::Asked;
use super::template::Template;
use super::visibility::Seen;
use crate::shape_log::{Offset, ShapeLog, TypedView, View};

/// A shape that exists.
pub struct Shape {
    /// Its question, but for the filter.
    pub template: Arc<Template>,
    /// The same for the dataflow, with the filter.
    pub plan: Arc<ShapePlan>,
    /// What came after the first snapshot.
    pub log: Arc<ShapeLog>,
    /// Held for a look-up or a push.
    bases: Mutex<Bases>,
    /// When it was last asked for, in ticks of the process' own clock.
    asked: AtomicU32,
    /// Which generation of its table's partitions it was made under; there are never as many as fit.
    generation: AtomicU32,
}

/// With what counts its references.
const _: () = assert!(size_of::<Shape>() + 2 * size_of::<usize>() <= 80);

/// Ticks of the clock in a second: in four bytes there is room for two years of them, and a shape that nobody
/// asks for as long is found fresh once more.
const TICKS: u32 = 64;

/// What a shape's handles stand for. Most shapes have one base: there may be a million.
struct Bases {
    newest: Arc<Base>,
    /// `None` is the same as nothing of it.
    older: Option<Box<Older>>,
    /// What the first snapshot saw, once it is complete.
    seen: Option<Arc<Seen>>,
}

#[derive(Default)]
struct Older {
    /// The oldest first.
    living: Vec<Arc<Base>>,
    /// Handles whose rows are gone, with when they were last used. Their clients go on as long as the
    /// log reaches back to them.
    retired: Vec<(Handle, Instant)>,
}

impl Shape {
    /// A shape that has these bases, at least one, the newest last.
    #[must_use]
    pub fn new(defined: Defined, log: Arc<ShapeLog>, first: Base) -> Shape {
        let bases = Bases { newest: Arc::new(first), older: None, seen: None };
        Shape {
            template: Arc::clone(&defined.template),
            plan: Arc::new(defined.plan(log.shape())),
            log,
            bases: Mutex::new(bases),
            asked: AtomicU32::new(now()),
            generation: AtomicU32::new(0),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ShapeId {
        self.plan.id
    }

    /// The base that new clients begin with.
    #[must_use]
    pub fn newest(&self) -> Arc<Base> {
        Arc::clone(&self.held_bases().newest)
    }

    fn held_bases(&self) -> MutexGuard<'_, Bases> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle that new clients get.
    #[must_use]
    pub fn handle(&self) -> String {
        self.newest().handle.to_string()
    }

    /// The base of a handle, if its rows are still there.
    #[must_use]
    pub fn base(&self, handle: &str) -> Option<Arc<Base>> {
        let handle = handle.parse().ok()?;
        self.held_bases().living().find(|base| base.handle == handle).cloned()
    }

    /// All bases whose rows are there, the newest last.
    #[must_use]
    pub fn bases(&self) -> Vec<Arc<Base>> {
        self.held_bases().living().cloned().collect()
    }

    /// Every handle that stands for this shape.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        let bases = self.held_bases();
        let living = bases.living().map(|base| base.handle);
        living.chain(bases.retired().map(|(handle, _)| *handle)).collect()
    }

    /// Handles whose rows are gone.
    #[must_use]
    pub fn retired(&self) -> Vec<Handle> {
        self.held_bases().retired().map(|(handle, _)| *handle).collect()
    }

    /// Notes what the first snapshot saw.
    pub(crate) fn set_seen(&self, seen: Arc<Seen>) {
        // The first one stays: there is only one first snapshot.
        self.held_bases().seen.get_or_insert(seen);
    }

    /// No transaction after this position is in the first snapshot; `None` before that is complete.
    #[must_use]
    pub fn until(&self) -> Option<Lsn> {
        self.held_bases().seen.as_ref().map(|seen| seen.until)
    }

    /// No client of ours stands before this place of the stream unless it stands at the beginning. `None` before there is
    /// anything to stand behind.
    #[must_use]
    pub fn born(&self) -> Option<Lsn> {
        let newest = {
            let bases = self.held_bases();
            match &bases.seen {
                Some(seen) => return Some(seen.born),
                None => Arc::clone(&bases.newest),
            }
        };
        newest.running().map(|seen| seen.born)
    }

    /// What the catalogue is to remember; `None` before the first snapshot is complete.
    #[must_use]
    pub fn record(&self) -> Option<Finished> {
        self.record_of(&self.bases(), self.retired())
    }

    /// The same, with a base that is about to be added.
    #[must_use]
    pub fn record_with(&self, more: &Arc<Base>) -> Option<Finished> {
        let mut bases = self.bases();
        bases.push(Arc::clone(more));
        self.record_of(&bases, self.retired())
    }

    /// The same, without the bases from before `after`, which are about to be given up.
    #[must_use]
    pub fn record_after(&self, after: Offset) -> Option<Finished> {
        let (mut bases, mut retired) = (self.bases(), self.retired());
        // The newest always stays.
        let older = bases.iter().take(bases.len().saturating_sub(1));
        let old = older.take_while(|base| base.after().offset < after).count();
        retired.extend(bases.drain(..old).map(|base| base.handle));
        self.record_of(&bases, retired)
    }

    fn record_of(&self, bases: &[Arc<Base>], retired: Vec<Handle>) -> Option<Finished> {
        let seen = self.held_bases().seen.clone()?;
        Some(Finished {
            id: self.id(),
            template: Arc::clone(&self.template),
            predicate: self.plan.predicate.clone(),
            chunk_bytes: self.log.chunk_bytes(),
            visibility: seen.visibility.clone(),
            until: seen.until,
            bases: bases.iter().filter_map(|base| base.record()).collect(),
            retired,
            generation: self.generation(),
        })
    }

    /// New clients begin with `base` from now on.
    pub(crate) fn add_base(&self, base: Arc<Base>) {
        let mut bases = self.held_bases();
        let before = std::mem::replace(&mut bases.newest, base);
        bases.older().living.push(before);
    }

    /// Handles that stand for this shape, but whose rows are gone.
    pub(crate) fn add_retired(&self, handles: Vec<Handle>) {
        if !handles.is_empty() {
            let handles = handles.into_iter().map(|handle| (handle, Instant::now()));
            self.held_bases().older().retired.extend(handles);
        }
    }

    /// Somebody still goes on under a handle whose rows are gone.
    pub fn note_retired(&self, handle: Handle) {
        let mut bases = self.held_bases();
        let Some(older) = &mut bases.older else { return };
        let found = older.retired.iter_mut().find(|(retired, _)| *retired == handle);
        found.into_iter().for_each(|(_, used)| *used = Instant::now());
    }

    /// Forgets the handles whose rows are gone and that nobody has used for so long; returns them.
    pub(crate) fn forget_retired(&self, unused: Duration) -> Vec<Handle> {
        let mut bases = self.held_bases();
        let Some(older) = &mut bases.older else { return Vec::new() };
        let forgotten = older.retired.extract_if(.., |(_, used)| used.elapsed() > unused);
        let forgotten = forgotten.map(|(handle, _)| handle).collect();
        bases.tidy();
        forgotten
    }

    /// Gives up the bases from before `after`, and the log's entries up to there. Returns the bases.
    pub(crate) fn retire_before(&self, after: Offset) -> Vec<Arc<Base>> {
        let mut bases = self.held_bases();
        let mut retired = Vec::new();
        if let Some(older) = &mut bases.older {
            let old = older.living.iter().take_while(|base| base.after().offset < after).count();
            retired = older.living.drain(..old).collect();
            older.retired.extend(retired.iter().map(|base| (base.handle, Instant::now())));
        }
        self.log.forget_before(bases.oldest().after().offset);
        retired
    }

    /// Its table.
    #[must_use]
    pub fn table(&self) -> &Arc<TableSchema> {
        self.template.table()
    }

    /// How its rows look.
    #[must_use]
    pub fn view(&self) -> &View {
        self.template.view()
    }

    /// The identity: what is asked.
    pub(super) fn asked_for(&self) -> Asked<'_> {
        (&self.template.definition, self.plan.predicate.as_ref())
    }

    /// Whether it is the answer to a question.
    #[must_use]
    pub fn answers(&self, defined: &Defined) -> bool {
        self.asked_for() == defined.asked_for()
    }

    /// Which generation of its table's partitions it was made under; 0 before that is known.
    #[must_use]
    pub fn generation(&self) -> u64 {
        u64::from(self.generation.load(Ordering::Acquire))
    }

    pub(crate) fn set_generation(&self, generation: u64) {
        let generation = u32::try_from(generation).unwrap_or(u32::MAX);
        self.generation.store(generation, Ordering::Release);
    }

    /// How its rows look with types.
    pub fn typed(&self) -> io::Result<&TypedView> {
        self.template.typed()
    }

    /// Somebody asks for it.
    pub(super) fn note_use(&self) {
        self.asked.store(now(), Ordering::Release);
    }

    /// The same if that is within the second in which it was asked for last; `false` if it is not.
    pub(super) fn note_use_within_second(&self) -> bool {
        let (asked, now) = (self.asked.load(Ordering::Acquire), now());
        let same = asked / TICKS == now / TICKS;
        // Whoever else has noted it has done as well.
        same && self.asked.compare_exchange(asked, now, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Somebody asks for it: in which second it was asked for before, and in which it is now. Under a lock, which
    /// nobody but [`Shape::note_use_within_second`] does without.
    pub(super) fn use_anew(&self) -> (u32, u32) {
        let now = now();
        (self.asked.swap(now, Ordering::AcqRel) / TICKS, now / TICKS)
    }

    /// In which second it was asked for last.
    pub(super) fn asked_second(&self) -> u32 {
        self.asked.load(Ordering::Acquire) / TICKS
    }

    /// It was asked for so long ago.
    #[cfg(test)]
    pub(crate) fn age(&self, idle: Duration) {
        let ticks = idle.as_millis() * u128::from(TICKS) / 1000;
        self.asked.fetch_sub(ticks as u32, Ordering::AcqRel);
    }

    /// How long nobody has asked for it; nothing while somebody waits for news of it.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.log.has_waiters() {
            return Duration::ZERO;
        }
        // Read before the clock, which so is never behind it.
        let asked = self.asked.load(Ordering::Acquire);
        Duration::from_secs(1) * now().wrapping_sub(asked) / TICKS
    }

    /// Waits for the snapshot's first rows, so that there is something to answer: Postgres may refuse the filter for
    /// one of the rows before. A snapshot without rows is complete in a moment, and then its handle survives
    /// whatever happens.
    pub async fn started(&self) -> Result<(), CreateError> {
        let mut snapshot = self.newest().snapshot();
        let decided = |state: &SnapshotState| match state.stage {
            Stage::Starting => false,
            Stage::Running(_) => !state.batches.is_empty(),
            Stage::Complete(_) | Stage::Failed(_) => true,
        };
        // Its sender goes with the shape only.
        let Ok(state) = snapshot.wait_for(decided).await else { return Err(CreateError::ended()) };
        match &state.stage {
            Stage::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether it has not ended. Its waiters learn of its end before the registry does: they must
    /// not find it again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.log.ended().is_none()
    }

    /// Whether the first snapshot is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.newest().is_complete()
    }
}

impl Bases {
    /// The newest last; never nothing.
    fn living(&self) -> impl Iterator<Item = &Arc<Base>> {
        let older = self.older.iter().flat_map(|older| &older.living);
        older.chain(std::iter::once(&self.newest))
    }

    fn oldest(&self) -> &Arc<Base> {
        self.older.as_ref().and_then(|older| older.living.first()).unwrap_or(&self.newest)
    }

    fn retired(&self) -> impl Iterator<Item = &(Handle, Instant)> {
        self.older.iter().flat_map(|older| &older.retired)
    }

    fn older(&mut self) -> &mut Older {
        self.older.get_or_insert_default()
    }

    /// Gives back what holds nothing.
    fn tidy(&mut self) {
        self.older.take_if(|older| older.living.is_empty() && older.retired.is_empty());
    }
}

/// The second in which this is asked.
pub(super) fn this_second() -> u32 {
    now() / TICKS
}

/// Ticks since the first time this was asked, from the beginning when they no longer fit.
fn now() -> u32 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    (elapsed.as_millis() * u128::from(TICKS) / 1000) as u32
}
