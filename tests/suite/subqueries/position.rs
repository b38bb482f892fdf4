//! Where such a shape begins in the stream, and where it goes on after a crash.

use std::sync::Arc;

use serde_json::Value;

use super::brought;
use crate::harness::{Cluster, Database, Locale, Request, Shape, World, eventually};

const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, active bool NOT NULL);
     CREATE TABLE child (id int PRIMARY KEY, parent_id int, n int NOT NULL DEFAULT 0)";

fn shape() -> Shape {
    Shape::of("child").filter("parent_id IN (SELECT id FROM parent WHERE active)")
}

async fn set_standby(world: &World, sql: &str, expected: &str) {
    world.sql(sql).await;
    world.sql("SELECT pg_reload_conf()").await;
    eventually("the setting is in force", async || {
        let session = world.db.session().await;
        (session.value("SHOW synchronous_standby_names").await == expected).then_some(())
    })
    .await;
}

/// Commits that wait for a standby are streamed and not visible; others, later in the stream, are visible. So what a
/// snapshot shows is no prefix of the stream, and what a row filter may do (take or drop each transaction by itself) is
/// wrong here: which rows move follows from all that came before. A server that begins anywhere but at one place
/// of the stream lacks the rows that the waiting commit lets in, or has them twice.
#[tokio::test]
async fn a_shape_begins_at_one_place_of_the_stream() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = World::gated(Database::create(cluster).await).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, false), (2, true), (3, false); INSERT INTO child VALUES (10, 1), (11, 2), (12, 3)").await;
    // Both tables are streamed from now on.
    for table in ["parent", "child"] {
        world.follow(Shape::of(table)).await;
    }
    set_standby(&world, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "nobody").await;
    let mut witness = world.follow(Shape::of("parent")).await;
    let (waiting, visible) = (world.db.session().await, world.db.session().await);
    let waits = tokio::spawn(async move {
        waiting.sql("UPDATE parent SET active = true WHERE id = 1").await;
    });
    witness
        .until("the stream has what waits", |rows| {
            rows.iter().any(|row| {
                row["id"].as_deref() == Some("1") && row["active"].as_deref() == Some("t")
            })
        })
        .await;
    // Visible, but streamed only after the shapes have taken their snapshots.
    let held = world.hold_stream();
    visible
        .sql("SET synchronous_commit = local; UPDATE child SET parent_id = 1 WHERE id = 12; UPDATE parent SET active = false WHERE id = 2")
        .await;
    let read = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'child'";
    let before: u64 = world.db.value(read).await.parse().unwrap();
    let mut clients = Vec::new();
    for filter in [
        "parent_id IN (SELECT id FROM parent WHERE active)",
        "parent_id NOT IN (SELECT id FROM parent WHERE active)",
        "parent_id IN (SELECT id FROM parent WHERE active) OR n > 5",
    ] {
        let mut client = world.client(Shape::of("child").filter(filter)).through_outages();
        clients.push(tokio::spawn(async move {
            client.catch_up().await;
            client
        }));
    }
    // All have read the tables before the stream goes on.
    eventually("the snapshots are taken", async || {
        let now: u64 = world.db.value(read).await.parse().unwrap();
        (now >= before + 3).then_some(())
    })
    .await;
    let seen = world.db.value("SELECT active FROM parent WHERE id = 1").await;
    assert_eq!(seen, "f", "the trap is not set: the waiting commit is visible");
    drop(held);
    set_standby(&world, "ALTER SYSTEM RESET synchronous_standby_names", "").await;
    waits.await.unwrap();
    let mut followers = Vec::new();
    for client in clients {
        followers.push(client.await.unwrap());
    }
    world.compare_all(&mut followers).await;
    world.sql("UPDATE parent SET active = NOT active; UPDATE child SET n = n + 1").await;
    world.compare_all(&mut followers).await;
}

/// The log's messages behind the snapshot.
async fn log(world: &World, handle: &str) -> Vec<Value> {
    let target = format!("{}&offset=0_inf&handle={handle}", shape().target());
    let body = eventually("an answer", async || {
        let answer = world.get(&target).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    let messages = body.as_array().unwrap().iter();
    messages.filter(|message| message["headers"]["control"].is_null()).cloned().collect()
}

#[tokio::test]
async fn a_crash_changes_nothing_of_what_was_said() {
    let mut world = World::new().await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent SELECT g, true FROM generate_series(1, 5) g; INSERT INTO child SELECT g, g % 7 FROM generate_series(1, 50) g").await;
    let mut follower = world.client(shape()).through_outages();
    follower.catch_up().await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    for round in 0..6 {
        let sql = format!(
            "UPDATE parent SET active = NOT active WHERE id = {}; UPDATE child SET n = n + 1, parent_id = (parent_id + 1) % 7 WHERE id % 9 = {round}",
            1 + round % 5
        );
        assert_ne!(brought(&world, &mut follower, &sql).await, "");
        let before = log(&world, &follower.handle).await;
        world.server.kill().await;
        // Some is written while nobody listens.
        world.sql("UPDATE parent SET active = NOT active WHERE id > 3; UPDATE child SET n = n + 1 WHERE id < 9").await;
        world.server.restart().await;
        world.compare_all(std::slice::from_mut(&mut follower)).await;
        let after = log(&world, &follower.handle).await;
        assert_eq!(after[..before.len()], before[..], "round {round}");
        // A client that comes now sees the same.
        let mut late = world.client(shape()).through_outages();
        late.catch_up().await;
        assert_eq!(late.handle, follower.handle, "no shape was made anew");
        world.compare_all(std::slice::from_mut(&mut late)).await;
    }
    assert_eq!(follower.refetches, 0);
}

#[tokio::test]
async fn a_stop_between_two_moves_is_not_noticed() {
    let mut world = World::new().await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, true); INSERT INTO child VALUES (10, 1)").await;
    let mut follower = world.client(shape()).through_outages();
    follower.catch_up().await;
    let handle = follower.handle.clone();
    assert_eq!(
        brought(&world, &mut follower, "UPDATE parent SET active = false").await,
        "delete 10"
    );
    world.server.stop().await;
    world.server.restart().await;
    assert_eq!(
        brought(&world, &mut follower, "UPDATE parent SET active = true").await,
        "insert 10"
    );
    assert_eq!((follower.handle, follower.refetches), (handle, 0));
}

#[tokio::test]
async fn very_many_transactions_behind_a_move_arrive() {
    let world = World::new().await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, false), (2, true); INSERT INTO child SELECT g, 1 + g % 2 FROM generate_series(1, 400) g").await;
    let mut follower = world.follow(shape()).await;
    let session = world.db.session().await;
    session.sql("UPDATE parent SET active = true").await;
    for n in 0..2_000 {
        session.sql(&format!("UPDATE child SET n = {n} WHERE id = {}", 1 + n % 400)).await;
    }
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 0);
}

#[tokio::test]
async fn very_many_rows_move_at_once() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(50_000)).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, false); INSERT INTO child SELECT g, 1 FROM generate_series(1, 20000) g").await;
    let mut follower = world.client(shape()).through_outages();
    follower.catch_up().await;
    world.sql("UPDATE parent SET active = true").await;
    follower.until_count(20_000).await;
    world.server.kill().await;
    world
        .sql("UPDATE child SET parent_id = 2 WHERE id % 2 = 0; UPDATE parent SET active = false")
        .await;
    world.server.restart().await;
    follower.until_count(0).await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 0);
}

#[tokio::test]
async fn what_nobody_can_follow_ends_the_shape() {
    let world = World::new().await;
    world.sql(TABLES).await;
    world.sql("ALTER TABLE parent ADD COLUMN unused int").await;
    world.sql("INSERT INTO parent VALUES (1, true); INSERT INTO child VALUES (10, 1)").await;
    let mut follower = world.client(shape()).through_refetches();
    follower.catch_up().await;
    // A column that nobody reads may go.
    world.sql("ALTER TABLE parent DROP COLUMN unused; UPDATE parent SET active = false").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 0);
    world.sql("UPDATE parent SET active = true").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    world.sql("TRUNCATE parent").await;
    follower.until("the rows are gone", |rows| rows.is_empty()).await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 1);
    world.sql("ALTER TABLE parent ALTER active TYPE bool USING true; INSERT INTO parent VALUES (1, true)").await;
    world.sql("ALTER TABLE parent RENAME active TO was_active; ALTER TABLE parent ADD active bool NOT NULL DEFAULT true").await;
    world.sql("INSERT INTO parent VALUES (2, false, true)").await;
    // The stream cannot tell the two apart, the catalogue can.
    eventually("the shape is made anew", async || {
        follower.step(false).await;
        (follower.refetches == 2).then_some(())
    })
    .await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
}

#[tokio::test]
async fn an_old_row_says_what_it_counted_for_and_must_be_whole() {
    let world = World::new().await;
    world.sql(TABLES).await;
    // Out of line, and not sent again while it stays the same.
    world.sql("ALTER TABLE parent ADD COLUMN note text; ALTER TABLE parent ALTER note SET STORAGE EXTERNAL").await;
    world.sql("INSERT INTO parent SELECT g, true, repeat('x', 10000) FROM generate_series(1, 2) g; INSERT INTO child VALUES (10, 1), (11, 2), (12, 3)").await;
    let filter = "parent_id IN (SELECT id FROM parent WHERE active AND note LIKE 'x%')";
    let mut follower = world.client(Shape::of("child").filter(filter)).through_refetches();
    follower.catch_up().await;
    for (sql, rows) in [
        ("UPDATE parent SET active = false WHERE id = 1", 1),
        ("UPDATE parent SET active = true", 2),
        ("UPDATE parent SET id = id + 2", 1),
        ("UPDATE parent SET active = NOT active; UPDATE parent SET active = NOT active", 1),
        ("UPDATE parent SET note = 'y' || note WHERE id = 3", 0),
        ("UPDATE parent SET note = substr(note, 2), id = 1 WHERE id = 3", 1),
        ("DELETE FROM parent WHERE id = 1", 0),
    ] {
        world.sql(sql).await;
        world.compare_all(std::slice::from_mut(&mut follower)).await;
        assert_eq!(follower.rows().len(), rows, "{sql}");
    }
    assert_eq!(follower.refetches, 0);
    world.sql("ALTER TABLE parent REPLICA IDENTITY DEFAULT; UPDATE parent SET id = 2").await;
    eventually("the shape is made anew", async || {
        follower.step(false).await;
        (follower.refetches == 1).then_some(())
    })
    .await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    let identity = "SELECT relreplident FROM pg_class WHERE relname = 'parent'";
    assert_eq!(world.db.value(identity).await, "f");
    world.sql("UPDATE parent SET id = 1").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!((follower.rows().len(), follower.refetches), (1, 1));
}

/// What the stream did between the snapshot and where a shape begins is in its rows and never in its log: a client that
/// waits for its own transaction must find it in what the snapshot's end says.
#[tokio::test]
async fn the_end_of_a_snapshot_names_what_its_rows_hold_of_the_stream() {
    let world = World::gated(Database::shared().await).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, true); INSERT INTO child VALUES (10, 1)").await;
    for table in ["parent", "child"] {
        world.follow(Shape::of(table)).await;
    }
    let held = world.hold_stream();
    world.sql("INSERT INTO child VALUES (11, NULL)").await;
    let read = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'child'";
    let before: u64 = world.db.value(read).await.parse().unwrap();
    let (target, address) = (format!("{}&offset=-1", shape().target()), world.server.address);
    let asked = tokio::spawn(async move { Request::get(target).send(address).await });
    eventually("the snapshot is taken", async || {
        let now: u64 = world.db.value(read).await.parse().unwrap();
        (now > before).then_some(())
    })
    .await;
    let insert = "WITH made AS (INSERT INTO child VALUES (12, 1) RETURNING id) SELECT pg_current_xact_id() FROM made";
    let id: u64 = world.db.value(insert).await.parse().unwrap();
    drop(held);
    let answer = asked.await.unwrap().expect("an answer").expect(200).json();
    let messages = answer.as_array().unwrap();
    let has = |row: &str| messages.iter().any(|message| message["value"]["id"] == row);
    assert!(has("10") && has("12"), "the trap is not set: {answer}");
    let end = messages.iter().find(|message| message["headers"]["control"] == "snapshot-end");
    let end = &end.expect("the snapshot's end")["headers"];
    let number = |key: &str| end[key].as_str().unwrap().parse::<u64>().unwrap();
    let unknown = end["xip_list"].as_array().unwrap().iter().any(|one| one == &id.to_string());
    assert!(number("xmin") > id || (number("xmax") > id && !unknown), "{id} is not in {end}");
}
