//! What the whole server does, beside what Postgres can do at all, in one run.
//!
//! - `throughput`: many changes, from WAL to readable logs, each log checked; see `throughput.rs`.
//! - `scale`: the same rate over kinds and numbers of shapes; see `scale.rs`.
//! - `creation`: how fast new shapes are made, beside bare snapshot queries; see `creation.rs`.
//! - `propagation`: how soon a waiting client has one write; see `propagation.rs`.
//! - `membership`: what subqueries cost, in time and memory; see `membership.rs`.
//! - `memory`: the peak of resident memory while much passes; see `memory.rs`.
//! - `first_sync`: how soon a client has a table, beside COPY; see `first_sync.rs`.
//! - `fan_out`: how soon all of many waiting clients have one write; see `fan_out.rs`.
//! - `fan_out_shapes`: what a write costs that concerns many shapes, each with a client; see `fan_out_shapes.rs`.
//! - `restart`: what many idle shapes cost, and how soon they answer after a restart; see `restart.rs`.
//! - `soak`: whether memory and disk stay flat; see `soak.rs`. Only when it is asked for, or small.
//!
//! `benches/run` calls it and has the sizes, which come from the environment. Without any they are small:
//! enough to keep the bench itself in order.

// In a bench a panic is the report.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unused_imports)]

mod backlog;
mod creation;
mod fan_out;
mod fan_out_shapes;
#[path = "../figures.rs"]
mod figures;
mod first_sync;
#[path = "../../tests/suite/harness/mod.rs"]
mod harness;
mod latency;
mod making;
mod membership;
mod memory;
mod propagation;
mod restart;
mod scale;
mod soak;
mod spread;
#[path = "../filter/templates.rs"]
mod templates;
mod throughput;

use std::time::Duration;

use harness::{Cluster, Database, Locale, Options, Request, Shape, World, eventually_within, size};
use serde_json::Value;

/// How long anything large may take.
const PATIENCE: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == fan_out::FLOOR) {
        return fan_out::serve_floor().await;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|part| part == name);
    if wants("throughput") {
        throughput::throughput(size("BENCH_SHAPES", 200), size("BENCH_CHANGES", 5_000)).await;
    }
    if wants("scale") {
        scale::scale().await;
    }
    if wants("creation") {
        creation::creation().await;
    }
    if wants("propagation") {
        propagation::propagation().await;
    }
    if wants("membership") {
        membership::membership().await;
    }
    if wants("memory") {
        let (table, transaction) = ("BENCH_TABLE_ROWS", "BENCH_TRANSACTION_ROWS");
        memory::memory(size(table, 20_000), size(transaction, 10_000)).await;
    }
    if wants("first_sync") {
        first_sync::first_sync(size("BENCH_TABLE_ROWS", 20_000)).await;
    }
    if wants("fan_out") {
        fan_out::fan_out(size("BENCH_CLIENTS", 200)).await;
    }
    if wants("fan_out_shapes") {
        fan_out_shapes::fan_out_shapes().await;
    }
    if wants("restart") {
        restart::restart(size("BENCH_IDLE_SHAPES", 2_000)).await;
    }
    if wants("soak") {
        soak::soak(size("BENCH_SOAK_SECONDS", 2)).await;
    }
}

async fn world() -> World {
    world_with(|_| {}).await
}

async fn world_with(change: impl FnOnce(&mut Options)) -> World {
    world_over(&["fsync=off"], change).await
}

/// Over a Postgres with these settings besides.
async fn world_over(settings: &[&str], change: impl FnOnce(&mut Options)) -> World {
    let usual = ["max_wal_size=8GB", "checkpoint_timeout=1h"];
    let cluster = Cluster::own(Locale::CUtf8, &[&usual, settings].concat());
    World::with(Database::create(cluster.into()).await, change).await
}

/// The position that the server has processed, as a shape tells it.
async fn seen(world: &World, shape: &Shape) -> u64 {
    let target = format!("{}&offset=now", shape.target());
    let Ok(response) = Request::get(target).send(world.server.address).await else { return 0 };
    let body: Value = serde_json::from_str(&response.text()).unwrap_or_default();
    let seen = body[0]["headers"]["global_last_seen_lsn"].as_str().unwrap_or("0");
    seen.parse().unwrap_or(0)
}

/// Waits until a shape's log has everything that was committed before.
async fn settled(world: &World, shape: &Shape) {
    let position = world.mark().await;
    eventually_within(PATIENCE, "everything is in the logs", async || {
        (seen(world, shape).await >= position).then_some(())
    })
    .await;
}

fn resident_kib(process: u32) -> u64 {
    status(process, "VmRSS")
}

/// Seconds of CPU that a process has used so far; none if it has ended.
fn cpu_seconds(process: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return 0.0 };
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
