//! N shapes `project_id = n`, and many changes in small transactions; afterwards every shape's log is
//! replayed and compared with Postgres.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::backlog::{Drained, drain};
use super::harness::{Request, Shape, World, size};
use super::making::{CLIENTS, Made, each, make};
use super::{figures, world};

pub async fn throughput(shapes: usize, changes: usize) {
    let world = world().await;
    world
        .sql(
            "CREATE TABLE issues (id bigint PRIMARY KEY, project_id int NOT NULL, title text NOT NULL, \
             status text NOT NULL, priority int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())",
        )
        .await;
    let Made { took: created, handles } = make(&world, 1..shapes + 1, shape).await;
    let bare = bare_snapshots(&world, shapes).await;
    // The one after tells when all of those are there.
    let last = "INSERT INTO issues VALUES (-1, 1, 'the last one', 'open', 0)";
    let write = write(&world, shapes, changes);
    let Drained { floor, ours, .. } = drain(&world, &shape(1), last, write).await;
    let rows = check(&world, handles).await;
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
    figures::write(
        "throughput",
        &json!({
            "shapes": shapes,
            "changes": changes,
            "made_per_second": shapes as f64 / created.as_secs_f64(),
            "bare_snapshots_per_second": shapes as f64 / bare.as_secs_f64(),
            "pg_recvlogical_per_second": rate(floor),
            "ours_per_second": rate(ours),
        }),
    );
}

/// The queries that as many shapes need at least: a snapshot transaction each.
async fn bare_snapshots(world: &World, shapes: usize) -> Duration {
    let mut sessions = Vec::new();
    let connections = size("BENCH_MAKERS", CLIENTS);
    for _ in 0..connections {
        sessions.push(world.db.session().await);
    }
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for (worker, session) in sessions.into_iter().enumerate() {
        workers.spawn(async move {
            for n in (1..=shapes).filter(|n| n % connections == worker) {
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

/// Replays every shape's log and compares it with the table; returns how many rows there are.
async fn check(world: &World, logs: Vec<(usize, String)>) -> usize {
    let address = world.server.address;
    let handles: BTreeMap<usize, String> = logs.into_iter().collect();
    let shapes = handles.len();
    let handles = Arc::new(handles);
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
