//! Cuts rows into batches and chunks while they are stored.

use std::sync::Arc;

use bytes::Bytes;

use super::base::{Base, SnapshotState};
use super::shape::Shape;
use crate::limits::{BATCH_BYTES_MAX, SNAPSHOT_SYNC_BYTES};
use crate::shape_log::pack::PackError;
use crate::shape_log::{BatchPlace, Encoded, Form, Gathered, PackStore, Piece};

/// The rows of one base while they are written. A chunk ends with the row that fills it.
pub struct Chunks<'a> {
    packs: &'a PackStore,
    encoded: Option<&'a Encoded>,
    /// Whether readers wait for the last row.
    at_once: bool,
    shape: &'a Shape,
    base: Arc<Base>,
    rows: Gathered,
    places: Vec<BatchPlace>,
    chunk: u32,
    chunk_bytes: u64,
    chunk_bytes_max: u64,
    /// The rows that were gathered, as most readers want them.
    json: Vec<u8>,
    /// Stored since the last sync was asked for.
    unsynced: u64,
}

impl<'a> Chunks<'a> {
    /// Stores rows for `base`, in chunks of so many bytes of JSON.
    pub fn new(
        packs: &'a PackStore,
        chunk_bytes_max: u64,
        shape: &'a Shape,
        base: &Arc<Base>,
    ) -> Chunks<'a> {
        let columns = shape.template.definition.columns.iter();
        Chunks {
            packs,
            encoded: None,
            at_once: false,
            shape,
            base: Arc::clone(base),
            rows: Gathered::new(columns.map(|at| shape.table().columns[*at].name.as_str())),
            places: Vec::new(),
            chunk: 0,
            chunk_bytes: 0,
            chunk_bytes_max,
            json: Vec::new(),
            unsynced: 0,
        }
    }

    /// Somebody waits for the rows: their JSON, of which chunks' ends are computed, is made once.
    #[must_use]
    pub fn shared(self, encoded: &'a Encoded) -> Chunks<'a> {
        Chunks { encoded: Some(encoded), ..self }
    }

    /// The last row comes so soon that readers wait for it: they are not woken before.
    #[must_use]
    pub fn at_once(self) -> Chunks<'a> {
        Chunks { at_once: true, ..self }
    }

    fn update(&self, change: impl FnOnce(&mut SnapshotState)) {
        match self.at_once {
            true => self.base.note(change),
            false => self.base.update(change),
        }
    }

    /// Whether every row that was given can be read.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes a row by its values at the places of the selected columns.
    pub fn push<'v>(
        &mut self,
        value: impl Fn(usize) -> Option<&'v [u8]> + Copy,
    ) -> Result<(), PackError> {
        if !self.json.is_empty() {
            self.json.extend_from_slice(Form::Json.separator());
        }
        let before = self.json.len();
        self.shape.view().stored_row(value, &mut self.json);
        self.chunk_bytes += (self.json.len() - before) as u64 + 1;
        self.rows.push(value)?;
        if self.chunk_bytes >= self.chunk_bytes_max {
            self.flush()?;
            (self.chunk, self.chunk_bytes) = (self.chunk + 1, 0);
            let chunk = self.chunk;
            self.update(|state| state.chunk = chunk);
        } else if self.rows.bytes() >= BATCH_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Lets what was stored become durable meanwhile, once it is much.
    pub fn sync_early(&mut self) {
        if self.unsynced >= SNAPSHOT_SYNC_BYTES {
            self.unsynced = 0;
            let packs = self.packs.clone();
            // Whether all is durable is asked at the end.
            tokio::spawn(async move { packs.sync().await });
        }
    }

    /// Stores what was gathered; it can be read then.
    pub fn flush(&mut self) -> Result<(), PackError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let number = self.places.len() as u32;
        let rows = self.rows.take()?;
        let place = self.packs.append(self.shape.id(), self.chunk, number, &rows)?;
        self.places.push(place);
        let json = Vec::with_capacity(self.json.len());
        let json = std::mem::replace(&mut self.json, json);
        if let Some(encoded) = self.encoded {
            let json = Bytes::from(json.into_boxed_slice());
            encoded.offer(Piece::Batch(self.shape.id(), place, Form::Json), json);
        }
        self.update(|state| state.batches.push(place));
        self.unsynced += place.bytes();
        Ok(())
    }
}
