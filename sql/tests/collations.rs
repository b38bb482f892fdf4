//! Text under every kind of collation, with Postgres as the oracle.
//!
//! A table with columns of the default collation, of others by name, of ICU's and of one to which
//! different bytes are equal, in databases of several locales. Every construct on text is tried on
//! every column: what we take has Postgres' value for every row, what we refuse is what the table of
//! expectations says, with the way out in its words. Then the same at random, nested.
//! `BROOKLET_TEST_SEED` replays a run; `BROOKLET_TEST_PAIRS` sets how many pairs are compared.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use brooklet_sql::name::literal;
use brooklet_sql::{Row, TableSchema, TextOrder, Truth, compile};
use tokio_postgres::{Client, SimpleQueryMessage};

mod generate;

use generate::Random;
use generate::database::{self, Locale};
use generate::texts::{COLUMNS, Construct, Needs, SETUP, constructs, value};

const ROWS: usize = 60;

struct Oracle {
    client: Client,
    table: TableSchema,
    rows: Vec<Vec<Option<String>>>,
    compared: usize,
    taken: BTreeMap<&'static str, usize>,
    refused: BTreeMap<&'static str, usize>,
}

impl Oracle {
    async fn new(client: Client, seed: u64) -> Oracle {
        let schema = format!("texts_{seed}_{}", std::process::id());
        let setup = SETUP.replace("{schema}", &schema);
        client.batch_execute(&setup).await.unwrap();
        let columns: Vec<String> =
            COLUMNS.iter().map(|(name, sql_type)| format!("{name} {sql_type}")).collect();
        let columns = columns.join(", ");
        let create =
            format!("CREATE TABLE texts (row_number int4, {columns}, expected text COLLATE \"C\")");
        client.batch_execute(&create).await.unwrap();
        let mut table = database::described(&client, &schema, "texts").await;
        table.columns.retain(|column| column.name != "row_number");
        let (taken, refused) = (BTreeMap::new(), BTreeMap::new());
        Oracle { client, table, rows: Vec::new(), compared: 0, taken, refused }
    }

    async fn replace_rows(&mut self, random: &mut Random) {
        let mut sql = "TRUNCATE texts;".to_owned();
        for number in 0..ROWS {
            let values: Vec<String> = (COLUMNS.iter())
                .map(|(_, sql_type)| value(random, sql_type))
                .map(|value| value.map_or("NULL".to_owned(), |text| literal(&text)))
                .collect();
            sql += &format!("INSERT INTO texts VALUES ({number}, {});", values.join(", "));
        }
        self.client.batch_execute(&sql).await.unwrap();
        let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let query = format!("SELECT {} FROM texts ORDER BY row_number", columns.join(", "));
        let printed = self.client.simple_query(&query).await.unwrap();
        self.rows = (printed.into_iter())
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..COLUMNS.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect();
    }

    /// Postgres' values for all rows; an error of a row stands for itself. `Err`: it refuses the
    /// expression.
    async fn ask(&self, sql: &str) -> Result<Vec<Result<Option<String>, String>>, String> {
        let mut values = Vec::new();
        let all = format!("SELECT ({sql})::text FROM texts ORDER BY row_number");
        if let Ok(messages) = self.client.simple_query(&all).await {
            return Ok(texts(messages).into_iter().map(Ok).collect());
        }
        for number in 0..self.rows.len() {
            let one = format!("SELECT ({sql})::text FROM texts WHERE row_number = {number}");
            match self.client.simple_query(&one).await {
                Ok(messages) => values.push(Ok(texts(messages).pop().unwrap())),
                Err(error) => {
                    let error = error.as_db_error().unwrap();
                    // A refusal of the collation comes only once a row asks for it.
                    if ["42", "0A"].iter().any(|class| error.code().code().starts_with(class)) {
                        return Err(error.message().to_owned());
                    }
                    values.push(Err(error.message().to_owned()));
                }
            }
        }
        Ok(values)
    }

    /// Compiles and compares; `Err` is the refusal, a difference is the test's failure.
    async fn compare(&mut self, sql: &str, what: &'static str) -> Result<(), String> {
        let asked = format!("(({sql})::text COLLATE \"C\") IS NOT DISTINCT FROM expected");
        let predicate = match compile(&asked, &[], &self.table) {
            Ok(predicate) => predicate,
            Err(refusal) => {
                *self.refused.entry(what).or_default() += 1;
                return Err(refusal.reason);
            }
        };
        *self.taken.entry(what).or_default() += 1;
        let theirs = self.ask(sql).await;
        let Ok(theirs) = theirs else {
            panic!("we accept {sql}\nas {}\nPostgres: {theirs:?}", predicate.sql());
        };
        for (values, theirs) in self.rows.iter().zip(&theirs) {
            let expected = theirs.as_ref().ok().cloned().flatten();
            let mut row: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            row.push(expected.as_deref());
            let ours = predicate.evaluate(&Row::new(row).unwrap());
            let fine = match (&ours, theirs) {
                (Ok(truth), Ok(_)) => *truth == Truth::True,
                (Err(_), Err(_)) => true,
                // An operand that is NULL, and parts that need not be looked at.
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => sql.contains(" AND ") || sql.contains(" OR "),
            };
            let shown = COLUMNS.iter().zip(values).filter(|((name, _), _)| sql.contains(name));
            assert!(
                fine,
                "{sql}\nPostgres: {theirs:?}\nours, equal to it: {ours:?}\ncompiled: {}\nrow: {:?}",
                predicate.sql(),
                shown.collect::<Vec<_>>()
            );
        }
        self.compared += theirs.len();
        self.printed(&predicate.sql(), &theirs).await;
        Ok(())
    }

    /// Our own text must mean the same: compiled again, and to Postgres.
    async fn printed(&self, printed: &str, theirs: &[Result<Option<String>, String>]) {
        let again = compile(printed, &[], &self.table).unwrap_or_else(|refusal| {
            panic!("we refuse our own text {printed}\n{refusal}");
        });
        assert_eq!(again.sql(), printed);
        if theirs.iter().any(Result::is_err) {
            return;
        }
        let update: String = (theirs.iter().enumerate())
            .map(|(number, value)| match value {
                Ok(Some(text)) => (number, literal(text)),
                _ => (number, "NULL".to_owned()),
            })
            .map(|(number, text)| format!("({number}, {text}),"))
            .collect();
        let update = format!(
            "UPDATE texts SET expected = v FROM (VALUES {}) o (n, v) WHERE n = row_number",
            update.trim_end_matches(',')
        );
        self.client.batch_execute(&update).await.unwrap();
        let wrong = format!("SELECT count(*) FROM texts WHERE ({printed}) IS NOT TRUE");
        let wrong: i64 = self.client.query_one(&wrong, &[]).await.unwrap().get(0);
        assert_eq!(wrong, 0, "Postgres reads our text otherwise: {printed}");
    }

    /// Whether a construct on a column has an exact evaluation.
    fn is_expected(&self, needs: Needs, column: &str) -> bool {
        let at = self.table.column(column).unwrap();
        let default = self.table.columns[0].collation.as_ref().unwrap();
        match needs {
            Needs::DefaultCase => return default.case_map.is_some(),
            Needs::DefaultOrder => return default.order == TextOrder::Bytes,
            _ => {}
        }
        let Some(collation) = &self.table.columns[at].collation else { return true };
        let bytes = collation.order == TextOrder::Bytes;
        match needs {
            Needs::Nothing => true,
            _ if !collation.deterministic => false,
            Needs::Equality => true,
            Needs::Order => bytes,
            Needs::Case => collation.case_map.is_some(),
            Needs::Digits => bytes,
            Needs::Classes => collation.name == "C" || collation.name == "POSIX",
            Needs::DefaultCase | Needs::DefaultOrder => unreachable!("seen to above"),
        }
    }

    /// Every construct on every column, as it stands and by bytes.
    async fn each(&mut self) {
        for (column, sql_type) in COLUMNS {
            for Construct { template, needs, of } in constructs() {
                if of != generate::texts::kind(sql_type) {
                    continue;
                }
                let sql = template.replace("{}", column);
                let expected = self.is_expected(needs, column);
                let found = self.compare(&sql, template).await;
                assert_eq!(found.is_ok(), expected, "{sql}: {found:?}");
                if let Err(reason) = found
                    && needs != Needs::Classes
                    && needs != Needs::Digits
                {
                    assert!(reason.contains("COLLATE \"C\""), "{sql}: {reason}");
                }
                if needs.of_default() {
                    continue;
                }
                let by_bytes = template.replace("{}", &format!("({column} COLLATE \"C\")"));
                let found = self.compare(&by_bytes, template).await;
                assert!(found.is_ok(), "{by_bytes}: {found:?}");
            }
        }
    }

    /// Constructs within constructs, over columns whose collations meet.
    async fn at_random(&mut self, random: &mut Random, pairs: usize) {
        let all: Vec<Construct> = constructs().collect();
        let mut round = 0;
        while self.compared < pairs {
            if round % 150 == 0 {
                self.replace_rows(random).await;
            }
            round += 1;
            let one = &all[random.below(all.len())];
            let depth = random.below(3);
            let sql = generate::texts::nested(random, one, depth);
            if let Err(reason) = self.compare(&sql, one.template).await {
                assert!(reason.contains("supported"), "{sql}: {reason}");
            }
        }
    }
}

fn texts(messages: Vec<SimpleQueryMessage>) -> Vec<Option<String>> {
    let texts = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    texts.collect()
}

async fn run(locale: Locale) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = number("BROOKLET_TEST_SEED", clock);
    let pairs = number("BROOKLET_TEST_PAIRS", 60_000) as usize;
    println!("{locale:?}: BROOKLET_TEST_SEED={seed}");
    let Some(client) = database::connect(locale).await else { return };
    let mut random = Random::new(seed);
    let mut oracle = Oracle::new(client, seed).await;
    oracle.replace_rows(&mut random).await;
    oracle.each().await;
    let every = oracle.compared;
    oracle.at_random(&mut random, every + pairs).await;
    println!("{locale:?}: {every} pairs of every construct, {} at random", oracle.compared - every);
    for Construct { template, needs, .. } in constructs() {
        let count = |of: &BTreeMap<_, usize>| of.get(template).copied().unwrap_or(0);
        let (taken, refused) = (count(&oracle.taken), count(&oracle.refused));
        println!("{taken:>6} taken {refused:>6} refused {template}");
        assert!(taken > 0 || needs.of_default(), "{template} is never taken");
    }
    let schema = oracle.table.name.schema;
    oracle.client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
}

#[tokio::test]
async fn postgres_agrees_where_bytes_decide() {
    run(Locale::Given).await;
}

#[tokio::test]
async fn postgres_agrees_where_a_locale_decides() {
    run(Locale::Libc).await;
}

#[tokio::test]
async fn postgres_agrees_where_bytes_decide_but_not_what_a_letter_is() {
    run(Locale::Mixed).await;
}

#[tokio::test]
async fn postgres_agrees_where_icu_decides() {
    run(Locale::Icu).await;
}
