//! Server-sent events: framing, batches, keep-alives, ends, and what comes before and after a stream.

use std::time::{Duration, Instant};

use crate::harness::{Database, Event, Events, Follower, Request, Shape, World};

/// Far longer than an event takes, far shorter than a stream lasts.
const SOON: Duration = Duration::from_secs(15);

async fn world() -> World {
    let world = World::with(Database::shared().await, |options| options.may_delete = true).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE others (id int PRIMARY KEY)").await;
    world
}

fn target(client: &Follower, offset: &str) -> String {
    let (shape, handle) = (client.shape.target(), &client.handle);
    format!(
        "{shape}&offset={offset}&handle={handle}&live=true&live_sse=true&experimental_live_sse=true&cursor=1"
    )
}

async fn open(world: &World, client: &Follower, offset: &str) -> Events {
    let events = Events::open(world.server.address, &target(client, offset)).await;
    assert!(events.head.header("content-encoding").is_none(), "{}", events.head.shown());
    assert!(events.head.header("electric-schema").is_none(), "{}", events.head.shown());
    events
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("not soon: {what}"))
}

/// The ids of the changed rows and where the batch says that it ends.
fn ids(batch: &[Event]) -> (Vec<String>, u64) {
    let (end, changes) = batch.split_last().unwrap();
    let ids = changes.iter().map(|event| event.json()["value"]["id"].as_str().unwrap().to_owned());
    (ids.collect(), end.up_to_date().unwrap().parse().unwrap())
}

#[tokio::test]
async fn each_commit_is_a_batch_that_ends_with_its_own_position() {
    let world = world().await;
    let client = world.follow(Shape::of("items")).await;
    let mut others = world.follow(Shape::of("others")).await;
    let mut events = open(&world, &client, "0_inf").await;
    for round in 0..5 {
        let first = round * 10;
        world
            .sql(&format!("INSERT INTO others VALUES ({round}); INSERT INTO items SELECT g, 'x' FROM generate_series({first}, {first} + 2) g"))
            .await;
        let batch = soon("the commit's events", events.batch()).await;
        let (changed, end) = ids(&batch);
        assert_eq!(changed, (first..first + 3).map(|id| id.to_string()).collect::<Vec<_>>());
        let last = batch[2].json();
        assert_eq!(
            (&last["headers"]["lsn"], last["headers"]["last"] == true),
            (&end.to_string().into(), true)
        );
        // The stream goes on to other tables: not the shape's own position, so not in its batches.
        world.sql(&format!("INSERT INTO others VALUES ({})", 100 + round)).await;
        others.until("the other row", |rows| rows.len() == (round + 1) * 2).await;
    }
}

#[tokio::test]
async fn a_transaction_of_many_chunks_is_one_batch() {
    let world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(2_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    let client = world.follow(Shape::of("items")).await;
    let mut events = open(&world, &client, "0_inf").await;
    world.sql("INSERT INTO items SELECT g, repeat('x', 500) FROM generate_series(1, 40) g").await;
    let batch = soon("the transaction", events.batch()).await;
    assert_eq!(ids(&batch).0, (1..=40).map(|id| id.to_string()).collect::<Vec<_>>());
    // The same for one that asks when all of it is there.
    let mut late = open(&world, &client, "0_inf").await;
    assert_eq!(soon("the transaction", late.batch()).await, batch);
}

#[tokio::test]
async fn what_is_there_already_comes_at_once_and_the_stream_goes_on() {
    let world = world().await;
    let mut client = world.follow(Shape::of("items")).await;
    world.sql("INSERT INTO items VALUES (1, 'one')").await;
    client.until("the row", |rows| rows.len() == 1).await;
    // Whoever loses the stream before anything has come goes on where its head said, and has missed nothing.
    let begun = open(&world, &client, "0_inf").await;
    let place = begun.head.header("electric-offset").unwrap().to_owned();
    drop(begun);
    let mut events = open(&world, &client, &place).await;
    assert_eq!(ids(&soon("the row that is there", events.batch()).await).0, ["1"]);
    // Ending the stream here would be allowed. But clients give up streaming after three short streams.
    world.sql("INSERT INTO items VALUES (2, 'two')").await;
    assert_eq!(ids(&soon("the next row", events.batch()).await).0, ["2"]);
}

#[tokio::test]
async fn a_client_resumes_at_the_position_it_was_told() {
    let world = world().await;
    let client = world.follow(Shape::of("items")).await;
    let mut events = open(&world, &client, "0_inf").await;
    world.sql("INSERT INTO items VALUES (1, 'one'); INSERT INTO items VALUES (2, 'two')").await;
    let (_, end) = ids(&soon("both rows", events.batch()).await);
    drop(events);
    // What the published client makes of an up-to-date: the operations after the first come again.
    let mut events = open(&world, &client, &format!("{end}_0")).await;
    let (again, same) = ids(&soon("the second row", events.batch()).await);
    assert_eq!((again, same), (vec!["2".to_owned()], end));
    world.sql("UPDATE items SET name = 'uno' WHERE id = 1").await;
    let (changed, end) = ids(&soon("the update", events.batch()).await);
    assert_eq!(changed, ["1"]);
    drop(events);
    // A transaction of one operation has nothing after it; writes elsewhere change nothing in that.
    world.sql("INSERT INTO others VALUES (1)").await;
    let mut events = open(&world, &client, &format!("{end}_0")).await;
    world.sql("DELETE FROM items WHERE id = 2").await;
    let batch = soon("the delete", events.batch()).await;
    let changes: Vec<_> = batch.iter().filter(|event| event.up_to_date().is_none()).collect();
    assert_eq!(changes.len(), 1, "{batch:?}");
    assert_eq!(changes[0].json()["headers"]["operation"], "delete");
    // An offset between entries, of a transaction that is none of this shape's.
    let foreign: u64 = ids(&batch).1 - 1;
    let mut events = open(&world, &client, &format!("{foreign}_0")).await;
    assert_eq!(ids(&soon("the delete", events.batch()).await).0, ["2"]);
}

#[tokio::test]
async fn a_shape_that_ends_ends_its_streams_and_the_next_request_says_why() {
    let world = world().await;
    for end in ["truncate", "delete", "drop column"] {
        world.sql("INSERT INTO items VALUES (1, 'one') ON CONFLICT DO NOTHING").await;
        let client = world.follow(Shape::of("items")).await;
        let mut events = open(&world, &client, "0_inf").await;
        match end {
            "truncate" => world.sql("TRUNCATE items").await,
            "delete" => {
                _ = world.send(Request::new("DELETE", "/v1/shape?table=items")).await.expect(202)
            }
            _ => {
                world.sql("ALTER TABLE items DROP COLUMN name").await;
                world.sql("INSERT INTO items VALUES (2)").await;
            }
        }
        let ended = soon("the end of the stream", async {
            while let Some(event) = events.next().await.expect("a clean end") {
                let Event::Message(text) = event else { continue };
                assert!(!text.contains("must-refetch"), "{text}");
            }
        });
        ended.await;
        let next = world.get(&target(&client, "0_inf")).await;
        assert_eq!(next.status, 409, "{end}: {}", next.shown());
        assert_eq!(next.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(next.json(), serde_json::json!([{"headers": {"control": "must-refetch"}}]));
    }
}

#[tokio::test]
async fn errors_before_the_stream_are_ordinary_answers() {
    let world = world().await;
    let client = world.follow(Shape::of("items")).await;
    let cases = [
        (format!("/v1/shape?table=items&offset=0_inf&handle={}&live_sse=true", client.handle), 400),
        (target(&client, "bad"), 400),
        (target(&client, "-1"), 400),
        (target(&client, "0_inf").replace("table=items", "table=nope"), 400),
        (target(&client, "0_inf").replace("table=items", "table=others"), 409),
        (target(&client, "0_inf").replace("handle=", "handle=1"), 409),
    ];
    for (target, status) in cases {
        let response = world.get(&target).await.expect(status);
        assert_eq!(
            response.header("content-type"),
            Some("application/json; charset=utf-8"),
            "{target}"
        );
        response.json();
    }
    let head = soon("HEAD", world.send(Request::new("HEAD", target(&client, "0_inf")))).await;
    assert_eq!(head.status, 200, "{}", head.shown());
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("electric-offset"), Some("0_inf"));
    assert!(head.header("electric-cursor").is_some());
}

#[tokio::test]
async fn a_stream_lasts_a_minute_with_signs_of_life() {
    let world = world().await;
    let client = world.follow(Shape::of("items")).await;
    let (begun, mut comments, mut messages) = (Instant::now(), Vec::new(), 0);
    let mut events = open(&world, &client, "0_inf").await;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(40), events.next()).await;
        match next.expect("a sign of life in 40 s").expect("a clean end") {
            Some(Event::Comment(text)) => {
                assert_eq!(text, "keep-alive");
                comments.push(begun.elapsed());
            }
            Some(_) => messages += 1,
            None => break,
        }
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(57) && took < Duration::from_secs(66), "{took:?}");
    assert!(comments.len() >= 2 && messages <= 1, "{comments:?}, {messages} messages");
    assert!(
        comments[0] > Duration::from_secs(15) && comments[0] < Duration::from_secs(30),
        "{comments:?}"
    );
}

#[tokio::test]
async fn a_graceful_stop_does_not_wait_for_streams() {
    let mut world = world().await;
    let client = world.follow(Shape::of("items")).await;
    let _events = open(&world, &client, "0_inf").await;
    let begun = Instant::now();
    world.server.stop().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_streams_see_the_same() {
    let world = world().await;
    let client = world.follow(Shape::of("items").more("&replica=full")).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(open(&world, &client, "0_inf").await);
    }
    world.sql("INSERT INTO items VALUES (1, 'one'), (2, 'two')").await;
    let mut bodies = Vec::new();
    for stream in &mut streams {
        bodies.push(soon("the rows", stream.batch()).await);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0] && body.len() == 3), "{bodies:?}");
}
