//! How soon a waiting client has one write, with few shapes and with many, beside a bare replication
//! connection; see `latency.rs` for what is timed.
//!
//! `BENCH_PROPAGATION_SHAPES` is a list of numbers of shapes `project_id = n`, in rising order.

use serde_json::json;

use super::figures;
use super::harness::Shape;
use super::latency::{Write, turns, world};
use super::making::make;

/// The project of the shape that the client waits for.
const PROJECT: usize = 7;

pub async fn propagation() {
    let sizes = std::env::var("BENCH_PROPAGATION_SHAPES").unwrap_or_else(|_| "20,100".to_owned());
    let (world, metrics) = world(|_| {}).await;
    world.sql("CREATE TABLE issues (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id int NOT NULL, title text NOT NULL)").await;
    let (mut made, mut all) = (0, Vec::new());
    for shapes in sizes.split(',').map(|shapes| shapes.trim().parse().unwrap()) {
        make(&world, made..shapes, shape).await;
        made = shapes;
        let write = || Write {
            sql: format!("INSERT INTO issues (project_id, title) VALUES ({PROJECT}, 'an issue')"),
            operations: 1,
        };
        let turns = turns(&world, metrics, &shape(PROJECT), write).await;
        println!("propagation: one row at a time, {shapes} shapes project_id = n");
        turns.print();
        all.push(json!({"shapes": shapes, "turns": turns.json()}));
    }
    let mut followers = [world.client(shape(PROJECT)), world.client(shape(0))];
    world.compare_all(&mut followers).await;
    assert!(!followers[0].rows().is_empty() && followers[1].rows().is_empty());
    println!("  checked: the client's shape and an empty one equal Postgres");
    figures::write("propagation", &all.into());
}

fn shape(n: usize) -> Shape {
    Shape::of("issues").filter(&format!("project_id = {n}"))
}
