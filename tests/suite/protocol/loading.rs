//! Loading parts of a shape while transactions run: changes only plus subsets come to what Postgres has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::on_demand::{OnDemand, subset};
use crate::harness::{
    Cluster, Database, Locale, Rng, Row, Session, Shape, World, eventually, size,
};

async fn world(db: Database) -> World {
    let world = World::with(db, |options| options.long_poll = Duration::from_secs(1)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, name text)").await;
    world.sql("INSERT INTO items SELECT g, g % 10, 'x' FROM generate_series(0, 199) g").await;
    world
}

/// Random transactions on a writer's own rows until told to stop.
async fn write(session: Session, number: i64, mut rng: Rng, stop: Arc<AtomicBool>) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        session.sql("BEGIN").await;
        for _ in 0..rng.between(1, 4) {
            round += 1;
            let (id, n) = (rng.between(0, 59) * 4 + number, rng.between(0, 9));
            let statement = match rng.below(6) {
                0 => format!("DELETE FROM items WHERE id = {id}"),
                1 => format!("UPDATE items SET n = {n}, name = 'r{round}' WHERE id = {id}"),
                2 => format!(
                    "UPDATE items SET id = id + 400 WHERE id = {id} AND NOT EXISTS (SELECT FROM items WHERE id = {id} + 400)"
                ),
                3 => format!("DELETE FROM items WHERE id = {id} + 400"),
                4 => format!("UPDATE items SET name = 'u{round}' WHERE id = {id}"),
                _ => format!(
                    "INSERT INTO items VALUES ({id}, {n}, 'i{round}') ON CONFLICT (id) DO UPDATE SET n = excluded.n"
                ),
            };
            session.sql(&statement).await;
        }
        let end = if rng.percent(85) { "COMMIT" } else { "ROLLBACK" };
        session.sql(end).await;
    }
}

struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// `settings` are those of the writer with a number.
    async fn start(
        world: &World,
        rng: &mut Rng,
        settings: impl Fn(i64) -> &'static str,
    ) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..4 {
            let session = world.db.session().await;
            session.sql(settings(number)).await;
            tasks.push(tokio::spawn(write(session, number, rng.fork(), stop.clone())));
        }
        Writers { stop, tasks }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn number(row: &Row, column: &str) -> i64 {
    row[column].as_ref().unwrap().parse().unwrap()
}

/// Brings a client to the present and compares its rows with those that Postgres has for a condition.
async fn compare(
    world: &World,
    client: &mut OnDemand,
    sql: &str,
    condition: impl Fn(&Row) -> bool,
) {
    let position = world.mark().await;
    client.reach(position).await;
    let mut truth = world.db.rows(&format!("SELECT * FROM items WHERE {sql}")).await;
    truth.sort();
    let rows = client.rows_with(condition);
    let missing: Vec<_> = truth.iter().filter(|row| !rows.contains(row)).take(5).collect();
    let surplus: Vec<_> = rows.iter().filter(|row| !truth.contains(row)).take(5).collect();
    assert_eq!(rows, truth, "missing: {missing:#?}, surplus: {surplus:#?}");
    client.check_positions();
}

#[tokio::test]
async fn subsets_by_key_agree_with_postgres_while_transactions_run() {
    let mut rng = Rng::for_test("subsets_by_key");
    let world = world(Database::shared().await).await;
    let mut client = OnDemand::start(world.server.address, Shape::of("items")).await;
    let writers = Writers::start(&world, &mut rng, |_| "SELECT").await;
    let mut loaded = Vec::new();
    for round in 0..size("BROOKLET_TEST_SUBSETS", 40) {
        let low = rng.between(0, 640);
        let (low_text, high_text) = (low.to_string(), (low + 40).to_string());
        let part = subset("\"id\" >= $1 AND \"id\" < $2", &[&low_text, &high_text]);
        client.load(&part, round % 2 == 0).await;
        loaded.push(low..low + 40);
        for _ in 0..rng.below(3) {
            client.step(rng.percent(50)).await;
        }
    }
    writers.stop().await;
    let ranges: Vec<String> =
        loaded.iter().map(|part| format!("id >= {} AND id < {}", part.start, part.end)).collect();
    let is_loaded = |row: &Row| loaded.iter().any(|part| part.contains(&number(row, "id")));
    compare(&world, &mut client, &ranges.join(" OR "), is_loaded).await;
    assert!(client.dropped > 0, "no change was in a subset already: nothing was tried");
}

#[tokio::test]
async fn subsets_by_value_with_full_replicas_agree_with_postgres_while_transactions_run() {
    let mut rng = Rng::for_test("subsets_by_value");
    let world = world(Database::shared().await).await;
    let shape = Shape::of("items").filter("id < 500 OR n = 3").more("&replica=full");
    let mut client = OnDemand::start(world.server.address, shape).await;
    // Commits that do not wait for the disk are visible before they are written.
    let settings = |number| if number % 2 == 0 { "SET synchronous_commit = off" } else { "SELECT" };
    let writers = Writers::start(&world, &mut rng, settings).await;
    let mut loaded = Vec::new();
    for round in 0..size("BROOKLET_TEST_SUBSETS", 40) {
        let n = rng.between(0, 9);
        client.load(&subset("n = $1 OR n = 10", &[&n.to_string()]), round % 2 == 0).await;
        loaded.push(n);
        if rng.percent(30) {
            let top =
                json!({"where": "n < 5", "order_by": "\"n\" DESC, id", "limit": 7, "offset": 3});
            client.load(&top, round % 2 == 1).await;
        }
        for _ in 0..rng.below(3) {
            client.step(rng.percent(50)).await;
        }
    }
    writers.stop().await;
    let list: Vec<String> = loaded.iter().map(i64::to_string).collect();
    let sql = format!("n IN ({}) AND (id < 500 OR n = 3)", list.join(","));
    compare(&world, &mut client, &sql, |row| loaded.contains(&number(row, "n"))).await;
    assert!(client.dropped > 0, "no change was in a subset already: nothing was tried");
}

async fn set_standby(world: &World, name: &str) {
    let set = match name {
        "" => "ALTER SYSTEM RESET synchronous_standby_names".to_owned(),
        name => format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"),
    };
    world.sql(&set).await;
    world.sql("SELECT pg_reload_conf()").await;
    eventually("the setting is in force", async || {
        let session = world.db.session().await;
        (session.value("SHOW synchronous_standby_names").await == name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_that_was_read_before_it_is_visible_is_not_undone_by_a_subset() {
    // The commit waits for a standby that never answers: it is streamed, and the client has it (asserted), but no
    // snapshot sees it. A subset's rows without it, at a position behind it, would take it back for good.
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = world(Database::create(cluster).await).await;
    let shape = Shape::of("items").more("&replica=full");
    let mut client = OnDemand::start(world.server.address, shape).await;
    client.load(&subset("id < 5", &[]), true).await;
    set_standby(&world, "nobody").await;
    let writer = world.db.session().await;
    let writing = tokio::spawn(async move {
        writer.sql("UPDATE items SET name = 'new' WHERE id = 1; INSERT INTO items VALUES (1000, 1, 'new'); DELETE FROM items WHERE id = 2").await;
    });
    let key = |id: i64| format!("\"public\".\"items\"/\"{id}\"");
    while !client.rows.contains_key(&key(1000)) {
        client.step(true).await;
    }
    assert!(!writing.is_finished(), "the trap is not set: the commit did not wait");
    let request = client.subset_request(&subset("id < 5 OR id = 1000", &[]), true);
    let address = world.server.address;
    let asking = tokio::spawn(async move { request.send(address).await.expect("an answer") });
    // A server may let the request wait until the commit is visible, or say that it is to come again.
    eventually("the subset is answered or waits", {
        let begun = std::time::Instant::now();
        let asking = &asking;
        async move || {
            (asking.is_finished() || begun.elapsed() > Duration::from_secs(2)).then_some(())
        }
    })
    .await;
    set_standby(&world, "").await;
    writing.await.unwrap();
    match asking.await.unwrap() {
        response if response.status == 503 => {
            client.load(&subset("id < 5 OR id = 1000", &[]), true).await;
        }
        response => {
            let response = response.expect(200);
            assert_eq!(response.header("electric-offset"), Some(client.offset.as_str()));
            client.take(&response.json());
        }
    }
    compare(&world, &mut client, "id < 5 OR id = 1000", |row| {
        (0..5).contains(&number(row, "id")) || number(row, "id") == 1000
    })
    .await;
}

#[tokio::test]
async fn a_client_that_begins_now_misses_nothing_that_is_streamed_but_not_visible() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = world(Database::create(cluster).await).await;
    let mut first = world.follow(Shape::of("items")).await;
    for post in [true, false] {
        set_standby(&world, "nobody").await;
        let (writer, name) = (world.db.session().await, format!("post {post}"));
        let statement = format!("UPDATE items SET name = '{name}' WHERE id = 1");
        let writing = tokio::spawn(async move { writer.sql(&statement).await });
        first
            .until("the change is streamed", |rows| {
                rows.iter().any(|row| row["name"] == Some(name.clone()))
            })
            .await;
        // One request for everything, as the published client's first: no position yet.
        let shape = Shape::of("items").more("&replica=full&log=changes_only");
        let part = subset("id < 5", &[]);
        let mut client =
            OnDemand::start(world.server.address, Shape::of("items").more("&replica=full")).await;
        client.rows.clear();
        let target = format!("{}&offset=now", shape.target());
        let request = crate::harness::Request::new("POST", target).body(part.to_string());
        let response = world.send(request).await.expect(200);
        client.offset = response.header("electric-offset").unwrap().to_owned();
        client.take(&response.json());
        assert!(!writing.is_finished(), "the trap is not set: the commit did not wait");
        set_standby(&world, "").await;
        writing.await.unwrap();
        client.seen = 0;
        compare(&world, &mut client, "id < 5", |row| (0..5).contains(&number(row, "id"))).await;
    }
}

#[tokio::test]
async fn subsets_agree_with_postgres_while_commits_wait_for_a_standby() {
    let mut rng = Rng::for_test("subsets_behind_a_standby");
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = world(Database::create(cluster).await).await;
    let mut client =
        OnDemand::start(world.server.address, Shape::of("items").more("&replica=full")).await;
    let settings =
        |number| if number % 2 == 0 { "SET synchronous_commit = local" } else { "SELECT" };
    let mut loaded = Vec::new();
    for _ in 0..3 {
        set_standby(&world, "nobody").await;
        let writers = Writers::start(&world, &mut rng, settings).await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("commits wait", async || (world.db.value(waiting).await != "0").then_some(()))
            .await;
        let (low, high) = (rng.between(0, 200), rng.between(201, 640));
        let (low_text, high_text) = (low.to_string(), high.to_string());
        let part = subset("id >= $1 AND id < $2", &[&low_text, &high_text]);
        client.step(false).await;
        loaded.push(low..high);
        // Whether the subset has to wait for the commits or not, it must not have to wait for longer.
        tokio::join!(client.load(&part, rng.percent(50)), async {
            eventually("some time has passed", {
                let begun = std::time::Instant::now();
                async move || (begun.elapsed() > Duration::from_millis(500)).then_some(())
            })
            .await;
            set_standby(&world, "").await;
        });
        writers.stop().await;
    }
    let ranges: Vec<String> =
        loaded.iter().map(|part| format!("id >= {} AND id < {}", part.start, part.end)).collect();
    let is_loaded = |row: &Row| loaded.iter().any(|part| part.contains(&number(row, "id")));
    compare(&world, &mut client, &ranges.join(" OR "), is_loaded).await;
}
