//! Postgres as the oracle of text: what its input functions make of the spellings of dates, times and
//! numbers, we make of them too, or refuse a spelling that the page about the language says is refused.
//!
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_FORMS` sets how many spellings are compared.

#![allow(clippy::unwrap_used)]

use brooklet_sql::name::literal;
use brooklet_sql::{Collation, Row, Truth, compile};
use tokio_postgres::Client;

mod generate;

use generate::connect::{given, open};
use generate::typed::{self, COLUMNS};
use generate::{Random, forms};

/// Spellings that Postgres reads in one query.
const BATCH: usize = 500;

async fn connect() -> Client {
    let client = open(&given()).await;
    let setup = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = iso_8601;
         SET extra_float_digits = 1;
         CREATE FUNCTION pg_temp.read(kind text, form text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE value text;
         BEGIN
             EXECUTE format('SELECT %L::%s::text', form, kind) INTO value;
             RETURN value;
         EXCEPTION WHEN data_exception OR invalid_parameter_value THEN
             RETURN NULL;
         END $$;";
    client.batch_execute(setup).await.unwrap();
    client
}

/// What we make of a spelling that Postgres reads as `theirs`.
fn verdict(kind: &str, form: &str, theirs: Option<&str>) -> Result<Verdict, String> {
    let table = typed::table(&Collation::c(), "public");
    let clause = format!("t = ({}::{kind})::text", literal(form));
    let predicate = match (compile(&clause, &[], &table), theirs) {
        (Err(_), None) => return Ok(Verdict::RefusedByBoth),
        (Err(_), Some(_)) if forms::may_be_refused(kind, form) => return Ok(Verdict::Refused),
        // What stands beside what may be two things at once to Postgres: `256199-204-Jan-05` has a zone.
        (Err(error), Some(_)) if error.to_string().contains("is not supported: ") => {
            return Ok(Verdict::Refused);
        }
        (Err(error), Some(theirs)) => {
            let (theirs, error) = (short(theirs), short(&error.to_string()));
            return Err(format!("{kind} {form:?}: {theirs} to Postgres, we say {error}"));
        }
        (Ok(predicate), None) => {
            let sql = predicate.sql();
            return Err(format!("{kind} {form:?}: an error in Postgres, to us {sql}"));
        }
        (Ok(predicate), Some(_)) => predicate,
    };
    let row = COLUMNS.iter().map(|(name, ..)| theirs.filter(|_| *name == "t")).collect::<Vec<_>>();
    match predicate.matches(&Row::new(row).unwrap()) {
        Truth::True => Ok(Verdict::Same),
        _ => Err(format!("{kind} {form:?}: {theirs:?} to Postgres, to us {}", predicate.sql())),
    }
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    RefusedByBoth,
    /// By us alone.
    Refused,
}

#[tokio::test]
async fn postgres_reads_every_form_the_same() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let wanted = number("BROOKLET_TEST_FORMS", 30_000) as usize;
    println!("BROOKLET_TEST_SEED={seed}");
    let client = connect().await;
    let mut random = Random::new(seed);
    let mut counts = [0; 3];
    let mut wrong = Vec::new();
    for _ in 0..wanted.div_ceil(BATCH) {
        let (kinds, spellings): (Vec<&str>, Vec<String>) =
            (0..BATCH).map(|_| forms::form(&mut random)).unzip();
        let query = "SELECT pg_temp.read(kind, form)
                     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u (kind, form, at)
                     ORDER BY at";
        let rows = client.query(query, &[&kinds, &spellings]).await.unwrap();
        for ((kind, form), row) in kinds.iter().zip(&spellings).zip(rows) {
            let theirs: Option<&str> = row.get(0);
            match verdict(kind, form, theirs) {
                Ok(verdict) => counts[verdict as usize] += 1,
                Err(difference) => wrong.push(difference),
            }
        }
        if wrong.len() > 20 {
            break;
        }
    }
    let [same, both, alone] = counts;
    println!("{same} spellings read the same, refused by both {both}, by us alone {alone}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same * 5 > wanted, "only {same} of {wanted} spellings mean anything");
    assert!(alone * 20 < wanted, "{alone} of {wanted} spellings are refused by us alone");
}
