//! Too many requests at once: who is turned away, how, and that every permit comes back.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{Connection, Database, Events, Request, Response, Shape, World, eventually};

const LIMITS: &str = r#"{"initial":2,"existing":3}"#;

async fn world(limits: &str) -> World {
    let world = World::with(Database::shared().await, |options| {
        let port = crate::harness::postgres::free_port().to_string();
        for argument in ["--max-concurrent-requests", limits, "--prometheus-port", &port] {
            options.arguments.push(argument.to_owned());
        }
        options.long_poll = Duration::from_secs(30);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world
}

/// What the metrics say is being answered, all kinds together.
async fn in_use(world: &World) -> f64 {
    let port: u16 = world.server.options.arguments.last().unwrap().parse().unwrap();
    let metrics = Request::get("/metrics").send(([127, 0, 0, 1], port).into()).await.unwrap();
    let metrics = metrics.expect(200).text();
    let lines: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("electric_admission_control_acquire_current"))
        .collect();
    assert!(!lines.is_empty(), "no such metric:\n{metrics}");
    lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn becomes(world: &World, number: f64) {
    eventually(&format!("{number} requests are being answered"), async || {
        (in_use(world).await == number).then_some(())
    })
    .await;
}

fn send(world: &World, target: String) -> JoinHandle<Response> {
    let address = world.server.address;
    tokio::spawn(async move { Request::get(target).send(address).await.unwrap() })
}

fn check_shed(response: &Response, kind: &str, limit: usize) {
    assert_eq!(response.status, 503, "{}", response.shown());
    let message =
        format!("Concurrent {kind} request limit exceeded (limit: {limit}), please retry");
    assert_eq!(
        response.json(),
        json!({"code": "concurrent_request_limit_exceeded", "message": message})
    );
    let pause: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=10).contains(&pause), "{pause}");
    assert_eq!(response.header("electric-internal-known-error"), Some("true"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("surrogate-control"), Some("no-store"));
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(response.header("access-control-allow-origin").is_some(), "{}", response.shown());
    assert!(response.header("electric-handle").is_none(), "{}", response.shown());
}

#[tokio::test]
async fn requests_above_the_limit_of_existing_shapes_are_told_to_come_again() {
    let world = world(LIMITS).await;
    let items = world.follow(Shape::of("items")).await;
    becomes(&world, 0.0).await;
    let parked: Vec<_> = (0..3).map(|_| send(&world, items.target(true))).collect();
    becomes(&world, 3.0).await;
    let mut pauses = Vec::new();
    for _ in 0..30 {
        let shed = world.get(&items.target(false)).await;
        check_shed(&shed, "existing", 3);
        pauses.push(shed.header("retry-after").unwrap().to_owned());
    }
    assert!(
        pauses.iter().any(|pause| *pause != pauses[0]),
        "all are told to come back at once: {pauses:?}"
    );
    // Before parameters and bodies are looked at; health, preflights and unknown paths are not counted.
    check_shed(
        &world.get(&format!("/v1/shape?offset=bad&handle={}", items.handle)).await,
        "existing",
        3,
    );
    let body = Request::new("POST", items.target(false)).body("{bad");
    assert_eq!(world.send(body).await.status, 503);
    world.get("/v1/health").await.expect(200);
    world.send(Request::new("OPTIONS", "/v1/shape")).await.expect(204);
    world.get("/nowhere").await.expect(404);
    // New shapes have a limit of their own.
    world.get("/v1/shape?table=items&offset=-1&where=id%3E5").await.expect(200);
    world.get("/v1/shape?table=items&offset=0_0&handle=1-2").await.expect(409);
    becomes(&world, 3.0).await;
    world.sql("INSERT INTO items VALUES (1, 'one')").await;
    for answer in parked {
        answer.await.unwrap().expect(200);
    }
    becomes(&world, 0.0).await;
    world.get(&items.target(false)).await.expect(200);
}

#[tokio::test]
async fn requests_above_the_limit_of_new_shapes_are_told_to_come_again() {
    let world = world(LIMITS).await;
    world.sql("CREATE TABLE slow (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let lock = world.db.session().await;
    lock.sql("BEGIN; LOCK TABLE slow IN ACCESS EXCLUSIVE MODE").await;
    let target = |number: usize| format!("/v1/shape?table=slow&offset=-1&where=id%3E{number}");
    let waiting: Vec<_> = (0..2).map(|number| send(&world, target(number))).collect();
    becomes(&world, 2.0).await;
    for number in 0..3 {
        check_shed(&world.get(&target(number)).await, "initial", 2);
    }
    check_shed(&world.get("/v1/shape?table=items&offset=0_0&handle=1-2").await, "initial", 2);
    check_shed(&world.get("/v1/shape").await, "initial", 2);
    world.get(&items.target(false)).await.expect(200);
    lock.sql("COMMIT").await;
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.shown());
    }
    becomes(&world, 0.0).await;
    world.get(&target(7)).await.expect(200);
}

#[tokio::test]
async fn every_permit_comes_back_however_a_request_ends() {
    let world = world(r#"{"initial":10,"existing":40}"#).await;
    world
        .sql("INSERT INTO items SELECT g, repeat('x', 2000) FROM generate_series(1, 20000) g")
        .await;
    let items = world.follow(Shape::of("items").filter("id < 10")).await;
    let events = format!("{}&live_sse=true", items.target(true));
    let large = "/v1/shape?table=items&offset=-1";
    for _ in 0..6 {
        let mut open = Vec::new();
        for target in [
            items.target(true),
            large.to_owned(),
            format!("{large}&where=id%3E3"),
            "/v1/shape?table=items&offset=now&subset__where=true".to_owned(),
        ] {
            let mut connection = Connection::open(world.server.address).await.unwrap();
            connection.ask("GET", &target, "").await.unwrap();
            open.push(connection);
        }
        // One is read from, the others are left at once.
        let _ = open[1].head().await.expect("an answer");
        drop(open);
        let _stream = Events::open(world.server.address, &events).await;
        // A body that never comes to its end.
        let mut cut = Connection::open(world.server.address).await.unwrap();
        cut.ask("POST", &items.target(false), "content-length: 1000\r\n").await.unwrap();
        cut.write(b"{\"where\"").await.unwrap();
        drop(cut);
        let mut all = Vec::new();
        for target in [
            "/v1/shape",
            "/v1/shape?table=nope&offset=-1",
            "/v1/shape?table=items&offset=0_0&handle=1",
            "/v1/shape?table=items&offset=now&subset__where=1%2F0%3D1",
        ] {
            all.push(world.get(target).await.status);
            all.push(world.send(Request::new("HEAD", target)).await.status);
        }
        all.push(world.send(Request::new("HEAD", items.target(false))).await.status);
        all.push(world.send(Request::new("DELETE", "/v1/shape?table=items")).await.status);
        assert!(all.iter().all(|status| *status < 500), "{all:?}");
    }
    becomes(&world, 0.0).await;
    world.get(large).await.expect(200);
}

#[tokio::test]
async fn a_missing_secret_costs_no_permit() {
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some("s".to_owned());
        options.arguments = ["--max-concurrent-requests", r#"{"initial":1,"existing":1}"#]
            .map(str::to_owned)
            .to_vec();
        options.long_poll = Duration::from_secs(30);
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items").more("&secret=s")).await;
    let mut parked = send(&world, items.target(true));
    eventually("the poll is parked", async || {
        // Our question may have come first, and taken the only permit.
        if parked.is_finished() {
            parked = send(&world, items.target(true));
        }
        (world.get(&items.target(false)).await.status == 503).then_some(())
    })
    .await;
    world.get(&items.target(false).replace("secret=s", "secret=x")).await.expect(401);
    parked.abort();
}
