//! How long one write takes to a client that waits, and to a bare replication connection, in turns.
//!
//! The client is a live long poll over a connection that stays open; it is written only once the server holds
//! its request. The bare connection is a logical replication stream of the same publication, read by the same
//! library as the server's; it has a transaction when its commit has come, which is when the server knows
//! that it is complete. While one is timed the other does nothing: the bare connection is closed, the server
//! stopped by a signal. It is written to with the same pauses, those that the client takes to ask again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pgwire_replication::{Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent, TlsConfig};
use serde_json::{Value, json};

use super::harness::postgres::free_port;
use super::harness::{
    Connection, Options, Request, Response, Session, Shape, World, eventually, run_dir, size,
};
use super::spread::Spread;
use super::{settled, world_over};

/// Where the server says how many it holds.
const WAITING: &str = "electric_admission_control_acquire_current{kind=\"existing\"}";
const SLOT: &str = "bare";
/// Writes before the ones that count, an even number.
const WARMING: usize = 4;

/// What Postgres waits for before it says that it has committed: nothing, or its disk.
pub const COMMITS: [(&str, &[&str]); 2] =
    [("off", &["fsync=off"]), ("on", &["fsync=on", "full_page_writes=on"])];

/// A server with a place to ask how many clients wait, over a Postgres with these settings.
pub async fn world(settings: &[&str], change: impl FnOnce(&mut Options)) -> (World, SocketAddr) {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let world = world_over(settings, |options| {
        let port = metrics.port().to_string();
        options.arguments = ["--prometheus-port".to_owned(), port].into();
        options.long_poll = Duration::from_secs(60);
        change(options);
    });
    (world.await, metrics)
}

/// The requests of known shapes that a server holds.
pub async fn waiting_clients(metrics: SocketAddr) -> usize {
    let metrics = Request::get("/metrics").send(metrics).await.unwrap().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(WAITING));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// What is written, and how many operations the client must be told.
pub struct Write {
    pub sql: String,
    pub operations: usize,
}

/// Milliseconds since the statement was sent.
struct Timed {
    /// Postgres' answer to whoever wrote.
    committed: f64,
    received: f64,
}

/// What was timed, a list for each run.
#[derive(Default)]
pub struct Turns {
    ours: Vec<Vec<Timed>>,
    bare: Vec<Vec<Timed>>,
}

/// Runs `BENCH_RUNS` times each with `BENCH_WRITES` writes, but with no more than `most`; `write` makes the next one, and is
/// asked for an even number of them in a run.
pub async fn turns(
    world: &World,
    metrics: SocketAddr,
    shape: &Shape,
    most: usize,
    mut write: impl FnMut() -> Write,
) -> Turns {
    let (runs, writes) = (size("BENCH_RUNS", 5), size("BENCH_WRITES", 10).min(most));
    let writes = WARMING + writes.next_multiple_of(2);
    let session = world.db.session().await;
    let make = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')::text");
    world.db.value(&make).await;
    let mut turns = Turns::default();
    for _ in 0..runs {
        let mut live = Live::open(world, shape).await;
        let (mut run, mut pauses) = (Vec::new(), Vec::new());
        for _ in 0..writes {
            let write = write();
            let rested = Instant::now();
            live.ask().await;
            let held = async || (waiting_clients(metrics).await > 0).then_some(());
            eventually("the client waits", held).await;
            pauses.push(rested.elapsed());
            let received = async {
                let (answer, at) = live.answer().await;
                let operations = answer.text().matches("\"operation\":").count();
                assert_eq!(operations, write.operations, "{}", answer.shown());
                at
            };
            run.push(time(&session, &write.sql, received).await);
        }
        turns.ours.push(run.split_off(WARMING));

        run_dir::signal(world.server.id(), "STOP");
        let mut bare = Bare::connect(world).await;
        let mut run = Vec::new();
        for pause in pauses {
            // A disk that has rested takes a commit faster.
            tokio::time::sleep(pause).await;
            run.push(time(&session, &write().sql, bare.transaction()).await);
        }
        turns.bare.push(run.split_off(WARMING));
        bare.client.shutdown().await.unwrap();
        run_dir::signal(world.server.id(), "CONT");
        settled(world, shape).await;
    }
    world.db.value(&format!("SELECT pg_drop_replication_slot('{SLOT}')::text")).await;
    turns
}

async fn time(session: &Session, sql: &str, received: impl Future<Output = Instant>) -> Timed {
    let begun = Instant::now();
    let committed = async {
        session.sql(sql).await;
        Instant::now()
    };
    let (committed, received) = tokio::join!(committed, received);
    let since = |at: Instant| (at - begun).as_secs_f64() * 1e3;
    Timed { committed: since(committed), received: since(received) }
}

/// A client that is at the end of a shape's log.
struct Live {
    connection: Connection,
    shape: Shape,
    place: String,
}

impl Live {
    async fn open(world: &World, shape: &Shape) -> Live {
        let answer = world.get(&format!("{}&offset=now", shape.target())).await.expect(200);
        let connection = Connection::open(world.server.address).await.unwrap();
        Live { connection, shape: shape.clone(), place: place(&answer) }
    }

    async fn ask(&mut self) {
        let target = format!("{}{}&live=true", self.shape.target(), self.place);
        self.connection.ask("GET", &target, "").await.unwrap();
    }

    async fn answer(&mut self) -> (Response, Instant) {
        let answer = self.connection.answer("GET").await.unwrap();
        let at = Instant::now();
        let answer = answer.expect(200);
        self.place = place(&answer);
        (answer, at)
    }
}

/// Where an answer leaves its client.
fn place(answer: &Response) -> String {
    let part = |name| answer.header(name).unwrap();
    let cursor = answer.header("electric-cursor").map(|cursor| format!("&cursor={cursor}"));
    let cursor = cursor.unwrap_or_default();
    format!("&offset={}&handle={}{cursor}", part("electric-offset"), part("electric-handle"))
}

/// A replication stream from now on.
struct Bare {
    client: ReplicationClient,
}

impl Bare {
    async fn connect(world: &World) -> Bare {
        let (db, publication) = (&world.db, format!("brooklet_{}", world.db.stream));
        let at: Lsn = db.value("SELECT pg_current_wal_flush_lsn()::text").await.parse().unwrap();
        let config =
            ReplicationConfig::new("127.0.0.1", "postgres", "", &db.name, SLOT, publication)
                .with_port(db.cluster.port)
                .with_tls(TlsConfig::disabled())
                .with_start_lsn(at);
        let mut client = ReplicationClient::connect_gated(config).await.unwrap();
        client.start().await.unwrap();
        client.wait_started().await.unwrap();
        Bare { client }
    }

    /// Waits for the next transaction that has a row.
    async fn transaction(&mut self) -> Instant {
        let mut has_row = false;
        loop {
            match self.client.recv().await.unwrap().expect("the stream goes on") {
                ReplicationEvent::XLogData { data, .. } => {
                    has_row |= matches!(data.first(), Some(b'I' | b'U' | b'D'));
                }
                ReplicationEvent::Commit { .. } if has_row => return Instant::now(),
                _ => {}
            }
        }
    }
}

impl Turns {
    /// Prints what a client waits for beyond what the bare connection does.
    pub fn print(&self) {
        let (runs, writes) = (self.ours.len(), self.ours[0].len());
        println!(
            "  {writes} writes in each of {runs} runs in turns; medians of the runs (lowest to highest), ms"
        );
        for percent in [50, 99] {
            let ours = quantile(&self.ours, percent, |timed| timed.received);
            let bare = quantile(&self.bare, percent, |timed| timed.received);
            println!(
                "  p{percent}  client {ours:>24.3}  bare connection {bare:>24.3}  ratio {:>5.2}  added {:>7.3}",
                ours.median / bare.median,
                ours.median - bare.median
            );
        }
        let since = |timed: &Timed| timed.received - timed.committed;
        let since = |runs: &[Vec<Timed>]| quantile(runs, 50, since);
        println!(
            "  p50 since Postgres said that it has committed: client {:.3}, bare connection {:.3}",
            since(&self.ours),
            since(&self.bare)
        );
    }

    /// The same, to be kept.
    pub fn json(&self) -> Value {
        let one = |runs: &[Vec<Timed>]| {
            json!({
                "p50_ms": quantile(runs, 50, |timed| timed.received).json(),
                "p99_ms": quantile(runs, 99, |timed| timed.received).json(),
                "p50_since_commit_ms":
                    quantile(runs, 50, |timed| timed.received - timed.committed).json(),
            })
        };
        json!({
            "runs": self.ours.len(),
            "writes": self.ours[0].len(),
            "client": one(&self.ours),
            "bare": one(&self.bare),
        })
    }
}

/// A quantile of each run, and how these lie.
fn quantile(runs: &[Vec<Timed>], percent: usize, figure: impl Fn(&Timed) -> f64) -> Spread {
    Spread::of(runs.iter().map(|run| {
        let mut figures: Vec<f64> = run.iter().map(&figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[(figures.len() * percent / 100).min(figures.len() - 1)]
    }))
}
