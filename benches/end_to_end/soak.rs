//! Whether memory and disk stay flat: somebody writes all the time, clients follow, shapes come and go,
//! logs are folded, and what nobody needs is deleted.
//!
//! The rows stay as many, so whatever grows is ours. What is printed are the peaks of four quarters; the
//! first one warms up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::{Follower, Request, Session, Shape, Step, World};
use super::{figures, resident, world_with};

const ROWS: usize = 20_000;
const PROJECTS: usize = 200;
/// Clients that follow all the time.
const FOLLOWERS: usize = 8;
const SETTINGS: [&str; 6] =
    ["--catch-up-window", "20s", "--retention-interval", "2s", "--max-shapes", "100"];

/// What is looked at, in MiB.
#[derive(Clone, Copy, Default)]
struct Sample {
    memory: f64,
    disk: f64,
    wal: f64,
}

pub async fn soak(seconds: usize) {
    let world = world_with(|options| options.arguments.extend(SETTINGS.map(str::to_owned))).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, project int NOT NULL, n int NOT NULL, body text NOT NULL)").await;
    world
        .sql(&format!("INSERT INTO items SELECT g, g % {PROJECTS}, 0, repeat('x', 200) FROM generate_series(1, {ROWS}) g"))
        .await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(world.db.session().await, Arc::clone(&done)));
    let clients: Vec<_> = (0..FOLLOWERS)
        .map(|n| tokio::spawn(follow(world.client(shape(n)), Arc::clone(&done))))
        .collect();
    let visitors = tokio::spawn(visit(world.server.address, Arc::clone(&done)));
    let quarters = watch(&world, Duration::from_secs(seconds as u64)).await;
    done.store(true, Ordering::Relaxed);
    let (written, visits) = (writer.await.unwrap(), visitors.await.unwrap());
    let (mut followers, mut ended) = (Vec::new(), Vec::new());
    for client in clients {
        let (follower, refetches) = client.await.unwrap();
        followers.push(follower);
        ended.extend(refetches);
    }
    world.compare_all(&mut followers).await;
    println!("soak: {seconds} s, {written} rows written, {visits} shapes came and went");
    println!("  quarter                    memory       disk   held WAL   (MiB, at most)");
    for (n, Sample { memory, disk, wal }) in quarters.iter().enumerate() {
        println!("  {}                     {memory:>9.0}  {disk:>9.0}  {wal:>9.1}", n + 1);
    }
    println!("  refetches             {:>9}", ended.len());
    ended.iter().for_each(|refetch| refetch.print(&world.server.logs()));
    println!(
        "  checked               {FOLLOWERS} clients that followed all the time equal Postgres"
    );
    let quarter = |Sample { memory, disk, wal }: &Sample| json!({"memory_mib": memory, "disk_mib": disk, "held_wal_mib": wal});
    let quarters: Vec<Value> = quarters.iter().map(quarter).collect();
    figures::write(
        "soak",
        &json!({
            "seconds": seconds,
            "rows_written": written,
            "shapes": visits,
            "refetches": ended.len(),
            "quarters": quarters,
        }),
    );
}

fn shape(n: usize) -> Shape {
    Shape::of("items").filter(&format!("project = {n}"))
}

/// Looks every second; the peak of each quarter of the time.
async fn watch(world: &World, time: Duration) -> [Sample; 4] {
    let mut peaks = [Sample::default(); 4];
    let (begun, mut seconds) = (Instant::now(), tokio::time::interval(Duration::from_secs(1)));
    let slot = world.db.slot();
    let held = format!(
        "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::text FROM pg_replication_slots WHERE slot_name = '{slot}'"
    );
    while begun.elapsed() < time {
        seconds.tick().await;
        let quarter = (4.0 * begun.elapsed().as_secs_f64() / time.as_secs_f64()) as usize;
        let peak = &mut peaks[quarter.min(3)];
        let wal: f64 = world.db.value(&held).await.parse().unwrap();
        peak.memory = peak.memory.max(resident(world, "VmRSS") as f64 / 1024.0);
        peak.disk = peak.disk.max(bytes(world.server.storage()) as f64 / 1048576.0);
        peak.wal = peak.wal.max(wal / 1048576.0);
    }
    peaks
}

/// Of all files in a directory; what is deleted meanwhile does not count.
fn bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Updates rows and moves them between projects, one small transaction after the other; returns how
/// many rows.
async fn write(session: Session, done: Arc<AtomicBool>) -> usize {
    let mut rows = 0;
    while !done.load(Ordering::Relaxed) {
        let (from, project) = (1 + rows * 7919 % (ROWS - 20), rows % PROJECTS);
        session
            .sql(&format!(
                "UPDATE items SET n = n + 1, project = CASE WHEN id % 5 = 0 THEN {project} ELSE project END WHERE id BETWEEN {from} AND {}",
                from + 19
            ))
            .await;
        rows += 20;
    }
    rows
}

/// A client that had to begin anew.
struct Refetch {
    handle: String,
    offset: String,
    /// How long it had not asked.
    silent: Duration,
    /// How long its last answer took to come.
    answer: Duration,
}

impl Refetch {
    /// With what the server said of the shape.
    fn print(&self, logs: &str) {
        let Refetch { handle, offset, silent, answer } = self;
        println!(
            "    {handle} at {offset}: silent for {silent:?}, the answer before it took {answer:?}"
        );
        logs.lines().filter(|line| line.contains(handle)).for_each(|line| println!("      {line}"));
    }
}

async fn follow(follower: Follower, done: Arc<AtomicBool>) -> (Follower, Vec<Refetch>) {
    let mut follower = follower.through_refetches();
    follower.catch_up().await;
    let (mut refetches, mut answered, mut answer) = (Vec::new(), Instant::now(), Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let (handle, offset) = (follower.handle.clone(), follower.offset.clone());
        // Whoever is behind the window begins anew, and has no position to wait at then.
        if follower.step(follower.offset != "-1").await == Step::Refetch {
            refetches.push(Refetch { handle, offset, silent: asked - answered, answer });
        }
        (answered, answer) = (Instant::now(), asked.elapsed());
        // Only what it holds is compared at the end.
        follower.log.changes.clear();
    }
    (follower, refetches)
}

/// New shapes, one after the other, each read once and left; returns how many.
async fn visit(server: std::net::SocketAddr, done: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !done.load(Ordering::Relaxed) {
        let shape = Shape::of("items").filter(&format!("n > {count} AND project < 20"));
        let answer = Request::get(format!("{}&offset=-1", shape.target())).send(server).await;
        assert_eq!(answer.unwrap().status, 200);
        count += 1;
    }
    count
}
