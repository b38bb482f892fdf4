//! Random changes of tables between random writes: every shape has the right rows or starts again, never old ones.
//!
//! One table is plain, one partitioned. Followers of all columns, of listed ones, of a filter and of one partition live
//! through everything; the server is killed now and then. Who had to start again is printed, not judged: that is the
//! business of the tests that make one change each.

use std::time::{Duration, Instant};

use crate::harness::{Database, Follower, Rng, Shape, World, size};

const STEPS: usize = 25;

#[tokio::test]
async fn random_changes_of_tables_never_leave_old_rows() {
    let mut rng = Rng::for_test("migrations");
    for round in 0..size("BROOKLET_TEST_ROUNDS", 1) {
        let world = World::with(Database::shared().await, |_| {}).await;
        let (steps, refetches, followers) = play(world, &mut rng).await;
        println!(
            "round {}: {steps} steps, {refetches} new starts of {followers} followers",
            round + 1
        );
    }
}

/// The columns beside `id`, `kept` and `day`, by number.
struct Extra {
    alive: Vec<usize>,
    next: usize,
    partitions: Vec<usize>,
}

async fn play(mut world: World, rng: &mut Rng) -> (usize, usize, usize) {
    world
        .sql(
            "CREATE TABLE plain (id int PRIMARY KEY, c0 text, kept int, c1 text, day int);
             CREATE TABLE whole (id int, c0 text, kept int, c1 text, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
             CREATE TABLE part0 PARTITION OF whole FOR VALUES IN (0);
             CREATE TABLE part1 PARTITION OF whole FOR VALUES IN (1)",
        )
        .await;
    let mut extra = Extra { alive: vec![0, 1], next: 2, partitions: vec![0, 1] };
    let mut followers = Vec::new();
    for shape in [
        Shape::of("plain"),
        Shape::of("plain").columns("id, kept"),
        Shape::of("plain").columns("id, day").filter("kept > 5"),
        Shape::of("whole"),
        Shape::of("whole").columns("id, day, kept"),
        Shape::of("whole").columns("id, day").filter("kept > 5 OR kept IS NULL"),
        Shape::of("part0").columns("id, day, kept"),
    ] {
        followers.push(world.follow(shape).await.through_refetches().through_outages());
    }
    for _ in 0..STEPS {
        for _ in 0..rng.between(0, 2) {
            write(&world, &extra, rng).await;
        }
        change(&world, &mut extra, rng).await;
        if rng.percent(15) {
            world.server.crash().await;
        }
        if rng.percent(40) {
            write(&world, &extra, rng).await;
            settle(&world, &mut followers).await;
        }
    }
    settle(&world, &mut followers).await;
    (STEPS, followers.iter().map(|follower| follower.refetches).sum(), followers.len())
}

/// Every follower must have what Postgres has. What no write announces takes until the next look at the catalogue.
async fn settle(world: &World, followers: &mut [Follower]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    for follower in followers {
        loop {
            follower.reach(world.mark().await).await;
            let truth = world.truth(&follower.shape).await;
            if follower.rows() == truth {
                break;
            }
            let rows = follower.rows();
            assert!(
                Instant::now() < deadline,
                "{}\nPostgres: {truth:#?}\nthe client: {rows:#?}",
                follower.shape.sql()
            );
        }
    }
}

async fn write(world: &World, extra: &Extra, rng: &mut Rng) {
    let table = *rng.pick(&["plain", "whole"]);
    let days = if table == "plain" { vec![0, 1, 2] } else { extra.partitions.clone() };
    let (id, day, kept) = (rng.below(30), *rng.pick(&days), rng.below(12));
    let sql = match rng.below(5) {
        0 | 1 => format!(
            "INSERT INTO {table} (id, day, kept) VALUES ({id}, {day}, {kept}) ON CONFLICT DO NOTHING"
        ),
        2 => format!("UPDATE {table} SET kept = nullif({kept}, 3) WHERE id % 4 = {}", id % 4),
        3 => format!("DELETE FROM {table} WHERE id = {id}"),
        _ => match rng.pick(&[extra.alive.first(), extra.alive.last()]) {
            Some(column) => {
                format!("UPDATE {table} SET c{column} = 'v{kept}' WHERE id % 3 = {}", id % 3)
            }
            None => return,
        },
    };
    world.sql(&sql).await;
}

async fn change(world: &World, extra: &mut Extra, rng: &mut Rng) {
    let both = |change: &str| format!("ALTER TABLE plain {change}; ALTER TABLE whole {change}");
    let (next, some) = (extra.next, extra.alive.get(rng.below(extra.alive.len().max(1))).copied());
    let sql = match (rng.below(11), some) {
        (0 | 1, _) => {
            extra.alive.push(next);
            extra.next += 1;
            both(&format!("ADD COLUMN c{next} text DEFAULT 'd'"))
        }
        (2 | 3, Some(gone)) => {
            extra.alive.retain(|column| *column != gone);
            both(&format!("DROP COLUMN c{gone}"))
        }
        (4, Some(renamed)) => {
            extra.alive.retain(|column| *column != renamed);
            extra.alive.push(next);
            extra.next += 1;
            both(&format!("RENAME COLUMN c{renamed} TO c{next}"))
        }
        (5, Some(same)) => both(&format!("DROP COLUMN c{same}, ADD COLUMN c{same} text")),
        (6, Some(typed)) => both(&format!("ALTER COLUMN c{typed} TYPE varchar(50)")),
        (7, _) => {
            extra.partitions.push(next + 2);
            extra.next += 1;
            format!(
                "CREATE TABLE part{0} PARTITION OF whole FOR VALUES IN ({0}); INSERT INTO whole (id, day) VALUES (1, {0})",
                next + 2
            )
        }
        (8, _) if extra.partitions.len() > 2 => {
            let gone = extra.partitions.remove(2);
            match rng.below(2) {
                0 => format!("DROP TABLE part{gone}"),
                _ => format!("ALTER TABLE whole DETACH PARTITION part{gone}"),
            }
        }
        (9, _) => {
            let day = next + 2;
            extra.partitions.push(day);
            extra.next += 1;
            format!(
                "CREATE TABLE part{day} (LIKE whole INCLUDING INDEXES); INSERT INTO part{day} (id, day) VALUES (2, {day}); ALTER TABLE whole ATTACH PARTITION part{day} FOR VALUES IN ({day})"
            )
        }
        (10, _) => "ALTER TABLE plain REPLICA IDENTITY DEFAULT".to_owned(),
        _ => "TRUNCATE part0".to_owned(),
    };
    world.sql(&sql).await;
}
