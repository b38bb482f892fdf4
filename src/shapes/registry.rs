//! Which shapes exist, by question and by handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use brooklet_dataflows::{EndReason, Event, ShapeId};
use tokio::sync::mpsc;

use super::base::{Base, SnapshotState};
use super::create::{self, CreateError, Workshop};
use super::definition::{Defined, Definition};
use super::fold;
use super::partitions::Stale;
use super::shape::Shape;
use crate::limits::CREATIONS_MAX;
use crate::shape_log::{LogPoint, ShapeLog};

/// All shapes of a running server.
pub struct Registry {
    /// Held for look-ups and insertions only.
    maps: Mutex<Maps>,
    workshop: Arc<Workshop>,
}

struct Maps {
    by_definition: HashMap<Definition, Arc<Shape>>,
    by_handle: HashMap<String, Arc<Shape>>,
    by_id: HashMap<ShapeId, Arc<Shape>>,
    next_id: u64,
    last_micros: u128,
    creating: usize,
}

impl Registry {
    /// A registry of the shapes that were found on disk.
    #[must_use]
    pub fn new(workshop: Arc<Workshop>, shapes: Vec<Shape>, next_id: u64) -> Arc<Registry> {
        let mut maps = Maps {
            by_definition: HashMap::new(),
            by_handle: HashMap::new(),
            by_id: HashMap::new(),
            next_id,
            last_micros: 0,
            creating: 0,
        };
        shapes.into_iter().for_each(|shape| maps.insert(&Arc::new(shape)));
        Arc::new(Registry { maps: Mutex::new(maps), workshop })
    }

    /// What shapes are made with.
    #[must_use]
    pub fn workshop(&self) -> &Arc<Workshop> {
        &self.workshop
    }

    /// The shape of this handle, if it is alive.
    #[must_use]
    pub fn by_handle(&self, handle: &str) -> Option<Arc<Shape>> {
        self.maps().by_handle.get(handle).filter(|shape| shape.is_alive()).cloned()
    }

    /// The shape that answers this question, if there is one.
    #[must_use]
    pub fn by_definition(&self, definition: &Definition) -> Option<Arc<Shape>> {
        self.maps().by_definition.get(definition).filter(|shape| shape.is_alive()).cloned()
    }

    /// The shape of this number, if it is alive.
    #[must_use]
    pub fn by_id(&self, id: ShapeId) -> Option<Arc<Shape>> {
        self.maps().by_id.get(&id).cloned()
    }

    /// A handle that was never given before.
    #[must_use]
    pub fn new_handle(&self, definition: &Definition) -> String {
        self.maps().handle(definition)
    }

    /// One more handle stands for a shape; nothing if the shape is no longer there.
    pub fn add_handle(&self, shape: &Arc<Shape>, handle: &str) {
        let mut maps = self.maps();
        if maps.by_id.contains_key(&shape.id) {
            maps.by_handle.insert(handle.to_owned(), Arc::clone(shape));
        }
    }

    /// These handles stand for nothing any more.
    pub fn forget_handles(&self, handles: &[String]) {
        let mut maps = self.maps();
        handles.iter().for_each(|handle| _ = maps.by_handle.remove(handle));
    }

    /// How many shapes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.maps().by_id.len()
    }

    /// All shapes whose snapshot is complete.
    #[must_use]
    pub fn finished(&self) -> Vec<Arc<Shape>> {
        let maps = self.maps();
        maps.by_id.values().filter(|shape| shape.is_complete()).cloned().collect()
    }

    /// The shape that answers this question; made if there is none. Everybody who asks meanwhile
    /// gets the same one. Making it goes on when the asker leaves.
    pub fn get_or_create(
        self: &Arc<Registry>,
        defined: Defined,
    ) -> Result<Arc<Shape>, CreateError> {
        let shape = {
            let mut maps = self.maps();
            if let Some(shape) = maps.by_definition.get(&defined.definition)
                && shape.is_alive()
            {
                return Ok(Arc::clone(shape));
            }
            if maps.creating >= CREATIONS_MAX {
                return Err(CreateError::busy());
            }
            let id = ShapeId(maps.next_id);
            maps.next_id += 1;
            let handle = maps.handle(&defined.definition);
            let log = Arc::new(ShapeLog::new(id, self.workshop.chunk_bytes));
            let base = Base::new(handle, LogPoint::BEGIN, fold::now(), SnapshotState::starting());
            let shape = Arc::new(Shape::new(defined, log, base));
            maps.insert(&shape);
            maps.creating += 1;
            shape
        };
        let (registry, making) = (Arc::clone(self), Arc::clone(&shape));
        tokio::spawn(async move {
            let made = create::create(&registry.workshop, &making).await;
            registry.maps().creating -= 1;
            if let Err(error) = made {
                registry.drop_failed(&making, error).await;
            }
        });
        Ok(shape)
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
        let shapes: Vec<Arc<Shape>> = self.maps().by_id.drain().map(|(_, shape)| shape).collect();
        let mut maps = self.maps();
        maps.by_definition.clear();
        maps.by_handle.clear();
        drop(maps);
        for shape in shapes {
            shape.log.close(EndReason::Removed);
        }
    }

    /// Removes what the stream has ended, as long as it runs.
    pub async fn follow(
        self: Arc<Registry>,
        mut ended: mpsc::UnboundedReceiver<(ShapeId, EndReason)>,
    ) {
        while let Some((id, why)) = ended.recv().await {
            let shape = self.maps().by_id.get(&id).cloned();
            self.maps().remove(id);
            if let Some(shape) = &shape {
                tracing::info!(handle = shape.handle(), table = %shape.defined.table.name, ?why, "shape ended");
                if why == EndReason::TableChanged {
                    self.workshop.schemas.forget(&shape.defined.table.name);
                }
            }
            self.forget_record(id).await;
            shape.iter().for_each(|shape| self.release(shape));
            // The dataflow knows, unless the end was noticed behind it. Fails only when the process
            // is ending.
            _ = self.workshop.engine.send(vec![Event::RemoveShape(id)]).await;
        }
    }

    /// Ends the shapes of tables whose partitions are no longer theirs, as long as it runs. Those
    /// that were made since are right.
    pub async fn follow_stale(self: Arc<Registry>, mut stale: mpsc::UnboundedReceiver<Stale>) {
        while let Some(Stale { table, generation }) = stale.recv().await {
            let old = |shape: &&Arc<Shape>| {
                shape.defined.table.oid == table && shape.generation() < generation
            };
            let shapes: Vec<Arc<Shape>> = self.maps().by_id.values().filter(old).cloned().collect();
            if let Some(shape) = shapes.first() {
                let name = &shape.defined.table.name;
                tracing::warn!(table = %name, shapes = shapes.len(), "partitions were attached, detached or dropped: the table's shapes end");
            }
            self.end(&shapes).await;
        }
    }

    async fn drop_failed(&self, shape: &Arc<Shape>, error: CreateError) {
        tracing::info!(handle = shape.handle(), table = %shape.defined.table.name, %error, "shape not made");
        create::fail(shape, error);
        self.end(std::slice::from_ref(shape)).await;
    }

    /// Out of the maps first, so that nobody new finds them; out of the catalogue before their logs
    /// stop taking entries, so that no crash brings them back with a hole.
    pub(crate) async fn end(&self, shapes: &[Arc<Shape>]) {
        let ids: Vec<ShapeId> = shapes.iter().map(|shape| shape.id).collect();
        {
            let mut maps = self.maps();
            ids.iter().for_each(|id| maps.remove(*id));
        }
        if let Err(error) = self.workshop.catalog.remove_all(&ids).await {
            // Their logs stop here: found again at the next start, they would have holes.
            crate::frame::fsync_failed(&error);
        }
        for shape in shapes {
            self.workshop.logs.remove(shape.id, EndReason::Removed);
            shape.log.close(EndReason::Removed);
            self.release(shape);
        }
        // Fails only when the process is ending.
        _ = self.workshop.engine.send(ids.into_iter().map(Event::RemoveShape).collect()).await;
    }

    /// Nobody reads an ended shape's rows again: bodies that do end there.
    fn release(&self, shape: &Shape) {
        for base in shape.bases() {
            self.workshop.packs.release(&base.take_batches());
        }
    }

    async fn forget_record(&self, id: ShapeId) {
        if let Err(error) = self.workshop.catalog.remove(id).await {
            tracing::error!(%error, "the catalogue cannot be written");
        }
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn insert(&mut self, shape: &Arc<Shape>) {
        self.by_definition.insert(shape.defined.definition.clone(), Arc::clone(shape));
        for handle in shape.handles() {
            self.by_handle.insert(handle, Arc::clone(shape));
        }
        self.by_id.insert(shape.id, Arc::clone(shape));
    }

    fn remove(&mut self, id: ShapeId) {
        let Some(shape) = self.by_id.remove(&id) else { return };
        shape.handles().iter().for_each(|handle| _ = self.by_handle.remove(handle));
        let definition = &shape.defined.definition;
        if self.by_definition.get(definition).is_some_and(|known| known.id == id) {
            self.by_definition.remove(definition);
        }
    }

    /// `<27 bits of the definition>-<microseconds>`, each time another one.
    fn handle(&mut self, definition: &Definition) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.last_micros = now.max(self.last_micros + 1);
        let text = serde_json::to_vec(definition).unwrap_or_default();
        format!("{}-{}", crc32fast::hash(&text) >> 5, self.last_micros)
    }
}
