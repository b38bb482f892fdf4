//! What clients and we know of shapes, whatever the server forgets.

use std::collections::HashMap;

use brooklet_dataflows::ShapeId;

use super::postgres::{Postgres, Question, Seen};
use crate::shape_log::Offset;
use crate::shapes::catalog::ShapeRecord;
use crate::shapes::handle::Handle;

#[derive(Default)]
pub(super) struct Records {
    shapes: HashMap<ShapeId, Known>,
    handles: u64,
    pub sealed: usize,
    /// New bases, bases given up, and rounds that gave disk of postings back.
    pub folded: usize,
    pub retired: usize,
    pub rewritten: usize,
    /// Rounds that made the catalogue shorter.
    pub compacted: usize,
    /// Comparisons with the model, and entries compared.
    pub compared: (usize, usize),
    /// Comparisons of shapes with subqueries, rows that moved in them, checkpoints written, and rows of tables
    /// that a start took from one.
    pub with_subqueries: usize,
    pub moved: usize,
    pub checkpoints: usize,
    pub from_checkpoint: usize,
    /// Shapes that were found again at a start.
    pub restored: usize,
}

pub(super) struct Known {
    pub question: Question,
    pub added: usize,
    pub handle: Handle,
    /// What new clients were given.
    newest: Handle,
    /// Which commits its snapshot contains, once it is taken.
    pub contains: Option<Vec<bool>>,
    /// Its maker was told that it is complete and durable.
    pub finished: bool,
    /// Its removal has begun,
    pub removing: bool,
    /// and is durable.
    pub removed: bool,
    /// What a client has read.
    seen: Vec<Seen>,
}

impl Records {
    pub fn begin(&mut self, id: ShapeId, question: Question, added: usize) -> Handle {
        self.handles += 1;
        let handle = Handle::new(id.0 as u32, self.handles);
        let known = Known {
            question,
            added,
            handle,
            newest: handle,
            contains: None,
            finished: false,
            removing: false,
            removed: false,
            seen: Vec::new(),
        };
        let before = self.shapes.insert(id, known);
        assert!(!before.is_some_and(|before| before.finished), "shape {id:?} was given twice");
        handle
    }

    pub fn get_mut(&mut self, id: ShapeId) -> Option<&mut Known> {
        self.shapes.get_mut(&id)
    }

    pub fn change(&mut self, id: ShapeId, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.shapes.get_mut(&id) {
            change(known);
        }
    }

    pub fn finished(&mut self, id: ShapeId) {
        self.change(id, |known| known.finished = true);
    }

    /// New clients begin with this one.
    pub fn folded(&mut self, id: ShapeId, newest: Handle) {
        self.folded += 1;
        self.change(id, |known| known.newest = newest);
    }

    /// Those whose removal may begin, by their number.
    pub fn removable(&self) -> Vec<ShapeId> {
        let whole = |(_, known): &(&ShapeId, &Known)| known.finished && !known.removing;
        let mut found: Vec<ShapeId> = self.shapes.iter().filter(whole).map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    /// How many are being removed.
    pub fn leaving(&self) -> usize {
        self.shapes.values().filter(|known| known.removing && !known.removed).count()
    }

    /// A start has found these.
    pub fn found(&mut self, records: &[ShapeRecord]) {
        for record in records {
            let known = self.shapes.get_mut(&record.id).expect("a shape that nobody made");
            let newest = known.newest;
            let known_still = record.bases.iter().any(|base| base.handle == newest);
            assert!(known_still, "{}: {newest} was given to clients and is gone", known.handle);
            assert!(!known.removed, "{} was removed and is back", known.handle);
            // Whoever made it, or folded it, may not have lived to hear of it. New clients begin with its newest base.
            (known.finished, known.removing) = (true, false);
            known.newest = record.bases.last().expect("a base").handle;
            self.restored += 1;
        }
    }

    /// Shapes that must be alive, now that everything has arrived everywhere.
    pub fn must_live(&self, postgres: &Postgres) -> Vec<ShapeId> {
        let sure = |known: &Known| {
            let contains = known.contains.as_deref().unwrap_or_default();
            let (may_end, _) = postgres.ends(known.question, known.added, contains);
            known.finished && !known.removing && !may_end
        };
        self.shapes.iter().filter(|(_, known)| sure(known)).map(|(id, _)| *id).collect()
    }
}

impl Known {
    /// A client reads what the log holds after `begin`: `all` of it, or as far as it goes now.
    pub fn read(&mut self, begin: Offset, found: &[Seen], postgres: &Postgres, all: bool) {
        let Known { question, handle, contains, seen, .. } = self;
        seen.retain(|entry| entry.offset > begin);
        for pair in found.windows(2) {
            assert!(pair[0].offset < pair[1].offset, "{handle}: {pair:?}");
        }
        let common = seen.len().min(found.len());
        same(handle, "as read before", &found[..common], &seen[..common]);
        let contains = contains.as_deref().unwrap_or_default();
        // What moves in a shape with subqueries is compared transaction by transaction, by its rows.
        if question.subquery.is_none() {
            let mut expected = postgres.log(*question, contains);
            expected.retain(|entry| entry.offset > begin);
            let upto = if all { expected.len() } else { found.len().min(expected.len()) };
            same(handle, "as it should be", found, &expected[..upto]);
        }
        if found.len() > seen.len() {
            *seen = found.to_vec();
        }
    }
}

/// The first difference says more than all entries.
fn same(handle: &Handle, what: &str, found: &[Seen], expected: &[Seen]) {
    let differs =
        (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at));
    if let Some(at) = differs {
        let (found, expected) = (found.get(at), expected.get(at));
        panic!("{handle} is not {what}: entry {at}\n is     {found:?}\n not    {expected:?}");
    }
}
