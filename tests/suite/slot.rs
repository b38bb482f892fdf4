//! What the slot is told, and who has to be waited for: a transaction that comes in pieces, and old ones that are
//! still open when something is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::server::brooklet;
use crate::harness::{
    Cluster, Database, Locale, Options, Process, Request, Session, Shape, World, eventually,
    eventually_within,
};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int)";

#[tokio::test]
async fn a_transaction_that_stops_in_the_middle_is_not_passed_and_its_commit_is() {
    // Longer than positions of an idle stream wait before they are confirmed.
    const HELD: Duration = Duration::from_millis(2500);
    let mut world = World::gated(Database::shared().await).await;
    world.sql(TABLE).await;
    let mut followers = [
        world.follow(Shape::of("items")).await.through_outages(),
        world.follow(Shape::of("items").filter("n = 7")).await.through_outages(),
    ];
    for killed in [false, true] {
        let held = world.hold_midway();
        world.sql("INSERT INTO items SELECT g, 7 FROM generate_series((SELECT count(*) FROM items) + 1, (SELECT count(*) FROM items) + 50) g").await;
        let begun = Instant::now();
        // Positions behind the commit that is not there yet come by all the while.
        eventually("the transaction waits for long enough", async || {
            let (commit, overtaken) = held.midway()?;
            let confirmed = world.db.confirmed().await;
            assert!(
                confirmed <= commit,
                "{confirmed} is confirmed, the commit at {commit} is not there"
            );
            (begun.elapsed() > HELD && overtaken > 2).then_some(())
        })
        .await;
        if killed {
            world.server.kill().await;
        }
        drop(held);
        if killed {
            world.server.restart().await;
        }
        world.db.confirms(world.db.position().await).await;
        world.compare_all(&mut followers).await;
    }
    world.verify_all(2).await;
}

/// A session with an open transaction that every new slot waits for, and its process.
async fn blocker(db: &Database) -> (Session, String) {
    let session = db.session().await;
    let pid = session.value("SELECT pg_backend_pid()").await;
    session.sql("CREATE TABLE IF NOT EXISTS others (id int, body text)").await;
    session.sql("BEGIN; INSERT INTO others VALUES (7, 'confidential')").await;
    (session, pid)
}

/// The log has said who is waited for.
async fn named(logs: impl Fn() -> String, pid: &str) {
    eventually_within(Duration::from_secs(10), "the log names who is waited for", async || {
        let logs = logs();
        let said = logs
            .lines()
            .find(|line| line.contains("waits for") && line.contains(&format!("process {pid}")))?;
        for part in ["INSERT INTO others VALUES (7, ", "idle in transaction", "open for"] {
            assert!(said.contains(part), "no '{part}' in: {said}");
        }
        assert!(!logs.contains("confidential"), "a value of somebody else's query: {said}");
        Some(())
    })
    .await;
}

/// Backends that make a slot.
const MAKERS: &str = "SELECT coalesce(string_agg(pid::text, ','), '') FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND query ILIKE '%create%replication_slot%' AND state = 'active'";

#[tokio::test]
async fn whoever_the_first_slot_waits_for_is_named_and_clients_are_told_at_once() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let db = Database::create(cluster).await;
    db.sql(TABLE).await;
    let (held, pid) = blocker(&db).await;
    let options = Options::of(&db);
    let address = ([127, 0, 0, 1], options.port).into();
    let mut process = Process::spawn(&mut options.command());
    let mut makers = Vec::new();
    for killed in [true, false] {
        named(|| process.output(), &pid).await;
        // Nobody is left without an answer meanwhile.
        let health = Request::get("/v1/health").send(address).await.unwrap().expect(202);
        assert_eq!(health.json()["status"], "starting");
        let begun = Instant::now();
        let asked = Request::get(format!("{}&offset=-1", Shape::of("items").target()));
        let answer = asked.send(address).await.unwrap().expect(503);
        assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        makers.push(db.value(MAKERS).await);
        if killed {
            // What it had Postgres do does not go on without it.
            drop(process);
            process = Process::spawn(&mut options.command());
        }
    }
    assert!(makers[0] != makers[1] && !makers[1].contains(','), "one is left over: {makers:?}");
    held.sql("COMMIT").await;
    eventually("the server is ready", async || {
        let health = Request::get("/v1/health").send(address).await.ok()?;
        (health.status == 200).then_some(())
    })
    .await;
    let asked = Request::get(format!("{}&offset=-1", Shape::of("items").target()));
    asked.send(address).await.unwrap().expect(200);
    let (url, mut verify) = (format!("http://{address}"), brooklet());
    verify.args(["verify", "--url", &url, "--database-url", &db.url(), "--stream-id", &db.stream]);
    let mut verified = Process::spawn(verify.arg("--all"));
    let status = verified.exit(Duration::from_secs(60)).await;
    let said = verified.output();
    assert!(status.success() && said.contains("1 shapes compared"), "{status}: {said}");
    drop(process);
}

#[tokio::test]
async fn whoever_a_slot_waits_for_that_is_made_again_is_named() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = World::with(Database::create(cluster).await, |_| {}).await;
    world.sql(TABLE).await;
    let mut items = world.follow(Shape::of("items")).await.through_outages();
    let (held, pid) = blocker(&world.db).await;
    world.drop_slot().await;
    named(|| world.server.logs(), &pid).await;
    held.sql("COMMIT").await;
    world.server.ready().await;
    world.sql("INSERT INTO items VALUES (1, 1)").await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.refetches, 0);
    world.verify_all(1).await;
}

#[tokio::test]
async fn the_first_shape_of_a_locked_table_is_told_so_within_bounds() {
    let world = World::new().await;
    world.sql(TABLE).await;
    let owner = world.db.session().await;
    owner.sql("BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE").await;
    let begun = Instant::now();
    let shape = Shape::of("items");
    let answer = world.get(&format!("{}&offset=-1", shape.target())).await.expect(503);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(
        answer.text().contains("items") && answer.text().contains("lock"),
        "{}",
        answer.shown()
    );
    assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
    owner.sql("INSERT INTO items VALUES (1, 1); COMMIT").await;
    let mut items = world.follow(shape).await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_stream_that_is_lost_without_a_word_is_noticed_long_before_tcp_gives_up() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["wal_sender_timeout=3s"]));
    let world = World::gated(Database::create(cluster).await).await;
    world.sql(TABLE).await;
    let mut items = world.follow(Shape::of("items")).await.through_outages();
    world.lose_stream();
    world.sql("INSERT INTO items VALUES (1, 1)").await;
    // Well below the quarter of an hour or so that TCP tries to be heard.
    items.until_count(1).await;
    assert!(world.server.logs().contains("we have not heard of it"), "{}", world.server.logs());
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert_eq!(items.refetches, 0);
    world.verify_all(1).await;
}
