//! The shelves of one table.
//!
//! *Enters*: sources, rows. *Leaves*: the shelf of a source; the plans that rows find on any of them.
//! *Invariant*: a row finds what asking every shelf would find. What cannot be there is not asked: of the
//! shelves about members of a document those are looked at whose member a row has, so that ten thousand paths
//! cost a row as much as it has members.

use std::sync::Arc;

use brooklet_sql::{Found, Key, Probe, Reading, Row, Source, Want};
use hashbrown::HashMap;

use super::shelf::Shelf;
use crate::plan::ShapePlan;

/// Members of a document whose shelves are all asked: to read which of them a row has costs about as much as to
/// ask one or two.
const FEW_MEMBERS: usize = 4;

/// All shelves, by the name of their source.
#[derive(Default)]
pub(crate) struct Shelves {
    /// Those that every row is shown.
    open: Named,
    /// Those that need something of a row.
    documents: HashMap<String, Document>,
}

type Named = HashMap<String, Shelf>;

/// Shelves about members of one document.
struct Document {
    /// The keys of its members.
    keys: Source,
    members: HashMap<Vec<u8>, Named>,
}

/// What was read of the old and the new row last; used again from row to row.
#[derive(Default)]
pub(crate) struct Readings {
    values: [Reading; 2],
    keys: [Reading; 2],
}

impl Shelves {
    /// The shelf that a probe is about, if there is one.
    pub(crate) fn get(&self, probe: &Probe) -> Option<&Shelf> {
        let shelves = match needs(probe) {
            None => &self.open,
            Some((keys, key)) => self.documents.get(keys.name())?.members.get(key.as_bytes())?,
        };
        shelves.get(probe.source.name())
    }

    /// The shelf that a probe is about, made if there is none.
    pub(crate) fn make(&mut self, probe: &Probe) -> &mut Shelf {
        let shelves = match needs(probe) {
            None => &mut self.open,
            Some((keys, key)) => {
                let document = self.documents.entry_ref(keys.name());
                let members = HashMap::default;
                let document =
                    document.or_insert_with(|| Document { keys: keys.clone(), members: members() });
                document.members.entry_ref(key.as_bytes()).or_default()
            }
        };
        let shelf = shelves.entry_ref(probe.source.name());
        shelf.or_insert_with(|| Shelf::new(probe.source.clone()))
    }

    /// Lets something be taken out of the shelf that a probe is about, which goes if it is empty then.
    pub(crate) fn take(&mut self, probe: &Probe, take: impl FnOnce(&mut Shelf)) {
        let name = probe.source.name();
        let Some((keys, key)) = needs(probe) else { return take_from(&mut self.open, name, take) };
        let Some(document) = self.documents.get_mut(keys.name()) else { return };
        let Some(shelves) = document.members.get_mut(key.as_bytes()) else { return };
        take_from(shelves, name, take);
        if shelves.is_empty() {
            document.members.remove(key.as_bytes());
        }
        if document.members.is_empty() {
            self.documents.remove(keys.name());
        }
    }

    /// Adds the plans that an old or a new row may concern; some more than once.
    pub(crate) fn find(
        &self,
        rows: [Option<&Row>; 2],
        readings: &mut Readings,
        found: &mut Vec<Arc<ShapePlan>>,
        steps: &mut u64,
    ) {
        let Readings { values, keys } = readings;
        let mut ask = |shelves: &Named, steps: &mut u64| {
            shelves.values().for_each(|shelf| shelf.find(rows, values, found, steps));
        };
        ask(&self.open, steps);
        for document in self.documents.values() {
            document.each_needed(rows, keys, steps, &mut ask);
        }
    }
}

impl Document {
    /// Shows the shelves that one of the rows may find something on.
    fn each_needed(
        &self,
        rows: [Option<&Row>; 2],
        readings: &mut [Reading; 2],
        steps: &mut u64,
        ask: &mut impl FnMut(&Named, &mut u64),
    ) {
        let Some(keys) = self.keys_of(rows, readings) else {
            return self.members.values().for_each(|shelves| ask(shelves, steps));
        };
        *steps += keys.len() as u64;
        for shelves in keys.into_iter().filter_map(|key| self.members.get(key)) {
            ask(shelves, steps);
        }
    }

    /// The keys that the rows have, each once; `None` where that cannot be said, or is no less than all.
    fn keys_of<'a>(
        &self,
        rows: [Option<&Row>; 2],
        readings: &'a mut [Reading; 2],
    ) -> Option<Vec<&'a [u8]>> {
        if self.members.len() <= FEW_MEMBERS {
            return None;
        }
        let mut all = Vec::new();
        for (row, reading) in rows.into_iter().zip(readings) {
            let Some(row) = row else { continue };
            self.keys.read(row, reading);
            if !matches!(reading.found, Found::Keys | Found::Null) {
                return None;
            }
            all.extend(reading.keys());
            if all.len() >= self.members.len() {
                return None;
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    }
}

/// What a row must have to fit a probe: a key of another source. Who has no value fits if that is what is wanted.
fn needs(probe: &Probe) -> Option<(&Source, &Key)> {
    probe.source.needs().filter(|_| probe.want != Want::Null)
}

fn take_from(shelves: &mut Named, name: &str, take: impl FnOnce(&mut Shelf)) {
    let Some(shelf) = shelves.get_mut(name) else { return };
    take(shelf);
    if shelf.is_empty() {
        shelves.remove(name);
    }
}
