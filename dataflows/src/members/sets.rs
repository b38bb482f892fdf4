//! The sets that subqueries select, and who asks them.
//!
//! *Invariant*: a set is there once for all that ask the same subquery, for as long as somebody does. A key names
//! every set that has it, or had it before the open transaction, and a set everyone who is found by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use brooklet_sql::{MemberKey, MemberWay, Membership};

use super::filter::{Counters, Filter};
use super::keys::Keys;
use super::set::{MemberSet, View};
use super::store::StoreId;
use crate::plan::ShapeId;

/// A set's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SetId(pub(super) u32);

impl SetId {
    pub(super) const MIN: SetId = SetId(u32::MIN);
    pub(super) const MAX: SetId = SetId(u32::MAX);
}

/// Who asks a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    /// Another set, for what it selects.
    Set(SetId),
    /// A shape, for its rows.
    Shape(ShapeId),
}

impl Asker {
    const MIN: Asker = Asker::Set(SetId::MIN);
    const MAX: Asker = Asker::Shape(ShapeId(u64::MAX));
}

/// A set and where it comes from.
pub(super) struct Selected {
    name: String,
    pub(super) set: MemberSet,
    pub(super) family: usize,
    pub(super) source: StoreId,
    pub(super) membership: Membership,
    pub(super) filter: Filter,
    /// How rows of its source find it: by sets, or `None` for its own access.
    pub(super) way: Option<MemberWay>,
    pub(super) depth: usize,
}

#[derive(Default)]
pub(super) struct Sets {
    slots: Vec<Option<Selected>>,
    free: Vec<SetId>,
    by_name: HashMap<String, SetId>,
    families: Vec<Keys>,
    /// Numbers of families, by what their sets have in common.
    family_names: HashMap<String, usize>,
    /// How many sets there are of a depth.
    depths: BTreeMap<usize, usize>,
    /// Everyone who asks a set.
    askers: BTreeSet<(SetId, Asker)>,
    /// Those of them to whom false is not the same as NULL: rows concern them whose key has a NULL, and all rows when
    /// the set becomes empty or gets a NULL.
    heeders: BTreeSet<(SetId, Asker)>,
    /// Of these, who is found by it through a link.
    found_by: BTreeSet<(u64, SetId, Asker)>,
    /// Sets that the open transaction has changed.
    touched: BTreeSet<SetId>,
    /// Bytes that grow with sets, but not those of their keys.
    overhead: usize,
    pub(super) costs: Counters,
}

/// So many who ask a set are asked about its moves one by one.
const ASKERS_MAX: usize = if cfg!(test) { 2 } else { 16 };

/// Bytes of a set without a key: what it knows of itself, its filter, its places in maps.
const SET_BYTES: usize = 1_024;

/// Bytes of a pair of a set and one that asks it, in two maps; a third has but few.
const ASKER_BYTES: usize = 80;

impl Sets {
    pub(super) fn named(&self, membership: &Membership) -> Option<SetId> {
        self.by_name.get(&membership.set_name()).copied()
    }

    pub(super) fn get(&self, id: SetId) -> Option<&Selected> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SetId) -> Option<&mut Selected> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// A set and its keys.
    pub(super) fn view(&self, id: SetId) -> Option<View<'_>> {
        let selected = self.get(id)?;
        Some(View { id, set: &selected.set, keys: self.families.get(selected.family)? })
    }

    /// How many others stand between a set and tables.
    pub(super) fn depth(&self, id: SetId) -> usize {
        self.get(id).map_or(0, |selected| selected.depth)
    }

    pub(super) fn deepest(&self) -> usize {
        self.depths.keys().next_back().copied().unwrap_or_default()
    }

    /// The keys that a test's set shares with others.
    pub(super) fn family(&mut self, membership: &Membership) -> usize {
        let name = membership.family_name();
        if let Some(at) = self.family_names.get(&name) {
            return *at;
        }
        // As many as ways to select columns of tables: they stay.
        self.families.push(Keys::default());
        self.family_names.insert(name, self.families.len() - 1);
        self.families.len() - 1
    }

    /// An empty set.
    pub(super) fn insert(
        &mut self,
        membership: &Membership,
        source: StoreId,
        filter: Filter,
    ) -> SetId {
        let name = membership.set_name();
        let family = self.family(membership);
        let depth = filter.tests.iter().map(|test| self.depth(test.set) + 1).max().unwrap_or(0);
        *self.depths.entry(depth).or_default() += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            SetId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_name.insert(name.clone(), id);
        self.overhead += SET_BYTES + 4 * name.len();
        let (set, membership) = (MemberSet::default(), membership.clone());
        let way = None;
        let selected = Selected { name, set, family, source, membership, filter, way, depth };
        self.slots[id.0 as usize] = Some(selected);
        id
    }

    /// Takes a set out.
    pub(super) fn remove(&mut self, id: SetId) -> Option<Selected> {
        let selected = self.slots.get_mut(id.0 as usize)?.take()?;
        self.by_name.remove(&selected.name);
        if let Some(keys) = self.families.get_mut(selected.family) {
            keys.forget(id);
        }
        if let Some(count) = self.depths.get_mut(&selected.depth) {
            *count -= 1;
            if *count == 0 {
                self.depths.remove(&selected.depth);
            }
        }
        self.overhead -= SET_BYTES + 4 * selected.name.len() + selected.set.partial_bytes;
        self.touched.remove(&id);
        self.free.push(id);
        Some(selected)
    }

    /// Counts rows of a set in or out.
    pub(super) fn add(&mut self, id: SetId, key: MemberKey, delta: i64) {
        let Some(Some(selected)) = self.slots.get_mut(id.0 as usize) else { return };
        let Some(keys) = self.families.get_mut(selected.family) else { return };
        self.overhead -= selected.set.partial_bytes;
        selected.set.add(keys, id, key, delta);
        self.overhead += selected.set.partial_bytes;
        self.touched.insert(id);
    }

    /// The open transaction is over, or was only the filling of new sets.
    pub(super) fn close(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(Some(selected)) = self.slots.get_mut(id.0 as usize) else { continue };
            let Some(keys) = self.families.get_mut(selected.family) else { continue };
            self.overhead -= selected.set.partial_bytes;
            selected.set.close(keys, id);
            self.overhead += selected.set.partial_bytes;
        }
        self.families.iter_mut().for_each(Keys::give_back);
    }

    /// Somebody asks a filter's sets, and is found by those of a way.
    pub(super) fn ask(&mut self, asker: Asker, filter: &Filter, way: Option<&MemberWay>) {
        self.askers.extend(filter.tests.iter().map(|test| (test.set, asker)));
        self.heeders.extend(filter.heeded().map(|set| (set, asker)));
        for at in way.iter().flat_map(|way| &way.tests) {
            let test = &filter.tests[*at];
            self.found_by.insert((test.link, test.set, asker));
        }
    }

    /// Somebody no longer does; told are the sets that nobody asks any more.
    pub(super) fn leave(
        &mut self,
        asker: Asker,
        filter: &Filter,
        way: Option<&MemberWay>,
    ) -> Vec<SetId> {
        for at in way.iter().flat_map(|way| &way.tests) {
            let test = &filter.tests[*at];
            self.found_by.remove(&(test.link, test.set, asker));
        }
        for set in filter.heeded() {
            self.heeders.remove(&(set, asker));
        }
        let mut left = BTreeSet::new();
        for test in &filter.tests {
            self.askers.remove(&(test.set, asker));
            if self.askers(test.set).next().is_none() {
                left.insert(test.set);
            }
        }
        left.into_iter().collect()
    }

    /// Everyone who asks a set.
    pub(super) fn askers(&self, set: SetId) -> impl Iterator<Item = Asker> {
        self.askers.range((set, Asker::MIN)..=(set, Asker::MAX)).map(|(_, asker)| *asker)
    }

    /// Of these, those that heed whether it is empty or has a NULL.
    pub(super) fn heeders(&self, set: SetId) -> impl Iterator<Item = Asker> {
        self.heeders.range((set, Asker::MIN)..=(set, Asker::MAX)).map(|(_, asker)| *asker)
    }

    /// The sets that a key finds through a link's family, now or before the open transaction, each with those
    /// it finds.
    pub(super) fn find(
        &self,
        (link, family): (u64, usize),
        key: &MemberKey,
        (first, last): (Asker, Asker),
        mut each: impl FnMut(Asker),
    ) {
        let Some(keys) = self.families.get(family).filter(|_| !key.has_null) else { return };
        let Some(id) = keys.find(key) else { return };
        for set in keys.sets(id) {
            self.costs.count(&self.costs.entries);
            for (_, _, asker) in self.found_by.range((link, set, first)..=(link, set, last)) {
                self.costs.count(&self.costs.entries);
                each(*asker);
            }
        }
    }

    /// With how many others somebody would be found through a link by a set's keys, roughly: by the first
    /// few of them; counted up to `most`.
    pub(super) fn crowd(&self, link: u64, id: SetId, most: usize) -> usize {
        const SAMPLE: usize = 8;
        let Some(view) = self.view(id) else { return 0 };
        let of_set = |set: SetId| {
            let range = (link, set, Asker::MIN)..=(link, set, Asker::MAX);
            self.found_by.range(range).take(most).count()
        };
        let keys = view.keys.of_set(id).take(SAMPLE);
        let with_key = keys.map(|key| {
            let mut crowd = 0;
            for set in view.keys.sets(key).take(most) {
                crowd += of_set(set);
                if crowd >= most {
                    break;
                }
            }
            crowd
        });
        with_key.max().unwrap_or_default().max(of_set(id))
    }

    /// Whether so many ask a set that those whom a moved key concerns are looked up by rows.
    pub(super) fn is_busy(&self, id: SetId) -> bool {
        self.askers(id).nth(ASKERS_MAX).is_some()
    }

    pub(super) fn asks(&self, asker: Asker, set: SetId) -> bool {
        self.askers.contains(&(set, asker))
    }

    /// Bytes of their keys, in memory.
    pub(super) fn key_bytes(&self) -> usize {
        self.families.iter().map(Keys::bytes).sum()
    }

    /// Bytes of what else they are, by estimate.
    pub(super) fn other_bytes(&self) -> usize {
        self.overhead + ASKER_BYTES * self.askers.len() + ASKER_BYTES / 2 * self.heeders.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
