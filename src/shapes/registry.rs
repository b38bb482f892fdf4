//! Which shapes exist, by question and by handle.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_dataflows::{EndReason, Event, ShapeId};
use brooklet_sql::Lsn;
use tokio::sync::mpsc;

use super::base::{Base, SnapshotState};
use super::create::{self, CreateError, Workshop};
use super::definition::Defined;
use super::evict::first_of_many;
use super::fold;
use super::handle::Handle;
use super::maps::{Asked, Maps, WALKED_AT_ONCE};
use super::partitions::Stale;
use super::recency::{Recency, Search};
use super::shape::Shape;
use super::template::Templates;
use super::together;
use crate::limits::{CREATIONS_MAX, REFUSED_HANDLES_MAX, SHAPES_PER_BATCH_MAX};
use crate::shape_log::{LogPoint, ShapeLog};

/// All shapes of a running server.
pub struct Registry {
    /// Held for look-ups and insertions only: whoever walks over shapes lets others in between.
    state: Mutex<State>,
    /// `None` where nothing ends idle shapes. Taken after `state`, if both are.
    recency: Option<Mutex<Recency>>,
    templates: Templates,
    workshop: Arc<Workshop>,
}

struct State {
    maps: Maps,
    next_id: u64,
    creating: usize,
    /// Why no shape can be made now.
    halted: Option<String>,
    /// Shapes that readers had begun to read when Postgres failed at a row: handle, question, why.
    refused: VecDeque<(Handle, u64, CreateError)>,
}

fn number(question: Asked<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    question.hash(&mut hasher);
    hasher.finish()
}

impl Registry {
    /// A registry of the shapes that were found on disk. Where idle ones are to end (see [`super::evict`]), `ends_idle`
    /// says so.
    #[must_use]
    pub fn new(
        workshop: Arc<Workshop>,
        templates: Templates,
        shapes: Vec<Shape>,
        next_id: u64,
        ends_idle: bool,
    ) -> Arc<Registry> {
        let state = State {
            maps: Maps::default(),
            next_id,
            creating: 0,
            halted: None,
            refused: VecDeque::new(),
        };
        let recency = ends_idle.then(Mutex::default);
        let registry = Registry { state: Mutex::new(state), recency, templates, workshop };
        for shape in shapes {
            registry.enter(&mut registry.state(), &Arc::new(shape));
        }
        Arc::new(registry)
    }

    fn enter(&self, state: &mut State, shape: &Arc<Shape>) {
        state.maps.insert(shape);
        if let Some(mut recency) = self.recency() {
            recency.insert(shape);
        }
    }

    fn take_out(&self, state: &mut State, id: ShapeId) -> Option<Arc<Shape>> {
        let shape = state.maps.remove(id)?;
        if let Some(mut recency) = self.recency() {
            recency.remove(&shape);
        }
        Some(shape)
    }

    /// Somebody asks for a shape.
    pub fn note_use(&self, shape: &Shape) {
        match &self.recency {
            None => shape.note_use(),
            Some(_) if shape.note_use_within_second() => {}
            Some(_) => self.recency().into_iter().for_each(|mut all| all.use_anew(shape)),
        }
    }

    /// Those that nobody has asked for the longest, the first one first, as long as `goes` wants one more; those that
    /// somebody waits for come last. Nothing where idle ones are not to end. As many as `looks` are looked at, so it may be that
    /// there are others.
    pub(crate) fn longest_idle(
        &self,
        looks: usize,
        mut goes: impl FnMut(&Shape) -> bool,
    ) -> Vec<Arc<Shape>> {
        let mut search = Search::new(looks);
        loop {
            let mut state = self.state();
            let Some(mut recency) = self.recency() else { return Vec::new() };
            if !search.go_on(&mut recency, &mut state.maps, &mut goes, WALKED_AT_ONCE / 16) {
                return search.found;
            }
        }
    }

    /// What shapes are made with.
    #[must_use]
    pub fn workshop(&self) -> &Arc<Workshop> {
        &self.workshop
    }

    /// The shape of this handle, if it is alive.
    #[must_use]
    pub fn by_handle(&self, handle: &str) -> Option<Arc<Shape>> {
        let handle = handle.parse().ok()?;
        self.state().maps.by_handle(handle).filter(|shape| shape.is_alive()).cloned()
    }

    /// Why the shape of this handle, which was to answer this question, came to nothing, if Postgres
    /// refused the filter for a row. To such readers a new shape would be the next to fail.
    #[must_use]
    pub fn refused(&self, handle: &str, defined: &Defined) -> Option<CreateError> {
        let (handle, question) = (handle.parse::<Handle>().ok()?, number(defined.asked_for()));
        let state = self.state();
        let mut known = state.refused.iter();
        let found = known.find(|(one, asked, _)| *one == handle && *asked == question);
        found.map(|(.., error)| error.clone())
    }

    /// The shape that answers this question, if there is one.
    #[must_use]
    pub fn by_definition(&self, defined: &Defined) -> Option<Arc<Shape>> {
        let state = self.state();
        state.maps.by_question(defined.asked_for()).filter(|shape| shape.is_alive()).cloned()
    }

    /// What shapes have in common.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The shape of this number, if it is alive.
    #[must_use]
    pub fn by_id(&self, id: ShapeId) -> Option<Arc<Shape>> {
        self.state().maps.by_id(id).cloned()
    }

    /// A handle that was never given before.
    #[must_use]
    pub fn new_handle(&self, shape: &Shape) -> Handle {
        self.state().maps.new_handle(shape.asked_for())
    }

    /// One more handle stands for a shape; nothing if the shape is no longer there.
    pub fn add_handle(&self, shape: &Arc<Shape>, handle: Handle) {
        self.state().maps.add_handle(shape, handle);
    }

    /// These handles stand for nothing any more.
    pub fn forget_handles(&self, handles: &[Handle]) {
        let mut state = self.state();
        handles.iter().for_each(|handle| state.maps.forget_handle(*handle));
    }

    /// How many shapes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().maps.len()
    }

    /// From now on no shape is made, for this reason, or they are again. Returns those that are not
    /// complete yet.
    pub fn halt(&self, reason: Option<String>) -> Vec<Arc<Shape>> {
        let mut state = self.state();
        state.halted = reason;
        state.maps.making().cloned().collect()
    }

    /// Those that are being made.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Arc<Shape>> {
        self.state().maps.making().cloned().collect()
    }

    /// Where in the stream the snapshots stand of those that are being made: what comes after is needed.
    #[must_use]
    pub fn held_back(&self) -> Option<Lsn> {
        self.state().maps.making().filter_map(|shape| shape.log.holds_back()).min()
    }

    /// Whether no shape can be made now.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.state().halted.is_some()
    }

    /// All shapes whose snapshot is complete, each when it was looked at: requests come in between. For what a start
    /// or a repair does with each of them, nothing else.
    #[must_use]
    pub fn finished(&self) -> Vec<Arc<Shape>> {
        self.walk(|maps, last| maps.after(last, WALKED_AT_ONCE))
    }

    /// Those whose snapshot is complete, piece by piece.
    fn walk(
        &self,
        piece: impl Fn(&mut Maps, Option<ShapeId>) -> Vec<Arc<Shape>>,
    ) -> Vec<Arc<Shape>> {
        let (mut finished, mut last) = (Vec::new(), None);
        loop {
            let shapes = piece(&mut self.state().maps, last);
            let Some(next) = shapes.last() else { return finished };
            last = Some(next.id());
            finished.extend(shapes.into_iter().filter(|shape| shape.is_complete()));
        }
    }

    /// The first of those with a higher number than `after`, in order.
    #[must_use]
    pub fn page(&self, after: u64, most: usize) -> Vec<Arc<Shape>> {
        let (mut page, mut last) = (Vec::new(), ShapeId(after));
        while page.len() < most {
            let shapes = self.state().maps.after(Some(last), most);
            let Some(next) = shapes.last() else { break };
            last = next.id();
            let listed = shapes.into_iter().filter(|one| one.is_complete() && one.is_alive());
            page.extend(listed.take(most - page.len()));
        }
        page
    }

    /// Those of a table, complete or not, that are wanted, in order. Shapes that come meanwhile may be missing. Those of
    /// other tables are not looked at. Other tasks come in between, since there may be a million.
    pub async fn of_table(
        &self,
        table: u32,
        wanted: impl Fn(&Arc<Shape>) -> bool,
    ) -> Vec<Arc<Shape>> {
        let mut found: BTreeMap<ShapeId, Arc<Shape>> = BTreeMap::new();
        for piece in 0.. {
            let Some(shapes) = self.state().maps.of_table(table, piece) else { break };
            // One may be seen twice.
            found.extend(shapes.into_iter().filter(&wanted).map(|shape| (shape.id(), shape)));
            tokio::task::yield_now().await;
        }
        found.into_values().collect()
    }

    /// As [`Registry::finished`], of those with subqueries.
    #[must_use]
    pub fn finished_with_subqueries(&self) -> Vec<Arc<Shape>> {
        self.walk(|maps, last| maps.with_subqueries(last, WALKED_AT_ONCE))
    }

    /// The shape that answers this question; made if there is none. Everybody who asks meanwhile
    /// gets the same one. Making it goes on when the asker leaves.
    pub fn get_or_create(
        self: &Arc<Registry>,
        mut defined: Defined,
    ) -> Result<Arc<Shape>, CreateError> {
        let shape = {
            let mut state = self.state();
            if let Some(shape) = state.maps.by_question(defined.asked_for())
                && shape.is_alive()
            {
                return Ok(Arc::clone(shape));
            }
            if let Some(reason) = &state.halted {
                return Err(CreateError::Unavailable { reason: reason.clone(), retry_after: 5 });
            }
            if state.creating >= CREATIONS_MAX {
                return Err(CreateError::busy());
            }
            let id = ShapeId(state.next_id);
            state.next_id += 1;
            let handle = state.maps.new_handle(defined.asked_for());
            self.templates.share(&mut defined);
            let log = Arc::new(ShapeLog::new(id, self.workshop.chunk_bytes));
            let base = Base::new(handle, LogPoint::BEGIN, fold::now(), SnapshotState::starting());
            let shape = Arc::new(Shape::new(defined, log, base));
            self.enter(&mut state, &shape);
            state.creating += 1;
            shape
        };
        together::make(self, Arc::clone(&shape));
        Ok(shape)
    }

    /// A shape is made.
    pub(super) fn is_made(&self, shape: &Shape) {
        let mut state = self.state();
        state.creating -= 1;
        state.maps.made(shape.id());
    }

    /// A shape came to nothing.
    pub(super) async fn is_not_made(&self, shape: &Arc<Shape>, error: CreateError) {
        self.state().creating -= 1;
        self.drop_failed(shape, error).await;
    }

    /// Ends shapes because somebody asked for it; goes on when the asker leaves.
    pub async fn remove(self: &Arc<Registry>, shapes: Vec<Arc<Shape>>) {
        let registry = Arc::clone(self);
        let ending = tokio::spawn(async move { registry.end(&shapes).await });
        // Only a panic could end it early, and it would be logged.
        _ = ending.await;
    }

    /// Ends every shape: the stream cannot be continued.
    pub fn remove_all(&self) {
        let (mut all, mut last) = (self.state().maps.clear(), None);
        loop {
            let shapes = all.after(last, WALKED_AT_ONCE);
            let Some(next) = shapes.last() else { return };
            last = Some(next.id());
            // The catalogue does not know: if this process ends before another epoch begins, they are back.
            shapes.iter().for_each(|shape| shape.log.halt(EndReason::Removed));
        }
    }

    /// Removes what the stream has ended, as long as it runs.
    pub async fn follow(
        self: Arc<Registry>,
        mut ended: mpsc::UnboundedReceiver<crate::shape_log::Ended>,
    ) {
        while let Some((mut ids, why, logs)) = ended.recv().await {
            let mut left = self.leave(&ids, why);
            let mut ends = vec![(logs, ids.len())];
            // What ends one by one shares an fsync as what ends together does.
            while ids.len() < SHAPES_PER_BATCH_MAX
                && let Ok((more, why, logs)) = ended.try_recv()
            {
                left.extend(self.leave(&more, why));
                ends.push((logs, more.len()));
                ids.extend(more);
            }
            self.forget_records(&ids).await;
            ends.iter().for_each(|(logs, count)| logs.settle_ends(*count));
            left.iter().for_each(|shape| self.release(shape));
            // The dataflow knows, unless the end was noticed behind it. Of those that have left otherwise it is told.
            self.tell(&left).await;
        }
    }

    /// Tells those who maintain shapes that these have ended. Fails only when the process is ending.
    async fn tell(&self, shapes: &[Arc<Shape>]) {
        let event = |shape: &Arc<Shape>| Event::RemoveShape(Arc::clone(&shape.plan));
        _ = self.workshop.engine.send(shapes.iter().map(event).collect()).await;
        self.workshop.members.remove(shapes.iter().map(|shape| shape.id()).collect()).await;
    }

    /// Nobody finds them any more.
    fn leave(&self, ids: &[ShapeId], why: EndReason) -> Vec<Arc<Shape>> {
        let left: Vec<Arc<Shape>> = {
            let mut state = self.state();
            ids.iter().filter_map(|id| self.take_out(&mut state, *id)).collect()
        };
        match first_of_many(&left) {
            Some(first) => tracing::info!(shapes = left.len(), first, ?why, "shapes ended"),
            None => left.iter().for_each(|shape| {
                let (handle, table) = (shape.handle(), &shape.table().name);
                tracing::info!(handle, %table, ?why, "shape ended");
            }),
        }
        if why == EndReason::TableChanged {
            let tables: HashSet<_> = left.iter().map(|shape| &shape.table().name).collect();
            tables.into_iter().for_each(|table| self.workshop.schemas.forget(table));
        }
        left
    }

    /// Ends the shapes of tables whose partitions are no longer theirs, as long as it runs. Those
    /// that were made since are right.
    pub async fn follow_stale(self: Arc<Registry>, mut stale: mpsc::UnboundedReceiver<Stale>) {
        while let Some(Stale { table, generation }) = stale.recv().await {
            let shapes = self.of_table(table, |shape| shape.generation() < generation).await;
            if let Some(shape) = shapes.first() {
                let name = &shape.table().name;
                tracing::warn!(table = %name, shapes = shapes.len(), "partitions were attached, detached or dropped: the table's shapes end");
            }
            self.end(&shapes).await;
        }
    }

    async fn drop_failed(&self, shape: &Arc<Shape>, error: CreateError) {
        tracing::info!(handle = shape.handle(), table = %shape.table().name, %error, "shape not made");
        if matches!(error, CreateError::Refused(_)) {
            let refused = &mut self.state().refused;
            refused.push_back((shape.newest().handle, number(shape.asked_for()), error.clone()));
            if refused.len() > REFUSED_HANDLES_MAX {
                refused.pop_front();
            }
        } else {
            // What we know of its table may be the reason.
            self.workshop.schemas.forget(&shape.table().name);
        }
        // Whoever is told must not find it again.
        self.take_out(&mut self.state(), shape.id());
        create::fail(shape, error);
        self.end(std::slice::from_ref(shape)).await;
    }

    /// Out of the maps first, so that nobody new finds them; out of the catalogue before their logs
    /// stop taking entries, so that no crash brings them back with a hole.
    pub(crate) async fn end(&self, shapes: &[Arc<Shape>]) {
        for some in shapes.chunks(SHAPES_PER_BATCH_MAX) {
            let mut state = self.state();
            some.iter().for_each(|shape| _ = self.take_out(&mut state, shape.id()));
        }
        for some in shapes.chunks(SHAPES_PER_BATCH_MAX) {
            some.iter().for_each(|shape| shape.log.leave());
            let ids: Vec<ShapeId> = some.iter().map(|shape| shape.id()).collect();
            self.forget_records(&ids).await;
            self.workshop.logs.remove(&ids, EndReason::Removed);
            self.workshop.members.logs.remove(&ids, EndReason::Removed);
            for shape in some {
                shape.log.close(EndReason::Removed);
                self.release(shape);
            }
            self.tell(some).await;
        }
    }

    /// Nobody reads an ended shape's rows again: bodies that do end there.
    fn release(&self, shape: &Shape) {
        for base in shape.bases() {
            self.workshop.packs.release(&base.take_batches());
        }
    }

    async fn forget_records(&self, ids: &[ShapeId]) {
        if let Err(error) = self.workshop.catalog.remove_all(ids).await {
            // Their logs stop here: found again at the next start, they would have holes.
            crate::frame::fsync_failed(&error);
        }
    }

    /// Makes a shape known that was made by somebody else.
    #[cfg(test)]
    pub(crate) fn adopt(&self, shape: &Arc<Shape>) {
        self.enter(&mut self.state(), shape);
    }

    /// Somebody looks at a shape for upkeep's sake.
    pub(super) fn note_look(&self) {
        self.state().maps.note_steps(1);
    }

    /// How many shapes were looked at one by one so far.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.state().maps.steps()
    }

    fn recency(&self) -> Option<MutexGuard<'_, Recency>> {
        let recency = self.recency.as_ref()?;
        Some(recency.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
