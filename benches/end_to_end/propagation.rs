//! How soon a waiting client has one write, with few shapes and with many, beside a bare replication
//! connection; see `latency.rs` for what is timed. Once over a Postgres that makes no commit durable, which is all of it a
//! path through processors, and once over one that does, as everybody's does.
//!
//! `BENCH_PROPAGATION_SHAPES` is a list of numbers of shapes `project_id = n`, in rising order.

use serde_json::{Value, json};

use super::figures;
use super::harness::Shape;
use super::latency::{COMMITS, Write, turns, world};
use super::making::make;

/// The project of the shape that the client waits for.
const PROJECT: usize = 7;

pub async fn propagation() {
    let sizes = std::env::var("BENCH_PROPAGATION_SHAPES").unwrap_or_else(|_| "20,100".to_owned());
    let mut all = Vec::new();
    for (fsync, settings) in COMMITS {
        all.extend(over(fsync, settings, &sizes).await);
    }
    figures::write("propagation", &all.into());
}

async fn over(fsync: &str, settings: &[&str], sizes: &str) -> Vec<Value> {
    let (world, metrics) = world(settings, |_| {}).await;
    world.sql("CREATE TABLE issues (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id int NOT NULL, title text NOT NULL)").await;
    let (mut made, mut all) = (0, Vec::new());
    for shapes in sizes.split(',').map(|shapes| shapes.trim().parse().unwrap()) {
        make(&world, made..shapes, shape).await;
        made = shapes;
        let write = || Write {
            sql: format!("INSERT INTO issues (project_id, title) VALUES ({PROJECT}, 'an issue')"),
            operations: 1,
        };
        let turns = turns(&world, metrics, &shape(PROJECT), usize::MAX, write).await;
        println!(
            "propagation: one row at a time, {shapes} shapes project_id = n, Postgres with fsync={fsync}"
        );
        turns.print();
        all.push(json!({"shapes": shapes, "fsync": fsync, "turns": turns.json()}));
    }
    let mut followers = [world.client(shape(PROJECT)), world.client(shape(0))];
    world.compare_all(&mut followers).await;
    assert!(!followers[0].rows().is_empty() && followers[1].rows().is_empty());
    println!("  checked: the client's shape and an empty one equal Postgres");
    all
}

fn shape(n: usize) -> Shape {
    Shape::of("issues").filter(&format!("project_id = {n}"))
}
