//! The server's own life: ports, health, signals, configuration.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Database, Follower, Options, Process, Request, Response, Shape, World,
    eventually_within, run_dir,
};

#[tokio::test]
async fn port_zero_is_any_free_port_and_the_line_names_it() {
    let world = World::with(Database::shared().await, |options| options.port = 0).await;
    assert_ne!(world.server.address.port(), 0);
    world.get("/v1/health").await.expect(200);
}

#[tokio::test]
async fn health_says_active_and_is_never_cached() {
    let world = World::new().await;
    let health = world.get("/v1/health").await.expect(200);
    assert_eq!(health.json(), serde_json::json!({"status": "active"}));
    assert_eq!(health.header("content-type"), Some("application/json; charset=utf-8"));
}

#[tokio::test]
async fn the_environment_configures_like_the_flags_and_our_own_names_win() {
    let db = Database::shared().await;
    db.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let options = Options::of(&db);
    let storage = options.storage.display().to_string();
    for prefix in ["BROOKLET", "ELECTRIC"] {
        let mut command = crate::harness::server::brooklet();
        command.arg("serve").env("DATABASE_URL", db.url());
        for (name, value) in [
            ("PORT", "0"),
            ("STORAGE_DIR", storage.as_str()),
            ("REPLICATION_STREAM_ID", db.stream.as_str()),
            ("LONG_POLL_TIMEOUT", "300"),
            ("SECRET", "from-the-environment"),
        ] {
            command.env(format!("{prefix}_{name}"), value);
        }
        if prefix == "BROOKLET" {
            command.env("ELECTRIC_SECRET", "the-other-one").env("ELECTRIC_PORT", "1");
        }
        let mut process = Process::spawn(&mut command);
        let address =
            process.line("brooklet is listening on http://", Duration::from_secs(30)).await;
        let address = address.trim().replace("0.0.0.0", "127.0.0.1").parse().expect("an address");
        crate::harness::eventually("it is ready", async || {
            let health = Request::get("/v1/health").send(address).await.ok()?;
            (health.status == 200).then_some(())
        })
        .await;
        let target = "/v1/shape?table=items&offset=now&secret=";
        Request::get(format!("{target}the-other-one")).send(address).await.unwrap().expect(401);
        Request::get(format!("{target}from-the-environment"))
            .send(address)
            .await
            .unwrap()
            .expect(200);
        run_dir::signal(process.id(), "TERM");
        process.exit(Duration::from_secs(20)).await;
        let slot = db
            .value(&format!(
                "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'",
                db.slot()
            ))
            .await;
        assert_eq!(slot, "1", "the slot has another name");
    }
}

#[tokio::test]
async fn a_graceful_stop_is_quick_although_clients_are_parked() {
    let mut world = World::with(Database::shared().await, |options| {
        options.long_poll = Duration::from_secs(25)
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let (target, address) = (items.target(true), world.server.address);
    let parked: Vec<_> = (0..10)
        .map(|_| {
            let target = target.clone();
            tokio::spawn(async move { Request::get(target).send(address).await })
        })
        .collect();
    world.get(&items.target(false)).await.expect(200);
    let start = Instant::now();
    world.server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for poll in parked {
        // An answer or a cut connection: both make a client ask again.
        if let Ok(answer) = poll.await.unwrap() {
            assert!(answer.status == 200 || answer.status == 503, "{}", answer.shown());
        }
    }
    let active =
        format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{}'", world.db.slot());
    // Postgres needs a moment to see that its client has gone.
    crate::harness::eventually("the slot is free", async || {
        (world.db.value(&active).await == "f").then_some(())
    })
    .await;
    world.server.restart().await;
}

#[tokio::test]
async fn a_taken_port_is_refused_with_its_number() {
    let db = Database::shared().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = Options::of(&db);
    options.port = taken.local_addr().unwrap().port();
    let mut process = Process::spawn(&mut options.command());
    let status = process.exit(Duration::from_secs(20)).await;
    assert!(
        !status.success() && process.output().contains(&options.port.to_string()),
        "{}",
        process.output()
    );
}

#[tokio::test]
async fn slot_and_publication_carry_the_stream_id() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    world.follow(Shape::of("items")).await;
    let published = format!(
        "SELECT tablename FROM pg_publication_tables WHERE pubname = '{}'",
        world.db.slot()
    );
    assert_eq!(world.db.value(&published).await, "items");
    let identity = "SELECT relreplident FROM pg_class WHERE relname = 'items'";
    assert_eq!(world.db.value(identity).await, "f");
}

#[tokio::test]
async fn two_requests_share_a_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let mut stream = tokio::net::TcpStream::connect(world.server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\"}") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let db = Database::shared().await;
    let cases: &[(&[&str], &str)] = &[
        (&["--long-poll-timeout", "soon"], "long-poll-timeout"),
        (&["--shape-idle-timeout", "1440"], "1440s, 1440m"),
        (&["--catch-up-window", "60"], "60s, 60m"),
        (&["--retention-interval", "60"], "60s, 60m"),
        (&["--shape-chunk-bytes-threshold", "lots"], "shape-chunk-bytes-threshold"),
        (&["--no-such-flag"], "no-such-flag"),
        (&["--stream-id", "not an id; DROP"], "stream-id"),
    ];
    for (arguments, named) in cases {
        let mut options = Options::of(&db);
        let mut command = crate::harness::server::brooklet();
        command.args([
            "serve",
            "--database-url",
            &options.database_url,
            "--insecure",
            "--port",
            "0",
        ]);
        command.arg("--storage-dir").arg(std::mem::take(&mut options.storage)).args(*arguments);
        let mut process = Process::spawn(&mut command);
        let status = process.exit(Duration::from_secs(20)).await;
        assert!(
            !status.success() && process.output().contains(named),
            "{arguments:?}: {}",
            process.output()
        );
    }
}

#[tokio::test]
async fn a_first_start_behind_an_open_transaction_loses_nothing_of_it() {
    // A slot cannot be made before the transactions that are open have ended: what they wrote must still arrive.
    let db = Database::shared().await;
    db.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let writer = db.session().await;
    writer.sql("BEGIN; INSERT INTO items VALUES (1)").await;
    let begun =
        format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'", db.slot());
    let watcher = db.session().await;
    let release = async {
        crate::harness::eventually("the slot is being made", async || {
            (watcher.value(&begun).await == "1").then_some(())
        })
        .await;
        writer.sql("INSERT INTO items VALUES (2)").await;
        writer.sql("COMMIT").await;
    };
    let (world, ()) = tokio::join!(World::with(db, |_| {}), release);
    let items = world.follow(Shape::of("items")).await;
    assert_eq!(items.rows().len(), 2);
    world.compare_all(&mut [items]).await;
}

/// The client of a shape that has ended is told so: by one message, and with another handle to go on with.
async fn told_to_fetch_anew(world: &World, ended: &Follower) {
    // It is said in the log first, then done.
    let refused = crate::harness::eventually("its client is told", async || {
        let answer = world.get(&ended.target(false)).await;
        (answer.status == 409).then_some(answer)
    })
    .await;
    let body = serde_json::json!([{"headers": {"control": "must-refetch"}}]);
    assert_eq!(refused.json(), body, "{}", refused.shown());
    let handle = refused.header("electric-handle");
    let handle = handle.unwrap_or_else(|| panic!("no handle to go on with: {}", refused.shown()));
    assert_ne!(handle, ended.handle, "{}", refused.shown());
    // It is one that works.
    let begins = format!("{}&offset=-1&handle={handle}", ended.shape.target());
    let begun = world.get(&begins).await.expect(200);
    assert_eq!(begun.header("electric-handle"), Some(handle), "{}", begun.shown());
}

#[tokio::test]
async fn too_many_shapes_end_the_longest_idle_first_and_never_one_that_is_waited_for() {
    let world = World::with(Database::shared().await, |options| {
        options.arguments.extend(["--max-shapes".to_owned(), "2".to_owned()]);
        options.long_poll = Duration::from_secs(20);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let shape = |n: u32| Shape::of("items").filter(&format!("id > {n}"));
    let mut waited_for = world.follow(shape(0)).await;
    let (target, address) = (waited_for.target(true), world.server.address);
    let parked = tokio::spawn(async move { Request::get(target).send(address).await });
    let idle = world.follow(shape(1)).await;
    world.follow(shape(2)).await;
    // Not by asking for it: then it would not be idle.
    crate::harness::eventually("one is evicted", async || {
        world.server.logs().contains("shape evicted").then_some(())
    })
    .await;
    told_to_fetch_anew(&world, &idle).await;
    assert!(!parked.is_finished(), "the shape that is waited for has ended");
    world.sql("INSERT INTO items VALUES (5)").await;
    let answer = parked.await.unwrap().unwrap().expect(200);
    assert!(answer.text().contains("\"5\""), "{}", answer.shown());
    assert_eq!(answer.header("electric-handle"), Some(waited_for.handle.as_str()));
    waited_for.until("the row", |rows| rows.len() == 1).await;
    world.verify_all(1).await;
}

/// Its client asks again in a moment.
#[tokio::test]
async fn a_shape_whose_client_was_answered_just_now_is_not_the_longest_idle() {
    let world = World::with(Database::shared().await, |options| {
        options.arguments.extend(["--max-shapes".to_owned(), "2".to_owned()]);
        options.long_poll = Duration::from_secs(3);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let shape = |n: u32| Shape::of("items").filter(&format!("id > {n}"));
    let waited_for = world.follow(shape(0)).await;
    let target = waited_for.target(true);
    // What counts are seconds, and a slow machine may take as many for the other one.
    let idle = crate::harness::eventually("an answer is later by a second", async || {
        let (answered, (idle, asked)) = tokio::join!(
            async {
                world.get(&target).await.expect(200);
                Instant::now()
            },
            async { (world.follow(shape(1)).await, Instant::now()) }
        );
        (answered > asked + Duration::from_secs(1)).then_some(idle)
    })
    .await;
    world.follow(shape(2)).await;
    // Not by asking for it: then it would not be idle.
    let evicted = crate::harness::eventually("one is evicted", async || {
        let logs = world.server.logs();
        logs.lines().find(|line| line.contains("shape evicted")).map(str::to_owned)
    })
    .await;
    assert!(evicted.contains(&idle.handle), "{evicted}");
}

#[tokio::test]
async fn a_shape_that_nobody_asks_for_ends_and_one_that_is_waited_for_stays() {
    let world = World::with(Database::shared().await, |options| {
        options.arguments.extend(["--shape-idle-timeout".to_owned(), "1s".to_owned()]);
        // One request waits for much longer than a shape may be idle.
        options.long_poll = Duration::from_secs(30);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (3)").await;
    let shape = |n: u32| Shape::of("items").filter(&format!("id > {n}"));
    let mut waited_for = world.follow(shape(0)).await;
    let (target, address) = (waited_for.target(true), world.server.address);
    let parked = tokio::spawn(async move { Request::get(target).send(address).await });
    let mut idle = world.follow(shape(1)).await.through_refetches();
    // Not by asking for it: then it would not be idle.
    crate::harness::eventually("it is evicted", async || {
        world.server.logs().contains("shape evicted").then_some(())
    })
    .await;
    told_to_fetch_anew(&world, &idle).await;
    let old = idle.handle.clone();
    idle.catch_up().await;
    assert!(idle.refetches == 1 && idle.handle != old, "it goes on under the old handle");
    assert_eq!(idle.rows().len(), 1);
    assert!(!parked.is_finished(), "the shape that is waited for has ended");
    world.sql("INSERT INTO items VALUES (5)").await;
    let answer = parked.await.unwrap().unwrap().expect(200);
    assert!(answer.text().contains("\"5\""), "{}", answer.shown());
    assert_eq!(answer.header("electric-handle"), Some(waited_for.handle.as_str()));
    waited_for.until("the row", |rows| rows.len() == 2).await;
    // Who had to fetch anew may have to again: this timeout is shorter than a slow machine's pauses.
    world.compare_all(&mut [idle]).await;
    world.verify_all(1).await;
}

/// For how long nobody may ask for a shape in [`world_of_slow_readers`].
const IDLE: &str = "3s";
/// Bytes that a slow reader takes in a second.
const SLOW: f64 = 3e6;

/// Shapes of a table `busy` with a body that is some 40 MB, far more than what sockets hold, end soon without readers.
async fn world_of_slow_readers() -> World {
    let world = World::with(Database::shared().await, |options| {
        options.arguments.extend(["--shape-idle-timeout".to_owned(), IDLE.to_owned()]);
        // All of it is one answer.
        options.chunk_bytes = Some(100 << 20);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (3)").await;
    world.sql("CREATE TABLE busy (id int PRIMARY KEY, body text)").await;
    world
}

/// Takes an answer slowly until a shape has ended that was asked for later, the rest of it at once, and asks for what
/// comes next.
async fn download_slowly(world: &World, shape: &Shape, target: &str) -> Vec<u8> {
    let mut connection = Connection::open(world.server.address).await.unwrap();
    connection.ask("GET", target, "").await.unwrap();
    let head: Response = connection.head().await.unwrap().expect(200);
    let idle = world.follow(Shape::of("items")).await;
    let (mut body, begun) = (Vec::new(), Instant::now());
    crate::harness::eventually("the idle shape is evicted", async || {
        while (body.len() as f64) < SLOW * begun.elapsed().as_secs_f64() {
            let piece = connection.piece().await.unwrap();
            body.extend(piece.expect("more, as long as the idle shape has not ended"));
        }
        let logs = world.server.logs();
        let mut evicted = logs.lines().filter(|line| line.contains("shape evicted"));
        evicted.any(|line| line.contains(&idle.handle)).then_some(())
    })
    .await;
    while let Some(piece) = connection.piece().await.unwrap() {
        body.extend(piece);
    }
    let named = |name: &str| head.header(name).unwrap_or_else(|| panic!("no {name}"));
    let (handle, offset) = (named("electric-handle"), named("electric-offset"));
    let next = format!("{}&offset={offset}&handle={handle}", shape.target());
    world.get(&next).await.expect(200);
    body
}

/// How many rows a body has, and whether it ends with a control message.
fn rows(body: &[u8], last: &str) -> (usize, bool) {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let messages = body.as_array().unwrap();
    let rows = messages.iter().filter(|message| message.get("value").is_some()).count();
    (rows, messages.iter().any(|message| message["headers"]["control"] == last))
}

#[tokio::test]
async fn who_takes_long_for_a_snapshot_asks_for_its_shape_all_the_time() {
    let world = world_of_slow_readers().await;
    world.sql("INSERT INTO busy SELECT g, repeat('x', 8000) FROM generate_series(1, 5000) g").await;
    let shape = Shape::of("busy");
    let body = download_slowly(&world, &shape, &format!("{}&offset=-1", shape.target())).await;
    assert_eq!(rows(&body, "snapshot-end"), (5000, true));
}

#[tokio::test]
async fn who_takes_long_for_a_log_asks_for_its_shape_all_the_time() {
    let world = world_of_slow_readers().await;
    let beginning = world.follow(Shape::of("busy")).await;
    // It is asked for until everything has arrived, and for no rows: to read them may take longer than nobody may ask.
    let (now, position) = (format!("{}&offset=now", beginning.shape.target()), Cell::new(None));
    let written = async {
        world
            .sql("INSERT INTO busy SELECT g, repeat('x', 8000) FROM generate_series(1, 5000) g")
            .await;
        position.set(Some(world.mark().await));
    };
    let patience = Duration::from_secs(180);
    let arrived = eventually_within(patience, "everything has arrived", async || {
        let said = world.get(&now).await.expect(200).json();
        let seen = said[0]["headers"]["global_last_seen_lsn"].as_str().unwrap().parse::<u64>();
        position.get().is_some_and(|position| seen.unwrap() >= position).then_some(())
    });
    tokio::join!(written, arrived);
    let body = download_slowly(&world, &beginning.shape, &beginning.target(false)).await;
    assert_eq!(rows(&body, "up-to-date"), (5000, true));
}
