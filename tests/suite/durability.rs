//! What survives: kills, restarts, a Postgres that goes away, a slot that is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::server::brooklet;
use crate::harness::{
    Cluster, Database, Following, Locale, Options, Process, Rng, Session, Shape, World, eventually,
    size,
};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, name text)";

/// Small transactions one after another until told to stop.
async fn load(session: Session, mut rng: Rng, done: Arc<AtomicBool>) -> usize {
    let mut commits = 0;
    while !done.load(Ordering::Relaxed) {
        let mut transaction = String::from("BEGIN;");
        for _ in 0..rng.between(1, 4) {
            let (id, n) = (rng.between(0, 300), rng.between(0, 100));
            transaction.push_str(&match rng.below(5) {
                0 => format!("DELETE FROM items WHERE id = {id};"),
                1 => format!("UPDATE items SET id = id + 1000 WHERE id = {id} AND NOT EXISTS (SELECT FROM items WHERE id = {id} + 1000);"),
                2 => format!("UPDATE items SET n = {n} WHERE id BETWEEN {id} AND {id} + 5;"),
                _ => format!("INSERT INTO items VALUES ({id}, {n}, 'x') ON CONFLICT (id) DO UPDATE SET n = {n};"),
            });
        }
        transaction.push_str(if rng.percent(90) { "COMMIT" } else { "ROLLBACK" });
        session.sql(&transaction).await;
        commits += 1;
    }
    commits
}

#[tokio::test]
async fn killed_under_load_the_server_loses_and_repeats_nothing() {
    let mut rng = Rng::for_test("killed_under_load");
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(20_000)).await;
    world.sql(TABLE).await;
    let shapes = [
        Shape::of("items"),
        Shape::of("items").filter("n < 50"),
        Shape::of("items").filter("n = 7").columns("id,n"),
        Shape::of("items").filter("id > $1").parameter("100"),
    ];
    let mut following = Vec::new();
    for shape in shapes {
        following.push(Following::start(world.follow(shape).await.through_outages()));
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(load(world.db.session().await, rng.fork(), done.clone()));
    let rounds = size("BROOKLET_TEST_KILLS", 3);
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.between(50, 500) as u64)).await; // The moment of the kill is random.
        world.server.crash().await;
        println!("killed and back: {} of {rounds}", round + 1);
    }
    done.store(true, Ordering::Relaxed);
    let commits = writer.await.unwrap();
    let mut followers = Vec::new();
    for client in following {
        followers.push(client.stop().await);
    }
    world.compare_all(&mut followers).await;
    println!(
        "{commits} transactions, {rounds} kills, {} changes seen",
        followers[0].log.changes.len()
    );
    world.verify_all(4).await;
}

#[tokio::test]
async fn killed_while_it_copies_a_snapshot_the_server_starts_it_anew() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(50_000)).await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, g % 100, repeat('x', 100) FROM generate_series(1, 50000) g").await;
    let mut followers =
        vec![world.follow(Shape::of("items").filter("n = 7")).await.through_outages()];
    for filter in ["n < 90", "n < 95"] {
        let mut follower = world.client(Shape::of("items").filter(filter)).through_outages();
        follower.step(false).await;
        assert!(!follower.log.snapshot_read, "the trap is not set: the snapshot was read at once");
        world.server.kill().await;
        world.sql("UPDATE items SET n = n + 1 WHERE id < 100").await;
        world.server.restart().await;
        follower.catch_up().await;
        followers.push(follower);
    }
    world.compare_all(&mut followers).await;
    assert_eq!(followers[0].refetches, 0, "a finished shape had to start anew");
    world.verify_all(1).await;
}

#[tokio::test]
async fn verify_tells_a_difference_from_none() {
    let world = World::new().await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, g, 'x' FROM generate_series(1, 50) g").await;
    let shape = Shape::of("items").filter("n < 20");
    world.compare_all(&mut [world.follow(shape).await]).await;
    let mut equal = world.verify(&["--table", "items", "--where", "n < 20"]);
    assert!(equal.exit(Duration::from_secs(30)).await.success(), "{}", equal.output());
    // Another database with other rows stands in for a server that serves wrong ones.
    let other = Database::shared().await;
    other.sql(TABLE).await;
    other.sql("INSERT INTO items SELECT g, g, 'y' FROM generate_series(1, 50) g").await;
    let mut command = brooklet();
    command.args([
        "verify",
        "--url",
        &format!("http://{}", world.server.address),
        "--database-url",
        &other.url(),
    ]);
    let mut different = Process::spawn(command.args(["--table", "items", "--where", "n < 20"]));
    assert!(!different.exit(Duration::from_secs(60)).await.success(), "{}", different.output());
    assert!(!different.output().trim().is_empty(), "verify says nothing of the difference");
}

#[tokio::test]
async fn verify_compares_every_shape_that_the_server_lists() {
    let mut world = World::with(Database::shared().await, |options| {
        (options.secret, options.insecure) = (Some("a secret".to_owned()), false);
    })
    .await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, g, 'x' FROM generate_series(1, 50) g").await;
    world
        .sql("CREATE TABLE \"Odd \"\"names\"\"\" (\"Id\" int PRIMARY KEY, \"a \"\"b\"\"\" text)")
        .await;
    world.sql("INSERT INTO \"Odd \"\"names\"\"\" VALUES (1, 'it''s'), (2, NULL)").await;
    let get = |path: &str| format!("{path}secret=a%20secret");
    for query in [
        "table=items",
        "table=items&where=n%20%3C%20%241%20AND%20name%20%3D%20%242&params%5B1%5D=20&params%5B2%5D=x",
        "table=items&columns=id,n&replica=full&where=n%20IN%20(1,2,60)",
        "table=items&log=changes_only",
        "table=%22Odd%20%22%22names%22%22%22&columns=%22Id%22,%22a%20%22%22b%22%22%22",
    ] {
        world.get(&get(&format!("/v1/shape?{query}&offset=-1&"))).await.expect(200);
    }
    world.get("/v1/admin/shapes").await.expect(401);
    world.get("/v1/admin/shapes?secret=wrong").await.expect(401);
    let listed = eventually("all shapes to be listed", async || {
        let listed = world.get(&get("/v1/admin/shapes?")).await.expect(200).json();
        (listed.as_array().unwrap().len() == 5).then_some(listed)
    })
    .await;
    let second = listed[1]["id"].as_u64().unwrap();
    let rest = world.get(&get(&format!("/v1/admin/shapes?after={second}&"))).await.expect(200);
    assert_eq!(rest.json().as_array().unwrap()[..], listed.as_array().unwrap()[2..]);
    world.get(&get("/v1/admin/shapes?after=x&")).await.expect(400);
    world.sql("UPDATE items SET n = 60 WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    for restarted in [false, true] {
        if restarted {
            world.server.crash().await;
        }
        let mut equal = world.verify(&["--all"]);
        assert!(equal.exit(Duration::from_secs(60)).await.success(), "{}", equal.output());
        let said = equal.output();
        assert!(said.contains("4 shapes compared, 1 without rows left out"), "{said}");
    }
    // No shape was made for it.
    let again = world.get(&get("/v1/admin/shapes?")).await.expect(200).json();
    assert_eq!(again.as_array().unwrap().len(), 5, "{again}");
}

#[tokio::test]
async fn handles_and_offsets_outlive_a_restart() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    world.sql("CREATE TABLE quiet (id int PRIMARY KEY)").await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let quiet = world.follow(Shape::of("quiet")).await;
    let mut items = world.follow(Shape::of("items")).await;
    let mut few =
        world.follow(Shape::of("items").filter("n = $1").parameter("1").columns("id,n")).await;
    world.sql("UPDATE items SET name = 'y'").await;
    items.until("the update", |rows| rows[0]["name"].as_deref() == Some("y")).await;
    assert_eq!((quiet.offset.as_str(), few.offset.as_str()), ("0_inf", "0_inf"));
    for hard in [false, true] {
        if hard {
            world.server.kill().await;
        } else {
            world.server.stop().await;
        }
        world
            .sql("UPDATE items SET n = n + 10 WHERE id = 1; UPDATE items SET n = 1 WHERE id = 1")
            .await;
        world.server.restart().await;
        for follower in [&quiet, &items, &few] {
            let handle = world.get(&follower.target(false)).await.expect(200);
            assert_eq!(handle.header("electric-handle"), Some(follower.handle.as_str()));
        }
        let mut followers = [items, few];
        world.compare_all(&mut followers).await;
        [items, few] = followers;
    }
    let mut quiet = quiet;
    world.sql("INSERT INTO quiet VALUES (1)").await;
    quiet.until("the row", |rows| rows.len() == 1).await;
}

#[tokio::test]
async fn what_was_committed_while_the_server_was_down_arrives() {
    let mut world = World::new().await;
    world.sql(TABLE).await;
    let items = world.follow(Shape::of("items")).await;
    world.server.stop().await;
    for id in 0..50 {
        world.sql(&format!("INSERT INTO items VALUES ({id}, {id}, 'x')")).await;
    }
    world.server.restart().await;
    let mut followers = [items, world.follow(Shape::of("items").filter("n > 20")).await];
    world.compare_all(&mut followers).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn after_a_restart_an_open_writer_of_a_published_table_holds_no_new_shape_up() {
    // Only writers from before the table was published have to be waited for, and it was published long ago.
    let mut world = World::new().await;
    world.sql(TABLE).await;
    let items = world.follow(Shape::of("items")).await;
    world.server.crash().await;
    let writer = world.db.session().await;
    writer.sql("BEGIN; INSERT INTO items VALUES (1, 1, 'x')").await;
    let mut few = world.client(Shape::of("items").filter("n > 0"));
    let waited = tokio::time::timeout(Duration::from_secs(10), few.step(false)).await;
    assert!(waited.is_ok(), "the new shape waits for a writer that began after the publication");
    writer.sql("COMMIT").await;
    world.compare_all(&mut [items, few]).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let world = World::new().await;
    let mut options = Options { stream: format!("{}b", world.db.stream), ..Options::of(&world.db) };
    options.storage = world.server.storage().to_owned();
    let mut second = Process::spawn(&mut options.command());
    let status = second.exit(Duration::from_secs(20)).await;
    let output = second.output();
    assert!(!status.success(), "{output}");
    assert!(
        output.contains(&options.storage.display().to_string()),
        "no directory in the message: {output}"
    );
    world.get("/v1/health").await.expect(200);
}

#[tokio::test]
async fn postgres_restarts_under_parked_clients_and_nothing_is_lost() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let world = World::with(Database::create(cluster.clone()).await, |_| {}).await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let items = world.follow(Shape::of("items")).await;
    let mut parked = Vec::new();
    for filter in ["n > 0", "n > 1", "id > 0"] {
        let follower = world.follow(Shape::of("items").filter(filter)).await;
        parked.push(Following::start(follower.through_outages()));
    }
    for how in ["INT", "QUIT"] {
        cluster.stop(how);
        world.get("/v1/shape?table=items&offset=-1").await.expect(200);
        world.get(&items.target(false)).await.expect(200);
        cluster.start();
        let session = Session::connect(&world.db.url()).await;
        session.sql("UPDATE items SET n = n + 1; INSERT INTO items SELECT max(id) + 1, 5, 'new' FROM items").await;
    }
    let session = Session::connect(&world.db.url()).await;
    let truth = session.rows("SELECT * FROM items").await.len();
    for client in parked {
        let mut follower = client.stop().await;
        follower.until("every row", |rows| rows.len() == truth).await;
    }
    let mut items = items.through_outages();
    items.until("every row", |rows| rows.len() == truth).await;
    world.verify_all(4).await;
}

#[tokio::test]
async fn the_slot_moves_while_only_other_tables_are_written() {
    let world = World::new().await;
    world.sql(TABLE).await;
    world.sql("CREATE TABLE noise (body text)").await;
    let items = world.follow(Shape::of("items")).await;
    for _ in 0..2 {
        world
            .sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
            .await;
        world.db.confirms(world.db.position().await).await;
    }
    world.compare_all(&mut [items]).await;
    world.verify_all(1).await;
}

/// A commit that does not wait for the disk is visible before it is there. Shapes that have it must not outlive it.
#[tokio::test]
async fn shapes_hold_nothing_that_a_crash_of_postgres_takes_back() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["wal_writer_delay=10s"]));
    let mut world = World::with(Database::create(Arc::clone(&cluster)).await, |_| {}).await;
    world.sql(TABLE).await;
    // Everything is prepared: what follows writes nothing that would take the commit to the disk.
    let mut followers = vec![world.follow(Shape::of("items").filter("id > 100")).await];
    let hasty = world.db.session().await;
    hasty.sql("SET synchronous_commit = off").await;
    let unsafe_still = "SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()";
    eventually("a commit is not on the disk", async || {
        hasty.sql("INSERT INTO items SELECT 1000 + count(*), 1, 'x' FROM items").await;
        (hasty.value(unsafe_still).await == "t").then_some(())
    })
    .await;
    // One alone, and several that share a snapshot.
    followers.push(world.follow(Shape::of("items").filter("name = 'x'")).await);
    let several = (0..8).map(|n| world.follow(Shape::of("items").filter(&format!("id > {n}"))));
    followers.extend(futures_util::future::join_all(several).await);
    cluster.stop("QUIT");
    cluster.start();
    world.db.reconnect().await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let mut followers: Vec<_> =
        followers.into_iter().map(|one| one.through_outages().through_refetches()).collect();
    world.compare_all(&mut followers).await;
    world.verify_all(1).await;
}
