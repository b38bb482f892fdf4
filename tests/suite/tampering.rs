//! What others may do to our slot, publication and tables: noticed, and never answered with wrong rows.

use std::sync::Arc;

use crate::harness::{
    Cluster, Database, Locale, Options, Process, Request, Shape, World, eventually,
};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, name text)";

/// A world whose table has one row, and a client that takes resets and outages as they come.
async fn world_with_a_client() -> (World, crate::harness::Follower) {
    world_in(Database::shared().await).await
}

async fn world_in(db: Database) -> (World, crate::harness::Follower) {
    let world = World::with(db, |_| {}).await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let items = world.follow(Shape::of("items")).await.through_outages().through_refetches();
    (world, items)
}

#[tokio::test]
async fn a_slot_dropped_while_the_server_is_down_costs_no_handle() {
    let (mut world, mut items) = world_with_a_client().await;
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("INSERT INTO items VALUES (2, 2, 'missed by every slot')").await;
    world.server.restart().await;
    items.until("both rows", |rows| rows.len() == 2).await;
    assert_eq!(items.refetches, 0, "what no slot brought is found by comparing");
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    items.until("the stream goes on", |rows| rows.len() == 3).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_slot_dropped_behind_a_running_server_is_noticed() {
    let (world, mut items) = world_with_a_client().await;
    world.drop_slot().await;
    world.sql("INSERT INTO items VALUES (2, 2, 'missed')").await;
    items.until("both rows", |rows| rows.len() == 2).await;
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    items.until("the stream goes on", |rows| rows.len() == 3).await;
    assert_eq!(items.refetches, 0, "what no slot brought is found by comparing");
    world.compare_all(&mut [items]).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_slot_that_lost_its_wal_is_made_again_and_costs_no_handle() {
    let cluster =
        Arc::new(Cluster::own(Locale::CUtf8, &["max_slot_wal_keep_size=1MB", "max_wal_size=64MB"]));
    let (mut world, mut items) = world_in(Database::create(cluster).await).await;
    world.server.kill().await;
    world.sql("INSERT INTO items VALUES (2, 2, 'in WAL that is thrown away')").await;
    let status = format!(
        "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{}'",
        world.db.slot()
    );
    eventually("the slot is lost", async || {
        world.sql("CREATE TABLE IF NOT EXISTS noise (n int); INSERT INTO noise VALUES (1)").await;
        world.db.value("SELECT pg_switch_wal()").await;
        world.sql("CHECKPOINT").await;
        (world.db.value(&status).await == "lost").then_some(())
    })
    .await;
    world.server.restart().await;
    items.until("both rows", |rows| rows.len() == 2).await;
    assert_eq!(items.refetches, 0, "what was thrown away is found by comparing");
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    items.until("the stream goes on", |rows| rows.len() == 3).await;
    world.compare_all(&mut [items]).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_slot_made_again_by_somebody_else_skips_nothing() {
    let (world, mut items) = world_with_a_client().await;
    world.drop_slot().await;
    // Too soon for the server to look in between, or not: both are right.
    world.sql("INSERT INTO items VALUES (2, 2, 'before the slot of somebody else')").await;
    let again =
        format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.db.slot());
    _ = world.db.session().await.try_sql(&again).await;
    items.until("both rows", |rows| rows.len() == 2).await;
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.refetches, 0, "what no slot brought is found by comparing");
    world.verify_all(1).await;
}

/// It is ahead of all that is held: what was written before it comes from no slot.
#[tokio::test]
async fn a_slot_made_again_while_the_server_is_down_skips_nothing() {
    let (mut world, items) = world_with_a_client().await;
    let mut items = items.through_refetches();
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("INSERT INTO items VALUES (2, 2, 'before the slot of somebody else')").await;
    let again =
        format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.db.slot());
    world.sql(&again).await;
    world.sql("INSERT INTO items VALUES (3, 3, 'behind it')").await;
    // Twice, so that whatever was begun is gone on with.
    for _ in 0..2 {
        world.server.restart().await;
        world.server.kill().await;
    }
    world.server.restart().await;
    world.sql("INSERT INTO items VALUES (4, 4, 'x')").await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.rows().len(), 4);
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_table_taken_out_of_the_publication_while_the_server_is_down_is_not_served_stale() {
    let (mut world, mut items) = world_with_a_client().await;
    world.server.stop().await;
    world.sql(&format!("ALTER PUBLICATION {} DROP TABLE items", world.db.slot())).await;
    world.sql("INSERT INTO items VALUES (2, 2, 'decoded by nobody')").await;
    world.server.restart().await;
    items.until("both rows", |rows| rows.len() == 2).await;
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    items.until("the stream goes on", |rows| rows.len() == 3).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_table_that_was_out_of_the_publication_while_the_server_was_down_is_not_served_stale() {
    let (mut world, mut items) = world_with_a_client().await;
    let publication = world.db.slot();
    world.server.stop().await;
    world.sql(&format!("ALTER PUBLICATION {publication} DROP TABLE items")).await;
    world.sql("INSERT INTO items VALUES (2, 7, 'decoded by nobody')").await;
    world.sql(&format!("ALTER PUBLICATION {publication} ADD TABLE items")).await;
    world.server.restart().await;
    items.until("both rows", |rows| rows.len() == 2).await;
    // Under the new membership they stay what they are.
    let handle = items.handle.clone();
    world.server.stop().await;
    world.sql("INSERT INTO items VALUES (3, 7, 'x')").await;
    world.server.restart().await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.handle, handle);
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_table_that_was_out_of_the_publication_for_a_moment_is_not_served_stale() {
    let (world, mut items) = world_with_a_client().await;
    let publication = world.db.slot();
    let mut few = world.follow(Shape::of("items").filter("n = 7")).await.through_refetches();
    world.sql(&format!("ALTER PUBLICATION {publication} DROP TABLE items")).await;
    world.sql("INSERT INTO items VALUES (2, 7, 'decoded by nobody')").await;
    world.sql(&format!("ALTER PUBLICATION {publication} ADD TABLE items")).await;
    // One that is made meanwhile looks at the table itself, and finds nothing wrong.
    let mut new = world.follow(Shape::of("items").filter("n > 5")).await.through_refetches();
    few.until("the row that nobody decoded", |rows| rows.len() == 1).await;
    items.until("all rows", |rows| rows.len() == 2).await;
    world.sql("INSERT INTO items VALUES (3, 7, 'x')").await;
    new.until("the new row", |rows| rows.len() == 2).await;
    let position = world.mark().await;
    for follower in [&mut items, &mut few, &mut new] {
        world.compare(follower, position).await;
    }
    world.verify_all(3).await;
}

#[tokio::test]
async fn killed_before_it_looks_the_server_knows_that_a_table_was_out_of_the_publication() {
    let (mut world, mut items) = world_with_a_client().await;
    let publication = world.db.slot();
    world.sql(&format!("ALTER PUBLICATION {publication} DROP TABLE items")).await;
    world.sql("INSERT INTO items VALUES (2, 7, 'decoded by nobody')").await;
    // Publishes it again; what older shapes lack is found at the next look only.
    let few = world.client(Shape::of("items").filter("n = 7"));
    few.through_outages().through_refetches().until("the row", |rows| rows.len() == 1).await;
    world.server.kill().await;
    world.server.restart().await;
    items.until("both rows", |rows| rows.len() == 2).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_publication_dropped_behind_a_running_server_is_made_again() {
    let (world, mut items) = world_with_a_client().await;
    world.sql(&format!("DROP PUBLICATION {}", world.db.slot())).await;
    world.sql("INSERT INTO items VALUES (2, 2, 'x')").await;
    items.until("both rows", |rows| rows.len() == 2).await;
    world.sql("INSERT INTO items VALUES (3, 3, 'x')").await;
    items.until("the stream goes on", |rows| rows.len() == 3).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn an_identity_turned_away_from_full_never_makes_rows_wrong() {
    // Without the old row nobody can tell whether it was in the filter: the shape has to start anew.
    let (world, items) = world_with_a_client().await;
    let low = world
        .follow(Shape::of("items").filter("n < 10"))
        .await
        .through_outages()
        .through_refetches();
    world.sql("ALTER TABLE items REPLICA IDENTITY DEFAULT").await;
    world.sql("UPDATE items SET n = 20 WHERE id = 1; INSERT INTO items VALUES (2, 2, 'x')").await;
    world.sql("UPDATE items SET n = 21 WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    let mut followers = [items, low];
    world.compare_all(&mut followers).await;
    world.sql("UPDATE items SET n = 5").await;
    world.compare_all(&mut followers).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn a_publication_that_leaves_operations_out_is_refused_or_mended() {
    let db = Database::shared().await;
    db.sql(TABLE).await;
    db.sql(&format!("CREATE PUBLICATION {} WITH (publish = 'insert')", db.slot())).await;
    let process = Process::spawn(&mut Options { port: 0, ..Options::of(&db) }.command());
    eventually("it gives up with a reason, or it has mended the publication", async || {
        let output = process.output();
        let named = output.contains(&db.slot()) && output.to_lowercase().contains("delete");
        let mended = "SELECT count(*) FROM pg_publication WHERE pubdelete AND pubupdate AND pubtruncate AND pubname = '";
        let mended = db.value(&format!("{mended}{}'", db.slot())).await == "1";
        (named || mended).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_replication_connection_comes_back_by_itself() {
    let (world, items) = world_with_a_client().await;
    let mut followers = [items];
    for round in 2..5 {
        let cut =
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '";
        world.sql(&format!("{cut}{}'", world.db.slot())).await;
        world.sql(&format!("INSERT INTO items VALUES ({round}, {round}, 'x')")).await;
        world.compare_all(&mut followers).await;
        assert_eq!(followers[0].refetches, 0, "a lost connection is no reason to start anew");
        world.server.ready().await;
    }
    Request::get("/v1/health").send(world.server.address).await.unwrap().expect(200);
    world.verify_all(1).await;
}
