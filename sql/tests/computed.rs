//! Postgres as the oracle of values: random expressions of every type, over rows of nasty values,
//! must have the same value there and here; printing must not change them.
//!
//! Each expression is compared as text, which shows what equality would hide: its value in Postgres
//! is put into the row as one more column. Where Postgres raises an error for a row, we must too.
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_PAIRS` sets how many (expression, row) pairs
//! are compared; `BROOKLET_TEST_CONSTRUCT` is a part of the text of the constructs to compare, others
//! being their operands only; `BROOKLET_TEST_REFUSALS` prints what we refuse.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use brooklet_sql::name::literal;
use brooklet_sql::{Row, TableSchema, Tables, Truth, compile_with, statement};
use tokio_postgres::{Client, SimpleQueryMessage};

mod generate;

use generate::Random;
use generate::database::{self, Locale};
use generate::expression::{Expression, construct, expression, random_type};
use generate::typed::{self, COLUMNS, MOODS};

const ROWS: usize = 60;
/// Expressions before the rows are replaced.
const EXPRESSIONS_PER_ROWS: usize = 150;

#[derive(Default)]
struct Tally {
    pairs: usize,
    errors: usize,
    refused: BTreeMap<String, usize>,
    refused_by_both: usize,
    constructs: BTreeMap<String, usize>,
}

/// A value as text, NULL, or an error.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(Option<String>),
    Error(String),
}

struct Oracle {
    client: Client,
    table: TableSchema,
    tables: Tables,
    rows: Vec<Vec<Option<String>>>,
}

async fn connect(locale: Locale, seed: u64) -> Option<Oracle> {
    let client = database::connect(locale).await?;
    let schema = format!("typed_{seed}_{}_{locale:?}", std::process::id()).to_lowercase();
    let labels = MOODS.map(literal).join(", ");
    let columns = COLUMNS.map(|(name, sql_type, ..)| format!("{name} {sql_type}")).join(", ");
    let setup = format!(
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET extra_float_digits = 1;
         SET bytea_output = hex; SET IntervalStyle = iso_8601; SET client_min_messages = error;
         CREATE SCHEMA {schema}; SET search_path = {schema};
         CREATE TYPE mood AS ENUM ({labels}); {}
         CREATE TABLE typed (row_number int4, {columns});",
        generate::domains::SETUP
    );
    client.batch_execute(&setup).await.unwrap();
    let table = typed::table(&database::default_collation(&client).await, &schema);
    let mut tables = Tables::new();
    tables.zones = database::zones(&client).await;
    tables.version = client.query_one(statement::VERSION, &[]).await.unwrap().get(0);
    tables.mathematics = database::computes_alike(&client).await;
    Some(Oracle { client, table, tables, rows: Vec::new() })
}

impl Oracle {
    async fn replace_rows(&mut self, random: &mut Random) {
        let mut sql = "TRUNCATE typed;".to_owned();
        for number in 0..ROWS {
            let values: Vec<String> = (0..COLUMNS.len())
                .map(|column| typed::value(random, column))
                .map(|value| value.map_or("NULL".to_owned(), |text| literal(&text)))
                .collect();
            sql += &format!("INSERT INTO typed VALUES ({number}, {});", values.join(", "));
        }
        self.client.batch_execute(&sql).await.unwrap();
        let printed = self.client.simple_query("SELECT * FROM typed ORDER BY row_number").await;
        let rows = printed.unwrap().into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values = (1..=COLUMNS.len()).map(|at| row.get(at).map(str::to_owned));
                Some(values.collect())
            }
            _ => None,
        });
        self.rows = rows.collect();
    }

    /// Postgres' values for all rows; `Err` where it refuses the expression itself.
    async fn ask(&self, sql: &str) -> Result<Vec<Value>, String> {
        let all = format!("SELECT ({sql})::text FROM typed ORDER BY row_number");
        match self.client.simple_query(&all).await {
            Ok(messages) => return Ok(texts(messages)),
            Err(error) => {
                let error = error.as_db_error().expect("only errors of the query itself");
                // Syntax, names and types: the query is wrong, not a row.
                // (The brackets of a range are of that class too, though a row may bring them.)
                let of_row = error.message().starts_with("invalid range bound flags");
                if error.code().code().starts_with("42") && !of_row {
                    return Err(error.message().to_owned());
                }
            }
        }
        let mut values = Vec::new();
        for number in 0..self.rows.len() {
            let one = format!("SELECT ({sql})::text FROM typed WHERE row_number = {number}");
            values.push(match self.client.simple_query(&one).await {
                Ok(messages) => texts(messages).pop().unwrap(),
                Err(error) => Value::Error(error.as_db_error().unwrap().message().to_owned()),
            });
        }
        Ok(values)
    }

    /// The first row for which we and Postgres differ, and how; `None` where none does.
    async fn differs(&self, sql: &str, tally: Option<&mut Tally>) -> Option<String> {
        let theirs = self.ask(sql).await;
        let asked = format!("({sql})::text IS NOT DISTINCT FROM expected");
        let predicate = match (compile_with(&asked, &[], &self.table, &self.tables), &theirs) {
            (Ok(predicate), Ok(_)) => predicate,
            (Ok(predicate), Err(error)) => {
                return Some(format!("we accept it as {}\nPostgres: {error}", predicate.sql()));
            }
            (Err(refusal), theirs) => return refused(&refusal.to_string(), theirs, tally),
        };
        let raw = theirs.unwrap();
        let theirs = match held(&predicate.sql()) {
            Some(held) => self.ask(&held).await,
            None => Ok(raw.clone()),
        };
        let Ok(theirs) = theirs else {
            return Some(format!("Postgres refuses our text {}\n{theirs:?}", predicate.sql()));
        };
        let changed = |(raw, held): (&Value, &Value)| matches!(held, Value::Text(_)) && raw != held;
        if !has_parts(sql) && raw.iter().zip(&theirs).any(changed) {
            return Some(format!("our text changes a value: {}", predicate.sql()));
        }
        if let Some(difference) = self.compare(&predicate, &theirs, sql) {
            return Some(difference);
        }
        let again = match compile_with(&predicate.sql(), &[], &self.table, &self.tables) {
            Ok(again) => again,
            Err(error) => {
                return Some(format!("we refuse our own text {}\n{error}", predicate.sql()));
            }
        };
        if again.sql() != predicate.sql() {
            return Some(format!("printing changes {}\nto {}", predicate.sql(), again.sql()));
        }
        if let Some(tally) = tally {
            tally.pairs += theirs.len();
            tally.errors += theirs.iter().filter(|one| matches!(one, Value::Error(_))).count();
        }
        if let Some(missed) = self.missed_by_probes(sql) {
            return Some(missed);
        }
        self.printed_differs(sql, &theirs, &predicate.sql()).await
    }

    /// A row that matches and that no probe finds, where the expression is a predicate.
    fn missed_by_probes(&self, sql: &str) -> Option<String> {
        let predicate = compile_with(sql, &[], &self.table, &self.tables).ok()?;
        let access = predicate.access();
        for values in &self.rows {
            let row = Row::new(values.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap();
            if predicate.matches(&row) == Truth::True && !access.admits(&row) {
                return Some(format!("no probe of {sql} finds {row:?}"));
            }
        }
        None
    }

    fn compare(
        &self,
        predicate: &brooklet_sql::Predicate,
        theirs: &[Value],
        sql: &str,
    ) -> Option<String> {
        let expected = COLUMNS.len() - 1;
        for (values, theirs) in self.rows.iter().zip(theirs) {
            let mut values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            if let Value::Text(text) = theirs {
                values[expected] = text.as_deref();
            }
            let ours = predicate.evaluate(&Row::new(values.clone()).unwrap());
            let fine = match (&ours, theirs) {
                (Ok(truth), Value::Text(_)) => *truth == Truth::True,
                (Err(_), Value::Error(_)) => true,
                // Postgres evaluates AND, OR and constants in an order of its own.
                (Ok(_), Value::Error(_)) => has_parts(sql),
                // Before Postgres 16 the difference of instants wraps round.
                (Err(error), Value::Text(_)) if error.to_string() == "interval out of range" => {
                    true
                }
                // What has more digits than our limit.
                (Err(error), Value::Text(_)) if error.to_string().contains("so many digits") => {
                    true
                }
                // OVERLAPS with a length is a function in SQL to Postgres, put in as its body, in which a
                // constant NULL hides what it is added to.
                (Err(_), Value::Text(None)) if sql.contains(" OVERLAPS ") => true,
                (Err(_), Value::Text(_)) => has_parts(sql) && sql.contains(" OR "),
            };
            if !fine {
                let shown: Vec<String> = COLUMNS
                    .iter()
                    .zip(&values)
                    .filter(|((name, ..), _)| sql.contains(name))
                    .map(|((name, ..), value)| format!("{name}={value:?}"))
                    .collect();
                let shown = shown.join(" ");
                return Some(format!(
                    "Postgres: {theirs:?}\nours equal to it: {ours:?}\nrow: {shown}\ncompiled: {}",
                    predicate.sql()
                ));
            }
        }
        None
    }

    /// Whether Postgres gives our printed text another value.
    async fn printed_differs(&self, sql: &str, theirs: &[Value], printed: &str) -> Option<String> {
        let all = format!("SELECT (({printed}) IS TRUE)::text FROM typed ORDER BY row_number");
        if has_parts(sql) || theirs.iter().any(|one| matches!(one, Value::Error(_))) {
            return None;
        }
        let update: String = (theirs.iter().enumerate())
            .map(|(number, value)| {
                let text = match value {
                    Value::Text(Some(text)) => literal(text),
                    _ => "NULL".to_owned(),
                };
                format!("UPDATE typed SET expected = {text} WHERE row_number = {number};")
            })
            .collect();
        // One expression in a few: it writes the table.
        if !printed.len().is_multiple_of(5) {
            return None;
        }
        self.client.batch_execute(&update).await.unwrap();
        match self.client.simple_query(&all).await {
            Err(error) => Some(format!("Postgres refuses our text {printed}\n{error:?}")),
            Ok(messages) => {
                let fine = Value::Text(Some("true".to_owned()));
                let wrong = texts(messages).into_iter().position(|one| one != fine);
                wrong
                    .map(|row| format!("Postgres reads our text otherwise in row {row}: {printed}"))
            }
        }
    }

    /// The smallest part of a failing expression that fails.
    async fn shrink(&self, failing: &Expression) -> String {
        for part in failing.parts() {
            if let Some(difference) = self.differs(&part.text(), None).await {
                return format!("{}\n{difference}", part.text());
            }
        }
        failing.text()
    }
}

fn texts(messages: Vec<SimpleQueryMessage>) -> Vec<Value> {
    let texts = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(Value::Text(row.get(0).map(str::to_owned))),
        _ => None,
    });
    texts.collect()
}

/// What we print for an expression that reads text of the row: Postgres is held to the forms that we read,
/// so its own answer to that is the one to compare with. `None` of other expressions.
fn held(printed: &str) -> Option<String> {
    if !printed.contains("unknown form: ") {
        return None;
    }
    let inner = printed.strip_prefix('(').and_then(|rest| {
        rest.strip_suffix(" IS NOT DISTINCT FROM \"expected\")")
            .or_else(|| rest.strip_prefix("\"expected\" IS NOT DISTINCT FROM ")?.strip_suffix(')'))
    });
    Some(inner.unwrap_or_else(|| panic!("no comparison with the column: {printed}")).to_owned())
}

/// Whether Postgres may answer without looking at all of it, or fail where it need not look.
fn has_parts(sql: &str) -> bool {
    [" AND ", " OR ", " IN ", "BETWEEN", "CASE", "coalesce", "ANY", "ALL", "SOME", "ROW", ", "]
        .iter()
        .any(|part| sql.contains(part))
}

fn refused(
    refusal: &str,
    theirs: &Result<Vec<Value>, String>,
    tally: Option<&mut Tally>,
) -> Option<String> {
    let failing = match theirs {
        Err(_) => true,
        Ok(values) => values.iter().any(|one| matches!(one, Value::Error(_))),
    };
    // A constant that fails is refused even where Postgres would not look at it: in a branch, or beside
    // a NULL. The caller sees to it that these are few. (The difference of far instants wraps round before
    // Postgres 16.)
    let known = [
        "supported",
        "invalid input value for enum",
        "invalid input syntax",
        "malformed range literal",
        "malformed multirange literal",
        "range lower bound must be",
        "out of range",
        "cannot subtract infinite timestamps",
        "division by zero",
        "overflow",
        "formatting field",
        "in formatting string",
        "12-hour clock",
        "cannot cast this jsonb value",
        "invalid range bound flags",
        "would not be contiguous",
        "cannot contain null members",
        "negative substring length",
        "invalid mask length",
        "field position must not be zero",
        "square root of a negative number",
        "cannot take logarithm",
        "to a non-integer power",
        "to a negative power",
        "a power of so many digits",
        "invalid value for parameter",
        "incompatible arrays",
        "at most 6 dimensions",
        "one-dimensional array",
        "cannot get array length",
        "stride must be greater than zero",
        "not valid for encoding",
        "cannot be NaN",
        "index out of valid range",
        "bit strings of different sizes",
        "cannot delete",
        "invalid base64 sequence",
        "invalid hexadecimal data",
        "wrong number of array subscripts",
        "path element is",
        "inet values of different sizes",
        "number of elements to trim",
        "searching for elements",
    ]
    .iter()
    .any(|words| refusal.contains(words));
    if let Some(tally) = tally {
        if failing {
            tally.refused_by_both += 1;
        } else {
            let words = refusal.split(": ").nth(1).unwrap_or(refusal).to_owned();
            *tally.refused.entry(words).or_default() += 1;
        }
    }
    (!failing && !known).then(|| format!("Postgres accepts it, we say {refusal}"))
}

#[tokio::test]
async fn postgres_agrees_on_random_values() {
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

async fn run(locale: Locale) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let default = if locale == Locale::Given { 200_000 } else { 40_000 };
    let pairs = number("BROOKLET_TEST_PAIRS", default) as usize;
    println!("{locale:?}: BROOKLET_TEST_SEED={seed}");
    let only = std::env::var("BROOKLET_TEST_CONSTRUCT").ok();
    let Some(mut oracle) = connect(locale, seed).await else { return };
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut failures = BTreeMap::new();
    for round in 0.. {
        if tally.pairs >= pairs {
            break;
        }
        if round % EXPRESSIONS_PER_ROWS == 0 {
            oracle.replace_rows(&mut random).await;
        }
        let wanted = if random.chance(30) { "bool" } else { random_type(&mut random) };
        let depth = 1 + random.below(4);
        let one = match &only {
            Some(part) => construct(&mut random, part, depth.min(2)),
            None => expression(&mut random, wanted, depth),
        };
        for part in one.parts() {
            if !part.operands.is_empty() {
                *tally.constructs.entry(part.template.clone()).or_default() += 1;
            }
        }
        if oracle.differs(&one.text(), Some(&mut tally)).await.is_some() {
            let smallest = oracle.shrink(&one).await;
            let key: String = smallest.chars().take(25).collect();
            failures.insert(key, smallest);
            if failures.len() >= number("BROOKLET_TEST_FAILURES", 1) as usize {
                break;
            }
        }
    }
    let schema = oracle.table.name.schema.clone();
    oracle.client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    if std::env::var_os("BROOKLET_TEST_REFUSALS").is_some() {
        for (refusal, count) in &tally.refused {
            println!("refused by us {count} times: {refusal}");
        }
    }
    for (construct, count) in &tally.constructs {
        println!("{count:>6} {construct}");
    }
    println!(
        "{} pairs, {} of them errors in Postgres; expressions refused by both {}, by us alone {}",
        tally.pairs,
        tally.errors,
        tally.refused_by_both,
        tally.refused.values().sum::<usize>()
    );
    let shown: Vec<String> = failures.into_values().collect();
    assert!(shown.is_empty(), "{}", shown.join("\n\n"));
    let alone = tally.refused.values().sum::<usize>();
    assert!(alone * 100 < tally.pairs, "{alone} expressions are refused by us alone");
}
