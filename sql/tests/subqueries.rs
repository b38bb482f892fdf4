//! Filters with subqueries and what they are rewritten to have one truth value for every row, in Postgres.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use brooklet_sql::statement::CITEXT;
use brooklet_sql::{
    CaseMap, Collation, Column, RelationName, TableSchema, Tables, compile_printed, compile_with,
};
use tokio_postgres::Client;

#[path = "generate/citext.rs"]
mod citext;
#[path = "generate/connect.rs"]
mod connect;
#[path = "generate/subqueries.rs"]
mod generate;

use connect::{given, open};
use generate::{COLUMNS, Filters};

const TABLES: [&str; 3] = ["sub_people", "sub_teams", "sub_tasks"];

async fn connect() -> Client {
    open(&given()).await
}

/// Letters are those of ASCII.
fn folding() -> Collation {
    Collation { case_map: Some(Arc::new(CaseMap::ascii())), ..Collation::c() }
}

fn tables() -> Tables {
    let columns = [
        ("id", 23),
        ("a", 23),
        ("b", 20),
        ("c", 1700),
        ("name", 25),
        ("active", 16),
        ("tags", 1007),
        ("ci", CITEXT),
    ];
    let table = |(oid, name): (usize, &&str)| {
        let column = |(at, (name, oid)): (usize, &(&str, u32))| Column {
            name: (*name).into(),
            type_oid: *oid,
            base_type_oid: *oid,
            type_name: format!("type {oid}"),
            key_position: (at == 0).then_some(0),
            collation: match *oid {
                25 => Some(Collation::c()),
                CITEXT => Some(folding()),
                _ => None,
            },
            dropped: false,
            ..Column::gone()
        };
        let columns = columns.iter().enumerate().map(column).collect();
        let name = RelationName { schema: "public".into(), table: (*name).into() };
        let oid = oid as u32;
        (
            name.clone(),
            Arc::new(TableSchema { oid, name, columns, partitioned: false, unique: vec![vec![0]] }),
        )
    };
    TABLES.iter().enumerate().map(table).collect()
}

/// Splitmix.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn value(&mut self, of: &[&str]) -> String {
        if self.below(5) == 0 { "NULL".into() } else { of[self.below(of.len())].into() }
    }
}

/// Few rows of few values, so that everything meets everything.
async fn fill(client: &Client, rng: &mut Rng) {
    for table in TABLES {
        client.batch_execute(&format!("TRUNCATE {table}")).await.unwrap();
        for id in 0..rng.below(7) {
            let number = ["0", "1", "2", "3", "4"];
            let (a, b) = (rng.value(&number), rng.value(&number));
            let c = rng.value(&["0", "1.0", "2.50", "2", "3.00"]);
            let (name, active) = (rng.value(&["'a'", "'b'", "''"]), rng.value(&["true", "false"]));
            let tags = rng.value(&["'{}'", "'{1}'", "'{2,NULL,3}'", "'{{0,1},{2,4}}'"]);
            let ci = rng.value(&["'a'", "'A'", "'b'"]);
            let sql = format!(
                "INSERT INTO {table} VALUES ({id}, {a}, {b}, {c}, {name}, {active}, {tags}, {ci})"
            );
            client.batch_execute(&sql).await.unwrap();
        }
    }
}

/// One connection with the tables, which tests that run at once must not have at once.
async fn made() -> Client {
    let client = connect().await;
    citext::install(&client).await;
    let path =
        format!("SET search_path = public, {}; SELECT pg_advisory_lock(72666)", citext::SCHEMA);
    client.batch_execute(&path).await.unwrap();
    for table in TABLES {
        let sql = format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} {COLUMNS}");
        client.batch_execute(&sql).await.unwrap();
    }
    client
}

/// Compares each truth value of a filter and of what it is rewritten to, since NULL may be as good as false: how many
/// answers, and how many of them say that it is unknown.
async fn compare(client: &Client, tables: &Tables, table: &str, text: &str) -> (usize, usize) {
    let schema = tables.values().find(|known| known.name.table == table).unwrap();
    let (mut rows, mut unknown) = (0, 0);
    for (text, is_unknown) in [
        (text.to_owned(), false),
        (format!("NOT ({text})"), false),
        (format!("({text}) IS UNKNOWN"), true),
    ] {
        let predicate = compile_with(&text, &[], schema, tables)
            .unwrap_or_else(|error| panic!("{table} WHERE {text}: {error}"));
        let printed = predicate.sql();
        let again = compile_printed(&printed, schema, tables).unwrap();
        assert_eq!(again.sql(), printed, "{text}");
        assert_eq!(again, predicate, "what its text does not say: {text}");
        let sql = format!("SELECT id, ({text}) IS TRUE, ({printed}) IS TRUE FROM {table}");
        let found = client.query(&sql, &[]).await;
        for row in found.unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
            let (id, written, rewritten): (i32, bool, bool) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(written, rewritten, "row {id}: {table} WHERE {text}\n{printed}");
            rows += 1;
            unknown += usize::from(written && is_unknown);
        }
    }
    (rows, unknown)
}

#[tokio::test]
async fn what_is_printed_has_the_truth_value_of_what_was_written() {
    let client = made().await;
    let seed = std::env::var("BROOKLET_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut rng = Rng(seed.unwrap_or(20));
    let rounds = std::env::var("BROOKLET_TEST_ROUNDS").ok().and_then(|n| n.parse().ok());
    let (tables, mut rows, mut unknown) = (tables(), 0, 0);
    for number in 0..rounds.unwrap_or(500) {
        if number % 25 == 0 {
            fill(&client, &mut rng).await;
        }
        let table = TABLES[rng.below(TABLES.len())];
        let text = Filters::new(&TABLES, &mut |bound| rng.below(bound)).filter(table);
        let found = compare(&client, &tables, table, &text).await;
        (rows, unknown) = (rows + found.0, unknown + found.1);
    }
    println!("{rows} answers, {unknown} of them of what is unknown");
    assert!(unknown > rows / 100 && rows > 100, "nothing was compared");
}

/// Every form of a subquery there is in SQL: `taken` means what it means to Postgres, `unsupported` is refused at a
/// place and with words though Postgres takes it, `wrong` is to Postgres, too.
const FORMS: &str = include_str!("generate/subqueries.tsv");

#[tokio::test]
async fn every_form_is_taken_as_postgres_takes_it_or_refused_at_a_place() {
    let client = made().await;
    let (tables, mut rng) = (tables(), Rng(7));
    let schema = tables.values().find(|known| known.name.table == TABLES[0]).unwrap();
    for round in 0..6 {
        fill(&client, &mut rng).await;
        for line in FORMS.lines() {
            let mut words = line.split('\t');
            let (verdict, text) = (words.next().unwrap(), words.next().unwrap());
            if verdict == "taken" {
                compare(&client, &tables, TABLES[0], text).await;
                continue;
            }
            let theirs = client.prepare(&format!("SELECT FROM {} WHERE {text}", TABLES[0])).await;
            assert_eq!(theirs.is_ok(), verdict == "unsupported", "{text}: {:?}", theirs.err());
            let reason = match compile_with(text, &[], schema, &tables) {
                Err(error) => error.to_string(),
                Ok(predicate) => panic!("{text} is taken, as {}", predicate.sql()),
            };
            let expected = words.next().unwrap();
            assert!(reason.starts_with(expected), "{text}: {reason}\nnot {expected}");
            assert!(round > 0 || reason.starts_with("At location "), "{text}: {reason}");
        }
    }
}
