//! Which shapes exist, by question and by handle.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_dataflows::{EndReason, Event, ShapeId};
use tokio::sync::mpsc;

use super::base::{Base, SnapshotState};
use super::create::{self, CreateError, Workshop};
use super::definition::Defined;
use super::fold;
use super::handle::Handle;
use super::maps::{Asked, Maps};
use super::partitions::Stale;
use super::shape::Shape;
use super::template::Templates;
use super::together;
use crate::limits::{CREATIONS_MAX, REFUSED_HANDLES_MAX, SHAPES_PER_BATCH_MAX};
use crate::shape_log::{LogPoint, ShapeLog};

/// All shapes of a running server.
pub struct Registry {
    /// Held for look-ups and insertions only.
    state: Mutex<State>,
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
    /// A registry of the shapes that were found on disk.
    #[must_use]
    pub fn new(
        workshop: Arc<Workshop>,
        templates: Templates,
        shapes: Vec<Shape>,
        next_id: u64,
    ) -> Arc<Registry> {
        let mut maps = Maps::default();
        maps.reserve(shapes.len());
        shapes.into_iter().for_each(|shape| maps.insert(&Arc::new(shape)));
        let state = Mutex::new(State {
            maps,
            next_id,
            creating: 0,
            halted: None,
            refused: VecDeque::new(),
        });
        Arc::new(Registry { state, templates, workshop })
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
        state.maps.all().filter(|shape| !shape.is_complete()).cloned().collect()
    }

    /// Whether no shape can be made now.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.state().halted.is_some()
    }

    /// All shapes whose snapshot is complete, each when it was looked at: requests come in between.
    #[must_use]
    pub fn finished(&self) -> Vec<Arc<Shape>> {
        let mut finished = Vec::new();
        for number in 0..Maps::PIECES {
            let state = self.state();
            let piece = state.maps.piece(number);
            finished.extend(piece.filter(|shape| shape.is_complete()).cloned());
        }
        finished
    }

    /// Those of them with subqueries.
    #[must_use]
    pub fn finished_with_subqueries(&self) -> Vec<Arc<Shape>> {
        let state = self.state();
        let all = state.maps.with_subqueries();
        all.filter(|shape| shape.is_complete()).cloned().collect()
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
            state.maps.insert(&shape);
            state.creating += 1;
            shape
        };
        together::make(self, Arc::clone(&shape));
        Ok(shape)
    }

    /// A shape is made.
    pub(super) fn is_made(&self) {
        self.state().creating -= 1;
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
        let shapes = self.state().maps.clear();
        for shape in shapes {
            // The catalogue does not know: if this process ends before another epoch begins, they are back.
            shape.log.halt(EndReason::Removed);
        }
    }

    /// Removes what the stream has ended, as long as it runs.
    pub async fn follow(
        self: Arc<Registry>,
        mut ended: mpsc::UnboundedReceiver<(ShapeId, EndReason)>,
    ) {
        let mut ends = Vec::new();
        // A TRUNCATE ends all shapes of a table at once: they share an fsync.
        while ended.recv_many(&mut ends, SHAPES_PER_BATCH_MAX).await > 0 {
            let (mut ids, mut shapes) = (Vec::with_capacity(ends.len()), Vec::new());
            for (id, why) in ends.drain(..) {
                ids.push(id);
                shapes.push(self.leave(id, why));
            }
            self.forget_records(&ids).await;
            for shape in &shapes {
                let own = |shape: &Arc<Shape>| !crate::members::concerns(&shape.plan);
                if shape.as_ref().is_none_or(own) {
                    self.workshop.logs.settle_end();
                }
                shape.iter().for_each(|shape| self.release(shape));
            }
            // The dataflow knows, unless the end was noticed behind it. Fails only when the process
            // is ending.
            let events = ids.iter().copied().map(Event::RemoveShape).collect();
            _ = self.workshop.engine.send(events).await;
            self.workshop.members.remove(ids).await;
        }
    }

    /// Nobody finds it any more.
    fn leave(&self, id: ShapeId, why: EndReason) -> Option<Arc<Shape>> {
        let shape = {
            let mut state = self.state();
            let shape = state.maps.by_id(id).cloned();
            state.maps.remove(id);
            shape?
        };
        tracing::info!(handle = shape.handle(), table = %shape.table().name, ?why, "shape ended");
        if why == EndReason::TableChanged {
            self.workshop.schemas.forget(&shape.table().name);
        }
        Some(shape)
    }

    /// Ends the shapes of tables whose partitions are no longer theirs, as long as it runs. Those
    /// that were made since are right.
    pub async fn follow_stale(self: Arc<Registry>, mut stale: mpsc::UnboundedReceiver<Stale>) {
        while let Some(Stale { table, generation }) = stale.recv().await {
            let old =
                |shape: &&Arc<Shape>| shape.table().oid == table && shape.generation() < generation;
            let shapes: Vec<Arc<Shape>> = self.state().maps.all().filter(old).cloned().collect();
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
        self.state().maps.remove(shape.id());
        create::fail(shape, error);
        self.end(std::slice::from_ref(shape)).await;
    }

    /// Out of the maps first, so that nobody new finds them; out of the catalogue before their logs
    /// stop taking entries, so that no crash brings them back with a hole.
    pub(crate) async fn end(&self, shapes: &[Arc<Shape>]) {
        let ids: Vec<ShapeId> = shapes.iter().map(|shape| shape.id()).collect();
        {
            let mut state = self.state();
            ids.iter().for_each(|id| state.maps.remove(*id));
        }
        shapes.iter().for_each(|shape| shape.log.leave());
        self.forget_records(&ids).await;
        for shape in shapes {
            self.workshop.logs.remove(shape.id(), EndReason::Removed);
            self.workshop.members.logs.remove(shape.id(), EndReason::Removed);
            shape.log.close(EndReason::Removed);
            self.release(shape);
        }
        // Fails only when the process is ending.
        let events = ids.iter().copied().map(Event::RemoveShape).collect();
        _ = self.workshop.engine.send(events).await;
        self.workshop.members.remove(ids).await;
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
        self.state().maps.insert(shape);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
