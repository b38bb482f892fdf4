//! Postgres 15 as the oracle of powers and logarithms of `numeric`: the same digits, or an error on both sides.
//!
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_POWERS` sets how many numbers each function is compared
//! for. Other versions of Postgres have other digits: there these functions are refused, and nothing is compared.

#![allow(clippy::unwrap_used)]

use brooklet_sql::{
    Collation, Predicate, Row, TableSchema, Tables, Truth, compile_with, statement,
};
use tokio_postgres::{Client, NoTls};

mod generate;

use generate::Random;
use generate::typed::{self, COLUMNS};

/// Numbers that Postgres is asked about in one query.
const BATCH: usize = 500;

/// What is computed of the columns `n` and `n2`.
const FUNCTIONS: [&str; 5] = ["exp(n)", "ln(n)", "log(n)", "log(n, n2)", "n ^ n2"];

async fn connect() -> Client {
    let url = std::env::var("BROOKLET_TEST_DATABASE_URL").expect(
        "this test compares with a real Postgres: set BROOKLET_TEST_DATABASE_URL, \
         as the repository's test command does",
    );
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let tries = |(number, function): (usize, &&str)| {
        format!(
            "CREATE FUNCTION pg_temp.f{number}(n numeric, n2 numeric) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN RETURN {function}; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;"
        )
    };
    let setup: String = FUNCTIONS.iter().enumerate().map(tries).collect();
    client.batch_execute(&setup).await.unwrap();
    client
}

fn digits(random: &mut Random, count: usize) -> String {
    let zeros = random.below(100);
    let digit = |random: &mut Random| match random.chance(zeros) {
        true => '0',
        false => char::from(b'0' + random.below(10) as u8),
    };
    (0..count).map(|_| digit(random)).collect()
}

/// A number; one of a few is near 1, or far from it.
fn number(random: &mut Random, most: usize) -> String {
    let sign = if random.chance(25) { "-" } else { "" };
    let places = random.below(25);
    let fraction = digits(random, places);
    let whole = match random.below(10) {
        0..=3 => digits(random, 1),
        4..=6 => digits(random, most.min(2)),
        7 | 8 => digits(random, most.min(3)),
        _ => digits(random, most),
    };
    match random.below(12) {
        0 => format!("1.{}{fraction}", "0".repeat(random.below(40))),
        1 => format!("0.{}{fraction}7", "9".repeat(random.below(40))),
        2 => format!("{sign}0.{}{fraction}1", "0".repeat(random.below(60))),
        3 => format!("{sign}1{}", "0".repeat(random.below(most))),
        4 => format!("{sign}{}", random.below(12)),
        5 => format!("{sign}1.{}", random.below(3)),
        6 => random
            .pick(&["0", "1", "-1", "0.9", "1.1", "10", "NaN", "Infinity", "-Infinity"])
            .to_owned(),
        _ => format!("{sign}{whole}0.{fraction}0"),
    }
}

fn row(values: [&str; 2], theirs: Option<&str>) -> Row {
    let value = |(name, ..): &(&str, &str, &str, u32)| match *name {
        "n" => Some(values[0].to_owned()),
        "n2" => Some(values[1].to_owned()),
        "t" => theirs.map(str::to_owned),
        _ => None,
    };
    let values: Vec<Option<String>> = COLUMNS.iter().map(value).collect();
    Row::new(values.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap()
}

/// How we differ from Postgres, if we do.
fn differs(predicate: &Predicate, values: [&str; 2], theirs: Option<&str>) -> Option<String> {
    let ours = predicate.evaluate(&row(values, theirs));
    let same = match (&ours, theirs) {
        (Ok(truth), Some(_)) => *truth == Truth::True,
        (Err(_), None) => true,
        // Our limit.
        (Err(error), Some(_)) => error.to_string().contains("so many digits"),
        (Ok(_), None) => false,
    };
    (!same).then(|| format!("{} of {values:?}: {theirs:?} to Postgres, {ours:?}", predicate.sql()))
}

fn compiled(function: &str, table: &TableSchema, tables: &Tables) -> Predicate {
    compile_with(&format!("({function})::text = t"), &[], table, tables).unwrap()
}

#[tokio::test]
async fn powers_and_logarithms_have_the_digits_of_postgres() {
    let number_of = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number_of("BROOKLET_TEST_SEED", clock);
    let wanted = number_of("BROOKLET_TEST_POWERS", 3_000) as usize;
    println!("BROOKLET_TEST_SEED={seed}");
    let client = connect().await;
    let table = typed::table(&Collation::c(), "public");
    let mut tables = Tables::new();
    tables.version = client.query_one(statement::VERSION, &[]).await.unwrap().get(0);
    if !tables.has_powers() {
        println!("Postgres {} has other digits: nothing to compare with", tables.version);
        return;
    }
    let mut random = Random::new(seed);
    let mut wrong = Vec::new();
    for (at, function) in FUNCTIONS.iter().enumerate() {
        let predicate = compiled(function, &table, &tables);
        let most = if *function == "ln(n)" || *function == "log(n)" { 90 } else { 4 };
        let query = format!(
            "SELECT n::text, n2::text, pg_temp.f{at}(n, n2)
             FROM unnest($1::text[]::numeric[], $2::text[]::numeric[]) WITH ORDINALITY u (n, n2, at) ORDER BY at"
        );
        let (mut values_of, mut errors) = (0, 0);
        for _ in 0..wanted.div_ceil(BATCH) {
            let mut column = || (0..BATCH).map(|_| number(&mut random, most)).collect::<Vec<_>>();
            let (left, right) = (column(), column());
            for found in client.query(&query, &[&left, &right]).await.unwrap() {
                let theirs: Option<&str> = found.get(2);
                if theirs.is_some() {
                    values_of += 1
                } else {
                    errors += 1
                }
                wrong.extend(differs(&predicate, [found.get(0), found.get(1)], theirs));
            }
        }
        println!("{function}: {values_of} values, {errors} errors in Postgres");
        assert!(values_of * 3 > wanted, "too many errors");
        assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(10)].join("\n"));
    }
}
