//! What it costs to deliver one row change that concerns many shapes, each with a client of its own that
//! waits: the fan-out in which no two clients read the same log.
//!
//! `BENCH_FAN_OUT_SHAPES` is a list of numbers of shapes.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::fan_out::Waiting;
use super::harness::Shape;
use super::latency::{waiting_clients, world};
use super::making::make;
use super::spread::Spread;
use super::{cpu_seconds, figures};

/// A process' time is told in hundredths of a second.
const DELIVERIES: usize = 60_000;
const ROUNDS_MIN: usize = 3;
/// Values of a row beside its key and what filters look at, and bytes of each.
const ROWS: [(usize, usize); 2] = [(1, 4), (20, 60)];

pub async fn fan_out_shapes() {
    let sizes = std::env::var("BENCH_FAN_OUT_SHAPES").unwrap_or_else(|_| "20,100".to_owned());
    let mut all = Vec::new();
    for shapes in sizes.split(',').map(|shapes| shapes.trim().parse().unwrap()) {
        for (columns, bytes) in ROWS {
            all.push(deliver(shapes, columns, bytes).await);
        }
    }
    figures::write("fan_out_shapes", &all.into());
}

async fn deliver(shapes: usize, columns: usize, bytes: usize) -> Value {
    let (world, metrics) = world(&["fsync=off"], |options| {
        let limits = format!("{{\"existing\":{}}}", shapes + 100);
        options.arguments.extend(["--max-concurrent-requests".to_owned(), limits]);
    })
    .await;
    let texts: Vec<String> = (0..columns).map(|n| format!("text{n} text")).collect();
    let texts = texts.join(", ");
    world.sql(&format!("CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, {texts})")).await;
    let values = vec![format!("repeat('x', {bytes})"); columns].join(", ");
    let handles = make(&world, 0..shapes, shape).await.handles;
    let server = world.server.id();
    let mut offset = "0_inf".to_owned();
    let (mut cpu, mut times) = (0.0, Vec::new());
    let rounds = (DELIVERIES / shapes.max(1)).clamp(ROUNDS_MIN, 60);
    for round in 0..=rounds {
        let target = |(n, handle): &(usize, String)| {
            format!("{}&handle={handle}&offset={offset}&live=true", shape(*n).target())
        };
        let targets: Arc<[String]> = handles.iter().map(target).collect();
        let held = async || waiting_clients(metrics).await;
        let waiting = Waiting::begin(world.server.address, targets, held).await;
        let (used, begun) = (cpu_seconds(server), Instant::now());
        world.sql(&format!("INSERT INTO items VALUES ({round}, -1, {values})")).await;
        let (took, end) = waiting.end(begun).await;
        // The first round is for warming.
        if round > 0 {
            cpu += cpu_seconds(server) - used;
            times.push(took[took.len() - 1].as_secs_f64() * 1e3);
        }
        offset = end;
    }
    println!(
        "fan-out: a row of {columns} × {bytes} bytes concerns {shapes} shapes with a client each, {rounds} rounds"
    );
    let (cpu, times) = (cpu * 1e6 / (shapes * rounds) as f64, Spread::of(times));
    println!("  CPU a delivery            {cpu:>7.1} µs");
    println!("  all have it after {times:>24.1} ms");
    json!({
        "shapes": shapes,
        "columns": columns,
        "bytes_a_column": bytes,
        "rounds": rounds,
        "cpu_us_a_delivery": cpu,
        "all_have_it_ms": times.json(),
    })
}

fn shape(n: usize) -> Shape {
    Shape::of("items").filter(&format!("n < {n}"))
}
