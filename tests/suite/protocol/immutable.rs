//! What has been answered stays: the same handle and offset give the same bytes for ever.

use std::collections::BTreeMap;

use crate::harness::{Database, Follower, Shape, World};

/// Every request offset with its body, for a reader that goes from the start to the end.
async fn read(world: &World, shape: &Shape) -> BTreeMap<usize, (String, String)> {
    let mut reader = Follower::new(world.server.address, shape.clone());
    let mut answers = BTreeMap::new();
    loop {
        let target = reader.target(false);
        let response = world.get(&target).await.expect(200);
        reader.handle = response.header("electric-handle").unwrap().to_owned();
        reader.offset = response.header("electric-offset").unwrap().to_owned();
        answers.insert(answers.len(), (target, response.text()));
        if response.header("electric-up-to-date").is_some() {
            return answers;
        }
    }
}

/// The entries of an answer as they were sent, without the end that a later answer may not have.
fn entries(body: &str) -> &str {
    let end = body.find(r#"{"headers":{"control":"up-to-date""#).unwrap_or(body.len() - 1);
    body[1..end].trim_end_matches(',')
}

/// Checks that a later reader gets the same: whole chunks the same, the last one at least as a beginning.
fn check_same(
    before: &BTreeMap<usize, (String, String)>,
    after: &BTreeMap<usize, (String, String)>,
    when: &str,
) {
    for (at, (target, body)) in before {
        let (target_after, body_after) = &after[at];
        assert_eq!(target, target_after, "{when}: chunk {at} begins elsewhere");
        let (old, new) = (entries(body), entries(body_after));
        let is_last = at + 1 == before.len();
        assert!(
            if is_last { new.starts_with(old) } else { new == old },
            "{when}: {target} has changed"
        );
    }
}

fn shapes() -> Vec<Shape> {
    vec![
        Shape::of("items"),
        Shape::of("items").more("&replica=full"),
        Shape::of("items").filter("n < 5").columns("id,n"),
        Shape::of("items").filter("n >= 3").more("&replica=full"),
        Shape::of("items").more("&log=changes_only"),
        Shape::of("bag"),
    ]
}

async fn write(world: &World, round: usize) {
    world
        .sql(&format!(
            "UPDATE items SET n = (n + {round}) % 10 WHERE id % 7 = {0}; UPDATE items SET id = id + 1000 WHERE id = {round}; \
             DELETE FROM items WHERE id % 50 = {round}; INSERT INTO items SELECT g, g % 10, repeat('y', 100) FROM generate_series(5000 + {round} * 10, 5004 + {round} * 10) g; \
             INSERT INTO bag VALUES ({round}, 'x'); UPDATE bag SET b = b || 'y' WHERE a = {round} - 1",
            round % 7
        ))
        .await;
}

async fn read_all(world: &World) -> Vec<BTreeMap<usize, (String, String)>> {
    let mut all = Vec::new();
    for shape in shapes() {
        all.push(read(world, &shape).await);
    }
    all
}

/// Waits until every shape has everything that is committed by now.
async fn settle(world: &World) {
    let position = world.mark().await;
    for shape in shapes() {
        let mut reader = world.client(shape);
        crate::harness::eventually("the log has everything", async || {
            let response = world.get(&reader.target(false)).await.expect(200);
            reader.handle = response.header("electric-handle").unwrap().to_owned();
            reader.offset = response.header("electric-offset").unwrap().to_owned();
            let end = response.json().as_array().unwrap().last().cloned()?;
            let seen: u64 = end["headers"]["global_last_seen_lsn"].as_str()?.parse().ok()?;
            (seen >= position).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_same_bytes_for_every_reader_and_after_every_restart() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(3_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    world.sql("CREATE TABLE bag (a int, b text)").await;
    world
        .sql("INSERT INTO items SELECT g, g % 10, repeat('x', 100) FROM generate_series(0, 99) g")
        .await;
    read_all(&world).await;
    for round in 1..12 {
        write(&world, round).await;
    }
    settle(&world).await;
    let first = read_all(&world).await;
    assert!(first[0].len() > 20 && first[1].len() > 20, "{} chunks only", first[0].len());
    let compare = async |world: &World, when: &str| {
        for (before, after) in first.iter().zip(read_all(world).await) {
            check_same(before, &after, when);
        }
    };
    compare(&world, "a second reader").await;
    world.server.crash().await;
    compare(&world, "after kill -9").await;
    for round in 12..20 {
        write(&world, round).await;
    }
    compare(&world, "while more is written").await;
    settle(&world).await;
    compare(&world, "after more was written").await;
    world.server.stop().await;
    world.server.restart().await;
    compare(&world, "after a restart").await;
    world.server.crash().await;
    settle(&world).await;
    compare(&world, "after the second kill -9").await;
}

#[tokio::test]
async fn readers_during_a_kill_see_a_beginning_of_what_comes_after() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(3_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    world.sql("CREATE TABLE bag (a int, b text)").await;
    world
        .sql("INSERT INTO items SELECT g, g % 10, repeat('x', 100) FROM generate_series(0, 99) g")
        .await;
    read_all(&world).await;
    for kill in 0..4 {
        for round in 1..5 {
            write(&world, kill * 5 + round).await;
        }
        // Whatever has been told to anybody, flushed or not, stays.
        let told = read_all(&world).await;
        world.server.crash().await;
        for (before, after) in told.iter().zip(read_all(&world).await) {
            if after.len() >= before.len() {
                check_same(before, &after, "right after kill -9");
            }
        }
        settle(&world).await;
        for (before, after) in told.iter().zip(read_all(&world).await) {
            check_same(before, &after, "after kill -9");
        }
    }
}
