//! Rows that are kept under one name, and who is about them.
//!
//! *Invariant*: a row finds, by its own values, every set and every shape over these rows that it may concern,
//! but for those that stand under other sets: these it finds by its links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_sql::{Access, MemberWay, Membership, Probe, TableSchema, Want};

use super::filter::Filter;
use super::kept::{Kept, KeptName};
use super::sets::{Asker, Sets};
use crate::index::{ShapeIndex, weight};
use crate::plan::{Selection, ShapeId, ShapePlan};

/// The number of a name of kept rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StoreId(pub(super) u32);

/// So few rows are looked at one by one sooner than an index is made.
const ROWS_LOOKED_AT: usize = if cfg!(test) { 2 } else { 64 };

/// An index is made if others leave more than this part of the rows.
const PART: usize = 8;

/// Those that are found with a key are counted so far, to compare ways: whoever is in such a crowd looks for another.
const CROWD_MAX: usize = 512;

pub(super) struct Store {
    pub(super) name: KeptName,
    pub(super) kept: Kept,
    /// Shapes and sets over these rows.
    pub(super) users: usize,
    pub(super) sets: ShapeIndex,
    pub(super) shapes: ShapeIndex,
    /// By name.
    pub(super) links: BTreeMap<String, Link>,
    /// What filters want a value of: how many of them, and the index once there is one.
    sources: BTreeMap<String, (usize, Option<u32>)>,
    /// For sets, which show nothing.
    selection: Option<Arc<Selection>>,
}

/// Columns of rows that are looked up in the keys of some sets.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) membership: Membership,
    pub(super) family: usize,
    /// Of the kept rows.
    pub(super) index: u32,
    users: usize,
}

impl Store {
    pub(super) fn new(name: KeptName, kept: Kept) -> Store {
        Store {
            name,
            kept,
            users: 0,
            sets: ShapeIndex::default(),
            shapes: ShapeIndex::default(),
            links: BTreeMap::new(),
            sources: BTreeMap::new(),
            selection: None,
        }
    }

    /// One user more of a link, and of its index.
    pub(super) fn link(
        &mut self,
        membership: &Membership,
        family: usize,
        next: &mut u64,
    ) -> (u64, u32) {
        let index = self.kept.add_link(membership);
        let link = self.links.entry(link_name(membership)).or_insert_with(|| {
            *next += 1;
            Link { id: *next, membership: membership.clone(), family, index, users: 0 }
        });
        link.users += 1;
        (link.id, index)
    }

    fn unlink(&mut self, membership: &Membership) {
        let name = link_name(membership);
        let Some(link) = self.links.get_mut(&name) else { return };
        link.users -= 1;
        if link.users == 0 {
            self.links.remove(&name);
        }
    }

    /// How rows will find somebody: by sets, or `None` for the own values of rows.
    pub(super) fn choose(
        &mut self,
        asker: Asker,
        filter: &Filter,
        access: &Access,
        sets: &Sets,
    ) -> Option<MemberWay> {
        let mut ways = filter.predicate.as_ref()?.member_ways();
        if *access == Access::Nothing || ways.is_empty() {
            return None;
        }
        let table = self.name.table;
        let index = match asker {
            Asker::Set(_) => &mut self.sets,
            Asker::Shape(_) => &mut self.shapes,
        };
        let own = match access {
            Access::All if ways.len() == 1 => return ways.pop(),
            access => index.crowd(table, access).map_or(u32::MAX, weight),
        };
        let mut crowd = |way: &MemberWay| {
            let tests = way.tests.iter().map(|at| {
                let test = &filter.tests[*at];
                sets.crowd(test.link, test.set, CROWD_MAX)
            });
            let rest = index.crowd(table, &way.rest).unwrap_or(CROWD_MAX);
            weight(tests.sum::<usize>().saturating_add(rest))
        };
        let crowds: Vec<u32> = ways.iter().map(&mut crowd).collect();
        let best = (0..ways.len()).min_by_key(|at| crowds[*at])?;
        (crowds[best] <= own).then(|| ways.swap_remove(best))
    }

    /// Somebody is about these rows from now on.
    pub(super) fn enter(
        &mut self,
        asker: Asker,
        plan: &Arc<ShapePlan>,
        way: Option<&MemberWay>,
        access: &Access,
    ) {
        self.users += 1;
        let words = way.map(|way| self.describe(plan, way));
        let access = way.map_or(access, |way| &way.rest);
        let index = match asker {
            Asker::Set(_) => &mut self.sets,
            Asker::Shape(_) => &mut self.shapes,
        };
        index.add_by(Arc::clone(plan), access, words.as_deref());
    }

    fn describe(&self, plan: &ShapePlan, way: &MemberWay) -> String {
        let memberships = plan.predicate.as_ref().map_or(&[][..], |one| one.memberships());
        let mut words: Vec<String> = Vec::new();
        for membership in way.tests.iter().filter_map(|at| memberships.get(*at)) {
            let name = |at: &usize| {
                let column = plan.table().columns.get(*at);
                column.map_or_else(String::new, |column| format!("{:?}", column.name))
            };
            let names: Vec<String> = membership.left.iter().map(name).collect();
            let word = format!("set {}", names.join(", "));
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(" or ").trim_end().to_owned()
    }

    /// The opposite of [`Store::enter`], and of the links and indexes of a filter.
    pub(super) fn leave(
        &mut self,
        asker: Asker,
        filter: &Filter,
        way: Option<&MemberWay>,
    ) {
        let access = access(filter);
        let by = way.map_or(&access, |way| &way.rest);
        match asker {
            Asker::Set(id) => self.sets.remove_by(ShapeId(u64::from(id.0)), Some(by)),
            Asker::Shape(id) => self.shapes.remove_by(id, Some(by)),
        };
        for (_, membership, test) in filter.tests() {
            self.kept.release(test.index);
            self.unlink(membership);
        }
        if let Some((probe, _)) = equalities(&access)
            && let Some((users, index)) = self.sources.get_mut(probe.source.name())
        {
            *users -= 1;
            if *users == 0 {
                index.iter().for_each(|index| self.kept.release(*index));
                self.sources.remove(probe.source.name());
            }
        }
        self.users -= 1;
    }

    /// Somebody will want the rows that a filter lets in: makes an index for the second one that would
    /// otherwise look at many rows.
    pub(super) fn prepare(&mut self, filter: &Filter, access: &Access, sets: &Sets) {
        let Some((probe, _)) = equalities(access) else { return };
        let name = probe.source.name();
        let entry = self.sources.entry(name.to_owned()).or_default();
        entry.0 += 1;
        if entry.1.is_some() || entry.0 < 2 || self.kept.len() <= ROWS_LOOKED_AT {
            return;
        }
        let most = self.kept.len() / PART;
        if self.by_sets(filter, sets, most).is_none() {
            let index = self.kept.add_source(&probe.source);
            if let Some(entry) = self.sources.get_mut(name) {
                entry.1 = Some(index);
            }
        }
    }

    /// The kept rows that a filter may let in; `None` for all.
    pub(super) fn near(&self, filter: &Filter, sets: &Sets) -> Option<BTreeSet<u32>> {
        let access = access(filter);
        if access == Access::Nothing {
            return Some(BTreeSet::new());
        }
        let mut most = self.kept.len();
        let by_value = equalities(&access).and_then(|(probe, wants)| {
            let (_, index) = self.sources.get(probe.source.name())?;
            Some(((*index)?, wants))
        });
        let count = |(index, wants): &(u32, Vec<&[u8]>)| -> usize {
            wants.iter().map(|key| self.kept.count(*index, *key)).sum()
        };
        let by_value = by_value.filter(|one| count(one) < most);
        most = by_value.as_ref().map_or(most, count);
        if let Some(found) = self.by_sets(filter, sets, most) {
            return Some(found);
        }
        let (index, wants) = by_value?;
        let mut found = BTreeSet::new();
        wants.iter().for_each(|key| self.kept.find_value(index, key, &mut found));
        Some(found)
    }

    /// The rows that have a key of sets that a filter cannot do without; `None` if these are not fewer than
    /// `most`.
    fn by_sets(&self, filter: &Filter, sets: &Sets, most: usize) -> Option<BTreeSet<u32>> {
        let ways = filter.predicate.as_ref()?.member_ways();
        let keys = |way: &MemberWay| -> usize {
            let sets = way.tests.iter().filter_map(|at| sets.view(filter.tests[*at].set));
            sets.map(|view| view.set.keys).sum()
        };
        let ways = ways.iter().filter(|way| way.rest == Access::Nothing);
        let (keys, way) = ways.map(|way| (keys(way), way)).min_by_key(|(keys, _)| *keys)?;
        if keys >= most {
            return None;
        }
        let mut found = BTreeSet::new();
        for at in &way.tests {
            let test = &filter.tests[*at];
            let Some(view) = sets.view(test.set) else { continue };
            for key in view.keys.of_set(test.set).filter_map(|id| view.keys.key(id)) {
                sets.costs.count(&sets.costs.entries);
                self.kept.find(test.index, key, false, &mut found);
                if found.len() >= most {
                    return None;
                }
            }
        }
        Some(found)
    }

    /// The plan by which rows find a set.
    pub(super) fn plan(
        &mut self,
        id: u64,
        table: &Arc<TableSchema>,
        filter: &Filter,
    ) -> Arc<ShapePlan> {
        let selection = self.selection.get_or_insert_with(|| {
            let (columns, key) = ([].into(), [].into());
            Arc::new(Selection { table: Arc::clone(table), columns, key, listed: true })
        });
        let (selection, predicate) = (Arc::clone(selection), filter.predicate.clone());
        Arc::new(ShapePlan { id: ShapeId(id), selection, predicate })
    }
}

/// What the own values of rows say of a filter.
pub(super) fn access(filter: &Filter) -> Access {
    filter.predicate.as_ref().map_or(Access::All, |predicate| predicate.access())
}

/// The first alternative of an access that wants certain values of one source.
fn equalities(access: &Access) -> Option<(&Probe, Vec<&[u8]>)> {
    let Access::Any(list) = access else { return None };
    list.iter().find_map(|alternative| {
        let first = alternative.probes.first()?;
        let wants = alternative.probes.iter().map(|probe| match &probe.want {
            Want::Equal(key) if probe.source == first.source => Some(key.as_bytes()),
            _ => None,
        });
        wants.collect::<Option<Vec<_>>>().map(|wants| (first, wants))
    })
}

fn link_name(membership: &Membership) -> String {
    format!("{} in {}", membership.link_name(), membership.family_name())
}
