//! Tables that change while shapes are followed: which shapes stay, which end, and that none is silently stale.

use crate::harness::{Database, Follower, Shape, World, eventually};

async fn items() -> World {
    let world = World::with(Database::shared().await, |_| {}).await;
    world
        .sql("CREATE TABLE items (id int PRIMARY KEY, gone text, kept text NOT NULL, note text)")
        .await;
    world.sql("INSERT INTO items SELECT n, 'g', 'k', 'n' FROM generate_series(1, 20) n").await;
    world
}

/// Runs a change of the table between writes; returns how often each follower had to start again.
async fn through(world: &World, followers: &mut [Follower], change: &str) -> Vec<usize> {
    let writes = |n: u32| {
        format!(
            "INSERT INTO items (id, kept) VALUES ({}, 'new') ON CONFLICT DO NOTHING; UPDATE items SET kept = kept || 'x' WHERE id % 7 = {}; DELETE FROM items WHERE id = {n}",
            100 + n,
            n % 7
        )
    };
    world.sql(&writes(1)).await;
    world.sql(change).await;
    world.sql(&writes(2)).await;
    world.compare_all(followers).await;
    world.sql(&writes(3)).await;
    world.compare_all(followers).await;
    followers.iter().map(|follower| follower.refetches).collect()
}

async fn follow(world: &World, shape: Shape) -> Follower {
    world.follow(shape).await.through_refetches().through_outages()
}

#[tokio::test]
async fn shapes_of_listed_columns_outlive_changes_of_other_columns() {
    for change in [
        "ALTER TABLE items ADD COLUMN more int DEFAULT 7",
        "ALTER TABLE items DROP COLUMN gone",
        "ALTER TABLE items RENAME COLUMN gone TO went",
        "ALTER TABLE items ALTER COLUMN gone TYPE varchar(9)",
        "ALTER TABLE items DROP COLUMN gone, ADD COLUMN more text, DROP COLUMN note; ALTER TABLE items ADD COLUMN gone int",
    ] {
        let mut world = items().await;
        let filtered = Shape::of("items").columns("id, kept").filter("kept LIKE 'k%' OR id > 100");
        let mut followers = [
            follow(&world, Shape::of("items").columns("id, kept")).await,
            follow(&world, filtered).await,
        ];
        let refetches = through(&world, &mut followers, change).await;
        assert_eq!(refetches, [0, 0], "{change}");
        // A restart reads rows from before and after the change with the same places.
        world.server.kill().await;
        world.server.restart().await;
        let again = through(&world, &mut followers, "SELECT 1").await;
        assert_eq!(again, [0, 0], "{change}, after a restart");
        let late = Shape::of("items").columns("id, kept").filter("id > 0");
        let mut late = [follow(&world, late).await];
        world.compare_all(&mut late).await;
    }
}

#[tokio::test]
async fn shapes_that_use_a_changed_column_or_all_of_them_start_again() {
    for (change, shape) in [
        ("ALTER TABLE items ADD COLUMN more int", Shape::of("items")),
        ("ALTER TABLE items DROP COLUMN gone", Shape::of("items")),
        ("ALTER TABLE items RENAME COLUMN note TO remark", Shape::of("items")),
        (
            "ALTER TABLE items ALTER COLUMN kept TYPE varchar(40)",
            Shape::of("items").columns("id, kept"),
        ),
        (
            "ALTER TABLE items ALTER COLUMN note TYPE varchar(40)",
            Shape::of("items").columns("id, kept").filter("note = 'n' OR note IS NULL"),
        ),
    ] {
        let world = items().await;
        let mut followers = [follow(&world, shape).await];
        let refetches = through(&world, &mut followers, change).await;
        assert_eq!(refetches, [1], "{change}");
    }
}

#[tokio::test]
async fn a_column_that_is_dropped_and_added_again_is_another_one() {
    let world = items().await;
    let mut followers = [follow(&world, Shape::of("items").columns("id, note")).await];
    // The stream announces the same names and types; only the catalogue tells them apart.
    world.sql("ALTER TABLE items DROP COLUMN note; ALTER TABLE items ADD COLUMN note text").await;
    followers[0]
        .until("the note is gone", |rows| rows.iter().all(|row| row["note"].is_none()))
        .await;
    world.compare_all(&mut followers).await;
    assert_eq!(followers[0].refetches, 1);
}

#[tokio::test]
async fn a_null_where_there_was_none_comes_with_another_schema() {
    let world = items().await;
    let mut followers = [follow(&world, Shape::of("items").columns("id, kept")).await];
    world.sql("ALTER TABLE items ALTER COLUMN kept DROP NOT NULL").await;
    world.sql("UPDATE items SET kept = NULL WHERE id = 5").await;
    world.compare_all(&mut followers).await;
    assert_eq!(followers[0].refetches, 1, "clients were told that the column is never null");
}

#[tokio::test]
async fn an_identity_that_is_no_longer_full_is_noticed_and_mended() {
    let world = items().await;
    let mut followers = [follow(&world, Shape::of("items").filter("kept = 'k'")).await];
    let change = "ALTER TABLE items REPLICA IDENTITY DEFAULT";
    assert_eq!(through(&world, &mut followers, change).await, [1]);
    let identity =
        world.db.value("SELECT relreplident FROM pg_class WHERE relname = 'items'").await;
    assert_eq!(identity, "f", "the new shape's table was not prepared again");
}

#[tokio::test]
async fn a_table_that_is_rewritten_while_snapshots_are_taken_is_never_empty_to_them() {
    let world = items().await;
    let session = world.db.session().await;
    let (done, stop) = tokio::sync::oneshot::channel::<()>();
    let rewriting = tokio::spawn(async move {
        let (mut stop, mut count) = (stop, 0);
        while stop.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            session
                .sql("ALTER TABLE items ADD COLUMN rewrite uuid DEFAULT gen_random_uuid()")
                .await;
            session.sql("ALTER TABLE items DROP COLUMN rewrite").await;
            count += 1;
        }
        count
    });
    let mut followers = Vec::new();
    for n in 1..20 {
        let shape = Shape::of("items").columns("id, kept").filter(&format!("id > -{n}"));
        let mut follower = world.client(shape).through_outages().through_refetches();
        follower.catch_up().await;
        followers.push(follower);
    }
    done.send(()).unwrap();
    assert!(rewriting.await.unwrap() > 3, "the table was hardly rewritten");
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn a_renamed_label_of_an_enum_starts_its_shapes_again() {
    let world = items().await;
    world.sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); ALTER TABLE items ADD COLUMN mood mood DEFAULT 'ok'").await;
    let shape = Shape::of("items").columns("id, mood").filter("mood = 'ok'");
    let mut followers = [follow(&world, shape).await];
    let other = Shape::of("items").columns("id, kept");
    let mut untouched = [follow(&world, other).await];
    let mut shown = [follow(&world, Shape::of("items").columns("id, mood")).await];
    world.sql("ALTER TYPE mood ADD VALUE 'good' BEFORE 'ok'").await;
    world.sql("UPDATE items SET mood = 'good' WHERE id = 9").await;
    world.compare_all(&mut shown).await;
    assert_eq!(shown[0].refetches, 0, "a new label changes no row");
    world.sql("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'; ALTER TYPE mood RENAME VALUE 'sad' TO 'ok'").await;
    followers[0].until("nobody is ok any more", |rows| rows.is_empty()).await;
    world.sql("UPDATE items SET mood = 'ok' WHERE id < 3").await;
    world.compare_all(&mut followers).await;
    world.compare_all(&mut untouched).await;
    assert!(followers[0].refetches > 0);
    assert_eq!(untouched[0].refetches, 0);
}

#[tokio::test]
async fn a_column_of_another_collation_starts_its_shapes_again() {
    let world = items().await;
    world.sql("ALTER TABLE items ADD COLUMN name text COLLATE \"POSIX\" DEFAULT 'b'").await;
    let shape = Shape::of("items").columns("id, name").filter("name < 'c'");
    let mut followers = [follow(&world, shape).await];
    let mut untouched = [follow(&world, Shape::of("items").columns("id, kept")).await];
    // Postgres announces the very same columns as before.
    world.sql("ALTER TABLE items ALTER COLUMN name TYPE text COLLATE \"C\"").await;
    eventually("the shape to begin anew", async || {
        followers[0].catch_up().await;
        (followers[0].refetches > 0).then_some(())
    })
    .await;
    world.sql("UPDATE items SET name = 'd' WHERE id < 3").await;
    world.compare_all(&mut followers).await;
    world.compare_all(&mut untouched).await;
    assert_eq!(untouched[0].refetches, 0);
}
