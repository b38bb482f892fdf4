//! A database and a server for it: what nearly every test begins with.

use std::time::Duration;

use super::database::{Database, Row};
use super::follower::Follower;
use super::gate::{Gate, HeldStream};
use super::http::{Request, Response};
use super::server::{Options, Process, Server, brooklet};
use super::shape::Shape;

/// A database with a server; the server is killed before the database is dropped.
pub struct World {
    pub server: Server,
    pub db: Database,
    gate: Option<Gate>,
}

impl World {
    /// The usual server over a new database in the shared cluster.
    pub async fn new() -> World {
        World::with(Database::shared().await, |_| {}).await
    }

    /// A server with changed options over a database.
    pub async fn with(db: Database, change: impl FnOnce(&mut Options)) -> World {
        let mut options = Options::of(&db);
        change(&mut options);
        World { server: Server::start(options).await, db, gate: None }
    }

    /// The usual server over a database, with a gate on its stream: `hold_stream` works.
    pub async fn gated(db: Database) -> World {
        let gate = Gate::before(db.cluster.port);
        let mut options = Options::of(&db);
        options.database_url = format!("postgresql://postgres@127.0.0.1:{}/{}", gate.port, db.name);
        World { server: Server::start(options).await, db, gate: Some(gate) }
    }

    /// Runs statements; more than one in a string are one transaction.
    pub async fn sql(&self, sql: &str) {
        self.db.sql(sql).await;
    }

    /// A client of a shape that has not asked yet.
    pub fn client(&self, shape: Shape) -> Follower {
        Follower::new(self.server.address, shape)
    }

    /// A client of a shape that has caught up.
    pub async fn follow(&self, shape: Shape) -> Follower {
        let mut follower = self.client(shape);
        follower.catch_up().await;
        follower
    }

    /// A GET.
    pub async fn get(&self, target: &str) -> Response {
        self.send(Request::get(target)).await
    }

    /// Any request.
    pub async fn send(&self, request: Request) -> Response {
        request.send(self.server.address).await.expect("an answer")
    }

    /// What Postgres says a shape's rows are.
    pub async fn truth(&self, shape: &Shape) -> Vec<Row> {
        let mut rows = self.db.rows(&shape.sql()).await;
        rows.sort();
        rows
    }

    /// A position that all commits so far lie below and that the stream is certain to pass: one more commit is
    /// made, on a followed table kept for this purpose.
    pub async fn mark(&self) -> u64 {
        self.sql("CREATE TABLE IF NOT EXISTS suite_mark (at bigserial PRIMARY KEY)").await;
        self.client(Shape::of("suite_mark")).through_outages().catch_up().await;
        let position = self.db.position().await;
        self.sql("INSERT INTO suite_mark DEFAULT VALUES").await;
        position
    }

    /// Marks the position and compares clients' rows with Postgres' there.
    pub async fn compare_all(&self, followers: &mut [Follower]) {
        let position = self.mark().await;
        for follower in followers {
            self.compare(follower, position).await;
        }
    }

    /// `brooklet verify` of this server and database, with more arguments.
    pub fn verify(&self, more: &[&str]) -> Process {
        let mut command = brooklet();
        let url = format!("http://{}", self.server.address);
        command.args(["verify", "--url", &url, "--database-url", &self.db.url()]);
        if let Some(secret) = &self.server.options.secret {
            command.args(["--secret", secret]);
        }
        Process::spawn(command.args(["--stream-id", &self.db.stream]).args(more))
    }

    /// Every shape that the server has equals Postgres, by its own filter and columns; there must be so many at least.
    /// Clients are not concerned: this also finds what no client of the test would come by.
    pub async fn verify_all(&self, least: usize) {
        self.verify_all_within(Duration::from_secs(300), least).await;
    }

    /// The same with another patience.
    pub async fn verify_all_within(&self, patience: Duration, least: usize) {
        self.server.ready().await;
        let mut verified = self.verify(&["--all"]);
        let status = verified.exit(patience).await;
        let said = verified.output();
        assert!(status.success(), "verify: {status}\n{said}");
        let line = said.lines().find(|line| line.contains(" shapes compared, "));
        let compared = line.and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
        assert!(compared.is_some_and(|compared| compared >= least), "not {least} shapes:\n{said}");
    }

    /// Drops the slot if it is there, cutting the connection that uses it as often as it comes back.
    pub async fn drop_slot(&self) {
        let drop_it = format!(
            "DO $$ BEGIN LOOP
               PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{0}';
               BEGIN
                 PERFORM pg_drop_replication_slot('{0}');
                 EXIT;
               EXCEPTION WHEN object_in_use THEN
                 NULL;
               WHEN undefined_object THEN
                 EXIT;
               END;
             END LOOP; END $$",
            self.db.slot()
        );
        self.sql(&drop_it).await;
    }

    /// Holds the stream up, so that a snapshot is taken ahead of it. Only in a world with a gate.
    pub fn hold_stream(&self) -> HeldStream {
        self.gate.as_ref().expect("a world made by `gated`").hold()
    }

    /// Loses the connection that streams, without a word to either end. Only in a world with a gate.
    pub fn lose_stream(&self) {
        self.gate.as_ref().expect("a world made by `gated`").lose_streams();
    }

    /// Holds the next transaction up after its first row. Only in a world with a gate.
    pub fn hold_midway(&self) -> HeldStream {
        self.gate.as_ref().expect("a world made by `gated`").hold_midway()
    }

    /// Brings a client up to a position and compares its rows with Postgres'.
    pub async fn compare(&self, follower: &mut Follower, position: u64) {
        follower.reach(position).await;
        let (truth, rows) = (self.truth(&follower.shape).await, follower.rows());
        if rows != truth {
            panic!(
                "{} differs from Postgres ({} rows against {})\nmissing: {:#?}\nsurplus: {:#?}",
                follower.shape.sql(),
                rows.len(),
                truth.len(),
                without(&truth, &rows),
                without(&rows, &truth)
            );
        }
    }
}

/// The first few of the sorted rows that the other sorted rows lack.
fn without<'a>(rows: &'a [Row], others: &[Row]) -> Vec<&'a Row> {
    let mut others = others.iter().peekable();
    let lacks = |row: &&Row| {
        while others.next_if(|other| other < row).is_some() {}
        others.next_if(|other| other == row).is_none()
    };
    rows.iter().filter(lacks).take(5).collect()
}
