//! Postgres as the oracle: random clauses over random rows must have the same outcome there and
//! here, by the text the user wrote and by the text we print.
//!
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_PAIRS` sets how many (clause, row) pairs are
//! compared.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use brooklet_sql::{Access, Predicate, Row, TableSchema, Truth, compile};
use tokio_postgres::{Client, SimpleQueryMessage};

mod generate;

use generate::constructs::{CONSTRUCTS, outside_quotes};
use generate::database::{self, Locale};
use generate::{COLUMNS, Clause, Random};

const ROWS: usize = 100;
/// Clauses before the rows are replaced.
const CLAUSES_PER_ROWS: usize = 250;
/// For a hundred clauses that are compared, those that we may refuse though Postgres takes them, other than for a
/// locale's order and case.
const REFUSED_MAX: usize = 3;
/// Errors that depend on the row: Postgres may or may not reach them, as it orders AND and OR.
const ROW_ERRORS: [&str; 5] = ["22003", "22025", "22007", "22008", "22009"];

#[derive(Default)]
struct Tally {
    pairs: usize,
    /// By outcome: true, false, NULL, error.
    outcomes: [usize; 4],
    refused_by_both: usize,
    clauses: usize,
    /// By us alone, by reason.
    refused: BTreeMap<String, usize>,
    errors_in_postgres: usize,
    indexed: usize,
    /// How often each was taken and compared.
    constructs: BTreeMap<&'static str, usize>,
}

async fn run(locale: Locale) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let default = if locale == Locale::Given { 200_000 } else { 50_000 };
    let pairs = number("BROOKLET_TEST_PAIRS", default) as usize;
    println!("{locale:?}: BROOKLET_TEST_SEED={seed}");
    let Some(client) = database::connect(locale).await else { return };
    client.batch_execute(SETUP).await.unwrap();
    let table = generate::table(&database::default_collation(&client).await);
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut rows = Vec::new();
    for round in 0.. {
        if tally.pairs >= pairs {
            break;
        }
        if round % CLAUSES_PER_ROWS == 0 {
            rows = replace_rows(&client, &mut random).await;
        }
        let mut clause = generate::clause(&mut random);
        let damaged = random.chance(20) && clause.params.is_empty();
        if damaged {
            clause.text = generate::damage(&mut random, &clause.text);
        }
        check(&client, &table, &rows, &clause, damaged, &mut tally).await;
    }
    for (construct, count) in &tally.constructs {
        println!("{count:>6} {construct}");
    }
    for (refusal, count) in &tally.refused {
        println!("{count:>6} refused: {refusal}");
    }
    println!(
        "{} pairs of {} clauses: {:?} true/false/NULL/error; clauses refused by both {}, by us alone {}, \
         errors in Postgres {}, indexed {}",
        tally.pairs,
        tally.clauses,
        tally.outcomes,
        tally.refused_by_both,
        tally.refused.values().sum::<usize>(),
        tally.errors_in_postgres,
        tally.indexed
    );
    let missed = CONSTRUCTS.iter().filter(|one| !tally.constructs.contains_key(*one));
    let missed: Vec<&&str> = if tally.clauses < 500 { Vec::new() } else { missed.collect() };
    assert!(missed.is_empty(), "never compared: {missed:?}");
    let others = tally
        .refused
        .iter()
        .filter(|(refusal, _)| locale == Locale::Given || !refusal.contains("under the collation"));
    let (others, clauses) = (others.map(|(_, count)| count).sum::<usize>(), tally.clauses);
    assert!(others * 100 <= clauses * REFUSED_MAX, "we alone refuse {others}, beside {clauses}");
}

#[tokio::test]
async fn postgres_agrees_on_random_clauses() {
    run(Locale::Given).await;
}

#[tokio::test]
async fn postgres_agrees_under_a_locale() {
    run(Locale::Libc).await;
}

#[tokio::test]
async fn postgres_agrees_under_icu() {
    run(Locale::Icu).await;
}

const SETUP: &str = "
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET extra_float_digits = 1;
    SET bytea_output = hex; SET IntervalStyle = iso_8601; SET client_min_messages = error;
    CREATE DOMAIN pg_temp.domain_int AS int4 CHECK (VALUE IS DISTINCT FROM 77);
    CREATE DOMAIN pg_temp.domain_text AS text;
";

/// Fills the table anew and reads it back as Postgres prints it.
async fn replace_rows(client: &Client, random: &mut Random) -> Vec<Row> {
    let columns: Vec<String> =
        COLUMNS.iter().map(|(name, sql_type, ..)| format!("\"{name}\" {sql_type}")).collect();
    let columns = columns.join(", ").replace("domain_", "pg_temp.domain_");
    let mut sql = format!(
        "DROP TABLE IF EXISTS pg_temp.oracle;
         CREATE TEMP TABLE oracle (row_number int4, {columns});"
    );
    for number in 0..ROWS {
        let (values, _) = generate::row(random);
        let values: Vec<String> = (values.into_iter())
            .map(|v| v.map_or("NULL".to_owned(), |text| brooklet_sql::name::literal(&text)))
            .collect();
        sql += &format!("INSERT INTO oracle VALUES ({number}, {});", values.join(", "));
    }
    client.batch_execute(&sql).await.unwrap();
    let printed = client.simple_query("SELECT * FROM oracle ORDER BY row_number").await.unwrap();
    let rows = printed.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(Row::new((1..=COLUMNS.len()).map(|at| row.get(at)).collect::<Vec<_>>()).unwrap())
        }
        _ => None,
    });
    rows.collect()
}

/// Postgres' outcome for every row, or the code and text of its error.
async fn ask(client: &Client, sql: &str) -> Result<Vec<Truth>, (String, String)> {
    // On a line of its own: damaged text may end in a comment.
    let sql = format!("SELECT ({sql}\n)::bool FROM oracle ORDER BY row_number");
    let messages = client.simple_query(&sql).await.map_err(|error| {
        let error = error.as_db_error().expect("only errors of the query itself");
        (error.code().code().to_owned(), error.message().to_owned())
    })?;
    let outcomes = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(match row.get(0) {
            None => Truth::Null,
            Some("t") => Truth::True,
            Some("f") => Truth::False,
            Some(other) => panic!("{sql} gave {other}"),
        }),
        _ => None,
    });
    Ok(outcomes.collect())
}

async fn check(
    client: &Client,
    table: &TableSchema,
    rows: &[Row],
    clause: &Clause,
    damaged: bool,
    tally: &mut Tally,
) {
    let inlined = clause.inlined();
    let theirs = ask(client, &inlined).await;
    let predicate = match (compile(&clause.text, &clause.params, table), &theirs) {
        (Ok(predicate), _) => predicate,
        (Err(_), Err(_)) => {
            tally.refused_by_both += 1;
            return;
        }
        (Err(refusal), Ok(_)) => {
            // Casts of constants fail in Postgres only if it gets there.
            let casts = ["::", "CAST", "ESCAPE"].iter().any(|part| inlined.contains(part))
                || refusal.reason.contains("out of range");
            let hidden = casts && has_parts(&inlined);
            let known = ["supported", "must not end with escape"];
            let known =
                damaged || hidden || known.iter().any(|words| refusal.reason.contains(words));
            assert!(known, "Postgres accepts {inlined}\nbut we say: {refusal}");
            *tally.refused.entry(outside_quotes(&refusal.reason)).or_default() += 1;
            return;
        }
    };
    let ours: Vec<Truth> = rows.iter().map(|row| predicate.matches(row)).collect();
    // Of text of the row Postgres reads more than the text that we print lets it.
    let held = predicate.sql().contains("unknown form: ");
    let mut wrong = None;
    if !(held && ours.contains(&Truth::Error)) {
        wrong = compare(&inlined, &predicate, rows, &ours, theirs, tally);
    }
    let printed = ask(client, &predicate.sql()).await;
    wrong = wrong.or(compare(&predicate.sql(), &predicate, rows, &ours, printed, tally));
    if let Some(wrong) = wrong {
        panic!("{}", shrink(client, table, rows, &inlined).await.unwrap_or(wrong));
    }
    let again = compile(&predicate.sql(), &[], table).unwrap_or_else(|error| {
        panic!("we refuse our own text {}\n{error}", predicate.sql());
    });
    assert_eq!(again.sql(), predicate.sql(), "printing is not stable");
    check_access(rows, &predicate, &ours, tally);
    tally.clauses += 1;
    tally.pairs += rows.len();
    for construct in &clause.constructs {
        *tally.constructs.entry(construct).or_default() += 1;
    }
    for truth in ours {
        tally.outcomes[truth as usize] += 1;
    }
}

/// The first row of which we and Postgres say different things, and what; `None` where there is none.
fn compare(
    sql: &str,
    predicate: &Predicate,
    rows: &[Row],
    ours: &[Truth],
    theirs: Result<Vec<Truth>, (String, String)>,
    tally: &mut Tally,
) -> Option<String> {
    let compiled = predicate.sql();
    match theirs {
        Ok(theirs) => {
            let mut pairs = rows.iter().zip(ours.iter().zip(&theirs));
            let (row, (ours, theirs)) = pairs.find(|(_, (ours, theirs))| ours != theirs)?;
            let values = COLUMNS.iter().enumerate().filter(|(_, (name, ..))| sql.contains(name));
            let shown = |(at, (name, ..)): (usize, &(&str, _, _, _))| {
                let text = row.get(at).map(|text| String::from_utf8_lossy(text).into_owned());
                format!("{name}={text:?}")
            };
            let row: Vec<String> = values.map(shown).collect();
            let row = row.join(" ");
            Some(format!(
                "ours: {ours:?}, Postgres': {theirs:?}\nasked:    {sql}\ncompiled: {compiled}\nrow: {row}"
            ))
        }
        Err((code, message)) if !ROW_ERRORS.contains(&code.as_str()) => {
            Some(format!("we accept {sql}\nas {compiled}\nbut Postgres says {code}: {message}"))
        }
        Err((_, message)) if !has_parts(sql) && !ours.contains(&Truth::Error) => {
            Some(format!("Postgres alone fails at {sql}: {message}"))
        }
        Err(_) => {
            tally.errors_in_postgres += 1;
            None
        }
    }
}

/// What is wrong with the smallest part of a clause of which we and Postgres say different things: what stands
/// in parentheses is a clause of its own, if it is a boolean.
async fn shrink(
    client: &Client,
    table: &TableSchema,
    rows: &[Row],
    clause: &str,
) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let mut open = Vec::new();
    for (at, byte) in clause.bytes().enumerate() {
        match byte {
            b'(' => open.push(at + 1),
            b')' => parts.extend(open.pop().map(|from| &clause[from..at])),
            _ => {}
        }
    }
    parts.sort_by_key(|part| part.len());
    for part in parts {
        let Ok(predicate) = compile(part, &[], table) else { continue };
        let ours: Vec<Truth> = rows.iter().map(|row| predicate.matches(row)).collect();
        for sql in [part.to_owned(), predicate.sql()] {
            let theirs = ask(client, &sql).await;
            let wrong = compare(&sql, &predicate, rows, &ours, theirs, &mut Tally::default());
            if wrong.is_some() {
                return wrong;
            }
        }
    }
    None
}

/// The shrinker finds the part that is wrong, and shows only what it reads.
#[tokio::test]
async fn what_fails_is_shown_in_its_smallest_part() {
    let client = database::connect(Locale::Given).await.unwrap();
    client.batch_execute(SETUP).await.unwrap();
    let table = generate::table(&database::default_collation(&client).await);
    let mut rows = replace_rows(&client, &mut Random::new(7)).await;
    // A row that Postgres does not have: ours differs wherever that is seen.
    let at = COLUMNS.iter().position(|(name, ..)| *name == "b").unwrap();
    let texts: Vec<Option<String>> = (0..COLUMNS.len())
        .map(|at| rows[0].get(at).map(|text| String::from_utf8(text.to_vec()).unwrap()))
        .collect();
    let mut values: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
    values[at] = if values[at] == Some("t") { None } else { Some("t") };
    rows[0] = Row::new(values).unwrap();
    let clause = "(true OR (b IS NULL)) AND ((b IS TRUE) = (1 = 1))";
    let shown = shrink(&client, &table, &rows, clause).await.unwrap();
    assert!(shown.contains("asked:    b IS") && shown.contains("row: b="), "{shown}");
    assert!(!shown.contains("b2="), "{shown}");
}

/// Whether Postgres may answer without looking at all of it.
fn has_parts(sql: &str) -> bool {
    let sql = sql.replace("unknown form: ", "");
    ["AND", "or", "OR", "IN", "BETWEEN"].iter().any(|part| sql.contains(part))
}

/// A row that matches is found by a probe.
fn check_access(rows: &[Row], predicate: &Predicate, ours: &[Truth], tally: &mut Tally) {
    let access = predicate.access();
    if access == Access::All {
        return;
    }
    tally.indexed += 1;
    for (row, truth) in rows.iter().zip(ours) {
        assert!(
            *truth != Truth::True || access.admits(row),
            "no probe of {} finds {row:?}: {access:?}",
            predicate.sql()
        );
    }
}
