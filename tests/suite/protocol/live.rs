//! Long polls: what wakes them, what does not, and what they answer when time runs out.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::arrow::{ARROW, read, text};
use crate::harness::postgres::free_port;
use crate::harness::{Database, Event, Events, Follower, Request, Response, Shape, Step, World};

/// Sends a live request and hands back the answer to wait for. The request may reach the server before or after
/// what the test does next: both must have the same outcome.
fn park(follower: &Follower, world: &World) -> tokio::task::JoinHandle<Response> {
    let (target, server) = (follower.target(true), world.server.address);
    tokio::spawn(async move { Request::get(target).send(server).await.unwrap() })
}

/// Long enough that a wake-up can be told from a time-out on a busy machine too.
const LONG_POLL: Duration = Duration::from_secs(25);

async fn world_with_items() -> World {
    let world =
        World::with(Database::shared().await, |options| options.long_poll = LONG_POLL).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text, hidden text)").await;
    world
}

#[tokio::test]
async fn a_poll_with_nothing_new_ends_at_its_time_out_with_the_same_offset() {
    let world =
        World::with(Database::shared().await, |options| options.long_poll = Duration::from_secs(1))
            .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let start = Instant::now();
    let answer = world.get(&items.target(true)).await.expect(200);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(answer.header("electric-offset"), Some("0_inf"));
    assert_eq!(answer.header("electric-has-data"), Some("false"));
    assert!(
        answer.header("electric-up-to-date").is_some() && answer.header("content-length").is_some()
    );
    assert_eq!(answer.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_wakes_every_parked_poll_in_well_under_its_time_out() {
    let world = world_with_items().await;
    let items = world.follow(Shape::of("items")).await;
    let parked: Vec<_> = (0..50).map(|_| park(&items, &world)).collect();
    world.sql("INSERT INTO items VALUES (1, 'one', NULL)").await;
    let start = Instant::now();
    let mut bodies = Vec::new();
    for answer in parked {
        bodies.push(answer.await.unwrap().expect(200).text());
    }
    assert!(start.elapsed() < LONG_POLL / 2, "{:?}", start.elapsed());
    assert!(
        bodies.iter().all(|body| body.contains("\"insert\"") && *body == bodies[0]),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn a_change_is_written_once_for_all_shapes_that_show_the_same_of_it() {
    let port = free_port();
    let world = World::with(Database::shared().await, |options| {
        options.long_poll = LONG_POLL;
        options.arguments = ["--prometheus-port".to_owned(), port.to_string()].to_vec();
    })
    .await;
    let written = async || {
        let metrics = Request::get("/metrics").send(([127, 0, 0, 1], port).into()).await.unwrap();
        let metrics = metrics.expect(200).text();
        let line = "brooklet_messages_written_count ";
        let count = metrics.lines().find_map(|one| one.strip_prefix(line));
        count.map_or(0, |count| count.parse().unwrap())
    };
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text, hidden text)").await;
    let mut shapes = Vec::new();
    for n in 0..10 {
        shapes.push(world.follow(Shape::of("items").filter(&format!("id > -{n}"))).await);
    }
    shapes.push(world.follow(Shape::of("items").columns("id,name")).await);
    shapes.push(world.follow(Shape::of("items").filter("name = 'two'")).await);
    let messages = async |sql: &str, shapes: &mut [Follower]| {
        let parked: Vec<_> = shapes.iter().map(|shape| park(shape, &world)).collect();
        world.sql(sql).await;
        let mut found = Vec::new();
        for answer in parked {
            found.push(answer.await.unwrap().expect(200).json()[0].clone());
        }
        for shape in shapes {
            shape.catch_up().await;
        }
        found
    };
    // Once with all columns, once with two of them.
    let came = messages("INSERT INTO items VALUES (1, 'one', 'a')", &mut shapes[..11]).await;
    assert_eq!(came[0]["value"], json!({"id": "1", "name": "one", "hidden": "a"}));
    assert!(came[..10].iter().all(|one| *one == came[0]), "{came:?}");
    assert_eq!(came[10]["value"], json!({"id": "1", "name": "one"}));
    assert_eq!(written().await, 2);
    // The same change is an update to some and an insert to another.
    let came = messages("UPDATE items SET name = 'two'", &mut shapes).await;
    assert_eq!(came[0]["value"], json!({"id": "1", "name": "two"}));
    assert!(came[..10].iter().all(|one| *one == came[0]), "{came:?}");
    assert_eq!(came[11]["value"], json!({"id": "1", "name": "two", "hidden": "a"}));
    assert_eq!(came[11]["headers"]["operation"], "insert");
    assert_eq!(written().await, 5);
    // Two changes of one transaction.
    world.sql("UPDATE items SET name = 'x', hidden = 'y'; DELETE FROM items").await;
    for shape in &mut shapes {
        shape.until("no rows", |rows| rows.is_empty()).await;
    }
}

#[tokio::test]
async fn no_commit_falls_between_reading_the_tail_and_waiting() {
    // Each commit is made right when the next poll is being sent: a wake-up lost in between costs a whole time-out.
    let world = world_with_items().await;
    let mut items = world.follow(Shape::of("items")).await;
    // One stream of events stays, and waits anew after each batch; another one begins each time.
    let mut stays = stream(&world, &items.target(true)).await;
    for id in 0..200 {
        let insert = format!("INSERT INTO items VALUES ({id}, 'x', NULL)");
        let key = format!("/\"{id}\"");
        let (target, start) = (items.target(true), Instant::now());
        let arrow = world.send(Request::get(&target).header("accept", ARROW));
        let begins = async { brought(&mut stream(&world, &target).await, &key).await };
        let stays = brought(&mut stays, &key);
        let (_, step, arrow, (), ()) =
            tokio::join!(world.sql(&insert), items.step(true), arrow, begins, stays);
        assert_eq!(step, Step::UpToDate);
        let (_, batches) = read(&arrow.expect(200));
        let keys =
            batches.iter().flat_map(|all| (0..all.num_rows()).map(|at| text(all, "key", at)));
        let keys: Vec<_> = keys.flatten().collect();
        assert!(keys.len() == 1 && keys[0].ends_with(&key), "{keys:?}");
        items.until("the new row", |rows| rows.len() > id).await;
        assert!(start.elapsed() < LONG_POLL / 2, "wake-up {id} took {:?}", start.elapsed());
    }
    world.verify_all(1).await;
}

/// A live request as a stream of events.
async fn stream(world: &World, target: &str) -> Events {
    Events::open(world.server.address, &format!("{target}&live_sse=true")).await
}

/// Waits for the batch with a row's insert.
async fn brought(events: &mut Events, key: &str) {
    let is_it = |event: &Event| event.json()["key"].as_str().is_some_and(|it| it.ends_with(key));
    while !events.batch().await.iter().any(is_it) {}
}

#[tokio::test]
async fn an_update_of_an_unselected_column_does_not_end_a_poll() {
    let world = world_with_items().await;
    world.sql("INSERT INTO items VALUES (1, 'one', 'a')").await;
    let mut narrow = world.follow(Shape::of("items").columns("id,name")).await;
    let mut wide = world.follow(Shape::of("items")).await;
    let parked = park(&narrow, &world);
    world.sql("UPDATE items SET hidden = 'b'").await;
    wide.until("the hidden column", |rows| rows[0]["hidden"].as_deref() == Some("b")).await;
    assert!(!parked.is_finished(), "a poll ended without news");
    world.sql("UPDATE items SET hidden = 'c', name = 'uno'").await;
    let body = parked.await.unwrap().expect(200).json();
    assert_eq!(body[0]["value"], json!({"id": "1", "name": "uno"}));
    assert_eq!(body.as_array().unwrap().len(), 2, "{body}");
    narrow.until("the name", |rows| rows[0]["name"].as_deref() == Some("uno")).await;
    assert_eq!(narrow.log.changes.len(), 1);
}

#[tokio::test]
async fn writes_outside_the_filter_do_not_end_a_poll() {
    let world = world_with_items().await;
    world.sql("CREATE TABLE others (id int PRIMARY KEY)").await;
    let few = world.follow(Shape::of("items").filter("id > 100")).await;
    let mut all = world.follow(Shape::of("items")).await;
    let mut others = world.follow(Shape::of("others")).await;
    let parked = park(&few, &world);
    world.sql("INSERT INTO items VALUES (1, 'one', 'a')").await;
    world.sql("INSERT INTO others VALUES (1)").await;
    all.until("the row", |rows| rows.len() == 1).await;
    others.until("the row", |rows| rows.len() == 1).await;
    assert!(!parked.is_finished(), "a poll ended without news");
    world.sql("INSERT INTO items VALUES (101, 'one', 'a')").await;
    assert!(parked.await.unwrap().expect(200).text().contains("101"));
}

#[tokio::test]
async fn truncate_ends_a_parked_poll_with_409_at_once() {
    let world = world_with_items().await;
    world.sql("INSERT INTO items VALUES (1, 'one', 'a')").await;
    let items = world.follow(Shape::of("items")).await;
    let parked = park(&items, &world);
    world.sql("TRUNCATE items").await;
    let start = Instant::now();
    let answer = parked.await.unwrap().expect(409);
    assert!(start.elapsed() < LONG_POLL / 2, "{:?}", start.elapsed());
    assert_eq!(answer.json(), json!([{"headers": {"control": "must-refetch"}}]));
    assert_ne!(answer.header("electric-handle"), Some(items.handle.as_str()));
}

#[tokio::test]
async fn live_needs_a_position_in_the_log() {
    let world = world_with_items().await;
    for offset in ["-1", "now"] {
        let answer = world
            .get(&format!("/v1/shape?table=items&offset={offset}&live=true"))
            .await
            .expect(400);
        assert!(
            answer.json()["errors"]["live"][0].as_str().unwrap().contains("can't be true"),
            "{}",
            answer.shown()
        );
    }
    let items = world.follow(Shape::of("items")).await;
    let base = format!("/v1/shape?table=items&offset=0_inf&handle={}", items.handle);
    let plain = world.get(&format!("{base}&live=false")).await.expect(200);
    assert!(plain.header("electric-schema").is_some() && plain.header("electric-cursor").is_none());
}

#[tokio::test]
async fn a_transaction_is_never_up_to_date_in_its_middle() {
    // Far more changes in one transaction than any internal batch: polled all the time while it arrives.
    let world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(20_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    let mut items = world.follow(Shape::of("items")).await;
    for (round, size) in [999, 1_000, 1_001, 8_191, 8_192, 8_193, 30_000].into_iter().enumerate() {
        let first = round * 100_000;
        let insert = format!(
            "INSERT INTO items SELECT g, 'x' FROM generate_series({first}, {first} + {size} - 1) g"
        );
        let before = items.log.count();
        // `Log` fails when an answer says up-to-date before the change marked `last`.
        tokio::join!(world.sql(&insert), items.until_count(before + size));
    }
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_behind() {
    let world = world_with_items().await;
    let items = world.follow(Shape::of("items")).await;
    for _ in 0..5 {
        let parked: Vec<_> = (0..40).map(|_| park(&items, &world)).collect();
        tokio::task::yield_now().await;
        parked.iter().for_each(|poll| poll.abort());
    }
    let fresh = park(&items, &world);
    world.sql("INSERT INTO items VALUES (1, 'one', NULL)").await;
    assert!(fresh.await.unwrap().expect(200).text().contains("insert"));
    crate::harness::eventually("sockets of hung-up clients are closed", async || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", world.server.id())).ok()?.count();
        (open < 100).then_some(())
    })
    .await;
}
