//! Shapes whose filter has subqueries: which rows they hold as the tables behind them change.
//!
//! *Enters*: the rows of the tables, once, and then each transaction's changes of them. *Leaves*: per
//! transaction and shape its postings, and the rows that came or went without a change of their own
//! (*moved*). *Invariant*: after each transaction a shape holds the rows for which Postgres finds its filter
//! true; a row that stays brings an update or nothing. What leaves is a function of the state before and the
//! transaction, so doing it again from the same state gives the same.
//!
//! Rows are kept once for all that need the same columns of a table, sets once for all that ask the same
//! subquery, keys once for all sets of the same columns. A set remembers what the open transaction adds, so both
//! states can be asked. Nobody is asked who is not found: rows find sets and shapes by their own values, or by
//! the sets that have their key.
//!
//! `transaction` is what happens when something changes; `store`, `sets` and `keys` are what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_sql::{MemberWay, Membership, Predicate, Row, TableSchema};

use crate::change::Change;
use crate::index::view::View;
use crate::plan::{ShapeId, ShapePlan};
use crate::posting::Posting;

mod bag;
mod counts;
mod filter;
mod indexes;
mod kept;
mod keys;
mod kinds;
mod needs;
mod net;
mod numbers;
mod packing;
mod pairs;
mod set;
mod sets;
mod slabs;
mod store;
mod transaction;
mod values;

pub use counts::{Counts, Frozen};
pub use filter::Costs;
pub use kept::{KeptName, Missing};
pub use needs::{each_inner, inner_needs, loses, needs, outdated};
pub use net::count;

use filter::{Filter, Test};
use kept::Kept;
use kinds::Kinds;
use needs::{selected, source};
use set::When;
use sets::{Asker, SetId, Sets};
use store::{Store, StoreId, access};

/// Bytes of a shape besides what it shares: its filter, and its places in maps.
const SHAPE_BYTES: usize = 1_024;

/// What a transaction brings to one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberNews {
    /// Which shape.
    pub shape: ShapeId,
    /// Of the transaction's own changes, in order.
    pub own: Vec<Posting>,
    /// Rows that came or went for another table's sake, by key; they have no place in the change log.
    pub moved: Vec<(Change, Posting)>,
}

/// Rows that are not what Postgres has: a transaction took some away that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strayed(pub Vec<KeptName>);

/// Bytes of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of rows that shapes hold or may come to hold, with the indexes that find them.
    pub outer: usize,
    /// Of what only subqueries read of rows, with its indexes.
    pub inner: usize,
    /// Of the keys that subqueries select, in both orders.
    pub keys: usize,
    /// Of shapes and sets themselves, by estimate.
    pub others: usize,
}

/// Everything that shapes with subqueries need.
#[derive(Default)]
pub struct Members {
    stores: BTreeMap<StoreId, Store>,
    names: BTreeMap<KeptName, StoreId>,
    next_store: u32,
    next_link: u64,
    sets: Sets,
    shapes: BTreeMap<ShapeId, Held>,
    kinds: Kinds,
}

struct Held {
    plan: Arc<ShapePlan>,
    source: StoreId,
    filter: Filter,
    /// How rows find it: by sets, or `None` for its own access.
    way: Option<MemberWay>,
}

impl Members {
    /// Whether these rows are kept.
    #[must_use]
    pub fn keeps(&self, name: &KeptName) -> bool {
        self.names.contains_key(name)
    }

    /// Whether rows of a table are kept.
    #[must_use]
    pub fn keeps_table(&self, table: u32) -> bool {
        self.stores_of(table).next().is_some()
    }

    fn stores_of(&self, table: u32) -> impl Iterator<Item = StoreId> {
        let first = KeptName::first(table);
        let names = self.names.range(first..).take_while(move |(name, _)| name.table == table);
        names.map(|(_, id)| *id)
    }

    /// Whether there is no shape.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Bytes in memory; of shapes and sets by estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Sizes { outer, inner, keys, others } = self.sizes();
        outer + inner + keys + others
    }

    /// Bytes in memory, by what they are for.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let others = self.sets.other_bytes() + SHAPE_BYTES * self.shapes.len();
        let keys = self.sets.key_bytes();
        let mut sizes = Sizes { outer: 0, inner: 0, keys, others };
        for store in self.stores.values() {
            match store.outer_users {
                0 => sizes.inner += store.kept.bytes(),
                _ => sizes.outer += store.kept.bytes(),
            }
        }
        sizes
    }

    /// What has been done so far: for tests of what changes and shapes cost.
    #[must_use]
    pub fn costs(&self) -> Costs {
        let counters = &self.sets.costs;
        let steps = |store: &Store| store.sets.steps() + store.shapes.steps();
        let steps: u64 = self.stores.values().map(steps).sum();
        Costs {
            evaluated: counters.evaluated.get(),
            sets: counters.sets.get(),
            shapes: counters.shapes.get(),
            rows: counters.rows.get(),
            entries: counters.entries.get() + steps,
        }
    }

    /// How many kinds of shapes there are: what is asked when a table is announced.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// How many sets there are.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// How shapes are found, and how often.
    #[must_use]
    pub fn view(&self) -> View {
        View::of(self.stores.values().map(|store| &store.shapes))
    }

    /// Keeps rows from now on.
    ///
    /// # Errors
    /// A row is there less than never: what was counted is not what Postgres has.
    pub fn keep(&mut self, name: KeptName, rows: Counts) -> Result<(), Missing> {
        let kept = Kept::of(rows)?;
        self.put(name, kept);
        Ok(())
    }

    /// All rows that are kept, as they are now: no row is copied until it changes. Time grows with blocks of rows, not
    /// with rows.
    #[must_use]
    pub fn freeze(&self) -> Vec<(KeptName, Frozen)> {
        let stores = self.stores.values();
        stores.map(|store| (store.name.clone(), store.kept.freeze())).collect()
    }

    fn put(&mut self, name: KeptName, kept: Kept) -> StoreId {
        let id = StoreId(self.next_store);
        self.next_store += 1;
        self.names.insert(name.clone(), id);
        self.stores.insert(id, Store::new(name, kept));
        id
    }

    fn store(&mut self, name: KeptName) -> StoreId {
        match self.names.get(&name) {
            Some(id) => *id,
            None => {
                let kept = Kept::new(&name);
                self.put(name, kept)
            }
        }
    }

    /// A shape begins; everything that it [`needs`] is kept.
    pub fn add(&mut self, plan: Arc<ShapePlan>) {
        let source = self.store(source(&plan));
        let filter = self.filter(plan.predicate.as_ref(), source);
        let way = self.enter(Asker::Shape(plan.id), source, &filter, &plan);
        self.kinds.add(&plan);
        self.shapes.insert(plan.id, Held { plan, source, filter, way });
    }

    /// A predicate with its sets, which are made unless they are there.
    fn filter(&mut self, predicate: Option<&Predicate>, source: StoreId) -> Filter {
        let mut tests = Vec::new();
        for membership in predicate.iter().flat_map(|predicate| predicate.memberships()) {
            let set = self.set(membership);
            let family = self.sets.family(membership);
            let Some(store) = self.stores.get_mut(&source) else { continue };
            let (link, index) = store.link(membership, family, &mut self.next_link);
            tests.push(Test { set, index, link });
        }
        Filter { predicate: predicate.cloned(), tests: tests.into() }
    }

    /// The set of a test; filled, unless it is there.
    fn set(&mut self, membership: &Membership) -> SetId {
        if let Some(known) = self.sets.named(membership) {
            return known;
        }
        let source = self.store(selected(membership));
        let filter = self.filter(membership.subquery.predicate.as_ref(), source);
        let id = self.sets.insert(membership, source, filter.clone());
        let table: &Arc<TableSchema> = &membership.subquery.table;
        if let Some(store) = self.stores.get_mut(&source) {
            let plan = store.plan(u64::from(id.0), table, &filter);
            let way = self.enter(Asker::Set(id), source, &filter, &plan);
            if let Some(selected) = self.sets.get_mut(id) {
                selected.way = way;
            }
        }
        let rows = self.inside(source, &filter);
        let mut keys = Vec::new();
        for (row, count) in rows {
            keys.extend(membership.inner_keys(&row).map(|key| (key, i64::from(count))));
        }
        keys.into_iter().for_each(|(key, count)| self.sets.add(id, key, count));
        self.sets.close();
        id
    }

    /// Somebody begins to ask sets, and to be found by rows; says by which sets.
    fn enter(
        &mut self,
        asker: Asker,
        source: StoreId,
        filter: &Filter,
        plan: &Arc<ShapePlan>,
    ) -> Option<MemberWay> {
        let store = self.stores.get_mut(&source)?;
        let access = access(filter);
        let way = store.choose(asker, filter, &access, &self.sets);
        store.enter(asker, plan, way.as_ref(), &access);
        store.prepare(filter, &access, &self.sets);
        self.sets.ask(asker, filter, way.as_ref());
        way
    }

    /// The rows that a filter lets in now.
    fn inside(&self, source: StoreId, filter: &Filter) -> impl Iterator<Item = (Row, u32)> {
        let store = self.stores.get(&source);
        let near = store.and_then(|store| store.near(filter, &self.sets));
        let is_all = near.is_none();
        let some = near.unwrap_or_default().into_iter();
        let some = some.filter_map(move |id| store.and_then(|store| store.kept.row(id)));
        let all = store.into_iter().filter(move |_| is_all).flat_map(|store| store.kept.rows());
        some.chain(all).filter(|(row, _)| {
            self.sets.costs.count(&self.sets.costs.rows);
            filter.holds(row, When::After, &self.sets)
        })
    }

    /// Whether there is this shape.
    #[must_use]
    pub fn has(&self, shape: ShapeId) -> bool {
        self.shapes.contains_key(&shape)
    }

    /// A shape ends, and what was kept for it alone is let go; `false` if there is none.
    pub fn remove(&mut self, shape: ShapeId) -> bool {
        let Some(held) = self.shapes.remove(&shape) else { return false };
        self.kinds.remove(&held.plan);
        let (filter, way) = (&held.filter, held.way.as_ref());
        if let Some(store) = self.stores.get_mut(&held.source) {
            store.leave(Asker::Shape(shape), &held.plan, filter, way);
        }
        self.let_go_of(Asker::Shape(shape), held.source, filter, way);
        true
    }

    /// Of what somebody needed who has left its store.
    fn let_go_of(
        &mut self,
        asker: Asker,
        source: StoreId,
        filter: &Filter,
        way: Option<&MemberWay>,
    ) {
        self.let_go(source);
        for set in self.sets.leave(asker, filter, way) {
            if let Some(selected) = self.sets.remove(set) {
                let (source, way) = (selected.source, selected.way.as_ref());
                let (table, filter) = (&selected.membership.subquery.table, &selected.filter);
                if let Some(store) = self.stores.get_mut(&source) {
                    let plan = store.plan(u64::from(set.0), table, filter);
                    store.leave(Asker::Set(set), &plan, filter, way);
                }
                self.let_go_of(Asker::Set(set), source, filter, way);
            }
        }
    }

    fn let_go(&mut self, id: StoreId) {
        if self.stores.get(&id).is_some_and(|store| store.users == 0)
            && let Some(store) = self.stores.remove(&id)
        {
            self.names.remove(&store.name);
        }
    }

    /// Lets go what no shape needs: rows that are kept for one that did not begin.
    pub fn tidy(&mut self) {
        let all: Vec<StoreId> = self.stores.keys().copied().collect();
        all.into_iter().for_each(|id| self.let_go(id));
    }

    /// The rows that a shape holds, with the columns that are kept, each as often as it is there.
    pub fn rows(&self, shape: ShapeId) -> impl Iterator<Item = Row> {
        let held = self.shapes.get(&shape);
        let rows = held.into_iter().flat_map(|held| self.inside(held.source, &held.filter));
        rows.flat_map(|(row, count)| std::iter::repeat_n(row, count as usize))
    }

    /// The shapes that a table takes part in.
    #[must_use]
    pub fn of_table(&self, table: u32) -> Vec<ShapeId> {
        self.kinds.of_table(table)
    }

    /// The shapes that need some of these rows.
    #[must_use]
    pub fn of_rows(&self, names: &[KeptName]) -> Vec<ShapeId> {
        self.kinds.of_rows(names)
    }

    /// All shapes.
    #[must_use]
    pub fn all(&self) -> Vec<ShapeId> {
        self.shapes.keys().copied().collect()
    }

    /// The youngest shape, by its number.
    #[must_use]
    pub fn last(&self) -> Option<ShapeId> {
        self.shapes.last_key_value().map(|(shape, _)| *shape)
    }

    /// The shapes that mean something else once a table has another definition.
    #[must_use]
    pub fn outdated(&self, relation: &brooklet_sql::Relation) -> Vec<ShapeId> {
        self.kinds.outdated(relation)
    }
}

#[cfg(test)]
pub(crate) mod tests;
