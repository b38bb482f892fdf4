//! Disk that nobody needs is given back, and nothing that somebody needs goes with it.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Database, Following, Request, Shape, World, eventually_within};

/// Much is written and folded, by builds without optimisation and beside others.
const PATIENCE: Duration = Duration::from_secs(300);

/// Some 80 MiB of changes: more than one file of the change log.
const FILL: &str = "INSERT INTO busy SELECT g, repeat('x', 8000) FROM generate_series(1, 10000) g";

fn files(dir: &Path, extension: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                found.push((path.file_name().unwrap().to_string_lossy().into_owned(), size));
            }
        }
    }
    found.sort();
    found
}

async fn world(more: &[&str]) -> World {
    World::with(Database::shared().await, |options| {
        options.arguments = vec!["--retention-interval".into(), "1s".into()];
        options.arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    })
    .await
}

#[tokio::test]
async fn quiet_shapes_do_not_keep_the_log_of_busy_ones() {
    let mut world = world(&["--catch-up-window", "1s"]).await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, body text)").await;
    world.sql("CREATE TABLE quiet (id int PRIMARY KEY, body text)").await;
    let mut busy = world.follow(Shape::of("busy").filter("id < 20")).await;
    let mut quiet = world.follow(Shape::of("quiet")).await;
    let beginning = quiet.clone();
    for round in 0..2 {
        world.sql(&format!("INSERT INTO quiet VALUES ({round}, 'kept')")).await;
        world.sql(FILL).await;
        world.sql(&format!("UPDATE quiet SET body = 'again' WHERE id = {round}")).await;
        world.sql("DELETE FROM busy").await;
    }
    let position = world.mark().await;
    world.compare(&mut busy, position).await;
    world.compare(&mut quiet, position).await;
    let storage = world.server.storage().to_owned();
    // The newest is always kept; before it one with what the quiet shape refers to.
    let left = eventually_within(PATIENCE, "the changes of the busy table to go", async || {
        let sealed = files(&storage, "arrow");
        (sealed.len() == 2 && sealed[0].1 < 100_000).then_some(sealed)
    })
    .await;
    for restarted in [false, true] {
        if restarted {
            world.server.crash().await;
        }
        let mut again = beginning.clone();
        world.compare(&mut again, position).await;
        assert_eq!(again.log.changes.len(), 4, "{left:?}");
        let mut new = world.follow(Shape::of("busy").filter("id < 20")).await;
        world.compare(&mut new, position).await;
    }
    world.verify_all(2).await;
}

#[tokio::test]
async fn shapes_with_the_same_rows_share_them_on_disk() {
    let mut world = World::with(Database::shared().await, |options| {
        options.may_delete = true;
        options.arguments = vec!["--retention-interval".into(), "1s".into()];
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world
        .sql("INSERT INTO items SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 5000) g")
        .await;
    let storage = world.server.storage().to_owned();
    let stored = || files(&storage, "pack").iter().map(|(_, bytes)| bytes).sum::<u64>();
    let mut followers = vec![world.follow(Shape::of("items")).await];
    let one = stored();
    assert!(one > 4 << 20, "{one}");
    // Other questions with the same answer, and one of which half is the same.
    for filter in ["id > 0", "body <> ''", "id BETWEEN 1 AND 5000", "id <= 2500"] {
        followers.push(world.follow(Shape::of("items").filter(filter)).await);
    }
    let all = stored();
    println!("{one} bytes for one, {all} for five");
    assert!(all < one + (1 << 20), "{one} bytes for one, {all} for five");
    world.sql("UPDATE items SET body = 'changed' WHERE id % 7 = 0").await;
    world.compare_all(&mut followers).await;
    // Those who are left have their rows, also after a restart; with the last one they go.
    for restarted in [false, true] {
        if restarted {
            world.server.crash().await;
        }
        let gone = followers.remove(0);
        world.send(Request::new("DELETE", gone.shape.target())).await.expect(202);
        world.compare_all(&mut followers).await;
        for follower in &followers {
            let mut new = world.follow(follower.shape.clone()).await;
            let position = world.mark().await;
            world.compare(&mut new, position).await;
        }
    }
    world.verify_all(followers.len()).await;
    for gone in followers {
        world.send(Request::new("DELETE", gone.shape.target())).await.expect(202);
    }
    eventually_within(PATIENCE, "the rows to go", async || (stored() < 1 << 20).then_some(()))
        .await;
}

#[tokio::test]
async fn shapes_that_come_and_go_leave_nothing_on_disk() {
    let world = World::with(Database::shared().await, |options| {
        options.may_delete = true;
        options.arguments = vec!["--retention-interval".into(), "1s".into()];
    })
    .await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, body text)").await;
    world.sql("CREATE TABLE quiet (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO quiet VALUES (1, 'kept')").await;
    world.sql(FILL).await;
    let mut quiet = world.follow(Shape::of("quiet")).await;
    let storage = world.server.storage().to_owned();
    for round in 0..8 {
        let shape = Shape::of("busy").filter(&format!("id > {round}"));
        world.follow(shape.clone()).await;
        let target = shape.target();
        world.send(Request::new("DELETE", target)).await.expect(202);
    }
    // Eight times 80 MB went through; what is left fits in the file that is being written.
    let packs = eventually_within(PATIENCE, "the rows of ended shapes to go", async || {
        let packs = files(&storage, "pack");
        (packs.len() <= 2).then_some(packs)
    })
    .await;
    let mut again = world.follow(Shape::of("quiet")).await;
    let position = world.mark().await;
    world.compare(&mut again, position).await;
    world.compare(&mut quiet, position).await;
    assert!(!packs.is_empty());
    world.verify_all(1).await;
}

#[tokio::test]
async fn beyond_the_storage_limit_the_idle_shape_goes_and_the_others_stay() {
    let world = world(&["--storage-limit", "128MiB"]).await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, body text)").await;
    world
        .sql("INSERT INTO busy SELECT g, repeat('x', 8000) FROM generate_series(1, 10000) g")
        .await;
    let mut idle = world.follow(Shape::of("busy").filter("id > 1")).await.through_refetches();
    // Somebody always waits for this one.
    let used = Following::start(world.follow(Shape::of("busy").filter("id > 9900")).await);
    world.follow(Shape::of("busy").filter("id > 2")).await;
    eventually_within(PATIENCE, "the rows of the idle shape to go", async || {
        let stored: u64 = files(world.server.storage(), "pack").iter().map(|file| file.1).sum();
        (stored < 128 << 20).then_some(())
    })
    .await;
    assert!(world.server.logs().contains("more is stored than allowed"));
    // First, since who is told to fetch anew gets a shape made: a large one would be too much again.
    world.sql("DELETE FROM busy WHERE id BETWEEN 100 AND 9950").await;
    idle.catch_up().await;
    assert!(idle.refetches > 0, "its shape was to go");
    let position = world.mark().await;
    let mut used = used.stop().await;
    world.compare(&mut used, position).await;
    assert_eq!(used.refetches, 0);
    world.compare(&mut idle, position).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn what_goes_by_itself_costs_no_shape_beyond_the_storage_limit() {
    let world = world(&["--storage-limit", "128MiB"]).await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO busy VALUES (-1, 'a'), (-2, 'b')").await;
    let mut idle = world.follow(Shape::of("busy").filter("id = -1")).await;
    let used = Following::start(world.follow(Shape::of("busy").filter("id = -2")).await);
    // One file of the change log ends where a transaction does.
    world
        .sql("INSERT INTO busy SELECT g, repeat('x', 8000) FROM generate_series(1, 25000) g")
        .await;
    let storage = world.server.storage();
    let too_much = async || (stored(storage) > 128 << 20).then_some(());
    eventually_within(PATIENCE, "more to be stored than allowed", too_much).await;
    world.sql("UPDATE busy SET body = body || 'x' WHERE id < 0").await;
    eventually_within(PATIENCE, "what no shape wants to go", async || {
        (stored(storage) < 128 << 20).then_some(())
    })
    .await;
    let position = world.mark().await;
    let mut used = used.stop().await;
    world.compare(&mut used, position).await;
    world.compare(&mut idle, position).await;
    assert_eq!((used.refetches, idle.refetches), (0, 0));
    assert!(!world.server.logs().contains("more is stored than allowed"));
    world.verify_all(2).await;
}

/// Bytes of all files of changes.
fn stored(storage: &Path) -> u64 {
    ["arrow", "log"].iter().flat_map(|kind| files(storage, kind)).map(|file| file.1).sum()
}

/// Files of the posting log, but for the one that is being written.
fn closed_postings(storage: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for epoch in std::fs::read_dir(storage.join("brooklet")).into_iter().flatten().flatten() {
        found.append(&mut files(&epoch.path().join("postings"), "log"));
    }
    found.sort();
    found.pop();
    found
}

/// Many small transactions, each of which concerns every busy shape.
const CHURN: &str = "DO $$ BEGIN FOR i IN 1..25000 LOOP UPDATE busy SET n = i WHERE id = 1; COMMIT; END LOOP; END $$";

#[tokio::test]
async fn quiet_shapes_do_not_keep_the_postings_of_busy_ones() {
    let mut world = world(&["--catch-up-window", "1s"]).await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO busy VALUES (1, 0)").await;
    world.sql("CREATE TABLE quiet (id int PRIMARY KEY, body text)").await;
    let busy: Vec<Shape> =
        (0..60).map(|at| Shape::of("busy").filter(&format!("n >= -{at}"))).collect();
    for shape in &busy {
        world.follow(shape.clone()).await;
    }
    let mut quiet = world.follow(Shape::of("quiet")).await;
    let beginning = quiet.clone();
    // The first mark makes a shape, which would have to wait until the stream is through all that follows.
    world.mark().await;
    for round in 0..2 {
        world.sql(&format!("INSERT INTO quiet VALUES ({round}, 'kept')")).await;
        world.sql(CHURN).await;
    }
    let position = world.mark().await;
    eventually_within(PATIENCE, "the stream to come as far", async || {
        quiet.catch_up().await;
        (quiet.log.seen >= position).then_some(())
    })
    .await;
    world.compare(&mut quiet, position).await;
    let storage = world.server.storage().to_owned();
    let left = eventually_within(PATIENCE, "the postings of the busy table to go", async || {
        let closed = closed_postings(&storage);
        // One is left, with what the quiet shape refers to.
        (closed.len() == 1 && closed[0].1 < 10_000).then_some(closed)
    })
    .await;
    for restarted in [false, true] {
        if restarted {
            world.server.crash().await;
        }
        let mut again = beginning.clone();
        world.compare(&mut again, position).await;
        assert_eq!(again.log.changes.len(), 2, "{left:?}");
        let mut new = world.follow(busy[7].clone()).await;
        world.compare(&mut new, position).await;
    }
    world.verify_all(61).await;
}
