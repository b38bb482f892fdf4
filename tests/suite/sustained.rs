//! What goes on and on: WAL of tables that nobody follows, bulk writes to tables that many follow, rows that
//! have come and gone.

use std::sync::Arc;

use crate::harness::postgres::free_port;
use crate::harness::{
    Cluster, Database, Follower, Locale, Options, Request, Shape, World, eventually, size,
};

const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, active bool NOT NULL);
     CREATE TABLE child (id int PRIMARY KEY, parent_id int, body text)";

const SUBQUERY: &str = "parent_id IN (SELECT id FROM parent WHERE active)";

/// A world whose server tells its metrics, and where.
async fn measured(db: Database) -> (World, u16) {
    let port = free_port();
    let world = World::with(db, |options: &mut Options| {
        options.arguments = vec!["--prometheus-port".into(), port.to_string()];
    })
    .await;
    (world, port)
}

async fn metric(port: u16, name: &str) -> f64 {
    let metrics = Request::get("/metrics").send(([127, 0, 0, 1], port).into()).await.unwrap();
    let text = metrics.text();
    let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn wal_of_tables_that_nobody_follows_is_not_kept() {
    let megabytes = size("BROOKLET_TEST_WAL_MB", 160);
    let settings = ["min_wal_size=32MB", "max_wal_size=48MB"];
    let world = World::with(
        Database::create(Arc::new(Cluster::own(Locale::CUtf8, &settings))).await,
        |_| {},
    )
    .await;
    world.sql(TABLES).await;
    world.sql("CREATE TABLE noise (body text)").await;
    let mut idle = world.follow(Shape::of("child")).await;
    let kept = "SELECT (sum(size) / 1048576)::int FROM pg_ls_waldir()";
    let (before, mut most) = (world.db.position().await, 0);
    while world.db.position().await < before + ((megabytes as u64) << 20) {
        world
            .sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 15000)")
            .await;
        let written = world.db.position().await;
        let slot = format!(
            "SELECT restart_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
            world.db.slot()
        );
        // The slot may give WAL up as far as the last checkpoint that it has passed.
        eventually("the slot to come to the end", async || {
            world.sql("CHECKPOINT").await;
            (world.db.value(&slot).await.parse::<u64>().unwrap() >= written).then_some(())
        })
        .await;
        most = most.max(world.db.value(kept).await.parse::<usize>().unwrap());
    }
    println!("{megabytes} MiB of WAL, {most} MiB kept at most");
    assert!(most <= 96, "{most} MiB of WAL are kept");
    world.sql("INSERT INTO child VALUES (1, 1, 'x')").await;
    let position = world.mark().await;
    world.compare(&mut idle, position).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn bulk_writes_to_followed_tables_reset_nobody_and_ask_postgres_nothing() {
    let rounds = size("BROOKLET_TEST_BULK_ROUNDS", 4);
    let settings = ["log_statement=all", "log_line_prefix=%a "];
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &settings));
    let world = World::with(Database::create(Arc::clone(&cluster)).await, |_| {}).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent SELECT g, g % 2 = 0 FROM generate_series(1, 20) g").await;
    world.sql("INSERT INTO child SELECT g, g % 25, 'x' FROM generate_series(1, 2000) g").await;
    let filters = [
        SUBQUERY,
        "NOT (parent_id IN (SELECT id FROM parent WHERE active))",
        "parent_id = 7",
        "body LIKE 'y%'",
        "id % 3 = 0",
    ];
    let mut followers: Vec<Follower> = Vec::new();
    for filter in filters {
        followers.push(world.follow(Shape::of("child").filter(filter)).await);
    }
    let handles: Vec<String> = followers.iter().map(|follower| follower.handle.clone()).collect();
    let asked_for_snapshots = asked(&cluster);
    assert!(asked_for_snapshots.len() >= followers.len(), "the log does not show what is asked");
    for round in 0..rounds {
        let first = 10_000 + round * 2000;
        world
            .sql(&format!("INSERT INTO child SELECT g, g % 25, 'y' || g FROM generate_series({first}, {first} + 1999) g"))
            .await;
        for follower in &mut followers {
            follower.catch_up().await;
        }
    }
    for _ in 0..rounds {
        world.sql("UPDATE parent SET active = NOT active; UPDATE child SET parent_id = (parent_id + 1) % 25, body = 'z' || body WHERE id % 2 = 0").await;
        for follower in &mut followers {
            follower.catch_up().await;
        }
    }
    world.compare_all(&mut followers).await;
    assert_eq!(asked(&cluster), asked_for_snapshots, "Postgres was asked for rows again");
    let after: Vec<String> = followers.iter().map(|follower| follower.handle.clone()).collect();
    assert_eq!(after, handles, "somebody was made to begin anew");
    world.verify_all(5).await;
}

/// What our server has sent to Postgres that names one of the tables.
fn asked(cluster: &Cluster) -> Vec<String> {
    let ours = |line: &&str| line.starts_with("brooklet ");
    let about = |line: &&str| line.contains("parent") || line.contains("child");
    cluster.log().lines().filter(ours).filter(about).map(str::to_owned).collect()
}

#[tokio::test]
async fn rows_that_have_gone_take_no_memory_though_nothing_more_is_written() {
    let (world, port) = measured(Database::shared().await).await;
    world.sql(TABLES).await;
    world.sql("INSERT INTO parent VALUES (1, true); INSERT INTO child VALUES (1, 1, 'x')").await;
    let mut follower = world.follow(Shape::of("child").filter(SUBQUERY)).await;
    let bytes = async || metric(port, "brooklet_subquery_bytes").await;
    let before = bytes().await;
    assert!(before > 0.0, "the metric is not there");
    world.sql("INSERT INTO parent SELECT g, true FROM generate_series(2, 5000) g; INSERT INTO child SELECT g, g % 5000, repeat('x', 100) FROM generate_series(2, 20000) g").await;
    follower.reach(world.mark().await).await;
    let most = bytes().await;
    assert!(most > before + 1e6, "{before} bytes, then {most}");
    world.sql("DELETE FROM child WHERE id > 1; DELETE FROM parent WHERE id > 1").await;
    // But for some room that is kept for what comes next.
    eventually("memory to be given back", async || {
        (bytes().await <= before + 65_536.0).then_some(())
    })
    .await;
    let position = world.mark().await;
    world.compare(&mut follower, position).await;
    world.verify_all(1).await;
}
