//! What a transaction brings.
//!
//! *Enters*: its changes. *Leaves*: news of the shapes that it concerns. *Invariant*: sets are brought up to
//! date before those that ask them, so whoever is looked up in a set's keys finds both states there; nobody
//! misses a row that entered or left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use brooklet_sql::{MemberKey, Row};

use super::filter::Filter;
use super::kept::Missing;
use super::net::Net;
use super::set::When;
use super::sets::{Asker, SetId, Sets};
use super::store::StoreId;
use super::{Held, KeptName, MemberNews, Members, Strayed};
use crate::change::Change;
use crate::index::{Asked, KindKey, kind_key};
use crate::plan::{ShapeId, ShapePlan};
use crate::posting::Posting;
use crate::verdict::{Verdict, count_asked, judge};

/// What a transaction does to the rows of a store, with the rows that come or go in one order.
struct Changed {
    net: Net,
    rows: Vec<(Row, i64)>,
}

/// What concerns somebody who is asked.
#[derive(Default)]
struct Concern {
    /// Of a set, places in [`Changed::rows`]; of a shape, in the transaction's changes.
    own: BTreeSet<usize>,
    /// Kept rows with a key that moved in one of [`Moves::busy`].
    rows: BTreeSet<u32>,
}

/// The sets and the shapes that have to be asked, sets by depth.
#[derive(Default)]
struct Moves {
    sets: BTreeMap<(usize, SetId), Concern>,
    shapes: BTreeMap<ShapeId, Concern>,
    /// Sets that have changed and that many ask: whom that concerns is looked up by rows.
    busy: BTreeSet<SetId>,
}

impl Moves {
    /// Notes those who ask a set that has changed.
    fn ask(&mut self, askers: impl Iterator<Item = Asker>, sets: &Sets) {
        for asker in askers {
            match asker {
                Asker::Set(id) => _ = self.sets.entry((sets.depth(id), id)).or_default(),
                Asker::Shape(shape) => _ = self.shapes.entry(shape).or_default(),
            }
        }
    }
}

/// Everyone who asks and is a set.
const SETS: (Asker, Asker) = (Asker::Set(SetId::MIN), Asker::Set(SetId::MAX));

/// Everyone who asks and is a shape.
const SHAPES: (Asker, Asker) = (Asker::Shape(ShapeId(0)), Asker::Shape(ShapeId(u64::MAX)));

/// The set that a plan stands for, by its number.
fn of_plan(plan: &ShapePlan) -> SetId {
    SetId(u32::try_from(plan.id.0).unwrap_or(u32::MAX))
}

impl Members {
    /// Takes a complete transaction; `last_op` is the place of its last operation, on whatever table.
    ///
    /// # Errors
    /// It takes rows away that are not there: what is kept under some names is not what Postgres has. Nothing else is
    /// changed; once all shapes [of these rows](Members::of_rows) are removed, the same transaction can be taken.
    pub fn transaction(
        &mut self,
        changes: &[Change],
        last_op: u64,
    ) -> Result<Vec<MemberNews>, Strayed> {
        let begun = Instant::now();
        let changed = self.keep_up(changes)?;
        let mut moves = Moves::default();
        self.bring_up_to_date(&changed, &mut moves);
        self.find_moved(None, &mut moves);
        self.find_shapes(changes, &mut moves);
        let mut concerned: BTreeSet<StoreId> = changed.keys().copied().collect();
        let news = self.ask(changes, &changed, &moves, last_op, &mut concerned);
        self.sets.close();
        self.stores.values_mut().for_each(|store| store.kept.give_back());
        let took = begun.elapsed();
        for store in concerned {
            if let Some(store) = self.stores.get_mut(&store) {
                store.shapes.note_transaction(store.name.table, took);
            }
        }
        Ok(news)
    }

    /// Asks the shapes, those of one kind together: the clock is looked at once for a kind, not for each of them.
    fn ask(
        &mut self,
        changes: &[Change],
        changed: &BTreeMap<StoreId, Changed>,
        moves: &Moves,
        last_op: u64,
        concerned: &mut BTreeSet<StoreId>,
    ) -> Vec<MemberNews> {
        let held = |(shape, concern)| {
            let held = self.shapes.get(shape)?;
            Some(((held.source, kind_key(&held.plan)), held, concern))
        };
        let mut all: Vec<((StoreId, KindKey), &Held, &Concern)> =
            moves.shapes.iter().filter_map(held).collect();
        all.sort_by_key(|(kind, ..)| *kind);
        let mut news = Vec::new();
        for kind in all.chunk_by(|one, other| one.0 == other.0) {
            let [((source, _), first, _), ..] = kind else { continue };
            let (begun, mut asked) = (Instant::now(), Asked::default());
            let net = changed.get(source).map(|changed| &changed.net);
            for (_, held, concern) in kind {
                let one = self.shape(held, changes, (concern, &moves.busy), net, last_op);
                asked.candidates += concern.own.len() as u64;
                asked.matches += one.own.len() as u64;
                if !one.own.is_empty() || !one.moved.is_empty() {
                    news.push(one);
                }
            }
            asked.took(kind.len(), begun.elapsed());
            count_asked(asked.candidates, asked.matches);
            if let Some(store) = self.stores.get_mut(source) {
                store.shapes.note(&first.plan, &asked);
            }
            concerned.insert(*source);
        }
        news.sort_unstable_by_key(|one| one.shape);
        news
    }

    /// Keeps what the transaction leaves; if that cannot be for some rows, the others are what they were.
    fn keep_up(&mut self, changes: &[Change]) -> Result<BTreeMap<StoreId, Changed>, Strayed> {
        let tables: BTreeSet<u32> = changes.iter().map(|change| change.table).collect();
        let stores: Vec<StoreId> = tables
            .into_iter()
            .flat_map(|table| self.stores_of(table).collect::<Vec<_>>())
            .collect();
        let (mut all, mut strayed) = (BTreeMap::new(), Vec::<KeptName>::new());
        for id in stores {
            let Some(store) = self.stores.get_mut(&id) else { continue };
            let net = Net::of(&store.name, changes);
            let rows = net.delta.iter().filter(|(_, delta)| **delta != 0);
            let mut rows: Vec<(Row, i64)> =
                rows.map(|(row, delta)| (row.clone(), *delta)).collect();
            // What comes goes in first: a row that is there twice for a moment is no mistake.
            rows.sort_by_key(|(_, delta)| *delta < 0);
            match rows.iter().try_for_each(|(row, delta)| store.kept.change(row, *delta)) {
                Ok(()) => _ = all.insert(id, Changed { net, rows }),
                Err(Missing) => strayed.push(store.name.clone()),
            }
        }
        if strayed.is_empty() {
            return Ok(all);
        }
        for (id, Changed { rows, .. }) in &all {
            let Some(store) = self.stores.get_mut(id) else { continue };
            let undone =
                rows.iter().rev().try_for_each(|(row, delta)| store.kept.change(row, -delta));
            // What was just done can be undone.
            strayed.extend(undone.is_err().then(|| store.name.clone()));
        }
        Err(Strayed(strayed))
    }

    /// Brings the sets up to date, and notes the shapes that ask one that is another now.
    fn bring_up_to_date(&mut self, changed: &BTreeMap<StoreId, Changed>, moves: &mut Moves) {
        self.find_sets(changed, moves);
        for depth in 0..=self.sets.deepest() {
            if depth > 0 {
                self.find_nested(changed, depth, moves);
                self.find_moved(Some(depth), moves);
            }
            while let Some(first) = moves.sets.first_entry().filter(|one| one.key().0 <= depth) {
                let ((_, id), concern) = first.remove_entry();
                for (key, delta) in self.set_changes(id, (&concern, &moves.busy), changed) {
                    self.sets.add(id, key, delta);
                }
                let Some(view) = self.sets.view(id).filter(|view| view.is_changed()) else {
                    continue;
                };
                match self.sets.is_busy(id) {
                    false => moves.ask(self.sets.askers(id), &self.sets),
                    true => {
                        // To the others nothing has changed but the keys that moved.
                        if view.moves_all() {
                            moves.ask(self.sets.heeders(id), &self.sets);
                        }
                        moves.busy.insert(id);
                    }
                }
            }
        }
    }

    /// The sets that rows find by their own values.
    fn find_sets(&mut self, changed: &BTreeMap<StoreId, Changed>, moves: &mut Moves) {
        let mut found = Vec::new();
        for (id, Changed { rows, .. }) in changed {
            let Some(store) = self.stores.get_mut(id) else { continue };
            for (at, (row, _)) in rows.iter().enumerate() {
                store.sets.candidates(store.name.table, [Some(row), None], &mut found);
                for set in found.iter().map(|plan| of_plan(plan)) {
                    let asked = moves.sets.entry((self.sets.depth(set), set)).or_default();
                    asked.own.insert(at);
                }
            }
        }
    }

    /// The sets of one depth that rows find by the keys of those below, which are up to date.
    fn find_nested(&self, changed: &BTreeMap<StoreId, Changed>, depth: usize, moves: &mut Moves) {
        for (id, Changed { rows, .. }) in changed {
            for (at, (row, _)) in rows.iter().enumerate() {
                self.find_by_keys(*id, [Some(row), None], SETS, |asker| {
                    if let Asker::Set(set) = asker
                        && self.sets.depth(set) == depth
                    {
                        moves.sets.entry((depth, set)).or_default().own.insert(at);
                    }
                });
            }
        }
    }

    /// Adds the shapes that the changes' rows find, each with the changes.
    fn find_shapes(&mut self, changes: &[Change], moves: &mut Moves) {
        let mut found = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let stores: Vec<StoreId> = self.stores_of(change.table).collect();
            for id in stores {
                let rows = [change.old.as_ref(), change.new.as_ref()];
                let Some(store) = self.stores.get_mut(&id) else { continue };
                store.shapes.candidates(change.table, rows, &mut found);
                for plan in &found {
                    moves.shapes.entry(plan.id).or_default().own.insert(at);
                }
                self.find_by_keys(id, rows, SHAPES, |asker| {
                    if let Asker::Shape(shape) = asker {
                        moves.shapes.entry(shape).or_default().own.insert(at);
                    }
                });
            }
        }
    }

    /// Who is found by the keys that rows have of sets.
    fn find_by_keys(
        &self,
        store: StoreId,
        rows: [Option<&Row>; 2],
        askers: (Asker, Asker),
        mut each: impl FnMut(Asker),
    ) {
        let links = self.stores.get(&store).into_iter().flat_map(|store| store.links.values());
        for link in links {
            let rows = rows.into_iter().flatten();
            let mut keys: Vec<MemberKey> = rows.map(|row| link.membership.outer_key(row)).collect();
            keys.dedup();
            let place = (link.id, link.family);
            keys.iter().for_each(|key| self.sets.find(place, key, askers, &mut each));
        }
    }

    /// Whom keys concern that moved in sets that many ask: those who are found by kept rows that have them. The
    /// sets of one depth, or else the shapes.
    fn find_moved(&mut self, depth: Option<usize>, moves: &mut Moves) {
        for set in moves.busy.clone() {
            let Some(selected) = self.sets.get(set) else { continue };
            let (family, partial) = (selected.family, self.sets.heeders(set).next().is_some());
            let view = self.sets.view(set);
            let keys: Vec<MemberKey> = view.into_iter().flat_map(|view| view.moved()).collect();
            let stores: Vec<StoreId> = self.stores.keys().copied().collect();
            for id in stores {
                let mut rows = BTreeSet::new();
                let Some(store) = self.stores.get(&id) else { continue };
                for link in store.links.values().filter(|link| link.family == family) {
                    keys.iter()
                        .for_each(|key| store.kept.find(link.index, key, partial, &mut rows));
                }
                for at in rows {
                    self.find_by_row(id, at, (set, depth), moves);
                }
            }
        }
    }

    /// Those of who asks a set whom a kept row finds.
    fn find_by_row(
        &mut self,
        id: StoreId,
        at: u32,
        (set, depth): (SetId, Option<usize>),
        moves: &mut Moves,
    ) {
        let Some(store) = self.stores.get_mut(&id) else { return };
        let Some((row, _)) = store.kept.row(at) else { return };
        self.sets.costs.count(&self.sets.costs.rows);
        let table = store.name.table;
        let (mut found, mut askers) = (Vec::new(), Vec::new());
        let (index, range) = match depth {
            Some(_) => (&mut store.sets, SETS),
            None => (&mut store.shapes, SHAPES),
        };
        index.candidates(table, [Some(&row), None], &mut found);
        askers.extend(found.iter().map(|plan| match depth {
            Some(_) => Asker::Set(of_plan(plan)),
            None => Asker::Shape(plan.id),
        }));
        self.find_by_keys(id, [Some(&row), None], range, |asker| askers.push(asker));
        for asker in askers.into_iter().filter(|asker| self.sets.asks(*asker, set)) {
            let concern = match asker {
                Asker::Set(id) if depth == Some(self.sets.depth(id)) => {
                    moves.sets.entry((self.sets.depth(id), id)).or_default()
                }
                Asker::Set(_) => continue,
                Asker::Shape(shape) => moves.shapes.entry(shape).or_default(),
            };
            concern.rows.insert(at);
        }
    }

    /// What a transaction adds to a set: by the rows that concern it, and by those that stay and move.
    fn set_changes(
        &self,
        id: SetId,
        (concern, busy): (&Concern, &BTreeSet<SetId>),
        changed: &BTreeMap<StoreId, Changed>,
    ) -> Vec<(MemberKey, i64)> {
        let Some(selected) = self.sets.get(id) else { return Vec::new() };
        self.sets.costs.count(&self.sets.costs.sets);
        let (membership, filter) = (&selected.membership, &selected.filter);
        let source = changed.get(&selected.source);
        let mut keys = Vec::new();
        let rows =
            concern.own.iter().filter_map(|at| source.and_then(|source| source.rows.get(*at)));
        for (row, delta) in rows {
            let when = if *delta > 0 { When::After } else { When::Before };
            if filter.holds(row, when, &self.sets) {
                keys.extend(membership.inner_keys(row).map(|key| (key, *delta)));
            }
        }
        self.moved(selected.source, filter, (concern, busy), |row, enters, count| {
            // Of these the transaction's own are counted already.
            let added = source.and_then(|source| source.net.delta.get(row));
            let count = i64::from(count) - added.copied().unwrap_or_default().max(0);
            let count = if enters { count } else { -count };
            keys.extend(membership.inner_keys(row).map(|key| (key, count)));
        });
        keys
    }

    /// The rows whose answer is another one now, though they are the same.
    fn moved(
        &self,
        source: StoreId,
        filter: &Filter,
        (concern, busy): (&Concern, &BTreeSet<SetId>),
        mut each: impl FnMut(&Row, bool, u32),
    ) {
        let Some(store) = self.stores.get(&source) else { return };
        let (mut found, mut all) = (concern.rows.clone(), false);
        for (at, _, test) in filter.tests() {
            let Some(set) = self.sets.view(test.set) else { continue };
            // Where false is as good as NULL, only rows with the very keys are concerned.
            let positive = filter.is_positive(at);
            all |= !positive && set.moves_all();
            if all {
                break;
            }
            if busy.contains(&test.set) {
                continue;
            }
            set.moved().for_each(|key| store.kept.find(test.index, &key, !positive, &mut found));
        }
        let mut judge = |row: &Row, count: u32| {
            self.sets.costs.count(&self.sets.costs.rows);
            let before = filter.holds(row, When::Before, &self.sets);
            let after = filter.holds(row, When::After, &self.sets);
            if before != after {
                each(row, after, count);
            }
        };
        match all {
            true => store.kept.rows().for_each(|(row, count)| judge(&row, count)),
            false => {
                let rows = found.into_iter().filter_map(|id| store.kept.row(id));
                rows.for_each(|(row, count)| judge(&row, count));
            }
        }
    }

    /// What a transaction brings to a shape, by those of its changes that concern it and by rows that move.
    fn shape(
        &self,
        held: &Held,
        changes: &[Change],
        (concern, busy): (&Concern, &BTreeSet<SetId>),
        net: Option<&Net>,
        last_op: u64,
    ) -> MemberNews {
        let Held { plan, source, filter, .. } = held;
        self.sets.costs.count(&self.sets.costs.shapes);
        let mut own = Vec::new();
        for (at, change) in concern.own.iter().filter_map(|at| Some((*at, changes.get(*at)?))) {
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
        self.moved(*source, filter, (concern, busy), |row, enters, count| {
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
            let change = Change { seq: 0, op_position, table: plan.table().oid, old, new };
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
