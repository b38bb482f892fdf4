//! What was committed while the server stood still, drained by `pg_recvlogical` and then by the server.
//!
//! The floor is `pg_recvlogical` with the same plugin and publication, into /dev/null. The server is stopped
//! by a signal and disconnected, so that nothing of the WAL is in a buffer of its sockets. It is timed from the
//! start of its next walsender: before that it waits, the longer the more often it is disconnected.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::harness::{Shape, World, eventually_within, postgres, run_dir};
use super::{PATIENCE, cpu_seconds, seen};

/// How long each took.
pub struct Drained {
    /// `pg_recvlogical`, its connecting included.
    pub floor: Duration,
    /// The server, from the start of its connection until its logs have everything.
    pub ours: Duration,
    /// Seconds of processors that the server took meanwhile.
    pub cpu: f64,
}

/// Has `write` commit while the server stands still, then `last`, which must commit a row of a published
/// table; `shape` tells how far the logs are.
pub async fn drain(
    world: &World,
    shape: &Shape,
    last: &str,
    write: impl Future<Output = ()>,
) -> Drained {
    let make = "SELECT pg_create_logical_replication_slot('floor', 'pgoutput')::text";
    world.db.value(make).await;
    run_dir::signal(world.server.id(), "STOP");
    let slot = world.db.slot();
    let named = format!("FROM pg_replication_slots WHERE slot_name = '{slot}'");
    world.db.value(&format!("SELECT pg_terminate_backend(active_pid)::text {named}")).await;
    let active = format!("SELECT active::text {named}");
    let gone = async || (world.db.value(&active).await == "false").then_some(());
    eventually_within(PATIENCE, "the server is disconnected", gone).await;
    write.await;
    // Positions without a commit come later: the last one makes this one known.
    let target = world.db.position().await;
    world.sql(last).await;
    let lsn = world.db.value("SELECT pg_current_wal_flush_lsn()::text").await;
    let floor = floor(world, &lsn);
    let cpu = cpu_seconds(world.server.id());
    run_dir::signal(world.server.id(), "CONT");
    let complete = async || (seen(world, shape).await >= target).then_some(());
    eventually_within(PATIENCE, "the logs have every change", complete).await;
    let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let cpu = cpu_seconds(world.server.id()) - cpu;
    let begun = format!(
        "SELECT extract(epoch FROM backend_start)::text FROM pg_stat_replication
         WHERE pid = (SELECT active_pid {named})"
    );
    let begun: f64 = world.db.value(&begun).await.parse().unwrap();
    let ours = ended - Duration::from_secs_f64(begun);
    world.sql("SELECT pg_drop_replication_slot('floor')").await;
    Drained { floor, ours, cpu }
}

fn floor(world: &World, lsn: &str) -> Duration {
    let begun = Instant::now();
    let publication = format!("publication_names=brooklet_{}", world.db.stream);
    let status = Command::new(postgres::program("pg_recvlogical"))
        .args(["-d", &world.db.url(), "--slot", "floor", "--start", "-f", "/dev/null", "--no-loop"])
        .args(["-o", "proto_version=1", "-o", &publication, "--endpos", lsn])
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "pg_recvlogical failed");
    begun.elapsed()
}
