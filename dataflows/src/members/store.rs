//! Rows that are kept under one name, and who is about them.
//!
//! *Invariant*: a row finds, by its own values, every set and every shape over these rows that it may concern,
//! but for those that stand under other sets: these it finds by its links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_sql::{Access, MemberWay, Membership, Source, TableSchema, Want};

use super::filter::Filter;
use super::kept::{Kept, KeptName};
use super::sets::{Asker, Sets};
use crate::index::{Otherwise, ShapeIndex, weight};
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
    /// The shapes among them.
    pub(super) outer_users: usize,
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
            outer_users: 0,
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
        let mut ways = ways(filter);
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
        self.outer_users += usize::from(matches!(asker, Asker::Shape(_)));
        let words = || way.map(|way| describe(plan, way)).unwrap_or_default();
        let otherwise = way.map(|way| Otherwise { tests: &way.tests, words: &words });
        let access = way.map_or(access, |way| &way.rest);
        let index = match asker {
            Asker::Set(_) => &mut self.sets,
            Asker::Shape(_) => &mut self.shapes,
        };
        index.add_by(Arc::clone(plan), access, otherwise.as_ref());
    }

    /// The opposite of [`Store::enter`], and of the links and indexes of a filter.
    pub(super) fn leave(
        &mut self,
        asker: Asker,
        plan: &ShapePlan,
        filter: &Filter,
        way: Option<&MemberWay>,
    ) {
        let (access, ways) = (access(filter), ways(filter));
        let by = way.map_or(&access, |way| &way.rest);
        match asker {
            Asker::Set(_) => self.sets.remove_by(plan, Some(by)),
            Asker::Shape(_) => self.shapes.remove_by(plan, Some(by)),
        };
        for (_, membership, test) in filter.tests() {
            self.kept.release(test.index);
            self.unlink(membership);
        }
        if let Some(source) = wanted(&access, &ways)
            && let Some((users, index)) = self.sources.get_mut(source.name())
        {
            *users -= 1;
            if *users == 0 {
                index.iter().for_each(|index| self.kept.release(*index));
                self.sources.remove(source.name());
            }
        }
        self.users -= 1;
        self.outer_users -= usize::from(matches!(asker, Asker::Shape(_)));
    }

    /// Somebody will want the rows that a filter lets in: makes an index for the second one that would
    /// otherwise look at many rows.
    pub(super) fn prepare(&mut self, filter: &Filter, access: &Access, sets: &Sets) {
        let ways = ways(filter);
        let Some(source) = wanted(access, &ways) else { return };
        let entry = self.sources.entry(source.name().to_owned()).or_default();
        entry.0 += 1;
        if entry.1.is_some() || entry.0 < 2 || self.kept.len() <= ROWS_LOOKED_AT {
            return;
        }
        let most = self.kept.len() / PART;
        if self.by_sets(filter, &ways, sets, most).is_none() {
            let index = self.kept.add_source(source);
            if let Some(entry) = self.sources.get_mut(source.name()) {
                entry.1 = Some(index);
            }
        }
    }

    /// The kept rows that a filter may let in; `None` for all.
    pub(super) fn near(&self, filter: &Filter, sets: &Sets) -> Option<BTreeSet<u32>> {
        let (access, ways) = (access(filter), ways(filter));
        if access == Access::Nothing {
            return Some(BTreeSet::new());
        }
        let most = self.kept.len();
        let by_value = self.by_value(&access).filter(|by_value| by_value.rows < most);
        let most = by_value.as_ref().map_or(most, |by_value| by_value.rows);
        if let Some(found) = self.by_sets(filter, &ways, sets, most) {
            return Some(found);
        }
        let mut found = BTreeSet::new();
        by_value?.find(&self.kept, &mut found);
        Some(found)
    }

    /// How an access finds kept rows, if there is an index for it.
    fn by_value<'a>(&self, access: &'a Access) -> Option<ByValue<'a>> {
        if *access == Access::Nothing {
            return Some(ByValue { index: 0, keys: Vec::new(), rows: 0 });
        }
        let (source, keys) = equalities(access)?;
        let index = self.sources.get(source.name())?.1?;
        let rows = keys.iter().map(|key| self.kept.count(index, *key)).sum();
        Some(ByValue { index, keys, rows })
    }

    /// The rows that have a key of sets that a filter cannot do without; `None` if these are not fewer than
    /// `most`.
    fn by_sets(
        &self,
        filter: &Filter,
        ways: &[MemberWay],
        sets: &Sets,
        most: usize,
    ) -> Option<BTreeSet<u32>> {
        let looked_up = |way: &MemberWay| -> usize {
            let sets = way.tests.iter().filter_map(|at| sets.view(filter.tests[*at].set));
            sets.map(|view| view.set.keys).sum()
        };
        let ways = ways.iter().filter_map(|way| {
            let rest = self.by_value(&way.rest)?;
            Some((looked_up(way) + rest.rows, way, rest))
        });
        let (least, way, rest) = ways.min_by_key(|(looked_up, ..)| *looked_up)?;
        if least >= most {
            return None;
        }
        let mut found = BTreeSet::new();
        rest.find(&self.kept, &mut found);
        for at in &way.tests {
            let test = &filter.tests[*at];
            let Some(view) = sets.view(test.set) else { continue };
            for key in view.keys.of_set(test.set).filter_map(|id| view.keys.key(id)) {
                sets.costs.count(&sets.costs.entries);
                self.kept.find(test.index, &key, false, &mut found);
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

/// How kept rows are found by what a filter wants of a source.
struct ByValue<'a> {
    index: u32,
    keys: Vec<&'a [u8]>,
    /// How many that are, roughly.
    rows: usize,
}

impl ByValue<'_> {
    fn find(&self, kept: &Kept, into: &mut BTreeSet<u32>) {
        self.keys.iter().for_each(|key| kept.find_value(self.index, key, into));
    }
}

fn ways(filter: &Filter) -> Vec<MemberWay> {
    filter.predicate.as_ref().map_or_else(Vec::new, |predicate| predicate.member_ways())
}

/// What an index of would help to find the rows that a filter lets in.
fn wanted<'a>(access: &'a Access, ways: &'a [MemberWay]) -> Option<&'a Source> {
    let all = std::iter::once(access).chain(ways.iter().map(|way| &way.rest));
    all.filter_map(equalities).map(|(source, _)| source).next()
}

/// The first alternative of an access that wants certain values of one source.
fn equalities(access: &Access) -> Option<(&Source, Vec<&[u8]>)> {
    let Access::Any(list) = access else { return None };
    list.iter().find_map(|alternative| {
        let source = &alternative.probes.first()?.source;
        let wants = alternative.probes.iter().map(|probe| match &probe.want {
            Want::Equal(key) if probe.source == *source => Some(key.as_bytes()),
            _ => None,
        });
        wants.collect::<Option<Vec<_>>>().map(|wants| (source, wants))
    })
}

/// A way in words, for people.
fn describe(plan: &ShapePlan, way: &MemberWay) -> String {
    let memberships = plan.predicate.as_ref().map_or(&[][..], |one| one.memberships());
    let mut words: Vec<String> = Vec::new();
    for membership in way.tests.iter().filter_map(|at| memberships.get(*at)) {
        let sides = membership.left.iter();
        let names: Vec<String> = sides.map(|side| side.sql(plan.table())).collect();
        let word = format!("set {}", names.join(", "));
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ").trim_end().to_owned()
}

fn link_name(membership: &Membership) -> String {
    format!("{} in {}", membership.link_name(), membership.family_name())
}
