//! What many idle shapes cost, and how soon they answer again after a restart, in rest and while
//! somebody writes.
//!
//! Making a million shapes over HTTP would take most of an hour, so one is made, and its record in
//! the catalogue is copied with other numbers, handles and constants. From there on everything is the
//! server's own way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::{Process, Request, Shape, World, run_dir};
use super::{figures, status, world};

/// The constant of the shape that is made, which nothing else in the catalogue looks like.
const MARK: &str = "1234567890";
const PATIENCE: Duration = Duration::from_secs(300);
/// Without any memory given back for this long, a server is at rest.
const RESTING: Duration = Duration::from_secs(5);
/// Shapes that are compared with Postgres at the end.
const COMPARED: usize = 50;

pub async fn restart(shapes: usize) {
    let mut world = world().await;
    world.sql("CREATE TABLE issues (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id int NOT NULL, title text NOT NULL, status text NOT NULL, priority int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())").await;
    let first = world.get(&format!("{}&offset=-1", shape(MARK).target())).await;
    let handle = first.header("electric-handle").unwrap().to_owned();
    world.server.stop().await;
    let alone = Started::launch(&world, MARK, &handle).await;
    let idle = alone.at_rest().await;
    drop(alone);

    let last = multiply(&catalog(world.server.storage()), &handle, shapes);
    let rested = Started::launch(&world, &shapes.to_string(), &last).await;
    println!("restart: {shapes} shapes project_id = $1 without rows");
    println!("  first correct answer  {:>9.2} s", rested.took.as_secs_f64());
    let (first, peak) = (rested.resident(), status(rested.process.id(), "VmHWM"));
    let with = rested.at_rest().await;
    println!(
        "  resident memory       {:>9.0} MiB at rest, {:.0} at the answer, {:.0} at most",
        mib(with),
        mib(first),
        mib(peak)
    );
    let each = (with.saturating_sub(idle)) as f64 * 1024.0 / shapes as f64;
    println!("  of it a shape         {each:>9.0} bytes");
    let rested_took = rested.took.as_secs_f64();
    drop(rested);

    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(world.db.session().await, shapes, Arc::clone(&done)));
    let busy = Started::launch(&world, &shapes.to_string(), &last).await;
    run_dir::signal(busy.process.id(), "KILL");
    drop(busy);
    let busy = Started::launch(&world, &shapes.to_string(), &last).await;
    done.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    println!(
        "  after kill -9, while somebody writes {:.2} s ({written} rows in all)",
        busy.took.as_secs_f64()
    );
    let mut followers = Vec::new();
    for n in (1..=shapes).rev().step_by((shapes / COMPARED).max(1)) {
        followers.push(world.client(shape(&n.to_string())));
    }
    world.compare_all(&mut followers).await;
    println!("  checked               {} shapes equal Postgres' answer", followers.len());
    figures::write(
        &format!("restart-{shapes}"),
        &json!({
            "shapes": shapes,
            "first_answer_s": rested_took,
            "after_kill_while_written_s": busy.took.as_secs_f64(),
            "resident_kib": with,
            "bytes_a_shape": each,
        }),
    );
}

fn shape(project: &str) -> Shape {
    Shape::of("issues").filter("project_id = $1").parameter(project)
}

/// A server that was started on what is there.
struct Started {
    process: Process,
    took: Duration,
}

impl Started {
    /// Starts one and waits for the first right answer of a shape: the one it had before.
    async fn launch(world: &World, project: &str, handle: &str) -> Started {
        let begun = Instant::now();
        let process = Process::spawn(&mut world.server.options.command());
        let target = format!("{}&offset=-1", shape(project).target());
        loop {
            if let Ok(answer) = Request::get(target.clone()).send(world.server.address).await
                && answer.status == 200
            {
                assert_eq!(answer.header("electric-handle"), Some(handle), "the shape is gone");
                return Started { process, took: begun.elapsed() };
            }
            assert!(begun.elapsed() < PATIENCE, "no answer:\n{}", process.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it holds when nothing happens: what it has freed goes back to the system in the course of seconds.
    async fn at_rest(&self) -> u64 {
        let (mut least, mut since) = (self.resident(), Instant::now());
        let mut looks = tokio::time::interval(Duration::from_millis(250));
        while since.elapsed() < RESTING {
            looks.tick().await;
            let now = self.resident();
            if now < least {
                (least, since) = (now, Instant::now());
            }
        }
        least
    }

    fn resident(&self) -> u64 {
        status(self.process.id(), "VmRSS")
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn catalog(storage: &Path) -> PathBuf {
    let mut dirs = vec![storage.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.ends_with("catalog.log") {
                return path;
            }
        }
    }
    panic!("there is no catalogue");
}

/// Appends copies of the one shape's record for the constants 1 to `shapes`; returns the last handle.
/// Frames are those of `FORMAT.md`.
fn multiply(path: &Path, handle: &str, shapes: usize) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let mut at = 16;
    let template = loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (kind, payload) = (bytes[at + 8], &bytes[at + 9..at + 9 + length]);
        let text = String::from_utf8_lossy(payload).into_owned();
        if text.contains(handle) {
            break (kind, text);
        }
        at += 9 + length;
    };
    let (kind, text) = template;
    let id = text.split_once("\"id\":").unwrap().1.split(',').next().unwrap().to_owned();
    let (start, micros) = handle.split_once('-').unwrap();
    let (id_number, micros): (u64, u64) = (id.parse().unwrap(), micros.parse().unwrap());
    let mut last = String::new();
    for n in 1..=shapes as u64 {
        last = format!("{start}-{}", micros + n);
        let copy = text
            .replacen(&format!("\"id\":{id},"), &format!("\"id\":{},", id_number + n), 1)
            .replace(handle, &last)
            .replace(MARK, &n.to_string());
        let mut frame = Vec::with_capacity(copy.len() + 9);
        frame.extend((copy.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&frame);
        crc.update(&[kind]);
        crc.update(copy.as_bytes());
        frame.extend(crc.finalize().to_le_bytes());
        frame.push(kind);
        frame.extend(copy.as_bytes());
        bytes.extend(frame);
    }
    std::fs::write(path, bytes).unwrap();
    last
}

/// Small transactions until told to stop; returns how many rows.
async fn write(session: super::harness::Session, shapes: usize, done: Arc<AtomicBool>) -> usize {
    let mut rows = 0;
    while !done.load(Ordering::Relaxed) {
        let projects = (0..4).map(|n| 1 + (rows * 31 + n * 17) % shapes);
        let values: Vec<String> =
            projects.map(|project| format!("({project}, 'an issue', 'open', 1)")).collect();
        let insert = "INSERT INTO issues (project_id, title, status, priority) VALUES ";
        session.sql(&format!("{insert}{}", values.join(","))).await;
        rows += values.len();
    }
    rows
}
