//! What the whole server does, beside what Postgres can do at all, in one run.
//!
//! `throughput`: N shapes `project_id = n`; changes are committed while the server is stopped by a
//! signal and disconnected, then it is let go: rows a second from that moment, its connecting again
//! included, to readable logs. The floor is
//! `pg_recvlogical` draining the same WAL with the same plugin into /dev/null. Afterwards every
//! shape's log is replayed and compared with Postgres.
//! `memory`: a table is synced and one large transaction passes; the peak of resident memory over
//! idle.
//!
//! `first_sync`: how soon a client has a table, beside COPY; see `first_sync.rs`.
//!
//! `fan_out`: how soon all of many waiting clients have one write; see `fan_out.rs`.
//!
//! `restart`: what many idle shapes cost, and how soon they answer after a restart; see `restart.rs`.
//!
//! `soak`: whether memory and disk stay flat; see `soak.rs`. Only when it is asked for, or small.
//!
//! `benches/run` calls it; sizes come from the environment: `BENCH_SHAPES`, `BENCH_CHANGES`,
//! `BENCH_TABLE_ROWS`, `BENCH_TRANSACTION_ROWS`, `BENCH_CLIENTS`, `BENCH_IDLE_SHAPES`,
//! `BENCH_SOAK_SECONDS`.

// In a bench a panic is the report.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unused_imports)]

#[path = "end_to_end/fan_out.rs"]
mod fan_out;
#[path = "end_to_end/first_sync.rs"]
mod first_sync;
#[path = "../tests/suite/harness/mod.rs"]
mod harness;
#[path = "end_to_end/restart.rs"]
mod restart;
#[path = "end_to_end/soak.rs"]
mod soak;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{
    Cluster, Database, Locale, Options, Request, Shape, World, eventually, eventually_within,
    run_dir, size,
};
use serde_json::Value;
use tokio::task::JoinSet;

/// How long a large transaction may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Requests at a time while shapes are made and checked.
const CLIENTS: usize = 16;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == fan_out::FLOOR) {
        return fan_out::serve_floor().await;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|part| part == name);
    if wants("throughput") {
        throughput(size("BENCH_SHAPES", 200), size("BENCH_CHANGES", 5_000)).await;
    }
    if wants("memory") {
        memory(size("BENCH_TABLE_ROWS", 20_000), size("BENCH_TRANSACTION_ROWS", 10_000)).await;
    }
    if wants("first_sync") {
        first_sync::first_sync(size("BENCH_TABLE_ROWS", 20_000)).await;
    }
    if wants("fan_out") {
        fan_out::fan_out(size("BENCH_CLIENTS", 200)).await;
    }
    if wants("restart") {
        restart::restart(size("BENCH_IDLE_SHAPES", 2_000)).await;
    }
    if wants("soak") {
        soak::soak(size("BENCH_SOAK_SECONDS", 8)).await;
    }
}

async fn world() -> World {
    world_with(|_| {}).await
}

async fn world_with(change: impl FnOnce(&mut Options)) -> World {
    let settings = ["fsync=off", "max_wal_size=8GB", "checkpoint_timeout=1h"];
    let cluster = Cluster::own(Locale::CUtf8, &settings);
    World::with(Database::create(cluster.into()).await, change).await
}

async fn throughput(shapes: usize, changes: usize) {
    let world = world().await;
    world
        .sql(
            "CREATE TABLE issues (id bigint PRIMARY KEY, project_id int NOT NULL, title text NOT NULL, \
             status text NOT NULL, priority int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())",
        )
        .await;
    let begun = Instant::now();
    let logs = create_shapes(&world, shapes).await;
    let created = begun.elapsed();
    let bare = bare_snapshots(&world, shapes).await;
    let stream = &world.db.stream;
    let floor_slot = "SELECT pg_create_logical_replication_slot('floor', 'pgoutput')::text";
    world.db.value(floor_slot).await;

    run_dir::signal(world.server.id(), "STOP");
    // Its connection goes too: or else the sockets' buffers would hold a part of the WAL already.
    let slot = world.db.slot();
    let cut = format!(
        "SELECT pg_terminate_backend(active_pid)::text FROM pg_replication_slots WHERE slot_name = '{slot}'"
    );
    world.db.value(&cut).await;
    write(&world, shapes, changes).await;
    // The one after tells when all of those are there: positions without a commit come later.
    let target = world.db.position().await;
    world.sql("INSERT INTO issues VALUES (-1, 1, 'the last one', 'open', 0)").await;
    let lsn = world.db.value("SELECT pg_current_wal_flush_lsn()::text").await;
    let floor = drain_floor(&world, stream, &lsn);
    let idle = "table=issues&where=project_id%20%3D%201";
    // Its reconnecting counts against us, as pg_recvlogical's connecting counts against the floor.
    let begun = Instant::now();
    run_dir::signal(world.server.id(), "CONT");
    eventually("the logs have every change", async || {
        (seen(&world, idle).await >= target).then_some(())
    })
    .await;
    let ours = begun.elapsed();

    let rows = check(&world, logs).await;
    let rate = |time: Duration| changes as f64 / time.as_secs_f64();
    println!(
        "throughput: {shapes} shapes project_id = n, {changes} row changes in transactions of 1 to 20"
    );
    println!(
        "  shapes made           {:>9.0} /s, {:.0} % of {:.0} /s bare snapshot queries on as many connections",
        shapes as f64 / created.as_secs_f64(),
        100.0 * bare.as_secs_f64() / created.as_secs_f64(),
        shapes as f64 / bare.as_secs_f64()
    );
    println!("  pg_recvlogical        {:>9.0} changes/s (the floor)", rate(floor));
    println!("  WAL to readable logs  {:>9.0} changes/s", rate(ours));
    println!("  ratio                 {:>9.1} %", 100.0 * floor.as_secs_f64() / ours.as_secs_f64());
    println!("  checked               {rows} rows of {shapes} shapes equal Postgres' answer");
}

/// Makes the shapes `project_id = 1…n`; returns handle and offset of each.
async fn create_shapes(world: &World, shapes: usize) -> Vec<(usize, String)> {
    let address = world.server.address;
    each(shapes, move |n| async move {
        let target = format!("{}&offset=-1", shape(n).target());
        let response = Request::get(target).send(address).await.unwrap();
        assert_eq!(response.status, 200, "shape {n}: {}", response.text());
        response.header("electric-handle").unwrap().to_owned()
    })
    .await
}

/// The queries that as many shapes need at least: a snapshot transaction each.
async fn bare_snapshots(world: &World, shapes: usize) -> Duration {
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        sessions.push(world.db.session().await);
    }
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for (worker, session) in sessions.into_iter().enumerate() {
        workers.spawn(async move {
            for n in (1..=shapes).filter(|n| n % CLIENTS == worker) {
                session
                    .sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()::text")
                    .await;
                session.sql(&format!("SELECT * FROM issues WHERE project_id = {n}")).await;
                session.sql("COMMIT").await;
            }
        });
    }
    workers.join_all().await;
    begun.elapsed()
}

fn shape(n: usize) -> Shape {
    Shape::of("issues").filter(&format!("project_id = {n}"))
}

/// Runs a request for each of 1…n, some at a time.
async fn each<T, F>(
    count: usize,
    ask: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Vec<(usize, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let mut workers = JoinSet::new();
    for worker in 0..CLIENTS {
        let ask = ask.clone();
        workers.spawn(async move {
            let mut answers = Vec::new();
            for n in (1..=count).filter(|n| n % CLIENTS == worker) {
                answers.push((n, ask(n).await));
            }
            answers
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// Inserts, updates and deletes in transactions of 1 to 20 rows: three inserts to one update that
/// stays, one that moves to another project, and a delete now and then.
async fn write(world: &World, shapes: usize, changes: usize) {
    let session = world.db.session().await;
    let (mut left, mut id, mut transaction) = (changes, 0usize, 0usize);
    while left > 0 {
        let count = (1 + transaction * 7 % 20).min(left);
        let mut sql = String::new();
        for n in 0..count {
            let project = 1 + (transaction * 31 + n * 17) % shapes;
            sql += &match (transaction + n) % 6 {
                3 if id > 10 => format!(
                    "UPDATE issues SET title = 'again' || priority, priority = priority + 1 WHERE id = {};",
                    id - 3
                ),
                4 if id > 10 => {
                    format!("UPDATE issues SET project_id = {project} WHERE id = {};", id - 5)
                }
                5 if id > 10 && n == 0 => format!("DELETE FROM issues WHERE id = {};", id - 9),
                _ => {
                    id += 1;
                    format!(
                        "INSERT INTO issues VALUES ({id}, {project}, 'Issue number {id} of some length', 'open', {});",
                        n % 5
                    )
                }
            };
        }
        session.sql(&sql).await;
        left -= count;
        transaction += 1;
    }
}

fn drain_floor(world: &World, stream: &str, lsn: &str) -> Duration {
    let begun = Instant::now();
    let publication = format!("publication_names=brooklet_{stream}");
    let status = Command::new(harness::postgres::program("pg_recvlogical"))
        .args(["-d", &world.db.url(), "--slot", "floor", "--start", "-f", "/dev/null", "--no-loop"])
        .args(["-o", "proto_version=1", "-o", &publication, "--endpos", lsn])
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "pg_recvlogical failed");
    begun.elapsed()
}

/// The position that the server has processed, as any shape tells it.
async fn seen(world: &World, shape: &str) -> u64 {
    let target = format!("/v1/shape?{shape}&offset=now");
    let Ok(response) = Request::get(target).send(world.server.address).await else { return 0 };
    let body: Value = serde_json::from_str(&response.text()).unwrap_or_default();
    let seen = body[0]["headers"]["global_last_seen_lsn"].as_str().unwrap_or("0");
    seen.parse().unwrap_or(0)
}

/// Replays every shape's log and compares it with the table; returns how many rows there are.
async fn check(world: &World, logs: Vec<(usize, String)>) -> usize {
    let address = world.server.address;
    let handles: BTreeMap<usize, String> = logs.into_iter().collect();
    let shapes = handles.len();
    let handles = std::sync::Arc::new(handles);
    let found = each(shapes, move |n| {
        let target = format!("{}&offset=0_inf&handle={}", shape(n).target(), handles[&n]);
        async move {
            let response = Request::get(target).send(address).await.unwrap();
            assert_eq!(response.status, 200, "shape {n}: {}", response.text());
            assert!(response.header("electric-up-to-date").is_some(), "shape {n} is not complete");
            replay(&response.text())
        }
    })
    .await;
    let rows = world.db.rows("SELECT project_id, id, title, priority FROM issues").await;
    let mut expected: BTreeMap<String, BTreeMap<String, (String, String)>> = BTreeMap::new();
    for row in &rows {
        let text = |column: &str| row[column].clone().unwrap_or_default();
        expected
            .entry(text("project_id"))
            .or_default()
            .insert(text("id"), (text("title"), text("priority")));
    }
    for (n, found) in &found {
        let expected = expected.remove(&n.to_string()).unwrap_or_default();
        assert_eq!(found, &expected, "shape {n} differs from Postgres");
    }
    rows.len()
}

/// The rows that a log leaves: id to title and priority.
fn replay(body: &str) -> BTreeMap<String, (String, String)> {
    let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
    for message in serde_json::from_str::<Vec<Value>>(body).unwrap() {
        let text = |column: &str| message["value"][column].as_str().map(str::to_owned);
        let Some(id) = text("id") else { continue };
        match message["headers"]["operation"].as_str().unwrap() {
            "insert" => {
                let row = (text("title").unwrap(), text("priority").unwrap());
                assert!(rows.insert(id, row).is_none(), "a row is inserted twice");
            }
            "update" => {
                let row = rows.get_mut(&id).expect("an update of a known row");
                text("title").into_iter().for_each(|title| row.0 = title);
                text("priority").into_iter().for_each(|priority| row.1 = priority);
            }
            _ => assert!(rows.remove(&id).is_some(), "a row is deleted that is not there"),
        }
    }
    rows
}

async fn memory(table_rows: usize, transaction_rows: usize) {
    let world = world().await;
    world.sql("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, amount numeric, at timestamptz NOT NULL DEFAULT now())").await;
    world
        .sql(&format!("INSERT INTO items SELECT n, 'item number ' || n || repeat(' x', 20), n * 1.5 FROM generate_series(1, {table_rows}) n"))
        .await;
    let idle = resident(&world, "VmRSS");
    let begun = Instant::now();
    let (_, end) = first_sync::read(world.server.address, "-1").await;
    let synced = (begun.elapsed(), resident(&world, "VmHWM"));
    let begun = Instant::now();
    world
        .sql(&format!("UPDATE items SET amount = amount + 1 WHERE id <= {transaction_rows}"))
        .await;
    let target = world.db.position().await;
    eventually_within(PATIENCE, "the transaction to be in the log", async || {
        (seen(&world, "table=items").await >= target - 1).then_some(())
    })
    .await;
    let (bytes, _) = first_sync::read(world.server.address, &end).await;
    assert!(bytes > 100 * transaction_rows, "not every row is there");
    let passed = (begun.elapsed(), resident(&world, "VmHWM"));
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!("memory: a table of {table_rows} rows, then a transaction of {transaction_rows}");
    println!("  idle                  {:>9.0} MiB resident", mib(idle));
    println!(
        "  table synced          {:>9.0} MiB over idle at most, {:.1} s",
        mib(synced.1 - idle),
        synced.0.as_secs_f64()
    );
    println!(
        "  transaction passed    {:>9.0} MiB over idle at most, {:.1} s with its reader",
        mib(passed.1 - idle),
        passed.0.as_secs_f64()
    );
}

fn resident_kib(process: u32) -> u64 {
    status(process, "VmRSS")
}

/// Seconds of CPU that a process has used so far.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name in parentheses; ticks are a hundredth of a second on Linux.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn resident(world: &World, line: &str) -> u64 {
    status(world.server.id(), line)
}

/// A line of `/proc/<pid>/status`, KiB.
fn status(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|found| found.starts_with(line)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
