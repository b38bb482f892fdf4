//! The clauses that are timed, their naive forms, and values that meet them and do not.

use super::naive::{Naive, Value, column, float, int, text};

pub struct Template {
    /// What stands in the table of figures.
    pub title: String,
    pub clause: String,
    pub naive: Naive,
    /// The column whose value decides.
    pub column: &'static str,
    pub hits: Vec<String>,
    pub misses: Vec<String>,
}

fn template(
    clause: &str,
    naive: Naive,
    column: &'static str,
    hits: &[&str],
    misses: &[&str],
) -> Template {
    let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Template {
        title: clause.to_owned(),
        clause: clause.to_owned(),
        naive,
        column,
        hits: own(hits),
        misses: own(misses),
    }
}

pub fn templates() -> Vec<Template> {
    let mut list = plain();
    list.extend(patterns());
    list.extend(structured());
    for count in [4, 100, 1000] {
        list.push(integers(count));
        list.push(texts(count));
    }
    list
}

const TITLES: [&str; 3] =
    ["A common title of a common thing", "A cup of coffee", "A common title, once more"];
const OTHER_TITLES: [&str; 4] =
    ["Another title altogether, a little longer", "b", "An uncommon thing", "Ü: not in ASCII"];

fn plain() -> Vec<Template> {
    let and_three = Naive::And(vec![
        *column("active"),
        Naive::Greater(column("id"), int(100)),
        Naive::Equal(column("state"), text("open")),
    ]);
    let range = Naive::And(vec![
        Naive::GreaterOrEqual(column("id"), int(1000)),
        Naive::Greater(int(5000), column("id")),
    ]);
    let case = Naive::Case(
        column("active"),
        Box::new(Naive::Greater(column("id"), int(100))),
        Box::new(Naive::Greater(column("id"), int(5000))),
    );
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let uuids = ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", "b1ffcd00-9c0b-4ef8-bb6d-6bb9bd380a11"];
    let instants = ["2024-01-31 12:30:00.5+00", "2025-11-01 00:00:00+00"];
    let earlier = ["2023-12-31 23:59:59.999999+00", "1999-01-01 00:00:00+00"];
    let states = ["closed", "new", "opened"];
    let ids = ["4712", "17", "4710", "100000"];
    vec![
        template("id = 4711", Naive::Equal(column("id"), int(4711)), "id", &["4711"], &ids),
        template(
            "owner = 3000000000",
            Naive::Equal(column("owner"), int(3_000_000_000)),
            "owner",
            &["3000000000"],
            &["3000000001", "5"],
        ),
        template(
            "title = 'A cup of coffee'",
            Naive::Equal(column("title"), text(TITLES[1])),
            "title",
            &TITLES[1..2],
            &OTHER_TITLES,
        ),
        template(
            &format!("code = '{uuid}'"),
            Naive::Equal(column("code"), text(uuid)),
            "code",
            &[uuid],
            &uuids,
        ),
        template(
            "state = 'open'",
            Naive::Equal(column("state"), text("open")),
            "state",
            &["open"],
            &states,
        ),
        template(
            "id >= 1000 AND id < 5000",
            range,
            "id",
            &["1000", "4999", "2345"],
            &["5000", "17", "999"],
        ),
        template("id > 100 AND active AND state = 'open'", and_three, "state", &["open"], &states),
        template(
            "price > 9.99",
            Naive::Greater(column("price"), float(9.99)),
            "price",
            &["19.99", "10", "120.5000"],
            &["9.99", "0.01", "-20.00"],
        ),
        template(
            "price = 19.99",
            Naive::Equal(column("price"), float(19.99)),
            "price",
            &["19.99", "19.990"],
            &["9.99", "19.98"],
        ),
        template(
            "created >= '2024-01-01'",
            Naive::GreaterOrEqual(column("created"), text("2024-01-01 00:00:00+00")),
            "created",
            &instants,
            &earlier,
        ),
        template(
            "day >= '2024-01-01'",
            Naive::GreaterOrEqual(column("day"), text("2024-01-01")),
            "day",
            &["2024-01-01", "2025-06-30"],
            &["2023-12-31", "1999-01-01"],
        ),
        template(
            "CASE WHEN active THEN id > 100 ELSE id > 5000 END",
            case,
            "id",
            &["4711", "101"],
            &["100", "7"],
        ),
        template(
            "id % 4 = 3",
            Naive::Equal(Box::new(Naive::Remainder(column("id"), 4)), int(3)),
            "id",
            &["4711", "3"],
            &["4712", "18"],
        ),
    ]
}

fn patterns() -> Vec<Template> {
    let lower = |name| Box::new(Naive::Lower(column(name)));
    vec![
        template(
            "title LIKE 'A c%'",
            Naive::StartsWith(column("title"), "A c".into()),
            "title",
            &TITLES,
            &OTHER_TITLES,
        ),
        template(
            "title LIKE '%common t%'",
            Naive::Contains(column("title"), "common t".into()),
            "title",
            &[TITLES[0], TITLES[2], OTHER_TITLES[2]],
            &[TITLES[1], OTHER_TITLES[0], OTHER_TITLES[3]],
        ),
        template(
            "title ILIKE '%COMMON T%'",
            Naive::Contains(lower("title"), "common t".into()),
            "title",
            &[TITLES[0], TITLES[2], OTHER_TITLES[2]],
            &[TITLES[1], OTHER_TITLES[0], OTHER_TITLES[3]],
        ),
        template(
            "lower(title) = 'a cup of coffee'",
            Naive::Equal(lower("title"), text("a cup of coffee")),
            "title",
            &["A cup of coffee", "A CUP OF COFFEE"],
            &[TITLES[0], "A cup of tea", OTHER_TITLES[3]],
        ),
    ]
}

fn structured() -> Vec<Template> {
    let metas =
        ["{\"size\": 12, \"team\": \"a\"}", "{\"team\": \"a\", \"labels\": [\"x\", \"y\"]}"];
    let others = ["{\"size\": 12, \"team\": \"b\"}", "{\"size\": 3}"];
    let strings = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    let tags = ["{red,green,blue}", "{blue,green,red,\"light grey\"}"];
    let without = ["{green,blue}", "{grey}"];
    vec![
        template(
            "meta @> '{\"team\": \"a\"}'",
            Naive::JsonContains(9, serde_json::json!({"team": "a"})),
            "meta",
            &metas,
            &others,
        ),
        template(
            "meta ->> 'team' = 'a'",
            Naive::Equal(Box::new(Naive::JsonMember(9, "team".into())), text("a")),
            "meta",
            &metas,
            &others,
        ),
        template(
            "'red' = ANY(tags)",
            Naive::Has(column("tags"), strings(&["red"])),
            "tags",
            &tags,
            &without,
        ),
        template(
            "tags @> '{red,blue}'",
            Naive::Has(column("tags"), strings(&["red", "blue"])),
            "tags",
            &tags,
            &without,
        ),
    ]
}

/// Of the elements every other is a hit.
fn integers(count: i64) -> Template {
    let elements: Vec<i64> = (0..count).map(|at| 3_000_000_000 + at * 7919 % 100_003).collect();
    let written: Vec<String> = elements.iter().map(i64::to_string).collect();
    Template {
        title: format!("owner IN ({count} integers)"),
        clause: format!("owner IN ({})", written.join(", ")),
        naive: Naive::In(column("owner"), elements.into_iter().map(Value::Int).collect()),
        column: "owner",
        hits: written.iter().step_by(written.len() / 4).cloned().collect(),
        misses: (0..9).map(|at| (3_000_000_000_i64 + at * 10_007 + 1).to_string()).collect(),
    }
}

fn texts(count: i64) -> Template {
    let elements: Vec<String> =
        (0..count).map(|at| format!("name {}", at * 7919 % 100_003)).collect();
    let quoted: Vec<String> = elements.iter().map(|one| format!("'{one}'")).collect();
    Template {
        title: format!("title IN ({count} texts)"),
        clause: format!("title IN ({})", quoted.join(", ")),
        hits: elements.iter().step_by(elements.len() / 4).cloned().collect(),
        naive: Naive::In(column("title"), elements.into_iter().map(Value::Text).collect()),
        column: "title",
        misses: (0..9).map(|at| format!("nome {}", at * 10_007)).collect(),
    }
}
