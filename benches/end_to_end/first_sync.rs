//! How long a client waits for all rows of a table, beside `COPY … TO STDOUT` of the same rows: when
//! nobody has asked for them before (cold), and when somebody has (warm).
//!
//! The client follows the protocol but only looks at headers: what it would do with the rows is its own
//! matter, and `psql` throws them away too. Rounds alternate.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{Request, World, postgres};
use super::{resident, world_with};

const ROUNDS: usize = 3;
const SHAPE: &str = "/v1/shape?table=items";

pub async fn first_sync(rows: usize) {
    let world = world_with(|options| options.may_delete = true).await;
    world.sql("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, amount numeric, at timestamptz NOT NULL DEFAULT now())").await;
    world
        .sql(&format!("INSERT INTO items SELECT n, 'item number ' || n || repeat(' x', 20), n * 1.5 FROM generate_series(1, {rows}) n"))
        .await;
    world.sql("VACUUM ANALYZE items").await;
    // Once, so that the table is published and its pages are in memory for everybody.
    sync(world.server.address).await;
    let idle = resident(&world, "VmRSS");
    let (mut copies, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        copies.push(copy(&world));
        let deleted = Request::new("DELETE", SHAPE).send(world.server.address).await.unwrap();
        assert_eq!(deleted.status, 202, "{}", deleted.text());
        let begun = Instant::now();
        bytes = sync(world.server.address).await;
        cold.push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(sync(world.server.address).await, bytes);
        warm.push(begun.elapsed());
    }
    let peak = resident(&world, "VmHWM");
    let (copy, cold, warm) = (median(copies), median(cold), median(warm));
    let ratio = |time: Duration| time.as_secs_f64() / copy.as_secs_f64();
    println!(
        "first sync: {rows} rows, {:.0} MB of JSON, medians of {ROUNDS} rounds",
        bytes as f64 / 1e6
    );
    println!("  COPY TO STDOUT        {:>9.2} s (the floor)", copy.as_secs_f64());
    println!("  cold                  {:>9.2} s, ratio {:.2}", cold.as_secs_f64(), ratio(cold));
    println!("  warm                  {:>9.2} s, ratio {:.2}", warm.as_secs_f64(), ratio(warm));
    println!(
        "  memory                {:>9.0} MiB over idle at most",
        peak.saturating_sub(idle) as f64 / 1024.0
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn copy(world: &World) -> Duration {
    let begun = Instant::now();
    let status = Command::new(postgres::program("psql"))
        .args(["-d", &world.db.url(), "-Xqc", "COPY items TO STDOUT"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "COPY failed");
    begun.elapsed()
}

/// Reads all there is, as a new client; returns how many bytes of rows that were.
async fn sync(server: SocketAddr) -> usize {
    read(server, "-1").await.0
}

/// Reads from a place to the end and keeps nothing; returns how many bytes that were, and the end.
pub async fn read(server: SocketAddr, from: &str) -> (usize, String) {
    let (mut place, mut bytes) = (from.to_owned(), 0);
    loop {
        let answer = Request::get(format!("{SHAPE}&offset={place}")).send(server).await.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        bytes += answer.body.len();
        let part = |name| answer.header(name).unwrap();
        place = format!("{}&handle={}", part("electric-offset"), part("electric-handle"));
        if answer.header("electric-up-to-date").is_some() {
            return (bytes, place);
        }
    }
}
