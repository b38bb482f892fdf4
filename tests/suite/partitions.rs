//! Partitioned tables: shapes of the whole, of a part, and what becomes of them when partitions come and go.

use crate::harness::{Cluster, Database, Follower, Locale, Shape, World, eventually};

/// Two levels, and a partition whose columns stand in another order.
async fn readings() -> World {
    let world = World::with(Database::shared().await, |_| {}).await;
    world
        .sql(
            "CREATE TABLE readings (id int, day int, body text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE early PARTITION OF readings FOR VALUES FROM (0) TO (10);
             CREATE TABLE late PARTITION OF readings FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
             CREATE TABLE late_odd PARTITION OF late FOR VALUES IN (1, 3, 5, 7, 9);
             CREATE TABLE late_even (body text, extra int, day int NOT NULL, id int NOT NULL);
             ALTER TABLE late_even DROP COLUMN extra, ADD PRIMARY KEY (id, day);
             ALTER TABLE late ATTACH PARTITION late_even FOR VALUES IN (0, 2, 4, 6, 8)",
        )
        .await;
    world
        .sql("INSERT INTO readings SELECT n % 10, n % 20, 'r' || n FROM generate_series(1, 20) n")
        .await;
    world
}

async fn follow_all(world: &World, shapes: &[&str]) -> Vec<Follower> {
    let mut followers = Vec::new();
    for shape in shapes {
        let follower = world.follow(Shape::of(shape)).await;
        followers.push(follower.through_refetches().through_outages());
    }
    followers
}

fn refetches(followers: &[Follower]) -> Vec<usize> {
    followers.iter().map(|follower| follower.refetches).collect()
}

const ALL: [&str; 5] = ["readings", "late", "early", "late_odd", "late_even"];

#[tokio::test]
async fn changes_reach_shapes_of_every_level() {
    let mut world = readings().await;
    let mut followers = follow_all(&world, &ALL).await;
    let filtered = Shape::of("readings").filter("body LIKE 'r1%'").columns("id, day, body");
    followers.push(world.follow(filtered).await.through_outages());
    for round in 0..2 {
        world.sql("UPDATE readings SET body = body || '!' WHERE id % 3 = 0").await;
        world.sql("INSERT INTO readings VALUES (1, 12, 'r1n'), (8, 19, 'r1e'), (3, 2, 'x') ON CONFLICT DO NOTHING").await;
        world.sql("DELETE FROM readings WHERE id = 4 AND day < 10").await;
        // Into another partition: a delete and an insert.
        world.sql("UPDATE readings SET day = day + 10 WHERE id = 5 AND day < 10 AND NOT EXISTS (SELECT FROM readings r WHERE r.id = 5 AND r.day = readings.day + 10)").await;
        world.compare_all(&mut followers).await;
        if round == 0 {
            world.server.kill().await;
            world.server.restart().await;
        }
    }
    assert_eq!(refetches(&followers), [0; 6]);
    let key = "\"public\".\"readings\"/\"1\"/\"12\"";
    assert!(followers[0].log.has_key(key), "keys bear the name that was asked for");
}

#[tokio::test]
async fn a_new_partition_is_a_part_of_the_whole_at_once() {
    let world = readings().await;
    let mut followers = follow_all(&world, &["readings", "early"]).await;
    world
        .sql("CREATE TABLE newest PARTITION OF readings FOR VALUES FROM (20) TO (30); INSERT INTO readings VALUES (1, 25, 'n')")
        .await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [0, 0]);
    // Its old rows are made complete behind it, so that updates need no new start either.
    eventually("the new partition's identity is full", async || {
        let found =
            world.db.value("SELECT relreplident FROM pg_class WHERE relname = 'newest'").await;
        (found == "f").then_some(())
    })
    .await;
    world.sql("UPDATE readings SET body = 'm' WHERE day = 25").await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [0, 0]);
}

#[tokio::test]
async fn an_update_of_a_partition_without_full_identity_starts_the_whole_again() {
    let world = readings().await;
    let mut followers = follow_all(&world, &["readings", "early"]).await;
    world
        .sql("CREATE TABLE newest PARTITION OF readings FOR VALUES FROM (20) TO (30); INSERT INTO readings VALUES (1, 25, 'n')")
        .await;
    world.sql("UPDATE readings SET body = 'm' WHERE day = 25").await;
    world.compare_all(&mut followers).await;
    assert!(followers[0].refetches <= 1);
    assert_eq!(followers[1].refetches, 0, "another partition's shape has nothing to do with it");
}

#[tokio::test]
async fn partitions_that_bring_or_take_rows_start_the_whole_again_and_no_other() {
    for change in [
        "CREATE TABLE brought (id int NOT NULL, day int NOT NULL, body text); INSERT INTO brought VALUES (7, 33, 'b'); ALTER TABLE readings ATTACH PARTITION brought FOR VALUES FROM (30) TO (40)",
        "ALTER TABLE late DETACH PARTITION late_odd",
        "DROP TABLE late_odd",
        "ALTER TABLE readings DETACH PARTITION late",
    ] {
        let world = readings().await;
        let mut followers = follow_all(&world, &["readings", "early"]).await;
        world.sql(change).await;
        let rows = world.db.value("SELECT count(*) FROM readings").await.parse::<usize>().unwrap();
        followers[0].until(change, |found| found.len() == rows).await;
        world.sql("UPDATE readings SET body = 'u' WHERE id < 5").await;
        world.compare_all(&mut followers).await;
        assert_eq!(refetches(&followers), [1, 0], "{change}");
    }
}

#[tokio::test]
async fn a_partition_dropped_while_the_server_is_down_is_missed() {
    let mut world = readings().await;
    let mut followers = follow_all(&world, &["readings", "early"]).await;
    // Its rows came through the stream, no snapshot has seen it.
    world
        .sql("CREATE TABLE newest PARTITION OF readings FOR VALUES FROM (20) TO (30); INSERT INTO readings VALUES (1, 25, 'n')")
        .await;
    world.compare_all(&mut followers).await;
    world.server.kill().await;
    world.sql("DROP TABLE newest").await;
    world.server.restart().await;
    let rows = world.db.value("SELECT count(*) FROM readings").await.parse::<usize>().unwrap();
    followers[0].until("the dropped rows are gone", |found| found.len() == rows).await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [1, 0]);
}

#[tokio::test]
async fn truncating_a_part_ends_it_and_the_whole_but_no_sibling() {
    let world = readings().await;
    let mut followers = follow_all(&world, &ALL).await;
    world.sql("TRUNCATE late_odd").await;
    world.sql("INSERT INTO readings VALUES (1, 15, 'again')").await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [1, 1, 0, 1, 0]);
    world.sql("TRUNCATE readings").await;
    world.sql("INSERT INTO readings VALUES (1, 15, 'again'), (2, 16, 'a'), (3, 3, 'b')").await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [2, 2, 1, 2, 1]);
}

#[tokio::test]
async fn a_partition_that_was_away_for_a_while_starts_the_whole_again() {
    let world = readings().await;
    let mut followers = follow_all(&world, &["readings", "early"]).await;
    // As bulk loads do it, in one transaction: the list of partitions is the same before and after.
    world
        .sql(
            "ALTER TABLE readings DETACH PARTITION late; UPDATE late SET body = 'unseen'; \
             DELETE FROM late WHERE id = 1; ALTER TABLE readings ATTACH PARTITION late FOR VALUES FROM (10) TO (20)",
        )
        .await;
    let truth = world.truth(&Shape::of("readings")).await;
    followers[0].until("what was written while away", |rows| rows == truth).await;
    world.compare_all(&mut followers).await;
    assert_eq!(refetches(&followers), [1, 0]);
}

#[tokio::test]
async fn a_partition_whose_changes_are_not_streamed_ends_the_whole() {
    for change in [
        "CREATE UNLOGGED TABLE loose PARTITION OF readings FOR VALUES FROM (20) TO (30); INSERT INTO readings VALUES (1, 25, 'u')",
        "ALTER TABLE late_odd SET UNLOGGED; UPDATE late_odd SET body = 'unseen'",
    ] {
        let world = readings().await;
        let whole = world.follow(Shape::of("readings")).await;
        world.sql(change).await;
        let answer = eventually(change, async || {
            let answer = world.get(&whole.target(false)).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        assert!(matches!(answer.status, 400 | 409), "{change}: {}", answer.shown());
        let refused = world.get("/v1/shape?table=readings&offset=-1").await.expect(400);
        assert!(refused.text().contains("foreign or unlogged"), "{}", refused.shown());
    }
}

#[tokio::test]
async fn a_new_partition_whose_commit_is_streamed_before_it_is_visible_is_not_lost() {
    let world =
        World::with(Database::create(Cluster::own(Locale::CUtf8, &[]).into()).await, |_| {}).await;
    world
        .sql(
            "CREATE TABLE readings (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE early PARTITION OF readings FOR VALUES FROM (0) TO (10);
             CREATE TABLE other (id int PRIMARY KEY); INSERT INTO readings VALUES (1, 1)",
        )
        .await;
    let mut followers = follow_all(&world, &["readings", "early", "other"]).await;
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    world.sql("SELECT pg_reload_conf()").await;
    let waiting = world.db.session().await;
    let waiting = tokio::spawn(async move {
        waiting
            .sql("CREATE TABLE later PARTITION OF readings FOR VALUES FROM (10) TO (20); INSERT INTO readings VALUES (2, 12)")
            .await;
    });
    eventually("the commit waits for its standby", async || {
        let session = world.db.session().await;
        let count = session
            .value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            .await;
        (count == "1").then_some(())
    })
    .await;
    // Another table's commit does not wait: once it has arrived, what waits has been streamed, too.
    let session = world.db.session().await;
    session.sql("SET synchronous_commit = local").await;
    session.sql("INSERT INTO other VALUES (3)").await;
    followers[2].until_count(1).await;
    session.sql("ALTER SYSTEM RESET synchronous_standby_names").await;
    session.sql("SELECT pg_reload_conf()").await;
    waiting.await.unwrap();
    let truth = world.truth(&Shape::of("readings")).await;
    followers[0].until("the new partition's row", |rows| rows == truth).await;
    world.sql("UPDATE readings SET id = id + 100").await;
    world.compare_all(&mut followers).await;
    assert_eq!(followers[1].refetches, 0);
}

#[tokio::test]
async fn a_partition_whose_commit_was_not_visible_is_not_joined_without_its_rows_after_a_reconnect()
{
    let world =
        World::with(Database::create(Cluster::own(Locale::CUtf8, &[]).into()).await, |_| {}).await;
    world
        .sql(
            "CREATE TABLE readings (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE other (id int PRIMARY KEY)",
        )
        .await;
    let mut followers = follow_all(&world, &["readings", "other"]).await;
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    world.sql("SELECT pg_reload_conf()").await;
    let waiting = world.db.session().await;
    let waiting = tokio::spawn(async move {
        waiting
            .sql("CREATE TABLE later PARTITION OF readings FOR VALUES FROM (10) TO (20); INSERT INTO readings VALUES (2, 12)")
            .await;
    });
    let session = world.db.session().await;
    session.sql("SET synchronous_commit = local").await;
    eventually("the commit waits for its standby", async || {
        let count = session
            .value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            .await;
        (count == "1").then_some(())
    })
    .await;
    session.sql("INSERT INTO other VALUES (3)").await;
    followers[1].until_count(1).await;
    // It has been streamed, is durable, and will not come again.
    let passed = world.db.position().await;
    session.sql("INSERT INTO other VALUES (4)").await;
    world.db.confirms(passed).await;
    let (before, cut) = (
        world.server.logs().matches("replication is running").count(),
        format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{}'",
            world.db.slot()
        ),
    );
    session.sql(&cut).await;
    eventually("the stream is connected again", async || {
        let now = world.server.logs().matches("replication is running").count();
        (now > before).then_some(())
    })
    .await;
    session.sql("ALTER SYSTEM RESET synchronous_standby_names").await;
    session.sql("SELECT pg_reload_conf()").await;
    waiting.await.unwrap();
    world.sql("INSERT INTO readings VALUES (4, 14)").await;
    world.compare_all(&mut followers).await;
    world.verify_all(2).await;
}
