//! What makes two questions one: however alike they are, whoever asks one never gets the answer of another, and
//! whoever spells it in another way gets the same. Hashes are no help here, so that they decide nothing.

use std::collections::BTreeSet;

use brooklet_sql::{Collation, TableSchema};

use super::super::super::definition::{LogMode, Replica};
use super::*;

/// Filters; the spellings of one in a row, with the values of `$1`, `$2`, … behind each.
const FILTERS: &[&[(&str, &[&str])]] = &[
    &[
        ("n = 1", &[]),
        (" n=\n1 ", &[]),
        ("\"n\" = $1", &["1"]),
        ("((n) = ('1'))", &[]),
        ("1 = n", &[]),
        ("n = $1", &[" 1"]),
        ("n = 1 AND true", &[]),
    ],
    &[("n = 2", &[]), ("n = $1", &["2"]), ("n = 1 + 1", &[])],
    &[("n = 12", &[]), ("n = $1", &["12"])],
    &[("n = -1", &[]), ("n = $1", &["-1"])],
    &[("id = 1", &[]), ("id = $1", &["1"])],
    &[
        ("n = 1 AND id = 2", &[]),
        ("n = $1 and id = $2", &["1", "2"]),
        ("n = $2 AND id = $1", &["2", "1"]),
    ],
    &[("n = 2 AND id = 1", &[]), ("n = $1 AND id = $2", &["2", "1"])],
    &[("n = 12 AND id = 1", &[]), ("n = $1 AND id = $2", &["12", "1"])],
    &[("n = 1 AND id = 12", &[]), ("n = $1 AND id = $2", &["1", "12"])],
    &[("n = 1 AND id = 21", &[])],
    &[("n = 11 AND id = 2", &[])],
    &[("n = 1 OR id = 2", &[]), ("n = $1 OR (id = $2)", &["1", "2"])],
    &[("n = 2 OR id = 1", &[])],
    &[("n <> 1", &[]), ("n != $1", &["1"]), ("NOT n = 1", &[])],
    &[("n > 1", &[]), ("1 < n", &[])],
    &[("n >= 1", &[]), ("NOT n < 1", &[])],
    &[("n < 1", &[])],
    &[("n > 2", &[])],
    &[("n BETWEEN 1 AND 2", &[]), ("n >= $1 AND n <= $2", &["1", "2"])],
    &[("n BETWEEN 1 AND 3", &[])],
    &[("n BETWEEN 2 AND 1", &[])],
    &[("n IN (1, 2)", &[]), ("n IN ($1, $2)", &["1", "2"])],
    &[("n IN (1, 3)", &[])],
    &[("n IN (1, 2, 3)", &[])],
    &[("n IN (12, 3)", &[])],
    &[("n NOT IN (1, 2)", &[])],
    &[("n IS NULL", &[]), ("(n) is null", &[])],
    &[("n IS NOT NULL", &[]), ("NOT n IS NULL", &[])],
    &[("id IS NULL", &[])],
    &[("n IS DISTINCT FROM 1", &[])],
    &[("n = id", &[])],
    &[("body = 'a'", &[]), ("body = $1", &["a"]), ("body = E'\\x61'", &[])],
    &[("body = 'A'", &[])],
    &[("body = 'a '", &[])],
    &[("body = ''", &[]), ("body = $1", &[""])],
    &[("body = '1'", &[]), ("body = $1", &["1"])],
    &[("body = 'n = 1'", &[])],
    &[
        ("body = 'a'' AND n = 1 AND body = ''b'", &[]),
        ("body = $1", &["a' AND n = 1 AND body = 'b"]),
    ],
    &[("body = 'a' AND n = 1", &[])],
    &[("body = '\\'", &[]), ("body = E'\\\\'", &[])],
    &[("body = 'é'", &[])],
    &[("body = 'e\u{301}'", &[])],
    &[("body LIKE 'a%'", &[]), ("body ~~ $1", &["a%"])],
    &[("body LIKE 'a_'", &[])],
    &[("body NOT LIKE 'a%'", &[])],
    &[("body ILIKE 'a%'", &[])],
    &[("body ~ 'a'", &[])],
    &[("body > 'a'", &[])],
    &[("body IN ('a', 'b')", &[])],
    &[("body IN ('a, b')", &[])],
    &[("body IN ('a'', ''b')", &[])],
];

/// A question, and which one it is.
struct Spelling {
    which: usize,
    defined: Defined,
}

/// Tables: two, the first one under another name, and another one of its name.
fn tables() -> Vec<Arc<TableSchema>> {
    let [one, other] = [0, 1].map(|table| {
        let mut table = (*schema(table, 0)).clone();
        let collation = Collation {
            case_map: Some(Arc::new(brooklet_sql::CaseMap::ascii())),
            ..Collation::c()
        };
        table.columns[2].collation = Some(collation);
        table
    });
    let renamed = TableSchema { name: other.name.clone(), ..one.clone() };
    let anew = TableSchema { oid: 99, ..one.clone() };
    [one, other, renamed, anew].map(Arc::new).into()
}

/// Every filter of every table in every way to show it.
fn questions() -> Vec<Spelling> {
    let columns: [Option<&[&str]>; 4] =
        [None, Some(&["id", "n", "body"]), Some(&["id", "n"]), Some(&["body", "id"])];
    let mut found: Vec<Spelling> = Vec::new();
    let mut which = 0;
    for (at, table) in tables().into_iter().enumerate() {
        for (columns, replica, log) in columns.iter().flat_map(|columns| {
            let logs = move |replica| {
                [LogMode::Full, LogMode::ChangesOnly].map(|log| (*columns, replica, log))
            };
            [Replica::Default, Replica::Full].into_iter().flat_map(logs)
        }) {
            // The first table in all of them, the others in the usual way.
            if at > 0 && (columns.is_some() || replica == Replica::Full) {
                continue;
            }
            let spelled = |filter| {
                let name = table.name.clone();
                let columns =
                    columns.map(|list| list.iter().map(|name| name.to_string()).collect());
                let asked = Question { columns, replica, log, ..Question::all(name, filter) };
                Defined::new(Arc::clone(&table), &Tables::new(), asked).unwrap()
            };
            which += 1;
            found.push(Spelling { which, defined: spelled(None) });
            for spellings in FILTERS {
                which += 1;
                found.extend(spellings.iter().map(|(text, params)| {
                    let params = params.iter().map(|one| one.to_string()).collect();
                    let source = FilterSource { text: text.to_string(), params };
                    Spelling { which, defined: spelled(Some(source)) }
                }));
            }
        }
    }
    found
}

fn check<S: BuildHasher>(mut maps: Maps<S>, spellings: &[Spelling]) {
    let mut handles = BTreeSet::new();
    let mut shapes: BTreeMap<usize, Arc<Shape>> = BTreeMap::new();
    for Spelling { which, defined } in spellings {
        let found = maps.by_question(defined.asked_for()).map(Arc::clone);
        same(found.as_ref(), shapes.get(which));
        if found.is_none() {
            let handle = maps.new_handle(defined.asked_for());
            assert!(handles.insert(handle), "{handle} twice");
            let id = ShapeId(*which as u64);
            let log = Arc::new(ShapeLog::new(id, 300));
            let base = Base::new(handle, LogPoint::BEGIN, 0, state(true));
            let shape = Arc::new(Shape::new(defined.clone(), log, base));
            maps.insert(&shape);
            shapes.insert(*which, shape);
        }
    }
    // Once all are there, each is still found by its own question and handle.
    assert_eq!(maps.len(), shapes.len());
    for Spelling { which, defined } in spellings {
        let shape = &shapes[which];
        same(maps.by_question(defined.asked_for()), Some(shape));
        same(maps.by_handle(shape.handles()[0]), Some(shape));
    }
}

#[test]
fn two_questions_are_one_only_where_they_are_the_same() {
    let spellings = questions();
    let known: BTreeSet<usize> = spellings.iter().map(|one| one.which).collect();
    assert!(known.len() > 1_000 && spellings.len() > known.len() + 400, "{}", spellings.len());
    let mut wrong = BTreeSet::new();
    for (at, one) in spellings.iter().enumerate() {
        for other in &spellings[..at] {
            let (asked, known) = (one.defined.asked_for(), other.defined.asked_for());
            if (asked == known) != (one.which == other.which) {
                let sql = |of: Asked<'_>| of.1.map(|predicate| predicate.sql());
                wrong.insert(format!("{:?} and {:?}", sql(known), sql(asked)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    check(Maps::<DefaultHashBuilder>::default(), &spellings);
    for shift in [0, 24, 62] {
        check(Maps::narrow(shift), &spellings);
    }
}
