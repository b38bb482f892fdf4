//! `brooklet verify`: proves that what is served equals Postgres.
//!
//! It follows a shape over HTTP as any client does. Then it takes a snapshot in Postgres, waits until
//! the shape has come as far, and applies exactly the transactions that the snapshot contains: so both
//! sides are at one position, however busy the database is. Rows of one key are compared as text; of a
//! table without a key, whose key is the whole row, it is also compared how often a row is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_sql::{Lsn, RelationName};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

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
    #[arg(long, env = "BROOKLET_REPLICATION_STREAM_ID", default_value = "default")]
    pub stream_id: String,

    /// Seconds to wait for the shape to reach Postgres' position.
    #[arg(long, default_value_t = 60)]
    pub patience: u64,
}

/// Differences printed per shape.
const SHOWN_MAX: usize = 10;
/// Shapes that are compared at a time, each with a connection: where nobody writes, each waits up to a second for the
/// stream to say that it has passed the snapshot.
const COMPARED_AT_ONCE: usize = 8;
/// Pause between looks at a shape that has not come far enough.
const PAUSE: Duration = Duration::from_millis(100);

/// Compares; prints what was compared. `false` if anything differs.
pub async fn run(args: VerifyArgs) -> anyhow::Result<bool> {
    let ca = args.database_ca_certificate_file.as_deref();
    let database = Database::new(&args.database_url, ca, COMPARED_AT_ONCE)?;
    if args.all {
        return every_shape(&args, &database).await;
    }
    let tables = match &args.table {
        Some(table) => vec![RelationName::parse(table)?],
        None => published(&database, &args.stream_id).await?,
    };
    anyhow::ensure!(
        !tables.is_empty(),
        "the server has published no table yet: name one with --table"
    );
    let schemas = Schemas::new(database.clone(), Arc::default());
    let mut equal = true;
    for table in tables {
        let mut parameters = vec![("table", table.quoted())];
        parameters.extend(args.filter.clone().map(|filter| ("where", filter)));
        let source = args.filter.clone().map(|text| FilterSource { text, params: Vec::new() });
        let schema = schemas.refresh(&table, source.is_some()).await?;
        let tables = schemas.of_subqueries(source.as_ref(), true, true).await?;
        let defined = Defined::new(schema, &tables, Question::all(table, source))?;
        equal &= compare(&args, &database, &defined, &parameters).await?;
    }
    Ok(equal)
}

/// Compares what the server lists.
async fn every_shape(args: &VerifyArgs, database: &Database) -> anyhow::Result<bool> {
    let schemas = Schemas::new(database.clone(), Arc::default());
    let (mut equal, mut after, mut shapes, mut skipped) = (true, 0, 0, 0);
    loop {
        let page = listed(args, after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let one = |listed| one_shape(args, database, &schemas, listed);
        let mut compared = stream::iter(page.into_iter().map(one)).buffered(COMPARED_AT_ONCE);
        while let Some(same) = compared.try_next().await? {
            match same {
                Some(same) => (shapes, equal) = (shapes + 1, equal && same),
                None => skipped += 1,
            }
        }
    }
    println!("{shapes} shapes compared, {skipped} without rows left out");
    Ok(equal)
}

/// Compares one of them; `None` if it never had rows to compare.
async fn one_shape(
    args: &VerifyArgs,
    database: &Database,
    schemas: &Schemas,
    listed: Listed,
) -> anyhow::Result<Option<bool>> {
    let table = RelationName::parse(&listed.table)?;
    let schema = schemas.refresh(&table, listed.filter.is_some()).await?;
    let question = listed.question(table);
    let tables = schemas.of_subqueries(question.filter.as_ref(), true, true).await?;
    let defined = Defined::new(schema, &tables, question)?;
    if defined.template.definition.log == LogMode::ChangesOnly {
        return Ok(None);
    }
    compare(args, database, &defined, &listed.parameters()).await.map(Some)
}

async fn listed(args: &VerifyArgs, after: u64) -> anyhow::Result<Vec<Listed>> {
    let mut url = args.url.join("/v1/admin/shapes")?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("after", &after.to_string());
        args.secret.iter().for_each(|secret| _ = query.append_pair("secret", secret));
    }
    // Its errors name the URL, and that the secret.
    let response = reqwest::get(url).await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let body = response.text().await.map_err(reqwest::Error::without_url)?;
    anyhow::ensure!(status.is_success(), "the server lists no shapes, {status}: {body}");
    Ok(serde_json::from_str(&body)?)
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

async fn compare(
    args: &VerifyArgs,
    database: &Database,
    defined: &Defined,
    parameters: &[(&str, String)],
) -> anyhow::Result<bool> {
    let mut client = Client::new(args, defined, parameters);
    client.catch_up().await?;
    let snapshot = Snapshot::take(database).await?;
    let (visibility, until) = (snapshot.seen.visibility.clone(), snapshot.seen.until);
    let expected = expected(&snapshot, defined).await?;
    snapshot.end().await?;
    let deadline = Instant::now() + Duration::from_secs(args.patience);
    // A commit record begins before the position that was read after it became visible.
    while client.seen.0 + 1 < until.0 {
        anyhow::ensure!(
            Instant::now() < deadline,
            "after {} s the shape is at {}, Postgres was at {until}: the server is behind or stuck",
            args.patience,
            client.seen
        );
        tokio::time::sleep(PAUSE).await;
        client.catch_up().await?;
    }
    let found = client.at(&visibility)?;
    Ok(report(defined, &expected, &found, client.entries.len(), &visibility, until))
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

/// A client of one shape that keeps every entry, so that it can say what the rows were to any
/// snapshot.
struct Client<'a> {
    args: &'a VerifyArgs,
    defined: &'a Defined,
    /// What says which shape is meant.
    parameters: &'a [(&'a str, String)],
    http: reqwest::Client,
    offset: String,
    handle: Option<String>,
    base: Rows,
    entries: Vec<Value>,
    seen: Lsn,
}

impl<'a> Client<'a> {
    fn new(
        args: &'a VerifyArgs,
        defined: &'a Defined,
        parameters: &'a [(&'a str, String)],
    ) -> Client<'a> {
        Client {
            args,
            defined,
            parameters,
            http: reqwest::Client::new(),
            offset: "-1".into(),
            handle: None,
            base: Rows::new(),
            entries: Vec::new(),
            seen: Lsn::ZERO,
        }
    }

    /// Reads until the server says that this is all.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        loop {
            let response = self.http.get(self.url()?).send().await;
            // Errors name the URL, and that the secret.
            let response = response.map_err(reqwest::Error::without_url)?;
            let status = response.status();
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let (handle, offset) = (header("electric-handle"), header("electric-offset"));
            let up_to_date = header("electric-up-to-date").is_some();
            let body = response.text().await.map_err(reqwest::Error::without_url)?;
            if status == reqwest::StatusCode::CONFLICT {
                println!(
                    "{}: the server says must-refetch; beginning anew",
                    self.defined.table().name
                );
                *self = Client::new(self.args, self.defined, self.parameters);
                continue;
            }
            anyhow::ensure!(status.is_success(), "the server answers {status}: {body}");
            let messages: Vec<Value> = serde_json::from_str(&body)?;
            messages.into_iter().try_for_each(|message| self.take(message))?;
            self.offset = offset.ok_or_else(|| anyhow::anyhow!("no electric-offset header"))?;
            self.handle = handle;
            if up_to_date {
                return Ok(());
            }
        }
    }

    fn url(&self) -> anyhow::Result<reqwest::Url> {
        let mut url = self.args.url.join("/v1/shape")?;
        let mut query = url.query_pairs_mut();
        query.append_pair("offset", &self.offset);
        query.extend_pairs(self.parameters);
        self.args.secret.iter().for_each(|secret| _ = query.append_pair("secret", secret));
        self.handle.iter().for_each(|handle| _ = query.append_pair("handle", handle));
        drop(query);
        Ok(url)
    }

    fn take(&mut self, mut message: Value) -> anyhow::Result<()> {
        let headers = &message["headers"];
        if headers["control"] == "up-to-date" {
            let seen = headers["global_last_seen_lsn"].as_str().unwrap_or_default();
            self.seen = Lsn(seen.parse()?);
        } else if headers["lsn"].is_string() {
            self.entries.push(message);
        } else if headers["operation"].is_string() {
            let key = key(&message)?;
            let rows = self.base.entry(key.clone()).or_default();
            rows.push(message["value"].take());
            anyhow::ensure!(rows.len() == 1 || self.keyless(), "{key} is in the snapshot twice");
        }
        Ok(())
    }

    /// The rows after the transactions that a snapshot contains.
    fn at(&self, visibility: &Visibility) -> anyhow::Result<Rows> {
        let mut rows = self.base.clone();
        for entry in &self.entries {
            let xid = entry["headers"]["txids"][0].as_u64().and_then(|xid| u32::try_from(xid).ok());
            let xid =
                xid.ok_or_else(|| anyhow::anyhow!("an entry without a transaction: {entry}"))?;
            if visibility.contains(xid) {
                apply(&mut rows, entry, self.keyless())?;
            }
        }
        Ok(rows)
    }

    /// Whether equal rows may be there more than once.
    fn keyless(&self) -> bool {
        self.defined.table().primary_key().is_empty()
    }
}

fn apply(rows: &mut Rows, entry: &Value, keyless: bool) -> anyhow::Result<()> {
    let key = key(entry)?;
    match entry["headers"]["operation"].as_str() {
        Some("insert") => {
            let rows = rows.entry(key.clone()).or_default();
            rows.push(entry["value"].clone());
            anyhow::ensure!(rows.len() == 1 || keyless, "{key} is inserted although it is there");
        }
        Some("delete") => {
            let left = rows.get_mut(&key).and_then(|rows| rows.pop().map(|_| rows.len()));
            let left =
                left.ok_or_else(|| anyhow::anyhow!("{key} is deleted although it is not there"))?;
            if left == 0 {
                rows.remove(&key);
            }
        }
        _ => {
            let row = rows.get_mut(&key).and_then(|rows| rows.last_mut());
            let row =
                row.ok_or_else(|| anyhow::anyhow!("{key} is updated although it is not there"))?;
            for (column, value) in entry["value"].as_object().into_iter().flatten() {
                row[column] = value.clone();
            }
        }
    }
    Ok(())
}
