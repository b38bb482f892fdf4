//! Postgres' values of an expression for all rows of a table, held against ours.

use brooklet_sql::name::literal;
use brooklet_sql::{Predicate, Row, TableSchema, Tables, Truth, compile_with, statement};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Tally;
use crate::generate::database::{self, Locale};
use crate::generate::expression::Expression;
use crate::generate::typed::{self, COLUMNS, MOODS};
use crate::generate::{Random, domains};

const ROWS: usize = 60;

/// A value as text, NULL, or an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(Option<String>),
    Error(String),
}

impl Value {
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

pub struct Oracle {
    pub client: Client,
    pub table: TableSchema,
    pub tables: Tables,
    pub rows: Vec<Vec<Option<String>>>,
}

pub async fn connect(locale: Locale, seed: u64) -> Option<Oracle> {
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
        domains::SETUP
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
    pub async fn replace_rows(&mut self, random: &mut Random) {
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

    pub async fn drop_table(self) {
        let schema = self.table.name.schema;
        self.client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    }

    /// Postgres' values for all rows; `Err` where it refuses the expression itself.
    pub async fn ask(&self, sql: &str) -> Result<Vec<Value>, String> {
        self.ask_of(sql, "typed").await
    }

    async fn ask_of(&self, sql: &str, source: &str) -> Result<Vec<Value>, String> {
        let all = format!("SELECT ({sql})::text FROM {source} ORDER BY row_number");
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
            let one = format!("SELECT ({sql})::text FROM {source} WHERE row_number = {number}");
            values.push(match self.client.simple_query(&one).await {
                Ok(messages) => texts(messages).pop().unwrap(),
                Err(error) => Value::Error(error.as_db_error().unwrap().message().to_owned()),
            });
        }
        Ok(values)
    }

    pub fn compile(&self, sql: &str) -> Result<Predicate, String> {
        let asked = format!("({sql})::text IS NOT DISTINCT FROM expected");
        compile_with(&asked, &[], &self.table, &self.tables).map_err(|error| error.to_string())
    }

    /// The first row for which we and Postgres differ, and how; `None` where none does.
    pub async fn differs(&self, one: &Expression, tally: &mut Tally) -> Option<String> {
        let sql = &one.text();
        let theirs = self.ask(sql).await;
        let predicate = match (self.compile(sql), &theirs) {
            (Ok(predicate), Ok(_)) => predicate,
            (Ok(predicate), Err(error)) => {
                return Some(format!("we accept it as {}\nPostgres: {error}", predicate.sql()));
            }
            (Err(refusal), theirs) => return self.refused(one, &refusal, theirs, tally).await,
        };
        let raw = theirs.unwrap();
        let theirs = match held(&predicate.sql()) {
            Some(held) => self.ask(&held).await,
            None => Ok(raw.clone()),
        };
        let Ok(theirs) = theirs else {
            return Some(format!("Postgres refuses our text {}\n{theirs:?}", predicate.sql()));
        };
        let changed = |row: &usize| !theirs[*row].is_error() && raw[*row] != theirs[*row];
        let changed: Vec<usize> = (0..raw.len()).filter(changed).collect();
        if changed.iter().any(|row| !raw[*row].is_error()) || !self.may_hide(one, &changed).await {
            return Some(format!("our text changes a value: {}", predicate.sql()));
        }
        let hidden = match self.compare(&predicate, &theirs, sql) {
            Ok(hidden) => hidden,
            Err(difference) => return Some(difference),
        };
        if !self.may_hide(one, &hidden).await {
            let row = self.shown(sql, hidden[0]);
            let error = &theirs[hidden[0]];
            return Some(format!("Postgres alone fails: {error:?}\n{row}\n{}", predicate.sql()));
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
        if let Some(missed) = self.missed_by_probes(sql) {
            return Some(missed);
        }
        let wrong = self.printed_differs(one, &theirs, &predicate.sql()).await;
        if wrong.is_none() {
            tally.compared(one, &theirs);
        }
        wrong
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

    /// What differs, or the rows for which Postgres alone fails.
    fn compare(
        &self,
        predicate: &Predicate,
        theirs: &[Value],
        sql: &str,
    ) -> Result<Vec<usize>, String> {
        let expected = COLUMNS.len() - 1;
        let mut hidden = Vec::new();
        for (number, (values, theirs)) in self.rows.iter().zip(theirs).enumerate() {
            let mut values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            if let Value::Text(text) = theirs {
                values[expected] = text.as_deref();
            }
            let ours = predicate.evaluate(&Row::new(values).unwrap());
            let fine = match (&ours, theirs) {
                (Ok(truth), Value::Text(_)) => *truth == Truth::True,
                (Err(_), Value::Error(_)) => true,
                (Ok(_), Value::Error(_)) => {
                    hidden.push(number);
                    true
                }
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
                (Err(_), Value::Text(_)) => false,
            };
            if !fine {
                return Err(format!(
                    "Postgres: {theirs:?}\nours equal to it: {ours:?}\n{}\ncompiled: {}",
                    self.shown(sql, number),
                    predicate.sql()
                ));
            }
        }
        Ok(hidden)
    }

    /// What an expression reads of a row.
    fn shown(&self, sql: &str, row: usize) -> String {
        let shown: Vec<String> = COLUMNS
            .iter()
            .zip(&self.rows[row])
            .filter(|((name, ..), _)| sql.contains(name))
            .map(|((name, ..), value)| format!("{name}={value:?}"))
            .collect();
        format!("row: {}", shown.join(" "))
    }

    /// How Postgres gives our printed text another value: it must be the one that is expected of it.
    async fn printed_differs(
        &self,
        one: &Expression,
        theirs: &[Value],
        printed: &str,
    ) -> Option<String> {
        let columns = COLUMNS.map(|(name, ..)| name);
        let columns = columns[..COLUMNS.len() - 1].join(", ");
        let expected = theirs.iter().map(|value| match value {
            Value::Text(Some(text)) => literal(text),
            _ => "NULL".to_owned(),
        });
        let expected = expected.collect::<Vec<_>>().join(", ");
        let source = |rows: &str| {
            format!(
                "(SELECT row_number, {columns}, answer AS expected FROM typed JOIN
                 unnest(ARRAY[{expected}]::text[]) WITH ORDINALITY AS given (answer, place)
                 ON place = row_number + 1 WHERE row_number <> ALL ('{{{rows}}}')) AS typed"
            )
        };
        let failing = (0..theirs.len()).filter(|row| theirs[*row].is_error());
        let failing: Vec<usize> = failing.collect();
        let without = failing.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let all = format!(
            "SELECT (({printed}) IS TRUE)::text FROM {} ORDER BY row_number",
            source(&without)
        );
        let fine = Value::Text(Some("true".to_owned()));
        let others = (0..theirs.len()).filter(|row| !theirs[*row].is_error());
        let others: Vec<usize> = others.collect();
        let answers: Vec<(usize, Value)> = match self.client.simple_query(&all).await {
            Ok(messages) => others.into_iter().zip(texts(messages)).collect(),
            Err(_) => {
                let answers = self.ask_of(&format!("({printed}) IS TRUE"), &source("")).await;
                match answers {
                    Err(error) => {
                        return Some(format!("Postgres refuses our text {printed}\n{error}"));
                    }
                    Ok(answers) => {
                        others.into_iter().map(|row| (row, answers[row].clone())).collect()
                    }
                }
            }
        };
        let wrong = answers.iter().find(|(_, value)| !value.is_error() && *value != fine);
        if let Some((row, _)) = wrong {
            let (value, row) = (&theirs[*row], self.shown(printed, *row));
            return Some(format!(
                "Postgres reads our text otherwise than {value:?}\n{row}\n{printed}"
            ));
        }
        let hidden: Vec<usize> =
            answers.iter().filter(|(_, value)| value.is_error()).map(|(row, _)| *row).collect();
        if self.may_hide(one, &hidden).await {
            return None;
        }
        let row = self.shown(printed, hidden[0]);
        Some(format!("Postgres fails at our text alone: {answers:?}\n{row}\n{printed}"))
    }

    /// The smallest part of a failing expression that fails.
    pub async fn shrink(&self, failing: &Expression) -> String {
        for part in failing.parts() {
            if let Some(difference) = self.differs(part, &mut Tally::default()).await {
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
