//! Shapes whose filter has subqueries: which rows they hold as the tables behind them change.
//!
//! *Enters*: the rows of the tables, once, and then each transaction's changes of them. *Leaves*: per
//! transaction and shape its postings, and the rows that came or went without a change of their own
//! (*moved*). *Invariant*: after each transaction a shape holds the rows for which Postgres finds its filter
//! true; a row that stays brings an update or nothing. What leaves is a function of the state before and the
//! transaction, so doing it again from the same state gives the same.
//!
//! Rows are kept once for all that need the same columns of a table, sets once for all that ask the same
//! subquery. A set remembers what the open transaction adds, so both states can be asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use brooklet_sql::{MemberKey, Membership, Predicate, Row, Truth};

use crate::change::Change;
use crate::plan::{ShapeId, ShapePlan};
use crate::posting::Posting;
use crate::verdict::{Verdict, is_true, judge};

mod kept;
mod needs;
mod net;
mod set;

pub use kept::{KEPT_ROW_OVERHEAD, Kept, KeptName, Missing};
pub use needs::{inner_needs, needs, outdated};
pub use net::{Counts, count};
pub use set::{MemberSet, When};

use needs::{selected, source};
use net::Net;

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

/// Everything that shapes with subqueries need.
#[derive(Default)]
pub struct Members {
    kept: BTreeMap<KeptName, Kept>,
    sets: HashMap<String, Selected>,
    /// The sets, those that others ask before them.
    order: Vec<String>,
    shapes: BTreeMap<ShapeId, Held>,
}

/// A set and where it comes from.
struct Selected {
    set: MemberSet,
    source: KeptName,
    membership: Membership,
    filter: Filter,
    depth: usize,
}

struct Held {
    plan: Arc<ShapePlan>,
    source: KeptName,
    filter: Filter,
}

/// A predicate with the sets that it asks.
#[derive(Clone)]
struct Filter {
    predicate: Option<Predicate>,
    sets: Vec<String>,
}

impl Filter {
    fn new(predicate: Option<&Predicate>) -> Filter {
        let memberships = predicate.iter().flat_map(|predicate| predicate.memberships());
        let sets = memberships.map(Membership::set_name).collect();
        Filter { predicate: predicate.cloned(), sets }
    }

    fn memberships(&self) -> impl Iterator<Item = (&Membership, &String)> {
        let memberships = self.predicate.iter().flat_map(Predicate::memberships);
        memberships.zip(&self.sets)
    }

    fn is_positive(&self, at: usize) -> bool {
        self.predicate.as_ref().is_some_and(|predicate| predicate.form().is_positive(at))
    }

    fn holds(&self, row: &Row, when: When, sets: &HashMap<String, Selected>) -> bool {
        let Some(predicate) = &self.predicate else { return true };
        if self.sets.is_empty() {
            return is_true(predicate.matches(row));
        }
        let mut answers = Vec::with_capacity(self.sets.len());
        for (at, (membership, name)) in self.memberships().enumerate() {
            let Some(selected) = sets.get(name) else { return false };
            let answer = selected.set.truth(&membership.outer_key(row), when);
            // The common case, and the predicate need not be asked.
            if answer != Truth::True && predicate.form().is_required(at) {
                return false;
            }
            answers.push(answer);
        }
        is_true(predicate.matches_members(row, &answers))
    }
}

impl Members {
    /// Whether these rows are kept.
    #[must_use]
    pub fn keeps(&self, name: &KeptName) -> bool {
        self.kept.contains_key(name)
    }

    /// Whether rows of a table are kept.
    #[must_use]
    pub fn keeps_table(&self, table: u32) -> bool {
        self.kept.keys().any(|name| name.table == table)
    }

    /// Whether there is no shape.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Bytes in memory, by estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let kept: usize = self.kept.values().map(Kept::bytes).sum();
        kept + self.sets.values().map(|selected| selected.set.bytes()).sum::<usize>()
    }

    /// Keeps rows from now on.
    ///
    /// # Errors
    /// A row is there less than never: what was counted is not what Postgres has.
    pub fn keep(&mut self, name: KeptName, rows: Counts) -> Result<(), Missing> {
        let mut kept = Kept::default();
        for (row, count) in rows {
            kept.change(&row, count)?;
        }
        self.kept.insert(name, kept);
        Ok(())
    }

    /// A shape begins; everything that it [`needs`] is kept.
    pub fn add(&mut self, plan: Arc<ShapePlan>) {
        let (source, filter) = (source(&plan), Filter::new(plan.predicate.as_ref()));
        for (membership, _) in filter.memberships() {
            self.add_set(membership, &source);
        }
        self.sort();
        self.shapes.insert(plan.id, Held { plan, source, filter });
    }

    /// Fills a set, unless it is there, and those that it asks; `asking` rows are found by its keys.
    fn add_set(&mut self, membership: &Membership, asking: &KeptName) -> usize {
        if let Some(kept) = self.kept.get_mut(asking) {
            kept.add_index(membership);
        }
        let name = membership.set_name();
        if let Some(known) = self.sets.get(&name) {
            return known.depth;
        }
        let source = selected(membership);
        let filter = Filter::new(membership.subquery.predicate.as_ref());
        let mut depth = 0;
        for (nested, _) in filter.memberships() {
            depth = depth.max(self.add_set(nested, &source) + 1);
        }
        let mut set = MemberSet::default();
        for (_, row, count) in self.kept.get(&source).iter().flat_map(|kept| kept.rows()) {
            if filter.holds(row, When::After, &self.sets) {
                set.add(membership.inner_key(row), i64::from(count));
            }
        }
        set.close();
        let membership = membership.clone();
        self.sets.insert(name, Selected { set, source, membership, filter, depth });
        depth
    }

    fn sort(&mut self) {
        let mut order: Vec<(usize, String)> =
            self.sets.iter().map(|(name, selected)| (selected.depth, name.clone())).collect();
        order.sort_unstable();
        self.order = order.into_iter().map(|(_, name)| name).collect();
    }

    /// Whether there is this shape.
    #[must_use]
    pub fn has(&self, shape: ShapeId) -> bool {
        self.shapes.contains_key(&shape)
    }

    /// A shape ends, and what was kept for it alone is let go; `false` if there is none.
    pub fn remove(&mut self, shape: ShapeId) -> bool {
        let found = self.shapes.remove(&shape).is_some();
        self.tidy();
        found
    }

    /// Lets go what no shape needs.
    pub fn tidy(&mut self) {
        let (mut sets, mut rows) = (BTreeSet::new(), BTreeSet::new());
        let mut indexes: BTreeMap<KeptName, BTreeSet<String>> = BTreeMap::new();
        for held in self.shapes.values() {
            rows.insert(held.source.clone());
            let mut asking = vec![(&held.source, &held.filter)];
            while let Some((source, filter)) = asking.pop() {
                for (membership, name) in filter.memberships() {
                    indexes.entry(source.clone()).or_default().insert(membership.link_name());
                    if let Some(selected) = self.sets.get(name) {
                        rows.insert(selected.source.clone());
                        asking.push((&selected.source, &selected.filter));
                    }
                    sets.insert(name.clone());
                }
            }
        }
        self.sets.retain(|name, _| sets.contains(name));
        self.kept.retain(|name, _| rows.contains(name));
        for (name, kept) in &mut self.kept {
            kept.keep_indexes(indexes.get(name).unwrap_or(&BTreeSet::new()));
        }
        self.sort();
    }

    /// The rows that a shape holds, with the columns that are kept, each as often as it is there.
    pub fn rows(&self, shape: ShapeId) -> impl Iterator<Item = &Row> {
        let held = self.shapes.get(&shape);
        let rows = held.and_then(|held| self.kept.get(&held.source).map(|kept| (held, kept)));
        rows.into_iter().flat_map(move |(held, kept)| {
            let inside =
                kept.rows().filter(|(_, row, _)| held.filter.holds(row, When::After, &self.sets));
            inside.flat_map(|(_, row, count)| std::iter::repeat_n(row, count as usize))
        })
    }

    /// The shapes that a table takes part in.
    #[must_use]
    pub fn of_table(&self, table: u32) -> Vec<ShapeId> {
        let concerns = |held: &&Held| needs(&held.plan).iter().any(|(name, _)| name.table == table);
        self.shapes.values().filter(concerns).map(|held| held.plan.id).collect()
    }

    /// All shapes.
    #[must_use]
    pub fn all(&self) -> Vec<ShapeId> {
        self.shapes.keys().copied().collect()
    }

    /// The shapes that mean something else once a table has another definition.
    #[must_use]
    pub fn outdated(&self, relation: &brooklet_sql::Relation) -> Vec<ShapeId> {
        let ends = |held: &&Held| outdated(&held.plan, relation);
        self.shapes.values().filter(ends).map(|held| held.plan.id).collect()
    }

    /// Takes a complete transaction; `last_op` is the place of its last operation, on whatever table.
    ///
    /// # Errors
    /// It takes a row away that is not there: what is kept is not what Postgres has.
    pub fn transaction(
        &mut self,
        changes: &[Change],
        last_op: u64,
    ) -> Result<Vec<MemberNews>, Missing> {
        let mut nets: HashMap<KeptName, Net> = HashMap::new();
        for name in self.kept.keys() {
            if changes.iter().any(|change| change.table == name.table) {
                nets.insert(name.clone(), Net::of(name, changes));
            }
        }
        for (name, net) in &nets {
            let Some(kept) = self.kept.get_mut(name) else { continue };
            // What comes goes in first: a row that is there twice for a moment is no mistake.
            let ordered =
                |positive: bool| move |(_, delta): &(&Row, &i64)| (**delta > 0) == positive;
            for (row, delta) in net.delta.iter().filter(ordered(true)) {
                kept.change(row, *delta)?;
            }
            for (row, delta) in net.delta.iter().filter(ordered(false)) {
                kept.change(row, *delta)?;
            }
        }
        for name in self.order.clone() {
            let changed = self.set_changes(&name, &nets);
            if let Some(selected) = self.sets.get_mut(&name) {
                changed.into_iter().for_each(|(key, delta)| selected.set.add(key, delta));
            }
        }
        let news: Vec<MemberNews> = self
            .shapes
            .values()
            .map(|held| self.shape(held, changes, &nets, last_op))
            .filter(|news| !news.own.is_empty() || !news.moved.is_empty())
            .collect();
        self.sets.values_mut().for_each(|selected| selected.set.close());
        Ok(news)
    }

    /// What a transaction adds to a set.
    fn set_changes(&self, name: &str, nets: &HashMap<KeptName, Net>) -> Vec<(MemberKey, i64)> {
        let Some(selected) = self.sets.get(name) else { return Vec::new() };
        let Selected { source, membership, filter, .. } = selected;
        let mut changed = Vec::new();
        let net = nets.get(source);
        for (row, delta) in net.iter().flat_map(|net| &net.delta).filter(|(_, delta)| **delta != 0)
        {
            let when = if *delta > 0 { When::After } else { When::Before };
            if filter.holds(row, when, &self.sets) {
                changed.push((membership.inner_key(row), *delta));
            }
        }
        self.moved(source, filter, |row, enters, count| {
            // Of these the transaction's own are counted already.
            let added = net.and_then(|net| net.delta.get(row)).copied().unwrap_or_default();
            let count = i64::from(count) - added.max(0);
            changed.push((membership.inner_key(row), if enters { count } else { -count }));
        });
        changed
    }

    /// The rows whose answer is another one now, though they are the same.
    fn moved(&self, source: &KeptName, filter: &Filter, mut each: impl FnMut(&Row, bool, u32)) {
        let Some(kept) = self.kept.get(source) else { return };
        let (mut found, mut all) = (BTreeSet::new(), false);
        for (at, (membership, name)) in filter.memberships().enumerate() {
            let Some(selected) = self.sets.get(name) else { continue };
            // Where false is as good as NULL, only rows with the very keys are concerned.
            let positive = filter.is_positive(at);
            all |= !positive && selected.set.moves_all();
            if all {
                break;
            }
            let keys = selected.set.moved().filter(|key| !key.has_null);
            keys.for_each(|key| kept.find(membership, key, !positive, &mut found));
        }
        let mut judge = |row: &Row, count: u32| {
            let before = filter.holds(row, When::Before, &self.sets);
            let after = filter.holds(row, When::After, &self.sets);
            if before != after {
                each(row, after, count);
            }
        };
        match all {
            true => kept.rows().for_each(|(_, row, count)| judge(row, count)),
            false => {
                let rows = found.into_iter().filter_map(|id| kept.row(id));
                rows.for_each(|(row, count)| judge(row, count));
            }
        }
    }

    fn shape(
        &self,
        held: &Held,
        changes: &[Change],
        nets: &HashMap<KeptName, Net>,
        last_op: u64,
    ) -> MemberNews {
        let Held { plan, source, filter } = held;
        let mut own = Vec::new();
        let net = nets.get(source);
        for (at, change) in changes.iter().enumerate() {
            if change.table != source.table {
                continue;
            }
            let intermediate = net.is_some_and(|net| net.intermediate[at]);
            let before = if intermediate { When::After } else { When::Before };
            let holds = |row: &Option<Row>, when| {
                row.as_ref().is_some_and(|row| filter.holds(row, when, &self.sets))
            };
            let (old_in, new_in) = (holds(&change.old, before), holds(&change.new, When::After));
            let verdict = judge(plan, change, old_in, new_in);
            own.extend(verdict.map(|verdict| Posting::new(plan, change, verdict)));
        }
        let mut rows = Vec::new();
        self.moved(source, filter, |row, enters, count| {
            let made = net.and_then(|net| net.made.get(row)).copied().unwrap_or_default();
            for _ in made..count {
                rows.push((row.clone(), enters));
            }
        });
        let key = &plan.selection.key;
        let by_key = |row: &Row| -> Vec<Option<Vec<u8>>> {
            key.iter().map(|at| row.get(*at).map(<[u8]>::to_vec)).collect()
        };
        rows.sort_by_cached_key(|(row, enters)| (by_key(row), *enters));
        let mut op_position = (last_op | 1) + 1;
        let mut moved = Vec::with_capacity(rows.len());
        for (row, enters) in rows {
            let (old, new) = if enters { (None, Some(row)) } else { (Some(row), None) };
            let change = Change { seq: 0, op_position, table: source.table, old, new };
            let verdict = if enters { Verdict::Insert } else { Verdict::Delete };
            let posting = Posting::new(plan, &change, verdict);
            moved.push((change, posting));
            op_position += 2;
        }
        let last = moved.last_mut().map(|(_, posting)| posting).or(own.last_mut());
        last.into_iter().for_each(|posting| posting.last = true);
        MemberNews { shape: plan.id, own, moved }
    }
}

#[cfg(test)]
pub(crate) mod tests;
