//! `brooklet verify`: proves that what is served equals Postgres.
//!
//! It follows a shape over HTTP as any client does. Then it takes a snapshot in Postgres, waits until
//! the shape has come as far, and applies exactly the transactions that the snapshot contains: so both
//! sides are at one position, however busy the database is. Rows of one key are compared as text; of a
//! table without a key, whose key is the whole row, it is also compared how often a row is there.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_sql::{Lsn, RelationName, TableSchema, name};
use client::Client;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::config;
use crate::replication::schema::Schemas;
use crate::replication::snapshot::Snapshot;
use crate::replication::{Database, slot};
use crate::shapes::Defined;
use crate::shapes::definition::{FilterSource, LogMode, Question};
use crate::shapes::listing::Listed;
use crate::shapes::visibility::Visibility;

/// Settings of `brooklet verify`.
#[derive(clap::Args, Debug, Clone)]
pub struct VerifyArgs {
    /// The server, for example http://127.0.0.1:3000
    #[arg(long)]
    pub url: reqwest::Url,

    /// The same database as the server's.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Certificates to check the database server against.
    #[arg(long, env = "BROOKLET_DATABASE_CA_CERTIFICATE_FILE")]
    pub database_ca_certificate_file: Option<PathBuf>,

    /// The table; without one, every table the server has published.
    #[arg(long)]
    pub table: Option<String>,

    /// A filter, as a client would send it.
    #[arg(long = "where", requires = "table")]
    pub filter: Option<String>,

    /// Every shape that the server has, by its own filter and columns.
    #[arg(long, conflicts_with_all = ["table", "filter"])]
    pub all: bool,

    /// The server's secret.
    #[arg(long, env = "BROOKLET_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// The server's stream id: where to find which tables it has published.
    #[arg(long, env = "BROOKLET_REPLICATION_STREAM_ID", default_value = "default", value_parser = config::stream_id)]
    pub stream_id: String,

    /// Seconds to wait for the shape to reach Postgres' position, and for a server that says nothing.
    #[arg(long, default_value_t = 60)]
    pub patience: u64,
}

/// Differences printed per shape.
const SHOWN_MAX: usize = 10;
/// Shapes that are compared at a time, each with a connection: where nobody writes, each waits up to a second for the
/// stream to say that it has passed the snapshot.
const COMPARED_AT_ONCE: usize = 8;
/// How often a shape is compared from the beginning because its log ended meanwhile: more is one that ends all the time.
const TRIES_MAX: usize = 10;
/// Pause between looks at a shape that has not come far enough.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Equal,
    /// Something does.
    Different,
    /// Nothing that was compared does, but not all of it could be.
    Incomplete,
}

/// How many of what came of comparing them.
#[derive(Default)]
struct Tally {
    equal: usize,
    different: usize,
    skipped: usize,
    failed: usize,
}

impl Tally {
    /// One more; what went wrong with it says nothing of the others.
    fn add(&mut self, of: &Subject, outcome: anyhow::Result<Option<bool>>) {
        match outcome {
            Ok(Some(true)) => self.equal += 1,
            Ok(Some(false)) => self.different += 1,
            Ok(None) => self.skipped += 1,
            Err(error) => {
                println!("{}: cannot be compared: {}", of.name(), crate::told(&error));
                self.failed += 1;
            }
        }
    }

    fn verdict(&self) -> Verdict {
        match (self.different, self.failed) {
            (0, 0) => Verdict::Equal,
            (0, _) => Verdict::Incomplete,
            _ => Verdict::Different,
        }
    }
}

/// What is compared.
enum Subject {
    /// A table, by the filter of the command line.
    Table(RelationName),
    /// A shape that the server lists.
    Shape(Listed),
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Subject::Table(table) => table.to_string(),
            Subject::Shape(Listed { table, filter: None, .. }) => table.clone(),
            Subject::Shape(Listed { table, filter: Some(filter), .. }) => {
                format!("{table} where {filter}")
            }
        }
    }
}

/// Compares; prints what was compared.
pub async fn run(args: VerifyArgs) -> anyhow::Result<Verdict> {
    let ca = args.database_ca_certificate_file.as_deref();
    let database = Database::new(&args.database_url, ca, COMPARED_AT_ONCE)?;
    let patience = Duration::from_secs(args.patience.max(1));
    // Of silence, not of a whole answer: large ones take their time.
    let http = reqwest::Client::builder().connect_timeout(patience).read_timeout(patience);
    let schemas = Schemas::new(database.clone(), Arc::default());
    let verifier = Verifier { args, database, schemas, http: http.build()? };
    if verifier.args.all { verifier.every_shape().await } else { verifier.tables().await }
}

/// A run of the program.
struct Verifier {
    args: VerifyArgs,
    database: Database,
    schemas: Schemas,
    http: reqwest::Client,
}

impl Verifier {
    /// Compares the table that was named, or all that are published.
    async fn tables(&self) -> anyhow::Result<Verdict> {
        let tables = match &self.args.table {
            Some(table) => vec![RelationName::parse(table)?],
            None => published(&self.database, &self.args.stream_id).await?,
        };
        anyhow::ensure!(
            !tables.is_empty(),
            "the server has published no table yet: name one with --table"
        );
        let mut tally = Tally::default();
        for subject in tables.into_iter().map(Subject::Table) {
            tally.add(&subject, self.compare(&subject).await);
        }
        Ok(tally.verdict())
    }

    /// Compares what the server lists.
    async fn every_shape(&self) -> anyhow::Result<Verdict> {
        let (mut tally, mut after) = (Tally::default(), 0);
        loop {
            let page = self.listed(after).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let subjects: Vec<Subject> = page.into_iter().map(Subject::Shape).collect();
            let all = subjects.iter().map(|subject| self.compare(subject));
            let mut compared = stream::iter(all).buffered(COMPARED_AT_ONCE);
            for subject in &subjects {
                let Some(outcome) = compared.next().await else { break };
                tally.add(subject, outcome);
            }
        }
        let compared = tally.equal + tally.different;
        let failed = match tally.failed {
            0 => String::new(),
            failed => format!(", {failed} could not be compared"),
        };
        println!("{compared} shapes compared, {} without rows left out{failed}", tally.skipped);
        Ok(tally.verdict())
    }

    async fn listed(&self, after: u64) -> anyhow::Result<Vec<Listed>> {
        let mut url = self.args.url.join("/v1/admin/shapes")?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("after", &after.to_string());
            self.args.secret.iter().for_each(|secret| _ = query.append_pair("secret", secret));
        }
        // Its errors name the URL, and that the secret.
        let response = self.http.get(url).send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        let body = response.text().await.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(status.is_success(), "the server lists no shapes, {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Compares one; `None` if it never had rows to compare.
    async fn compare(&self, subject: &Subject) -> anyhow::Result<Option<bool>> {
        for _ in 0..TRIES_MAX {
            let (defined, parameters) = self.define(subject).await?;
            if defined.template.definition.log == LogMode::ChangesOnly {
                return Ok(None);
            }
            if let Some(same) = self.attempt(&defined, &parameters).await? {
                return Ok(Some(same));
            }
            println!("{}: the server says must-refetch; beginning anew", subject.name());
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::bail!("the server said must-refetch {TRIES_MAX} times")
    }

    /// The question as the table is now, and how a client asks it.
    async fn define(
        &self,
        subject: &Subject,
    ) -> anyhow::Result<(Defined, Vec<(&'static str, String)>)> {
        let (table, filter) = match subject {
            Subject::Table(table) => (table.clone(), &self.args.filter),
            Subject::Shape(listed) => (RelationName::parse(&listed.table)?, &listed.filter),
        };
        let schema = self.schemas.refresh(&table, filter.is_some()).await?;
        let (question, parameters) = match subject {
            Subject::Table(_) => whole(table, filter.as_ref(), &schema),
            Subject::Shape(listed) => (listed.question(table), listed.parameters()),
        };
        let tables = self.schemas.of_subqueries(question.filter.as_ref(), true, true).await?;
        Ok((Defined::new(schema, &tables, question)?, parameters))
    }

    /// `None` if the log ended before it had come as far as Postgres: another one begins behind the snapshot.
    async fn attempt(
        &self,
        defined: &Defined,
        parameters: &[(&'static str, String)],
    ) -> anyhow::Result<Option<bool>> {
        let mut client = Client::new(&self.http, &self.args, defined, parameters);
        if !client.catch_up().await? {
            return Ok(None);
        }
        let snapshot = Snapshot::take(&self.database).await?;
        let (visibility, until) = (snapshot.seen.visibility.clone(), snapshot.seen.until);
        let expected = expected(&snapshot, defined).await?;
        snapshot.end().await?;
        let deadline = Instant::now() + Duration::from_secs(self.args.patience);
        // A commit record begins before the position that was read after it became visible.
        while client.seen().0 + 1 < until.0 {
            anyhow::ensure!(
                Instant::now() < deadline,
                "after {} s the shape is at {}, Postgres was at {until}: the server is behind or stuck",
                self.args.patience,
                client.seen()
            );
            tokio::time::sleep(PAUSE).await;
            if !client.catch_up().await? {
                return Ok(None);
            }
        }
        let entries = client.entries();
        let found = client.rows_at(&visibility)?;
        Ok(Some(report(defined, &expected, &found, entries, &visibility, until)))
    }
}

/// All of a table that a filter lets in, but for generated columns, which are not replicated.
fn whole(
    table: RelationName,
    filter: Option<&String>,
    schema: &TableSchema,
) -> (Question, Vec<(&'static str, String)>) {
    let mut parameters = vec![("table", table.quoted())];
    parameters.extend(filter.map(|filter| ("where", filter.clone())));
    let source = filter.map(|text| FilterSource { text: text.clone(), params: Vec::new() });
    let mut question = Question::all(table, source);
    if schema.live().any(|at| schema.columns[at].generated) {
        let kept = schema.live().filter(|at| !schema.columns[*at].generated);
        let names: Vec<String> = kept.map(|at| schema.columns[at].name.clone()).collect();
        let quoted: Vec<String> = names.iter().map(|column| name::quote(column)).collect();
        parameters.push(("columns", quoted.join(",")));
        question.columns = Some(names);
    }
    (question, parameters)
}

async fn published(database: &Database, stream_id: &str) -> anyhow::Result<Vec<RelationName>> {
    let name = slot::Names::new(stream_id).publication;
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1 ORDER BY 1, 2";
    let rows = database.pooled().await?.query(sql, &[&name]).await?;
    let name = |row: &tokio_postgres::Row| RelationName { schema: row.get(0), table: row.get(1) };
    Ok(rows.iter().map(name).collect())
}

/// By key: one row, or equal ones if the table has no key.
type Rows = BTreeMap<String, Vec<Value>>;

fn count(rows: &Rows) -> usize {
    rows.values().map(Vec::len).sum()
}

async fn expected(snapshot: &Snapshot, defined: &Defined) -> anyhow::Result<Rows> {
    let (template, predicate) = (&defined.template, defined.predicate.as_ref());
    let view = template.view();
    let mut rows = snapshot.copy(template.table(), &template.definition, predicate).await?;
    let (mut expected, mut json) = (Rows::new(), Vec::new());
    while let Some(row) = rows.next().await? {
        json.clear();
        view.snapshot_row(&row, &mut json);
        let mut message: Value = serde_json::from_slice(&json)?;
        expected.entry(key(&message)?).or_default().push(message["value"].take());
    }
    Ok(expected)
}

fn key(message: &Value) -> anyhow::Result<String> {
    let key = message["key"].as_str();
    key.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a message without a key: {message}"))
}

fn report(
    defined: &Defined,
    expected: &Rows,
    found: &Rows,
    entries: usize,
    visibility: &Visibility,
    until: Lsn,
) -> bool {
    let filter = defined.predicate.as_ref().map(|filter| format!(" where {}", filter.sql()));
    let name = format!("{}{}", defined.table().name, filter.unwrap_or_default());
    let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ = |key: &&&String| expected.get(**key) != found.get(**key);
    let different: Vec<&&String> = keys.iter().filter(differ).collect();
    let (rows, xmin, xmax) = (count(expected), visibility.xmin(), visibility.xmax());
    println!(
        "{name}: {rows} rows in Postgres, {} served, {entries} log entries followed, at snapshot {xmin}:{xmax}, {until}: {}",
        count(found),
        if different.is_empty() {
            "equal".to_owned()
        } else {
            format!("{} DIFFER", different.len())
        }
    );
    for key in different.iter().take(SHOWN_MAX) {
        match (expected.get(**key), found.get(**key)) {
            (Some(_), None) => println!("  missing: {key}"),
            (None, Some(_)) => println!("  not in Postgres: {key}"),
            (Some(expected), Some(found)) => {
                let (expected, found) = (shown(expected), shown(found));
                println!("  {key}:\n    Postgres {expected}\n    served   {found}");
            }
            (None, None) => {}
        }
    }
    if different.len() > SHOWN_MAX {
        println!("  and {} more", different.len() - SHOWN_MAX);
    }
    different.is_empty()
}

fn shown(rows: &[Value]) -> String {
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    rows.join(", ")
}
