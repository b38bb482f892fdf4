//! What is kept for subqueries outlives a restart: nobody is asked for it again.

use std::path::PathBuf;

use crate::harness::{Follower, Session, Shape, World};

const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, active bool NOT NULL);
     CREATE TABLE child (id int PRIMARY KEY, parent_id int, n int NOT NULL DEFAULT 0);
     INSERT INTO parent SELECT g, g % 2 = 0 FROM generate_series(1, 10) g;
     INSERT INTO child SELECT g, g % 12 FROM generate_series(1, 60) g";

async fn world() -> (World, Follower) {
    let world = World::new().await;
    world.sql(TABLES).await;
    let shape = Shape::of("child").filter("parent_id IN (SELECT id FROM parent WHERE active)");
    let mut follower = world.client(shape).through_outages();
    follower.catch_up().await;
    (world, follower)
}

/// Nobody can read the table any more, nor lock it to do so.
async fn locked(world: &World, table: &str) -> Session {
    let session = world.db.session().await;
    session.sql(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
    session
}

async fn until_there(follower: &mut Follower, id: &str) {
    let there =
        |rows: &[crate::harness::Row]| rows.iter().any(|row| row["id"].as_deref() == Some(id));
    follower.until(&format!("{id} is there"), there).await;
}

fn kept(world: &World) -> PathBuf {
    world.server.storage().join("brooklet/epoch-1/members/kept.rows")
}

/// A server that had to read the table would wait for the lock, and the shape with it.
#[tokio::test]
async fn a_restart_reads_no_table() {
    let (mut world, mut follower) = world().await;
    let handle = follower.handle.clone();
    world.server.stop().await;
    world.sql("UPDATE parent SET active = true WHERE id = 3").await;
    let lock = locked(&world, "parent").await;
    world.server.restart().await;
    world.sql("INSERT INTO child VALUES (100, 3), (101, 5)").await;
    until_there(&mut follower, "100").await;
    lock.sql("ROLLBACK").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    // What the last checkpoint lacks is in the change log, and in the shape's log.
    world
        .sql("UPDATE child SET parent_id = 7 WHERE id = 101; DELETE FROM child WHERE id = 12; UPDATE parent SET active = NOT active WHERE id < 3")
        .await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    world.server.kill().await;
    let lock = locked(&world, "child").await;
    world.server.restart().await;
    world.sql("UPDATE parent SET active = true WHERE id = 7").await;
    until_there(&mut follower, "101").await;
    lock.sql("ROLLBACK").await;
    world.sql("UPDATE parent SET active = NOT active; UPDATE child SET n = n + 1").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.handle, handle);
}

/// A shape that came after the checkpoint needs rows that it lacks; of the others none is read.
#[tokio::test]
async fn rows_that_a_checkpoint_lacks_are_read() {
    let (mut world, follower) = world().await;
    world.sql("CREATE TABLE other (id int PRIMARY KEY)").await;
    world.server.stop().await;
    world.server.restart().await;
    let new = Shape::of("child").filter("n IN (SELECT id FROM other)");
    let mut followers = [follower, world.client(new).through_outages()];
    world.sql("INSERT INTO other VALUES (0); UPDATE child SET n = 1 WHERE id = 2").await;
    world.compare_all(&mut followers).await;
    world.server.kill().await;
    let lock = locked(&world, "parent").await;
    world.server.restart().await;
    world.sql("INSERT INTO other VALUES (1); INSERT INTO child VALUES (200, 4, 1)").await;
    for follower in &mut followers {
        until_there(follower, "200").await;
    }
    lock.sql("ROLLBACK").await;
    world.compare_all(&mut followers).await;
}

#[tokio::test]
async fn of_a_broken_checkpoint_nothing_is_used() {
    let (mut world, mut follower) = world().await;
    for round in 0..4 {
        world.server.stop().await;
        let bytes = std::fs::read(kept(&world)).unwrap();
        let mut broken = bytes.clone();
        let said = match round {
            0 => {
                // In the last rows.
                let at = broken.len() - 30;
                broken[at] ^= 1;
                "is of no use"
            }
            1 => {
                broken.truncate(bytes.len() - 17);
                "is of no use"
            }
            2 => {
                // Another version.
                broken[8] ^= 1;
                "no checkpoint"
            }
            _ => {
                broken.truncate(20);
                "no checkpoint"
            }
        };
        std::fs::write(kept(&world), broken).unwrap();
        let before = world.server.logs().matches(said).count();
        world.server.restart().await;
        world
            .sql("UPDATE parent SET active = NOT active; UPDATE child SET n = n + 1 WHERE id < 9")
            .await;
        world.compare_all(std::slice::from_mut(&mut follower)).await;
        let now = world.server.logs().matches(said).count();
        assert!(now > before, "round {round}: nothing was said");
    }
}

/// One that is older than what the change log still has row by row, or of shapes that are gone.
#[tokio::test]
async fn of_an_old_checkpoint_nothing_is_used() {
    let (mut world, follower) = world().await;
    world.server.stop().await;
    let old = std::fs::read(kept(&world)).unwrap();
    world.server.restart().await;
    let mut followers = [follower.through_refetches()];
    // The shape ends, and begins anew behind it.
    world.sql("TRUNCATE child; INSERT INTO child VALUES (1, 2), (2, 3)").await;
    world.compare_all(&mut followers).await;
    world.server.stop().await;
    std::fs::write(kept(&world), old).unwrap();
    world.server.restart().await;
    world.sql("UPDATE parent SET active = NOT active").await;
    world.compare_all(&mut followers).await;
    assert_eq!(followers[0].refetches, 1);
}
