//! The slot is lost, and clients go on where they were: same handles, rising offsets, Postgres' rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{
    Cluster, Database, Events, Follower, Following, Locale, Request, Rng, Session, Shape, Step,
    World, eventually, size,
};

const TABLES: &str = "
    CREATE TABLE items (id int PRIMARY KEY, n int, name text);
    CREATE TABLE pairs (a int, b text, v numeric(8, 2) NOT NULL, PRIMARY KEY (b, a));
    CREATE TABLE parted (id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (150);
    CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (150) TO (3000);
    INSERT INTO items SELECT g, g % 100, 'it''s ' || g FROM generate_series(1, 200) g;
    INSERT INTO pairs SELECT g % 7, 'a/' || g, g FROM generate_series(1, 100) g;
    INSERT INTO parted SELECT g, g % 10 FROM generate_series(1, 299) g";

/// What the server says after a repair.
pub const STREAM_GOES_ON: &str = "the stream goes on from a new slot";

/// Shapes of every kind that keeps its handle.
fn shapes() -> Vec<Shape> {
    vec![
        Shape::of("items"),
        Shape::of("items").filter("n < 50"),
        Shape::of("items").filter("n = 7").columns("id,n"),
        Shape::of("items").filter("id > $1").parameter("100"),
        Shape::of("pairs"),
        Shape::of("pairs").filter("v > 20").columns("a,b"),
        Shape::of("parted"),
        Shape::of("parted").filter("n IN (1, 2)"),
        Shape::of("items").filter("n IN (SELECT a FROM pairs WHERE v > 20)"),
        Shape::of("pairs").filter("a NOT IN (SELECT n FROM items WHERE n < 5 AND id > 40)"),
        Shape::of("items")
            .filter("n < 30 AND n IN (SELECT a FROM pairs) OR name IS NULL")
            .columns("id,name"),
    ]
}

/// A cluster of one's own: a transaction that holds up the making of slots would hold up all tests'.
async fn world_of_its_own(settings: &[&str]) -> World {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, settings));
    World::with(Database::create(cluster).await, |_| {}).await
}

/// Small transactions one after another until told to stop.
async fn load(session: Session, mut rng: Rng, done: Arc<AtomicBool>) -> usize {
    let mut commits = 0;
    while !done.load(Ordering::Relaxed) {
        let mut transaction = String::from("BEGIN;");
        for _ in 0..rng.between(1, 4) {
            let (id, n) = (rng.between(0, 299), rng.between(0, 99));
            transaction.push_str(&match rng.below(9) {
                0 => format!("DELETE FROM items WHERE id = {id};"),
                1 => format!("UPDATE items SET id = id + 1000 WHERE id = {id} AND NOT EXISTS (SELECT FROM items WHERE id = {id} + 1000);"),
                2 => format!("UPDATE items SET n = {n} WHERE id BETWEEN {id} AND {id} + 5;"),
                3 => format!("UPDATE items SET name = NULLIF('{n}', '7') WHERE id = {id};"),
                4 => format!("INSERT INTO pairs VALUES ({n}, 'a/{id}', {n}.5) ON CONFLICT (a, b) DO UPDATE SET v = {id};"),
                5 => format!("DELETE FROM pairs WHERE a = {n} % 7 AND b = 'a/{id}';"),
                6 => format!("INSERT INTO parted VALUES ({id}, {n} % 10) ON CONFLICT (id) DO UPDATE SET n = {n} % 10;"),
                7 => format!("UPDATE parted SET id = 300 - id, n = 1 WHERE id = {id} AND id > 0 AND NOT EXISTS (SELECT FROM parted WHERE id = 300 - {id});"),
                _ => format!("INSERT INTO items VALUES ({id}, {n}, 'x') ON CONFLICT (id) DO UPDATE SET n = {n};"),
            });
        }
        transaction.push_str(if rng.percent(90) { "COMMIT" } else { "ROLLBACK" });
        session.sql(&transaction).await;
        commits += 1;
    }
    commits
}

/// Lets clients follow all shapes under load while something happens; they must come through it with
/// the handles they have.
async fn under_load(
    world: &mut World,
    mut rng: Rng,
    happens: impl AsyncFnOnce(&mut World, &mut Rng),
) -> Vec<Follower> {
    world.sql(TABLES).await;
    let mut following = Vec::new();
    for shape in shapes() {
        following.push(Following::start(world.follow(shape).await.through_outages()));
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(load(world.db.session().await, rng.fork(), done.clone()));
    happens(world, &mut rng).await;
    done.store(true, Ordering::Relaxed);
    println!("{} transactions", writer.await.unwrap());
    let mut followers = Vec::new();
    for client in following {
        followers.push(client.stop().await);
    }
    world.compare_all(&mut followers).await;
    assert!(followers.iter().all(|follower| follower.refetches == 0));
    followers
}

/// Waits until the server has seen so many losses.
async fn lost(world: &World, times: usize) {
    eventually("the loss is noticed", async || {
        let losses = world.server.logs().matches("the replication slot is lost").count();
        (losses >= times).then_some(())
    })
    .await;
}

pub async fn repaired(world: &World, times: usize) {
    eventually("the stream goes on", async || {
        let logs = world.server.logs();
        (logs.matches(STREAM_GOES_ON).count() >= times).then_some(())
    })
    .await;
    world.server.ready().await;
}

/// A transaction that every new slot waits for.
async fn hold_slots(world: &World) -> Session {
    let session = world.db.session().await;
    session.sql("BEGIN").await;
    session.value("SELECT pg_current_xact_id()::text").await;
    session
}

#[tokio::test]
async fn clients_of_all_shapes_keep_their_handles_when_the_slot_is_dropped_under_load() {
    let mut world = World::new().await;
    let rng = Rng::for_test("slot_dropped_under_load");
    under_load(&mut world, rng, async |world, rng| {
        for round in 1..=size("BROOKLET_TEST_LOSSES", 3) {
            tokio::time::sleep(Duration::from_millis(rng.between(50, 400) as u64)).await; // The moment is random.
            world.drop_slot().await;
            lost(world, round).await;
            repaired(world, round).await;
        }
    })
    .await;
    world.verify_all(11).await;
    // What a repair brought survives like everything else.
    let mut again = Vec::new();
    for shape in shapes() {
        again.push(world.follow(shape).await.through_outages());
    }
    world.server.crash().await;
    world.sql("UPDATE items SET n = 7 WHERE id < 20; DELETE FROM pairs WHERE a = 1").await;
    world.compare_all(&mut again).await;
    world.verify_all(11).await;
}

#[tokio::test]
async fn killed_amid_repairs_the_server_does_them_again() {
    let mut world = World::new().await;
    let rng = Rng::for_test("killed_amid_repairs");
    under_load(&mut world, rng, async |world, rng| {
        for _ in 0..size("BROOKLET_TEST_KILLS", 5) {
            let seen = world.server.logs().matches("the replication slot is lost").count();
            world.drop_slot().await;
            lost(world, seen + 1).await;
            tokio::time::sleep(Duration::from_millis(rng.between(0, 120) as u64)).await; // The moment of the kill is random.
            world.server.crash().await;
        }
    })
    .await;
    world.verify_all(11).await;
}

/// A repair notes where it will stand before it stands there: a start must not take that for a place in the log.
#[tokio::test]
async fn killed_before_a_repair_is_in_the_log_the_server_does_it_again() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE big (id int PRIMARY KEY, n int); INSERT INTO big SELECT g, g FROM generate_series(1, 200000) g").await;
    let big = world.follow(Shape::of("big")).await.through_outages();
    world.drop_slot().await;
    let reads = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                 AND query LIKE 'COPY%\"big\"%'";
    let compares = async || (world.db.value(reads).await == "1").then_some(());
    eventually("rows are compared", compares).await;
    world.server.kill().await;
    assert!(!world.server.logs().contains(STREAM_GOES_ON));
    world.sql("UPDATE big SET n = n + 1 WHERE id < 50").await;
    world.server.restart().await;
    // Made on what was repaired: its log and its thread begin where there is something.
    let inner = Shape::of("big").filter("n IN (SELECT id FROM big WHERE id < 9)");
    let mut inner = world.client(inner).through_outages();
    inner.catch_up().await;
    let mut followers = [big, inner];
    world.compare_all(&mut followers).await;
    assert_eq!(followers[0].refetches, 0);
    world.verify_all(2).await;
}

#[tokio::test]
async fn killed_while_its_slot_waits_to_be_made_the_server_makes_it_at_the_next_start() {
    let mut world = world_of_its_own(&[]).await;
    world.sql(TABLES).await;
    let mut items = world.follow(Shape::of("items")).await.through_outages();
    let held = hold_slots(&world).await;
    world.drop_slot().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'";
    let waits = async || (world.db.value(waiting).await == "1").then_some(());
    eventually("the slot waits to be made", waits).await;
    let orphan =
        "SELECT pid::text FROM pg_stat_activity WHERE query LIKE 'CREATE_REPLICATION_SLOT%'";
    let first = world.db.value(orphan).await;
    world.server.kill().await;
    world.sql("UPDATE items SET n = n + 1 WHERE id < 50").await;
    let World { server, db, .. } = &mut world;
    tokio::join!(server.restart(), async {
        eventually("the next one waits, and the first is gone", async || {
            let now = db
                .value(&format!(
                    "SELECT coalesce(string_agg(pid::text, ','), '') FROM ({orphan}) o(pid)"
                ))
                .await;
            (!now.is_empty() && !now.contains(',') && now != first).then_some(())
        })
        .await;
        held.sql("COMMIT").await;
    });
    world.compare(&mut items, world.db.position().await - 1).await;
    assert_eq!(items.refetches, 0);
    world.verify_all(1).await;
}

/// A slot made while transactions are open has a snapshot whose bounds Postgres itself says the wrong way
/// round; followers take none such.
#[tokio::test]
async fn a_slot_made_amid_open_transactions_tells_in_order_what_it_saw() {
    let world = world_of_its_own(&[]).await;
    world.sql(TABLES).await;
    let mut items = world.follow(Shape::of("items")).await.through_outages();
    let other = world.db.session().await;
    let mut held = hold_slots(&world).await;
    world.drop_slot().await;
    lost(&world, 1).await;
    world.sql("UPDATE items SET n = n + 1 WHERE id < 50").await;
    let waits = "SELECT coalesce(string_agg(l.transactionid::text, ','), '') FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                 WHERE NOT l.granted AND l.locktype = 'transactionid' AND a.query LIKE 'CREATE_REPLICATION_SLOT%'";
    // It waits for the transactions that were open when it began, then for those that were open after that.
    for _ in 0..2 {
        let xid = held.value("SELECT pg_current_xact_id()::text").await;
        let waits_for = async || (world.db.value(waits).await == xid).then_some(());
        eventually("the slot waits for the transaction", waits_for).await;
        let next = hold_slots(&world).await;
        for _ in 0..20 {
            other.sql("BEGIN; SELECT pg_current_xact_id(); ROLLBACK").await;
        }
        held.sql("COMMIT").await;
        held = next;
    }
    held.sql("COMMIT").await;
    repaired(&world, 1).await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.refetches, 0);
}

#[tokio::test]
async fn nobody_is_told_to_be_up_to_date_while_the_slot_is_gone() {
    let world = world_of_its_own(&[]).await;
    world.sql(TABLES).await;
    let mut items = world.follow(Shape::of("items")).await;
    let behind = items.clone();
    world.sql("INSERT INTO items VALUES (500, 1, 'streamed')").await;
    items.until("the row", |rows| rows.len() == 201).await;
    let tag = world.get(&behind.target(false)).await.expect(200);
    let tag = tag.header("etag").unwrap().to_owned();
    let mut events = Events::open(
        world.server.address,
        &items.target(true).replace("live=true", "live=true&live_sse=true"),
    )
    .await;
    let (waits, address) = (Request::get(items.target(true)), world.server.address);
    let parked = tokio::spawn(async move { waits.send(address).await });
    let held = hold_slots(&world).await;
    world.drop_slot().await;
    lost(&world, 1).await;
    world.sql("INSERT INTO items VALUES (501, 1, 'missed'); DELETE FROM items WHERE id = 1").await;

    let health = world.get("/v1/health").await.expect(202);
    assert_eq!(health.json()["status"], "starting");
    let parked = parked.await.unwrap().unwrap().expect(503);
    assert!(parked.header("retry-after").is_some(), "{}", parked.shown());
    while let Ok(Some(event)) = events.next().await {
        assert!(event.up_to_date().is_none(), "an open stream claims something");
    }
    let now = format!("{}&offset=now", Shape::of("items").target());
    let live = items.target(true);
    let sse = live.replace("live=true", "live=true&live_sse=true");
    for target in [items.target(false), live, sse, now] {
        let begun = Instant::now();
        let answer = world.get(&target).await.expect(503);
        assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(begun.elapsed() < Duration::from_secs(8), "later than its time-out");
    }
    world
        .get(&format!("{}&offset=-1", Shape::of("items").filter("n = 3").target()))
        .await
        .expect(503);
    // What is there is served, and no more is said of it.
    for request in [
        Request::get(behind.target(false)),
        Request::get(behind.target(true)),
        Request::get(behind.target(false)).header("if-none-match", &tag),
        Request::get(format!("{}&offset=-1", Shape::of("items").target())),
    ] {
        let answer = world.send(request).await.expect(200);
        assert!(answer.header("electric-up-to-date").is_none(), "{}", answer.shown());
        assert!(!answer.text().contains("\"up-to-date\""), "{}", answer.shown());
        assert!(!answer.json().as_array().unwrap().is_empty());
    }
    held.sql("COMMIT").await;
    repaired(&world, 1).await;
    let mut followers = [items, behind];
    world.compare_all(&mut followers).await;
    assert!(followers.iter().all(|follower| follower.refetches == 0));
    world.verify_all(2).await;
}

#[tokio::test]
async fn a_slot_invalidated_behind_the_running_server_costs_no_handle() {
    let settings = ["max_slot_wal_keep_size=1MB", "max_wal_size=64MB"];
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &settings));
    let mut world = World::gated(Database::create(cluster).await).await;
    let rng = Rng::for_test("slot_invalidated");
    under_load(&mut world, rng, async |world, _| {
        let held = world.hold_stream();
        world.sql("CREATE TABLE noise (n int)").await;
        for _ in 0..4 {
            world.sql("INSERT INTO noise VALUES (1)").await;
            world.db.value("SELECT pg_switch_wal()").await;
        }
        // The checkpoint tells the walsender to go and waits until it has gone.
        let session = world.db.session().await;
        let checkpoint = tokio::spawn(async move { session.sql("CHECKPOINT").await });
        eventually("the walsender is told to go", async || {
            world.db.cluster.log().contains("to release replication slot").then_some(())
        })
        .await;
        drop(held);
        checkpoint.await.unwrap();
        lost(world, 1).await;
        repaired(world, 1).await;
    })
    .await;
    world.verify_all(11).await;
}

#[tokio::test]
async fn a_database_on_a_new_timeline_costs_no_handle() {
    let mut world = world_of_its_own(&["restore_command=/bin/false", "hot_standby=off"]).await;
    world.sql(TABLES).await;
    let mut followers = Vec::new();
    for shape in shapes() {
        followers.push(world.follow(shape).await.through_outages());
    }
    world.db.cluster.new_timeline();
    world.db.reconnect().await;
    world.sql("UPDATE items SET n = n + 1; DELETE FROM pairs WHERE a = 2").await;
    repaired(&world, 1).await;
    world.compare_all(&mut followers).await;
    world.server.crash().await;
    world.sql("UPDATE items SET n = n + 1 WHERE id < 5").await;
    world.compare_all(&mut followers).await;
    assert!(followers.iter().all(|follower| follower.refetches == 0));
    world.verify_all(11).await;
}

#[tokio::test]
async fn tables_that_change_while_the_slot_is_gone_are_right_or_fetched_anew() {
    let world = world_of_its_own(&[]).await;
    world.sql(TABLES).await;
    world.sql("CREATE TABLE bag (n int); INSERT INTO bag VALUES (1), (1)").await;
    world.sql("CREATE TABLE emptied (id int PRIMARY KEY, n int); INSERT INTO emptied SELECT g, g FROM generate_series(1, 50) g").await;
    let anew = async |shape| world.follow(shape).await.through_outages().through_refetches();
    let kept = [Shape::of("emptied"), Shape::of("items").columns("id,n"), Shape::of("parted")];
    let lost_ones = [Shape::of("items"), Shape::of("pairs"), Shape::of("bag")];
    let (mut kept_clients, mut clients) = (Vec::new(), Vec::new());
    for shape in kept {
        kept_clients.push(anew(shape).await);
    }
    for shape in lost_ones {
        clients.push(anew(shape).await);
    }
    let changes = Shape::of("items").more("&log=changes_only");
    let changes = world.follow(changes).await;
    let held = hold_slots(&world).await;
    world.drop_slot().await;
    lost(&world, 1).await;
    world.sql("TRUNCATE emptied; INSERT INTO emptied VALUES (7, 70), (700, 1)").await;
    world.sql("ALTER TABLE items ADD COLUMN more float DEFAULT random()").await;
    world.sql("UPDATE items SET n = 1 WHERE id % 3 = 0; DELETE FROM items WHERE id % 5 = 0").await;
    world
        .sql("ALTER TABLE pairs ALTER COLUMN v TYPE text; UPDATE pairs SET v = 'x' WHERE a = 1")
        .await;
    world.sql("INSERT INTO bag VALUES (1), (2); DELETE FROM parted WHERE id > 200").await;
    held.sql("COMMIT").await;
    repaired(&world, 1).await;
    world.compare_all(&mut kept_clients).await;
    world.compare_all(&mut clients).await;
    let refetches = |clients: &[Follower]| clients.iter().map(|c| c.refetches).collect::<Vec<_>>();
    assert_eq!(refetches(&kept_clients), [0, 0, 0]);
    assert_eq!(refetches(&clients), [1, 1, 1]);
    let mut changes = changes.through_refetches();
    assert_eq!(changes.step(false).await, Step::Refetch, "changes that nobody can know were kept");
    // Also what took the place of shapes that ended.
    world.verify_all(6).await;
}

#[tokio::test]
async fn a_difference_of_very_many_rows_is_brought_whole() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(500_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO items SELECT g, 0 FROM generate_series(1, 30000) g").await;
    let mut items = world.follow(Shape::of("items")).await.through_outages();
    let mut some = world.follow(Shape::of("items").filter("n < 3")).await.through_outages();
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("UPDATE items SET n = id % 7 WHERE id % 2 = 0; INSERT INTO items SELECT g, g % 5 FROM generate_series(30001, 85000) g; DELETE FROM items WHERE id < 100").await;
    world.server.restart().await;
    let places = |follower: &Follower| {
        let mut places: Vec<u64> = follower.log.changes.iter().map(|change| change.lsn).collect();
        places.dedup();
        places.len()
    };
    let position = world.mark().await;
    for follower in [&mut items, &mut some] {
        world.compare(follower, position).await;
        assert_eq!(follower.refetches, 0);
    }
    assert!(places(&items) > 1, "so much as one transaction");
    world.verify_all(2).await;
}
