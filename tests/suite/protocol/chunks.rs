//! Chunks: where answers end, and that a completed one never changes.

use std::collections::BTreeMap;

use crate::harness::{Database, Follower, Shape, World, eventually};

async fn world_with_small_chunks() -> World {
    World::with(Database::shared().await, |options| options.chunk_bytes = Some(2_000)).await
}

/// Reads a shape to its end from the start: every (request offset, body) in order.
async fn read_all(world: &World, shape: &Shape) -> BTreeMap<usize, (String, String)> {
    let mut follower = Follower::new(world.server.address, shape.clone());
    let mut answers = BTreeMap::new();
    loop {
        let target = follower.target(false);
        let response = world.get(&target).await.expect(200);
        let done = response.header("electric-up-to-date").is_some();
        answers.insert(answers.len(), (target, response.text()));
        follower.step(false).await;
        if done {
            return answers;
        }
    }
}

#[tokio::test]
async fn completed_chunks_are_the_same_bytes_for_all_readers_before_and_after_restarts() {
    let mut world = world_with_small_chunks().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO items SELECT g, repeat('x', 300) FROM generate_series(1, 50) g").await;
    let shape = Shape::of("items");
    let mut live = world.follow(shape.clone()).await;
    for round in 0..20 {
        world.sql(&format!("INSERT INTO items SELECT g + 100 + {round} * 10, repeat('y', 300) FROM generate_series(1, 3) g")).await;
    }
    live.until("60 more rows", |rows| rows.len() == 110).await;
    let first = read_all(&world, &shape).await;
    assert!(first.len() > 15, "{} chunks only", first.len());
    let completed = |answers: &BTreeMap<usize, (String, String)>| -> Vec<(String, String)> {
        answers.values().take(answers.len() - 1).cloned().collect()
    };
    assert_eq!(completed(&first), completed(&read_all(&world, &shape).await), "a second reader");
    world.server.crash().await;
    assert_eq!(completed(&first), completed(&read_all(&world, &shape).await), "after kill -9");
    world.server.stop().await;
    world.server.restart().await;
    world.sql("INSERT INTO items VALUES (999, 'late')").await;
    live = live.through_outages();
    live.until("the late row", |rows| rows.len() == 111).await;
    let later = read_all(&world, &shape).await;
    assert_eq!(
        completed(&first)[..],
        completed(&later)[..completed(&first).len()],
        "after more was written"
    );
}

#[tokio::test]
async fn only_the_end_of_the_log_is_flagged_up_to_date() {
    let world = world_with_small_chunks().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO items SELECT g, repeat('x', 300) FROM generate_series(1, 12) g").await;
    let shape = Shape::of("items");
    let mut live = world.follow(shape.clone()).await;
    // One transaction far larger than a chunk: its end is not in sight for several answers.
    world.sql("UPDATE items SET body = repeat('z', 300)").await;
    live.until("all rows updated", |rows| {
        rows.iter().all(|row| row["body"].as_ref().is_some_and(|body| body.starts_with('z')))
    })
    .await;
    let answers = read_all(&world, &shape).await;
    assert!(answers.len() >= 6, "{} answers", answers.len());
    for (at, (target, body)) in &answers {
        let is_last = *at + 1 == answers.len();
        assert_eq!(body.contains("\"up-to-date\""), is_last, "answer {at} to {target}");
    }
}

#[tokio::test]
async fn the_end_of_the_snapshot_is_said_once_even_when_a_row_fills_the_chunk() {
    let world = world_with_small_chunks().await;
    // Every row is a chunk of its own, then the snapshot's end has one to itself.
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO items SELECT g, repeat('x', 3000) FROM generate_series(1, 3) g").await;
    let answers = read_all(&world, &Shape::of("items")).await;
    let ends = answers.values().filter(|(_, body)| body.contains("snapshot-end")).count();
    assert_eq!(ends, 1);
    assert_eq!(
        answers.values().map(|(_, body)| body.matches("\"insert\"").count()).sum::<usize>(),
        3
    );
}

#[tokio::test]
async fn an_empty_table_is_one_chunk_with_the_snapshots_end() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let first = world.get("/v1/shape?table=items&offset=-1").await.expect(200);
    assert_eq!(first.header("electric-offset"), Some("0_0"));
    assert!(first.header("electric-up-to-date").is_none());
    assert_eq!(first.json().as_array().unwrap().len(), 1);
    assert_eq!(first.json()[0]["headers"]["control"], "snapshot-end");
    let handle = first.header("electric-handle").unwrap();
    let second =
        world.get(&format!("/v1/shape?table=items&offset=0_0&handle={handle}")).await.expect(200);
    assert_eq!(second.header("electric-offset"), Some("0_inf"));
    assert!(second.header("electric-up-to-date").is_some());
    assert_eq!(second.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_offset_inside_a_transaction_is_answered_with_the_rest_of_it() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let mut items = world.follow(Shape::of("items")).await;
    world.sql("INSERT INTO items SELECT generate_series(1, 5)").await;
    items.until("five rows", |rows| rows.len() == 5).await;
    let third = &items.log.changes[2].headers;
    let offset = format!("{}_{}", third["lsn"].as_str().unwrap(), third["op_position"]);
    let target = format!("/v1/shape?table=items&offset={offset}&handle={}", items.handle);
    let rest = world.get(&target).await.expect(200).json();
    let ids: Vec<&str> = rest
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|message| message["value"]["id"].as_str())
        .collect();
    assert_eq!(ids, ["4", "5"]);
    // The end of that transaction, when another one follows.
    world.sql("INSERT INTO items VALUES (6)").await;
    items.until("the sixth row", |rows| rows.len() == 6).await;
    let lsn = items.log.changes[0].lsn;
    let whole = format!("/v1/shape?table=items&offset={lsn}_inf&handle={}", items.handle);
    let after = world.get(&whole).await.expect(200).json();
    assert_eq!(after[0]["value"]["id"], "6", "{after}");
    assert_eq!(after.as_array().unwrap().len(), 2, "{after}");
}

#[tokio::test]
async fn a_large_snapshot_can_be_read_while_it_is_written() {
    let world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(100_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world
        .sql("INSERT INTO items SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g")
        .await;
    let shape = Shape::of("items");
    let readers = (0..3).map(|_| {
        let mut follower = world.client(shape.clone());
        tokio::spawn(async move {
            follower.catch_up().await;
            (follower.handle.clone(), follower.rows().len())
        })
    });
    let mut handles = Vec::new();
    for reader in readers.collect::<Vec<_>>() {
        let (handle, rows) = reader.await.unwrap();
        assert_eq!(rows, 20_000);
        handles.push(handle);
    }
    assert!(handles.iter().all(|handle| *handle == handles[0]), "{handles:?}");
    eventually("no snapshot transaction is left open", async || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
        (world.db.value(open).await == "0").then_some(())
    })
    .await;
}
