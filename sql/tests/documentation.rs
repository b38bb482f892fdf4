//! The page about the language against the code: every example compiles or is refused as it says.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use brooklet_sql::mathematics::Functions;
use brooklet_sql::statement::{CITEXT, CITEXT_ARRAY};
use brooklet_sql::{
    Access, Alternative, Collation, Column, ColumnDomain, MemberWay, RelationName, Row,
    TableSchema, Tables, TextOrder, Truth, Zone, compile, compile_with,
};

const COLUMNS: [(&str, u32); 32] = [
    ("id", 23),
    ("owner_id", 20),
    ("title", 25),
    ("name", 25),
    ("status", 90_000),
    ("price", 1700),
    ("score", 701),
    ("active", 16),
    ("due", 1082),
    ("created_at", 1184),
    ("at", 1114),
    ("starts", 1083),
    ("duration", 1186),
    ("token", 2950),
    ("tags", 1009),
    ("numbers", 1007),
    ("meta", 3802),
    ("code", 1042),
    ("data", 17),
    ("net", 869),
    ("span", 3904),
    ("spans", 4451),
    ("prices", 3906),
    ("during", 3910),
    ("raw", 114),
    ("email", CITEXT),
    ("pos", 600),
    ("mac", 829),
    ("flags", 1562),
    ("home", ADDRESS),
    ("ports", 1007),
    ("aliases", CITEXT_ARRAY),
];

/// What a refused example is refused for, by the example: so that none is for a slip of the pen.
const REFUSALS: &str = include_str!("documentation/refusals.tsv");

/// The composite type.
const ADDRESS: u32 = 90_100;
/// The domain.
const PORT: u32 = 90_200;

fn table() -> TableSchema {
    let column = |(name, oid): (&str, u32)| Column {
        name: name.to_owned(),
        type_oid: if name == "ports" { PORT + 1 } else { oid },
        base_type_oid: oid,
        type_name: match oid {
            600 => "point".into(),
            CITEXT => "citext".into(),
            _ => "mood".into(),
        },
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        generated: false,
        collation: match name {
            "name" => Some(Collation {
                name: "en_US".into(),
                order: TextOrder::Locale,
                case_map: None,
                ..Collation::c()
            }),
            _ => [25, 1009, 1042, CITEXT, CITEXT_ARRAY].contains(&oid).then(Collation::c),
        },
        labels: match name {
            "status" => ["open", "closed", "done"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        },
        element_type_oid: 0,
        enum_schema: "public".into(),
        enum_name: "mood".into(),
        domain: (name == "ports").then(|| ColumnDomain {
            oid: PORT,
            modifier: -1,
            schema: "public".into(),
            name: "port".into(),
        }),
        parts: match oid {
            ADDRESS => vec![format!("fields {ADDRESS} 25:-1 25:-1")],
            _ => Vec::new(),
        },
        rewritten: 0,
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: vec![vec![0]],
        oid: 1,
        name: RelationName { schema: "public".into(), table: "items".into() },
        columns: COLUMNS.into_iter().map(column).collect(),
    }
}

/// What kinds of look-up an alternative needs.
fn words(alternative: &Alternative) -> String {
    let words: BTreeSet<&str> = alternative.probes.iter().map(|probe| probe.want.word()).collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

#[test]
fn every_example_is_as_the_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/where.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = table();
    // Subqueries are about the same table.
    let mut tables: Tables = [(table.name.clone(), Arc::new(table.clone()))].into();
    tables.version = 150_000;
    tables.mathematics = Functions::ALL;
    for name in ["Europe/Berlin", "Asia/Tokyo"] {
        let zone = Zone::new(name.into(), 3_600, &[]).unwrap();
        tables.zones.insert(zone.key(), Arc::new(zone));
    }
    let compile = |example: &str| compile_with(example, &[], &table, &tables);
    let mut refusals: BTreeMap<&str, &str> =
        REFUSALS.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let (mut examples, mut wrong) = (0, Vec::new());
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        // A bar within an example is written `\|`.
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, example, supported, index] = cells[..] else { continue };
        let example = example.trim_matches('`').replace('\u{1}', "|");
        let found = match compile(&example) {
            Ok(predicate) => match (predicate.access(), predicate.member_ways().first()) {
                (_, Some(MemberWay { rest: Access::Any(list), .. })) => {
                    format!("yes set, {}", words(&list[0]))
                }
                (_, Some(_)) => "yes set".to_owned(),
                (Access::Any(list), None) => format!("yes {}", words(&list[0])),
                _ => "yes —".to_owned(),
            },
            Err(error) => {
                let error = error.to_string();
                let known = refusals.remove(&*example);
                if !known.is_some_and(|reason| !reason.is_empty() && error.contains(reason)) {
                    wrong.push(format!("{example}\t{error}\nis not for {known:?}"));
                }
                "no ".to_owned()
            }
        };
        let said = format!("{} {index}", supported.split(':').next().unwrap());
        examples += 1;
        if found != said {
            let refusal = compile(&example).err();
            wrong.push(format!("{example}: {found}, not {said} {refusal:?}"));
        }
    }
    assert!(examples > 60, "only {examples} examples were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refusals.is_empty(), "not refused on the page: {refusals:?}");
}

/// Every form that the page lists for text of a row is read, and none with something around it.
#[test]
fn every_form_of_dates_in_text_is_read() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/where.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("## Dates in text").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let table = table();
    let title = COLUMNS.iter().position(|(name, _)| *name == "title").unwrap();
    let (mut types, mut forms) = (Vec::new(), 0);
    for line in section.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        if !cells[0].is_empty() {
            types = quoted(cells[0]);
        }
        for (data_type, form) in
            types.iter().flat_map(|one| quoted(cells[2]).into_iter().map(move |form| (one, form)))
        {
            let predicate =
                compile(&format!("title::{data_type} IS NOT NULL"), &[], &table).unwrap();
            let outcome = |text: &str| {
                let mut values = vec![None; table.columns.len()];
                values[title] = Some(text);
                predicate.matches(&Row::new(values).unwrap())
            };
            assert_eq!(outcome(&form), Truth::True, "{data_type} {form}");
            for around in [format!(" {form}"), format!("{form}\n"), format!("{form}\u{a0}")] {
                assert_eq!(outcome(&around), Truth::Error, "{data_type} {around:?}");
            }
            forms += 1;
        }
    }
    assert!(forms > 40, "only {forms} forms were found");
}
