//! The incremental state against a model: every shape computed anew from whole tables after each transaction.

use std::collections::BTreeMap;

use brooklet_sql::{
    Collation, Column, MemberKey, RelationName, Row, TableSchema, Tables, Truth, compile_with,
};

use super::*;
use crate::Verdict;
use crate::plan::Selection;

fn table(oid: u32, name: &str, columns: &[(&str, u32)]) -> Arc<TableSchema> {
    let column = |(at, (name, oid)): (usize, &(&str, u32))| Column {
        name: (*name).into(),
        type_oid: *oid,
        base_type_oid: *oid,
        type_name: "x".into(),
        key_position: (at == 0).then_some(0),
        collation: (*oid == 25).then(Collation::c),
        dropped: false,
        ..Column::gone()
    };
    let columns = columns.iter().enumerate().map(column).collect();
    let name = RelationName { schema: "public".into(), table: name.into() };
    Arc::new(TableSchema { oid, name, columns, partitioned: false, unique: Vec::new() })
}

fn world() -> Tables {
    let parent = table(1, "parent", &[("id", 23), ("active", 16), ("owner", 20), ("n", 1700)]);
    let child = table(2, "child", &[("id", 23), ("parent_id", 20), ("other", 23), ("name", 25)]);
    [parent, child].into_iter().map(|table| (table.name.clone(), table)).collect()
}

fn public(table: &str) -> RelationName {
    RelationName { schema: "public".into(), table: table.into() }
}

pub(crate) fn membership(text: &str) -> Membership {
    let tables = world();
    let predicate = compile_with(text, &[], &tables[&public("child")], &tables).unwrap();
    predicate.memberships()[0].clone()
}

pub(crate) fn row(values: &[Option<i64>]) -> Row {
    let values: Vec<Option<String>> = values.iter().map(|v| v.map(|v| v.to_string())).collect();
    Row::new(values.iter().map(Option::as_deref)).unwrap()
}

/// The key of one column.
pub(crate) fn key(value: Option<i64>) -> MemberKey {
    membership("parent_id IN (SELECT id FROM parent)").outer_key(&row(&[Some(0), value]))
}

/// The key of two columns.
pub(crate) fn pair(one: Option<i64>, other: Option<i64>) -> MemberKey {
    let test = membership("(parent_id, other) IN (SELECT id, owner FROM parent)");
    test.outer_key(&row(&[Some(0), one, other]))
}

#[test]
fn numbers_of_different_width_have_equal_keys() {
    let test = membership("parent_id IN (SELECT n FROM parent)");
    let inner = |n: &str| {
        let values = [Some("1"), None, None, Some(n)];
        test.inner_keys(&Row::new(values).unwrap()).next().unwrap()
    };
    let outer = test.outer_key(&row(&[Some(0), Some(15)]));
    assert_eq!(outer, inner("15.000"));
    assert_ne!(outer, inner("15.5"));
}

const FILTERS: &[&str] = &[
    "parent_id IN (SELECT id FROM parent WHERE active)",
    "parent_id NOT IN (SELECT id FROM parent WHERE active)",
    "parent_id NOT IN (SELECT owner FROM parent)",
    "parent_id IN (SELECT owner FROM parent WHERE active) OR name = 'x'",
    "parent_id IN (SELECT id FROM parent WHERE active) AND NOT name = 'a'",
    "parent_id IN (SELECT owner FROM parent) OR parent_id NOT IN (SELECT owner FROM parent)",
    "(parent_id IN (SELECT owner FROM parent)) IS UNKNOWN",
    "(parent_id, other) IN (SELECT owner, id FROM parent WHERE active)",
    "(parent_id, other) NOT IN (SELECT owner, id FROM parent WHERE active)",
    "parent_id IN (SELECT id FROM parent WHERE owner IN (SELECT id FROM parent WHERE active))",
    "parent_id NOT IN (SELECT id FROM parent WHERE owner NOT IN (SELECT other FROM child WHERE name = 'x'))",
    "parent_id IN (SELECT id FROM child WHERE name = 'x')",
    "other = ANY (SELECT n FROM parent)",
    "other <> ALL (SELECT n FROM parent WHERE active)",
    "EXISTS (SELECT 1 FROM parent p WHERE p.id = parent_id AND p.active)",
    "NOT EXISTS (SELECT * FROM parent p WHERE p.id = parent_id AND p.owner = other)",
    "EXISTS (SELECT 1 FROM parent WHERE active AND n > 4)",
    "CASE WHEN parent_id IN (SELECT id FROM parent) THEN name = 'a' ELSE name = 'x' END",
    "parent_id IN (SELECT id FROM parent WHERE active) AND other IN (SELECT id FROM parent) AND name IN ('a', 'x')",
    "parent_id + 1 IN (SELECT abs(id - 2) FROM parent WHERE active)",
    "12 / other IN (SELECT 12 / owner FROM parent)",
    "12 / other NOT IN (SELECT 12 / owner FROM parent)",
    "(12 / other, parent_id) NOT IN (SELECT owner, 12 / id FROM parent) OR name = 'x'",
    "upper(name) IN (SELECT upper(name) FROM child WHERE parent_id IN (SELECT id FROM parent))",
    "2 NOT IN (SELECT p.owner FROM parent p JOIN child c ON c.parent_id = p.id WHERE p.id = child.other)",
];

/// Filters of one template each, whose constant `{k}` is a shape's own.
const TEMPLATES: &[&str] = &[
    "parent_id IN (SELECT id FROM parent WHERE owner = {k})",
    "parent_id IN (SELECT owner FROM parent WHERE id = {k}) AND name = 'a'",
    "other = {k} AND parent_id IN (SELECT id FROM parent WHERE active)",
    "parent_id IN (SELECT owner FROM parent WHERE owner IN (1, {k}) AND id IN (SELECT other FROM child WHERE name = 'x'))",
    "parent_id IN (SELECT owner FROM parent WHERE id = {k}) OR other = {k}",
    "parent_id IN (SELECT owner FROM parent WHERE id = {k}) OR other IN (SELECT id FROM parent WHERE n > {k})",
    "parent_id NOT IN (SELECT owner FROM parent WHERE id > {k}) AND other = {k}",
    "(parent_id IN (SELECT id FROM parent WHERE n = {k})) IS NOT TRUE",
    "12 / other = {k} AND parent_id IN (SELECT id FROM parent WHERE 6 / owner = {k})",
    "(parent_id, other) IN (SELECT owner, id FROM parent WHERE n = {k})",
    "EXISTS (SELECT 1 FROM parent p WHERE p.id = parent_id AND p.owner = {k})",
    "EXISTS (SELECT 1 FROM parent WHERE owner = {k} AND active)",
];

fn filters() -> Vec<String> {
    let made = TEMPLATES
        .iter()
        .flat_map(|template| (0..6).map(|k: u32| template.replace("{k}", &k.to_string())));
    FILTERS.iter().map(|filter| (*filter).to_owned()).chain(made).collect()
}

/// Splitmix.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn number(&mut self) -> Option<String> {
        (self.below(5) > 0).then(|| self.below(6).to_string())
    }

    fn row(&mut self, table: u32, id: u64) -> Row {
        let id = Some(id.to_string());
        let values = match table {
            1 => {
                let active = (self.below(6) > 0).then(|| ["t", "f"][self.below(2) as usize].into());
                let decimal = self.number().map(|n| n + [".0", ".00", ""][self.below(3) as usize]);
                vec![id, active, self.number(), decimal]
            }
            _ => {
                let name = (self.below(4) > 0).then(|| ["a", "x"][self.below(2) as usize].into());
                vec![id, self.number(), self.number(), name]
            }
        };
        Row::new(values.iter().map(Option::as_deref)).unwrap()
    }
}

type State = BTreeMap<(u32, u64), Row>;

/// What Postgres would do, spelled out.
fn holds(predicate: &Predicate, row: &Row, state: &State) -> bool {
    let answer = |membership: &Membership| {
        let oid = membership.subquery.table.oid;
        let inner = state.iter().filter(|((table, _), _)| *table == oid).map(|(_, row)| row);
        let inside = |row: &&Row| {
            membership.subquery.predicate.as_ref().is_none_or(|p| holds(p, row, state))
        };
        let outer = membership.outer_key(row);
        let keys = inner.filter(inside).flat_map(|row| membership.inner_keys(row));
        Truth::any(keys.map(|inner| match (outer.has_null || inner.has_null, outer == inner) {
            (false, equal) => equal.into(),
            (true, _) if outer.may_equal(&inner) => Truth::Null,
            (true, _) => Truth::False,
        }))
    };
    let answers: Vec<Truth> = predicate.memberships().iter().map(answer).collect();
    predicate.matches_members(row, &answers) == Truth::True
}

/// A transaction of some changes, applied to the state.
fn transaction(rng: &mut Rng, state: &mut State, seq: &mut u64) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..=rng.below(5) {
        let (table, id) = (1 + rng.below(2) as u32, rng.below(6));
        let old = state.remove(&(table, id));
        let new = match (&old, rng.below(3)) {
            (Some(_), 0) => None,
            // Sometimes under another key.
            (Some(_), 1) if rng.below(4) == 0 => {
                let id = rng.below(6);
                (!state.contains_key(&(table, id))).then(|| (id, rng.row(table, id)))
            }
            _ => Some((id, rng.row(table, id))),
        };
        if old.is_none() && new.is_none() {
            continue;
        }
        let new = new.map(|(id, row)| {
            state.insert((table, id), row.clone());
            row
        });
        let op_position = 2 * changes.len() as u64;
        changes.push(Change { seq: *seq, op_position, table, old, new });
        *seq += 1;
    }
    changes
}

fn plan(id: u64, filter: &str, tables: &Tables) -> Arc<ShapePlan> {
    let table = Arc::clone(&tables[&public("child")]);
    let predicate = compile_with(filter, &[], &table, tables).unwrap();
    let columns = if id.is_multiple_of(3) { vec![0, 1] } else { vec![0, 1, 2, 3] };
    let (columns, key, listed) = (columns.into(), [0].into(), true);
    let selection = Arc::new(Selection { table, columns, key, listed });
    Arc::new(ShapePlan { id: ShapeId(id), selection, predicate: Some(predicate) })
}

fn counted(name: &KeptName, state: &State) -> Counts {
    let mut counts = Counts::new(name);
    for (_, row) in state.iter().filter(|((table, _), _)| *table == name.table) {
        counts.add(&name.project(row).unwrap(), 1);
    }
    counts
}

fn begin(members: &mut Members, plan: &Arc<ShapePlan>, state: &State) {
    for (name, _) in needs(plan) {
        if !members.keeps(&name) {
            let counts = counted(&name, state);
            members.keep(name, counts).unwrap();
        }
    }
    members.add(Arc::clone(plan));
}

/// What clients hold: the rows by key.
type Client = BTreeMap<String, Row>;

fn shown(plan: &ShapePlan, row: &Row) -> (String, Row) {
    let text = |at: usize| row.get(at).map(|v| std::str::from_utf8(v).unwrap());
    let values: Vec<Option<&str>> = plan.selection.columns.iter().map(|at| text(*at)).collect();
    (text(0).unwrap().to_owned(), Row::new(values).unwrap())
}

/// Applies a log's entries as a strict client does.
fn apply(client: &mut Client, plan: &ShapePlan, change: &Change, verdict: Verdict) {
    let old = change.old.as_ref().map(|row| shown(plan, row));
    let new = change.new.as_ref().map(|row| shown(plan, row));
    match verdict {
        Verdict::Insert => {
            let (key, row) = new.unwrap();
            assert!(client.insert(key, row).is_none(), "inserted twice");
        }
        Verdict::Update => {
            let (key, row) = new.unwrap();
            assert!(client.insert(key, row).is_some(), "updated, never inserted");
        }
        Verdict::Delete => {
            assert!(client.remove(&old.unwrap().0).is_some(), "deleted, never inserted");
        }
        Verdict::Rekey => {
            assert!(client.remove(&old.unwrap().0).is_some());
            let (key, row) = new.unwrap();
            client.insert(key, row);
        }
    }
}

#[test]
fn shapes_hold_what_the_filter_says_after_every_transaction() {
    let (tables, filters) = (world(), filters());
    let mut asked = 0;
    for seed in 0..36 {
        let mut rng = Rng(seed);
        let (mut state, mut seq, mut members) = (State::new(), 0, Members::default());
        let mut shapes: Vec<(Arc<ShapePlan>, Client)> = Vec::new();
        for round in 0..120 {
            let at = rng.below(filters.len() as u64);
            if rng.below(3) > 0 && !shapes.iter().any(|(plan, _)| plan.id.0 == at) {
                let plan = plan(at, &filters[at as usize], &tables);
                begin(&mut members, &plan, &state);
                let rows = members.rows(plan.id).map(|row| shown(&plan, &row)).collect();
                shapes.push((plan, rows));
            } else if rng.below(25) == 0 && !shapes.is_empty() {
                let (plan, _) = shapes.swap_remove(rng.below(shapes.len() as u64) as usize);
                assert!(members.remove(plan.id));
            }
            let changes = transaction(&mut rng, &mut state, &mut seq);
            let last_op = changes.last().map_or(0, |change| change.op_position);
            for news in members.transaction(&changes, last_op).unwrap() {
                let (plan, client) =
                    shapes.iter_mut().find(|(plan, _)| plan.id == news.shape).unwrap();
                let mut places = Vec::new();
                for posting in &news.own {
                    let change = changes.iter().find(|c| c.seq == posting.seq).unwrap();
                    apply(client, plan, change, posting.verdict);
                    places.push((posting.op_position, posting.last));
                }
                for (change, posting) in &news.moved {
                    assert!(posting.op_position > last_op);
                    apply(client, plan, change, posting.verdict);
                    places.push((posting.op_position, posting.last));
                }
                assert!(places.is_sorted_by(|a, b| a.0 < b.0));
                assert_eq!(places.iter().filter(|(_, last)| *last).count(), 1);
                assert!(places.last().unwrap().1);
            }
            for (plan, client) in &shapes {
                let predicate = plan.predicate.as_ref().unwrap();
                let inside = state
                    .iter()
                    .filter(|((table, _), row)| *table == 2 && holds(predicate, row, &state));
                let expected: Client = inside.map(|(_, row)| shown(plan, row)).collect();
                let filter = &filters[plan.id.0 as usize];
                assert_eq!(client, &expected, "seed {seed}, round {round}: {filter}");
            }
        }
        asked += members.costs().shapes;
        for (plan, _) in shapes {
            assert!(members.remove(plan.id));
        }
        assert_eq!((members.sets(), members.bytes()), (0, 0), "what nobody needs is let go");
        assert!(!members.keeps_table(1) && !members.keeps_table(2));
    }
    // If everyone were asked, it would be more than ten times as many.
    assert!(asked < 150_000, "{asked}");
}

/// The same rows twice: by who has been there while they came, and by who has just been made of them.
#[test]
fn a_new_shape_holds_what_an_old_one_does() {
    let (tables, filters) = (world(), filters());
    for seed in 100..130 {
        let mut rng = Rng(seed);
        let (mut state, mut seq, mut old) = (State::new(), 0, Members::default());
        let plans: Vec<Arc<ShapePlan>> =
            (0..filters.len()).map(|at| plan(3 * at as u64 + 1, &filters[at], &tables)).collect();
        plans.iter().for_each(|plan| begin(&mut old, plan, &state));
        for _ in 0..40 {
            let changes = transaction(&mut rng, &mut state, &mut seq);
            let last_op = changes.last().map_or(0, |change| change.op_position);
            old.transaction(&changes, last_op).unwrap();
        }
        let mut new = Members::default();
        for plan in &plans {
            begin(&mut new, plan, &state);
            let rows = |members: &Members| {
                let mut rows: Vec<Row> = members.rows(plan.id).collect();
                rows.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
                rows
            };
            let filter = plan.predicate.as_ref().unwrap().sql();
            assert_eq!(rows(&old), rows(&new), "seed {seed}: {filter}");
        }
        assert_eq!(old.sets(), new.sets());
    }
}

#[test]
fn an_earlier_state_is_had_by_taking_transactions_away() {
    let tables = world();
    let plan = plan(1, FILTERS[9], &tables);
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let (mut state, mut seq) = (State::new(), 0);
        let mut history = Vec::new();
        for _ in 0..10 {
            _ = transaction(&mut rng, &mut state, &mut seq);
        }
        let before = state.clone();
        for _ in 0..10 {
            history.push(transaction(&mut rng, &mut state, &mut seq));
        }
        // A snapshot sees any set of them whose writers did not wait for one another; which of the
        // sums below comes first does not matter.
        for (name, _) in needs(&plan) {
            let mut counts = counted(&name, &state);
            for changes in &history {
                count(&name, changes, -1, &mut counts);
            }
            let sorted = |counts: &Counts| -> BTreeMap<Row, i64> { counts.rows().collect() };
            assert_eq!(sorted(&counts), sorted(&counted(&name, &before)));
        }
    }
}
