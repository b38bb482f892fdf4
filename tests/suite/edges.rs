//! Where our own batches end, and what is held up: transactions of every size, a stream that waits longer
//! than Postgres is patient.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Database, Follower, Locale, Shape, World, eventually_within};

const PATIENCE: Duration = Duration::from_secs(180);

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, body text)";

/// Numbers just below, at and just above these, and twice as many.
fn around(edges: &[usize]) -> impl Iterator<Item = usize> {
    edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1, 2 * edge])
}

#[tokio::test]
async fn transactions_just_below_at_and_above_every_inner_batch_arrive_whole() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    let mut followers = vec![
        world.follow(Shape::of("items")).await,
        world.follow(Shape::of("items").filter("n % 2 = 0")).await,
    ];
    let mut first = 0;
    // Changes of an index entry, of a block of postings or of a sealed file.
    for count in around(&[64, 4096]) {
        let last = first + count;
        world
            .sql(&format!(
                "INSERT INTO items SELECT g, g, 'x' FROM generate_series({first} + 1, {last}) g"
            ))
            .await;
        world.sql(&format!("UPDATE items SET n = n + 1 WHERE id > {first}")).await;
        if count % 2 == 0 {
            world.sql(&format!("DELETE FROM items WHERE id > {first} AND id % 3 = 0")).await;
        }
        first = last;
    }
    compare(&mut world, &mut followers).await;
    // Bytes of a piece of a body, of a row-wise index entry, of a slice of the stream.
    for bytes in around(&[8 << 10, 64 << 10, 1 << 20]) {
        first += 1;
        world.sql(&format!("INSERT INTO items VALUES ({first}, 2, repeat('y', {bytes}))")).await;
        world.sql(&format!("BEGIN; UPDATE items SET n = 3 WHERE id = {first}; INSERT INTO items SELECT {first} + g, g, repeat('z', {bytes} / 100) FROM generate_series(1, 100) g; COMMIT")).await;
        first += 100;
    }
    compare(&mut world, &mut followers).await;
    // Transactions that wait together.
    for count in around(&[1024]) {
        let held = world.hold_stream().await;
        world.sql(&format!("DO $$ BEGIN FOR i IN 1..{count} LOOP UPDATE items SET n = i WHERE id = 1 + i % 50; COMMIT; END LOOP; END $$")).await;
        drop(held);
    }
    compare(&mut world, &mut followers).await;
}

/// Those who came along and new ones, before and after a kill.
async fn compare(world: &mut World, followers: &mut [Follower]) {
    for killed in [false, true] {
        if killed {
            world.server.crash().await;
        }
        let position = world.mark().await;
        for follower in followers.iter_mut() {
            world.compare(follower, position).await;
            let mut new = world.follow(follower.shape.clone()).await;
            world.compare(&mut new, position).await;
        }
    }
}

/// Waits for more than the usual while.
async fn reached(follower: &mut Follower, position: u64) {
    eventually_within(PATIENCE, "the stream to come as far", async || {
        follower.catch_up().await;
        (follower.log.seen >= position).then_some(())
    })
    .await;
}

#[tokio::test]
async fn held_up_for_longer_than_the_sender_is_patient_the_stream_stays_connected() {
    const SENDER: Duration = Duration::from_secs(3);
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["wal_sender_timeout=3s"]));
    let world = World::with(Database::create(cluster).await, |_| {}).await;
    world.sql(TABLE).await;
    let mut followers = Vec::new();
    // Something that takes its time for every row.
    for number in 0..20 {
        let filter =
            format!("body LIKE '%a%b%c{number}%' OR body LIKE '%z%y%x%' OR n % 500 = {number}");
        followers.push(world.follow(Shape::of("items").filter(&filter)).await);
    }
    let sender = "SELECT pid::text FROM pg_stat_replication WHERE application_name <> 'none'";
    let connection = world.db.value(sender).await;
    let mut rows = 6_000;
    loop {
        let begun = Instant::now();
        world.sql(&format!("INSERT INTO items SELECT g, g, repeat('ab', 4000) FROM generate_series(1, {rows}) g")).await;
        let written = Instant::now();
        let position = world.mark().await;
        for follower in &mut followers {
            reached(follower, position).await;
        }
        println!(
            "{rows} rows: written in {:?}, there after {:?}",
            written - begun,
            written.elapsed()
        );
        if written.elapsed() > 3 * SENDER {
            break;
        }
        // Not slow enough to show anything.
        world.sql("TRUNCATE items").await;
        for follower in &mut followers {
            *follower = world.follow(follower.shape.clone()).await;
        }
        rows *= 2;
    }
    world.compare_all(&mut followers).await;
    assert_eq!(world.db.value(sender).await, connection, "another connection");
    assert!(!world.server.logs().contains("replication stopped"), "it was interrupted");
}
