//! One database for one test, and what Postgres itself says about it.
//!
//! Enters: SQL. Leaves: rows as the text that Postgres' output functions print under the display settings that
//! clients are promised (UTC, ISO dates, hexadecimal bytea).

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::postgres::{Cluster, Locale, crashes, program};
use super::rng::Rng;

/// A row as clients see it: column to text or NULL.
pub type Row = BTreeMap<String, Option<String>>;

const DISPLAY: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET extra_float_digits = 1; \
     SET bytea_output = 'hex'; SET IntervalStyle = 'iso_8601'";

/// A database in a cluster, dropped with its replication slot at the end of the test.
pub struct Database {
    pub cluster: Arc<Cluster>,
    pub name: String,
    pub stream: String,
    session: Session,
}

impl Database {
    /// A new database in the shared cluster that orders text by bytes.
    pub async fn shared() -> Database {
        Database::create(Cluster::shared(Locale::CUtf8)).await
    }

    /// A new database in a given cluster.
    pub async fn create(cluster: Arc<Cluster>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        let maintenance = Session::connect(&cluster.url("postgres", "postgres")).await;
        maintenance.sql(&format!("CREATE DATABASE {name}")).await;
        let session = Session::connect(&cluster.url("postgres", &name)).await;
        Database { cluster, name, stream: format!("s{number}"), session }
    }

    /// The address for the role that owns everything.
    pub fn url(&self) -> String {
        self.cluster.url("postgres", &self.name)
    }

    /// The address for another role.
    pub fn url_as(&self, role: &str) -> String {
        self.cluster.url(role, &self.name)
    }

    /// Connects again, after the server was restarted.
    pub async fn reconnect(&mut self) {
        self.session = self.session().await;
    }

    /// One more connection.
    pub async fn session(&self) -> Session {
        Session::connect(&self.url()).await
    }

    /// Runs statements; more than one in a string are one transaction.
    pub async fn sql(&self, sql: &str) {
        self.session.sql(sql).await;
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<Row> {
        self.session.rows(sql).await
    }

    /// The single value of a query.
    pub async fn value(&self, sql: &str) -> String {
        self.session.value(sql).await
    }

    /// The position that every transaction committed so far lies below.
    pub async fn position(&self) -> u64 {
        let said = self.value("SELECT pg_current_wal_insert_lsn()").await;
        said.parse::<brooklet_sql::Lsn>().expect("a position").end_of_record().0
    }

    /// What the slot was told is durable.
    pub async fn confirmed(&self) -> u64 {
        let asked = format!(
            "SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
            self.slot()
        );
        self.value(&asked).await.parse().expect("a position")
    }

    /// Waits until the slot was told that all before a position is durable.
    pub async fn confirms(&self, position: u64) {
        super::eventually("the slot to pass the position", async || {
            (self.confirmed().await >= position).then_some(())
        })
        .await;
    }

    /// The name of the slot that a server of this database uses.
    pub fn slot(&self) -> String {
        format!("brooklet_{}", self.stream)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop_slot = format!(
            "DO $$ BEGIN FOR i IN 1..50 LOOP
               PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{0}';
               IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = '{0}' AND active) THEN EXIT; END IF;
               PERFORM pg_sleep(0.02);
             END LOOP;
             PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{0}'; END $$",
            self.name
        );
        // A test that failed may have left commits waiting for a standby that never answers.
        let _ = Command::new(program("psql"))
            .env("PGOPTIONS", "-c synchronous_commit=local")
            .args([
                "-q",
                "-X",
                "-c",
                &drop_slot,
                "-c",
                &format!("DROP DATABASE {} WITH (FORCE)", self.name),
            ])
            .arg(self.cluster.url("postgres", "postgres"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// One connection with the display settings that clients are promised.
pub struct Session {
    client: Client,
}

impl Session {
    /// Connects; panics when Postgres does not take the connection.
    pub async fn connect(url: &str) -> Session {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .unwrap_or_else(|error| panic!("connect to {url}: {error}{}", crashes()));
        tokio::spawn(connection);
        client.batch_execute(DISPLAY).await.expect("display settings");
        Session { client }
    }

    /// Runs statements; more than one in a string are one transaction.
    pub async fn sql(&self, sql: &str) {
        let shown: String = sql.chars().take(500).collect();
        self.try_sql(sql).await.unwrap_or_else(|error| panic!("{shown}\n{error:?}{}", crashes()));
    }

    /// Runs statements that may be refused.
    pub async fn try_sql(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// A transaction of up to so many statements, of which those that are refused are undone, and some others; now and
    /// then all of it. One that has lost a deadlock cannot go on: its commit is a roll-back.
    pub async fn transaction(
        &self,
        rng: &mut Rng,
        most: i64,
        statement: impl Fn(&mut Rng) -> String,
    ) {
        self.sql("BEGIN").await;
        for _ in 0..rng.between(1, most) {
            self.sql("SAVEPOINT s").await;
            let refused = self.try_sql(&statement(rng)).await.is_err();
            let undone = refused || rng.percent(10);
            self.sql(if undone { "ROLLBACK TO s" } else { "RELEASE s" }).await;
        }
        self.sql(if rng.percent(90) { "COMMIT" } else { "ROLLBACK" }).await;
    }

    /// The rows of a query, every value as its output function prints it.
    pub async fn rows(&self, sql: &str) -> Vec<Row> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}\n{error:?}{}", crashes()));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let columns = row.columns().iter().enumerate();
            columns
                .map(|(at, column)| (column.name().to_owned(), row.get(at).map(str::to_owned)))
                .collect()
        })
        .collect()
    }

    /// The single value of a query.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        let value = rows.first().and_then(|row| row.values().next().cloned()).flatten();
        value.unwrap_or_else(|| panic!("no value from {sql}"))
    }
}
