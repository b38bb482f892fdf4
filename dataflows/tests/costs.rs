//! What the index does for one shape or one change, counted in entries looked at: it must not depend on
//! how many shapes of other tables and other constants there are.

#![allow(clippy::unwrap_used)]

mod schema;

use std::sync::Arc;

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Change, Selection, ShapeId, ShapePlan};
use brooklet_sql::{
    Collation, Column, Form, Predicate, Relation, RelationColumn, ReplicaIdentity, Row,
    TableSchema, compile,
};

fn table(oid: u32) -> Arc<TableSchema> {
    let columns = [("id", 23), ("n", 23), ("t", 25), ("tags", 1009)];
    schema::table(oid, &format!("t{oid}"), &columns, Collation::c)
}

/// Makes shapes as the server does: what is equal is there once.
struct Maker {
    selections: Vec<Arc<Selection>>,
    forms: Vec<Arc<Form>>,
    next: u64,
}

impl Maker {
    fn new(tables: u32) -> Maker {
        let selection = |oid| {
            let (table, columns) = (table(oid), [0].into());
            Arc::new(Selection { table, columns, key: [0].into(), listed: false })
        };
        Maker { selections: (0..tables).map(selection).collect(), forms: Vec::new(), next: 0 }
    }

    fn make(&mut self, table: u32, filter: &str) -> Arc<ShapePlan> {
        self.next += 1;
        let selection = Arc::clone(&self.selections[table as usize]);
        let mut predicate: Predicate = compile(filter, &[], &selection.table).unwrap();
        match self.forms.iter().find(|form| **form == *predicate.form()) {
            Some(form) => predicate.share(&Arc::clone(form)),
            // The other forms are as many as the shapes, and nobody else's.
            None if self.forms.len() < 8 => self.forms.push(Arc::clone(predicate.form())),
            None => {}
        }
        Arc::new(ShapePlan { id: ShapeId(self.next), selection, predicate: Some(predicate) })
    }
}

/// Filters of every access path, the number standing for a constant of one's own.
fn filter(kind: usize, number: usize) -> String {
    match kind {
        0 => format!("n = {number}"),
        1 => format!("n BETWEEN {} AND {}", 10 * number, 10 * number + 5),
        2 => format!("t LIKE 'p{number:07}%'"),
        3 => format!("t ILIKE '%w{number:07}%'"),
        4 => format!("tags @> ARRAY['e{number:07}']"),
        5 => format!("lower(t) = 'l{number:07}'"),
        _ => format!("n IN ({number}, {}) AND t = 'x'", number + 1_000_000),
    }
}

const KINDS: usize = 7;

/// The greatest number of entries that adding and removing one shape, and matching one change, look at,
/// with so many shapes of other constants and other tables around.
fn costs(shapes: usize) -> [u64; 3] {
    let tables = (shapes / 300) as u32;
    let mut maker = Maker::new(tables);
    let mut index = ShapeIndex::default();
    for number in 0..shapes {
        // Most are of the first three tables.
        let table = if number % 10 == 0 { number as u32 % tables } else { number as u32 % 3 };
        index.add(maker.make(table, &filter(number % KINDS, number)));
    }
    let mut worst = [0; 3];
    let mut found = Vec::new();
    for kind in 0..KINDS {
        for number in [shapes + 7, shapes + 70, shapes / 2 + 3] {
            let plan = maker.make(1, &filter(kind, number));
            let mut measure =
                |at: usize, index: &mut ShapeIndex, act: &mut dyn FnMut(&mut ShapeIndex)| {
                    let before = index.steps();
                    act(index);
                    worst[at] = worst[at].max(index.steps() - before);
                };
            measure(0, &mut index, &mut |index| index.add(Arc::clone(&plan)));
            let text = format!("p{number:07} w{number:07}");
            let tags = format!("{{e{number:07},other}}");
            let n = (10 * number).to_string();
            let row = Row::new([Some("1"), Some(&*n), Some(&*text), Some(&*tags)]).unwrap();
            measure(1, &mut index, &mut |index| {
                index.candidates(1, [None, Some(&row)], &mut found)
            });
            measure(2, &mut index, &mut |index| assert!(index.remove(&plan)));
        }
    }
    worst
}

/// Compares a thousand shapes with so many.
fn cost_the_same(shapes: usize) {
    let (few, many) = (costs(1_000), costs(shapes));
    println!("entries to add, match, remove: {few:?} among 1,000 shapes, {many:?} among {shapes}");
    for (what, (few, many)) in ["add", "match", "remove"].iter().zip(few.into_iter().zip(many)) {
        // A tree of a thousand times as many ranges is two or three pages deeper, each of which counts up
        // to four times.
        assert!(
            many <= few + 12,
            "{what}: {few} entries among 1,000 shapes, {many} among {shapes}"
        );
        assert!(many < 100, "{what}: {many}");
    }
}

#[test]
fn a_shape_and_a_change_cost_the_same_among_a_hundred_thousand_others() {
    cost_the_same(100_000);
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn a_shape_and_a_change_cost_the_same_among_a_million_others() {
    cost_the_same(1_000_000);
}

#[test]
fn a_definition_costs_its_own_tables_kinds_only() {
    let relation = |table: &TableSchema| {
        let column = |column: &Column| RelationColumn {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: -1,
        };
        Relation {
            oid: table.oid,
            name: table.name.clone(),
            identity: ReplicaIdentity::Full,
            columns: table.columns.iter().map(column).collect(),
            order: Vec::new(),
        }
    };
    let compared = |shapes: usize| {
        let mut maker = Maker::new(2);
        // Their columns were chosen, so others may change.
        let listed = Selection { listed: true, ..(*maker.selections[0]).clone() };
        maker.selections[0] = Arc::new(listed);
        let mut index = ShapeIndex::default();
        for number in 0..shapes {
            // Constants in ranges make a kind for each shape.
            let filter = if number % 2 == 0 { "n = " } else { "n > " };
            index.add(maker.make(0, &format!("{filter}{number}")));
        }
        for number in 0..10 {
            index.add(maker.make(1, &format!("n > {number}")));
        }
        // The only one that reads this column.
        let lone = maker.make(0, "t > 'a'");
        index.add(Arc::clone(&lone));
        let mut looked_at = Vec::new();
        let mut outdated = |index: &mut ShapeIndex, relation: &Relation| {
            let before = index.steps();
            let ended = index.outdated(relation).len();
            looked_at.push(index.steps() - before);
            ended
        };
        // The same definition again: of a table with many shapes, and of one with few.
        let [many, few] = [0, 1].map(|at| relation(&maker.selections[at].table));
        assert_eq!((outdated(&mut index, &many), outdated(&mut index, &few)), (0, 0));
        let mut other = few;
        other.columns[1].name = "m".into();
        assert_eq!(outdated(&mut index, &other), 10, "its own shapes end");
        assert_eq!(index.of_table(1).len(), 10);
        let mut other = many;
        other.columns[2].name = "u".into();
        assert_eq!(outdated(&mut index, &other), 1, "one of many ends");
        assert_eq!(index.outdated(&other)[0].id, lone.id);
        looked_at
    };
    // Thousands of shapes that read the same columns are one entry to ask; those that end are looked at, no others.
    assert_eq!((compared(1_000), compared(20_000)), (vec![2, 1, 11, 3], vec![2, 1, 11, 3]));
}

#[test]
fn a_truncate_costs_its_own_tables_shapes_only() {
    const OWN: usize = 3 * KINDS;
    let emptied = |others: usize, tables: u32| {
        let mut maker = Maker::new(1 + tables);
        let mut index = ShapeIndex::default();
        for number in 0..OWN {
            index.add(maker.make(0, &filter(number % KINDS, number)));
        }
        for number in 0..others {
            let table = 1 + number as u32 % tables;
            index.add(maker.make(table, &filter(number / tables as usize % KINDS, number)));
        }
        let before = index.steps();
        let ended = index.take_table(0);
        assert_eq!(ended, (1..=OWN as u64).map(ShapeId).collect::<Vec<_>>(), "they end in order");
        let steps = index.steps() - before;
        let left: usize = (0..=tables).map(|table| index.of_table(table).len()).sum();
        assert_eq!((index.of_table(0).len(), left), (0, others), "all others stay");
        steps
    };
    let (few, many) = (emptied(10, 10), emptied(20_000, 1_000));
    assert_eq!((few, many), (OWN as u64, OWN as u64));
}

#[test]
fn one_odd_shape_does_not_slow_the_others() {
    let named = |odd: &[&str]| {
        let mut maker = Maker::new(1);
        let mut index = ShapeIndex::default();
        for number in 0..10_000 {
            index.add(maker.make(0, &filter(0, number)));
        }
        odd.iter().for_each(|filter| index.add(maker.make(0, filter)));
        let row = Row::new([Some("1"), Some("5"), Some("x"), Some("{a}")]).unwrap();
        let mut found = Vec::new();
        let before = index.steps();
        index.candidates(0, [None, Some(&row)], &mut found);
        index.steps() - before
    };
    let list = (0..4_000).map(|n| (n * 3).to_string()).collect::<Vec<_>>().join(",");
    let long = format!("n IN ({list})");
    let odd = [
        "n > id",
        "t LIKE '%'",
        "n <> 5",
        "10 / (n - 5) = 1",
        "length(t) * 3 > 1",
        &long,
        "t ~ '(a|b)*c'",
        "n > 0",
    ];
    let (without, with) = (named(&[]), named(&odd));
    assert!(with - without < 40, "{without} entries without them, {with} with them");
}

/// Filters that no row finds by a path of its own, or by a path that is very long.
fn pathological() -> (Vec<String>, Vec<String>) {
    let list =
        |count: usize| (0..count).map(|n| (100_000 + n).to_string()).collect::<Vec<_>>().join(",");
    let deep = |leaf: &str| {
        (0..60).fold(leaf.to_owned(), |inner, n| format!("(n = {} OR {inner})", 200_000 + n))
    };
    let asked_always = vec![
        "t ~ '(x|yy)*z?$' AND n <> id".to_owned(),
        "t NOT LIKE '%a%b%c%d%'".to_owned(),
        format!("n NOT IN ({})", list(5_000)),
        format!("n IN ({})", list(5_000)),
        deep("n = id"),
        "length(t) > n".to_owned(),
    ];
    let asked_seldom = vec![
        format!("n IN ({})", list(4_000)),
        deep("t LIKE 'never%'"),
        "t ~ 'no+where'".to_owned(),
    ];
    (asked_always, asked_seldom)
}

#[test]
fn a_change_is_put_to_pathological_shapes_and_to_those_it_concerns_only() {
    const SIMPLE: usize = 5_000;
    let (always, seldom) = pathological();
    let mut maker = Maker::new(1);
    let mut index = ShapeIndex::default();
    for number in 0..SIMPLE {
        index.add(maker.make(0, &filter(number % KINDS, number)));
    }
    let first = SIMPLE as u64 + 1;
    always.iter().chain(&seldom).for_each(|filter| index.add(maker.make(0, filter)));
    let everyone = first..first + always.len() as u64;
    let big = "x yy ".repeat(20_000);
    let row = |number: usize| {
        let (n, text) = (number.to_string(), format!("p{number:07} w{number:07} {big}"));
        Row::new([Some("1"), Some(&*n), Some(&*text), Some(&*format!("{{e{number:07}}}"))]).unwrap()
    };
    let (mut found, mut asked, mut concerned) = (Vec::new(), 0, 0);
    for number in (0..SIMPLE).step_by(97) {
        let (one, other) = (row(number), row(number + SIMPLE / 2));
        let both = (Some(one.clone()), Some(other));
        for (seq, (old, new)) in
            [(None, Some(one.clone())), both, (Some(one), None)].into_iter().enumerate()
        {
            let change = Change { seq: seq as u64, op_position: 0, table: 0, old, new };
            index.candidates(0, [change.old.as_ref(), change.new.as_ref()], &mut found);
            let mut matches = Vec::new();
            index.judge(&change, &found, |plan, _| matches.push(plan.id));
            let in_vain = found
                .iter()
                .filter(|plan| !everyone.contains(&plan.id.0) && !matches.contains(&plan.id));
            let in_vain: Vec<String> =
                in_vain.map(|plan| plan.predicate.as_ref().unwrap().sql()).collect();
            assert!(in_vain.is_empty(), "asked in vain about {number}: {in_vain:?}");
            assert!(matches.iter().all(|id| id.0 < first + always.len() as u64));
            asked += found.len();
            concerned += matches.iter().filter(|id| id.0 < first).count();
        }
    }
    println!("{asked} asked, {concerned} concerned");
}

#[test]
fn a_crowded_path_is_left_for_another() {
    let mut maker = Maker::new(1);
    let mut index = ShapeIndex::default();
    // All want the same text: by equality each would be found with all others.
    let mut plans = Vec::new();
    for number in 0..10_000 {
        let window = format!("t = 'open' AND n BETWEEN {} AND {}", 10 * number, 10 * number + 5);
        plans.push(maker.make(0, &window));
        index.add(Arc::clone(&plans[number]));
    }
    let row = Row::new([Some("1"), Some("50003"), Some("open"), None]).unwrap();
    let mut found = Vec::new();
    index.candidates(0, [None, Some(&row)], &mut found);
    assert!(found.len() < 100, "{} candidates for one match", found.len());
    assert_eq!(
        paths(&index),
        [("range \"n\"".to_owned(), 9_984), ("equality \"t\"".to_owned(), 16)]
    );
    assert!(index.of_table(0).into_iter().eq(plans.iter().map(|plan| plan.id)));
    plans.iter().for_each(|plan| assert!(index.remove(plan)));
    index.candidates(0, [None, Some(&row)], &mut found);
    assert!(found.is_empty() && index.view().tables.is_empty());
}

/// The paths that the view shows for the only template.
fn paths(index: &ShapeIndex) -> Vec<(String, usize)> {
    let view = index.view();
    let [template] = &*view.tables[0].templates else { panic!("{view:?}") };
    assert_eq!(template.path, template.paths[0].path);
    let shapes = template.paths.iter().map(|one| one.shapes);
    assert_eq!(shapes.sum::<usize>(), template.shapes, "each shape is found somehow");
    template.paths.iter().map(|one| (one.path.clone(), one.shapes)).collect()
}

#[test]
fn the_view_shows_every_path_of_a_form_that_shapes_are_found_by() {
    let mut maker = Maker::new(1);
    let mut index = ShapeIndex::default();
    // What is equated is a shape's own, so all of these are of one form. Where many want one number, elements are
    // looked up.
    let mut add = |n: usize, index: &mut ShapeIndex| {
        let plan = maker.make(0, &format!("n = {n} AND tags @> ARRAY['e']"));
        index.add(Arc::clone(&plan));
        plan
    };
    let path = |path: &str, shapes| (path.to_owned(), shapes);
    let (number, element) = ("equality \"n\"", "equality elements of \"tags\"");
    let first: Vec<_> = (0..16).map(|_| add(7, &mut index)).collect();
    assert_eq!(paths(&index), [path(number, 16)]);
    let crowded: Vec<_> = (0..10).map(|_| add(7, &mut index)).collect();
    assert_eq!(paths(&index), [path(number, 16), path(element, 10)]);
    let alone: Vec<_> = (100..105).map(|n| add(n, &mut index)).collect();
    assert_eq!(paths(&index), [path(number, 21), path(element, 10)]);
    // As they go, the first of them first.
    first.iter().for_each(|plan| assert!(index.remove(plan)));
    assert_eq!(paths(&index), [path(element, 10), path(number, 5)]);
    crowded[..9].iter().for_each(|plan| assert!(index.remove(plan)));
    assert_eq!(paths(&index), [path(number, 5), path(element, 1)]);
    alone.iter().for_each(|plan| assert!(index.remove(plan)));
    assert_eq!(paths(&index), [path(element, 1)]);
    assert!(index.remove(&crowded[9]) && index.view().tables.is_empty());
    add(7, &mut index);
    assert_eq!(paths(&index), [path(number, 1)], "nothing is remembered of those that are gone");
}

#[test]
fn members_of_a_document_that_a_row_does_not_have_cost_it_nothing() {
    let table = schema::table(1, "t", &[("id", 23), ("j", 3802)], Collation::c);
    let selection =
        Arc::new(Selection { table, columns: [0].into(), key: [0].into(), listed: false });
    let cost = |shapes: usize| {
        let (mut index, mut plans) = (ShapeIndex::default(), Vec::new());
        for number in 0..shapes {
            let filter = match number % 3 {
                0 => format!("j ->> 'k{number}' = 'v'"),
                1 => format!("(j -> 'k{number}' ->> 'x')::int4 > 5"),
                _ => format!("j @> '{{\"k{number}\": 1}}'"),
            };
            let predicate = compile(&filter, &[], &selection.table).unwrap();
            let (id, selection) = (ShapeId(number as u64), Arc::clone(&selection));
            plans.push(Arc::new(ShapePlan { id, selection, predicate: Some(predicate) }));
            index.add(Arc::clone(&plans[number]));
        }
        let row = |json: &str| Row::new([Some("1"), Some(json)]).unwrap();
        let old = row(r#"{"k0": "v", "k4": {"x": 6}, "other": 2}"#);
        let new = row(r#"{"k0": "v", "k8": 1, "k9": "w", "k90000": 1}"#);
        let mut found = Vec::new();
        let before = index.steps();
        index.candidates(1, [Some(&old), Some(&new)], &mut found);
        let ids: Vec<u64> = found.iter().map(|plan| plan.id.0).collect();
        assert_eq!(ids, [0, 4, 8]);
        let cost = index.steps() - before;
        plans.iter().for_each(|plan| assert!(index.remove(plan)));
        index.candidates(1, [Some(&old), Some(&new)], &mut found);
        assert!(found.is_empty() && index.view().tables.is_empty());
        cost
    };
    let (few, many) = (cost(100), cost(10_000));
    assert_eq!(few, many);
    assert!(many < 30, "{many} entries");
}

#[test]
fn what_a_row_says_many_times_over_is_found_once() {
    let mut maker = Maker::new(1);
    let mut index = ShapeIndex::default();
    let letters: String = ('a'..='z').collect();
    for number in 0..260 {
        let letter = &letters[number % 26..][..1];
        index.add(maker.make(0, &format!("t LIKE '%{letter}%' AND id <> {number}")));
        index.add(maker.make(0, &format!("tags @> '{{{letter}}}' AND id <> {number}")));
        index.add(maker.make(0, &format!("'{letter}' = ANY (tags) AND n <> {number}")));
    }
    let mut found = Vec::new();
    for text in ["a", "ab", &letters] {
        let long = text.repeat(10_000);
        let tags: Vec<String> = long.chars().map(String::from).collect();
        let tags = format!("{{{}}}", tags.join(","));
        let row = Row::new([Some("1"), Some("1"), Some(&*long), Some(&*tags)]).unwrap();
        let before = index.steps();
        index.candidates(0, [None, Some(&row)], &mut found);
        // Ten shapes of three filters for each letter; some are found by what they do not want.
        assert!((30 * text.len()..=780).contains(&found.len()), "{text}: {}", found.len());
        assert!(index.steps() - before < 2_000, "{text}: {} steps", index.steps() - before);
    }
}
