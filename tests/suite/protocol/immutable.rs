//! What has been answered stays: the same handle and offset give the same bytes for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::arrow::ARROW;
use crate::harness::{Database, Follower, Request, Response, Shape, World, eventually_within};

/// Every request offset with its body, for a reader that goes from the start to the end.
async fn read(world: &World, shape: &Shape) -> BTreeMap<usize, (String, String)> {
    let mut reader = Follower::new(world.server.address, shape.clone());
    let mut answers = BTreeMap::new();
    loop {
        let target = reader.target(false);
        let response = world.get(&target).await.expect(200);
        reader.handle = response.header("electric-handle").unwrap().to_owned();
        reader.offset = response.header("electric-offset").unwrap().to_owned();
        answers.insert(answers.len(), (target, response.text()));
        if response.header("electric-up-to-date").is_some() {
            return answers;
        }
    }
}

/// The entries of an answer as they were sent, without the end that a later answer may not have.
fn entries(body: &str) -> &str {
    let end = body.find(r#"{"headers":{"control":"up-to-date""#).unwrap_or(body.len() - 1);
    body[1..end].trim_end_matches(',')
}

/// Checks that a later reader gets the same: whole chunks the same, the last one at least as a beginning.
fn check_same(
    before: &BTreeMap<usize, (String, String)>,
    after: &BTreeMap<usize, (String, String)>,
    when: &str,
) {
    for (at, (target, body)) in before {
        let (target_after, body_after) = &after[at];
        assert_eq!(target, target_after, "{when}: chunk {at} begins elsewhere");
        let (old, new) = (entries(body), entries(body_after));
        let is_last = at + 1 == before.len();
        assert!(
            if is_last { new.starts_with(old) } else { new == old },
            "{when}: {target} has changed"
        );
    }
}

fn shapes() -> Vec<Shape> {
    vec![
        Shape::of("items"),
        Shape::of("items").more("&replica=full"),
        Shape::of("items").filter("n < 5").columns("id,n"),
        Shape::of("items").filter("n >= 3").more("&replica=full"),
        Shape::of("items").more("&log=changes_only"),
        Shape::of("bag"),
    ]
}

async fn write(world: &World, round: usize) {
    world
        .sql(&format!(
            "UPDATE items SET n = (n + {round}) % 10 WHERE id % 7 = {0}; UPDATE items SET id = id + 1000 WHERE id = {round}; \
             DELETE FROM items WHERE id % 50 = {round}; INSERT INTO items SELECT g, g % 10, repeat('y', 100) FROM generate_series(5000 + {round} * 10, 5004 + {round} * 10) g; \
             INSERT INTO bag VALUES ({round}, 'x'); UPDATE bag SET b = b || 'y' WHERE a = {round} - 1",
            round % 7
        ))
        .await;
}

async fn read_all(world: &World) -> Vec<BTreeMap<usize, (String, String)>> {
    let mut all = Vec::new();
    for shape in shapes() {
        all.push(read(world, &shape).await);
    }
    all
}

/// Waits until every shape has everything that is committed by now.
async fn settle(world: &World) {
    let position = world.mark().await;
    for shape in shapes() {
        let mut reader = world.client(shape);
        crate::harness::eventually("the log has everything", async || {
            let response = world.get(&reader.target(false)).await.expect(200);
            reader.handle = response.header("electric-handle").unwrap().to_owned();
            reader.offset = response.header("electric-offset").unwrap().to_owned();
            let end = response.json().as_array().unwrap().last().cloned()?;
            let seen: u64 = end["headers"]["global_last_seen_lsn"].as_str()?.parse().ok()?;
            (seen >= position).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_same_bytes_for_every_reader_and_after_every_restart() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(3_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    world.sql("CREATE TABLE bag (a int, b text)").await;
    world
        .sql("INSERT INTO items SELECT g, g % 10, repeat('x', 100) FROM generate_series(0, 99) g")
        .await;
    read_all(&world).await;
    for round in 1..12 {
        write(&world, round).await;
    }
    settle(&world).await;
    let first = read_all(&world).await;
    assert!(first[0].len() > 20 && first[1].len() > 20, "{} chunks only", first[0].len());
    let compare = async |world: &World, when: &str| {
        for (before, after) in first.iter().zip(read_all(world).await) {
            check_same(before, &after, when);
        }
    };
    compare(&world, "a second reader").await;
    world.server.crash().await;
    compare(&world, "after kill -9").await;
    for round in 12..20 {
        write(&world, round).await;
    }
    compare(&world, "while more is written").await;
    settle(&world).await;
    compare(&world, "after more was written").await;
    world.server.stop().await;
    world.server.restart().await;
    compare(&world, "after a restart").await;
    world.server.crash().await;
    settle(&world).await;
    compare(&world, "after the second kill -9").await;
}

#[tokio::test]
async fn readers_during_a_kill_see_a_beginning_of_what_comes_after() {
    let mut world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(3_000)).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    world.sql("CREATE TABLE bag (a int, b text)").await;
    world
        .sql("INSERT INTO items SELECT g, g % 10, repeat('x', 100) FROM generate_series(0, 99) g")
        .await;
    read_all(&world).await;
    for kill in 0..4 {
        for round in 1..5 {
            write(&world, kill * 5 + round).await;
        }
        // Whatever has been told to anybody, flushed or not, stays.
        let told = read_all(&world).await;
        world.server.crash().await;
        for (before, after) in told.iter().zip(read_all(&world).await) {
            if after.len() >= before.len() {
                check_same(before, &after, "right after kill -9");
            }
        }
        settle(&world).await;
        for (before, after) in told.iter().zip(read_all(&world).await) {
            check_same(before, &after, "after kill -9");
        }
    }
}

/// Some MiB of entries in a few commits: more than is folded at, of a hundred rows and more.
const CHURN: &str = "DO $$ BEGIN FOR i IN 1..6000 LOOP \
     UPDATE items SET n = i, body = repeat('x', i % 400) WHERE id = i % 20; \
     IF i % 1500 = 0 THEN COMMIT; END IF; END LOOP; END $$";

/// Some chunks of entries: less than is folded at.
const TAIL: &str = "DO $$ BEGIN FOR i IN 1..200 LOOP \
     UPDATE items SET n = -i, body = repeat('y', 300 + i) WHERE id = i % 30; COMMIT; END LOOP; END $$";

/// What a cache keeps: bytes by URL, and by whether they are Arrow.
type Kept = BTreeMap<(String, bool), Vec<u8>>;

async fn get(world: &World, target: &str, arrow: bool) -> Response {
    let accepted = if arrow { ARROW } else { "application/json" };
    world.send(Request::get(target).header("accept", accepted)).await
}

/// A handle and the offset behind its first chunk: where a new client begins names no handle.
type Begun = (String, String);

async fn begin(world: &World, shape: &Shape) -> Begun {
    let begun = world.get(&format!("{}&offset=-1", shape.target())).await.expect(200);
    let header = |name| begun.header(name).unwrap().to_owned();
    (header("electric-handle"), header("electric-offset"))
}

/// Reads a handle's log from its beginning in both forms, and keeps all that can never grow.
async fn keep(world: &World, shape: &Shape, (handle, offset): &Begun) -> Kept {
    let (mut kept, mut offset) = (Kept::new(), offset.clone());
    loop {
        let target = format!("{}&handle={handle}&offset={offset}", shape.target());
        let json = get(world, &target, false).await.expect(200);
        assert_eq!(json.header("electric-handle"), Some(handle.as_str()), "{target}");
        if json.header("electric-up-to-date").is_some() {
            return kept;
        }
        let arrow = get(world, &target, true).await.expect(200);
        let end = json.header("electric-offset").unwrap();
        assert_eq!(arrow.header("electric-offset"), Some(end), "{target} ends elsewhere in Arrow");
        offset = end.to_owned();
        kept.insert((target.clone(), false), json.body);
        kept.insert((target, true), arrow.body);
    }
}

/// Everything that was kept is answered with the same bytes, or with a 409 that names another handle; gives back how
/// often with that.
async fn check_kept(world: &World, kept: &Kept, when: &str) -> usize {
    let mut refused = 0;
    for ((target, arrow), body) in kept {
        let answer = get(world, target, *arrow).await;
        if answer.status == 409 {
            let message = serde_json::json!([{"headers": {"control": "must-refetch"}}]);
            assert_eq!(answer.json(), message, "{when}: {target}");
            let other = answer.header("electric-handle").unwrap();
            assert!(!target.contains(other), "{when}: {target} is sent to {other}");
            refused += 1;
            continue;
        }
        let answer = answer.expect(200);
        assert!(answer.body == *body, "{when}: {target} has changed, Arrow: {arrow}");
    }
    refused
}

/// A reader of the whole handle comes by the same URLs as before, and by more: chunks end where they did.
async fn check_ends(world: &World, shape: &Shape, begun: &Begun, kept: &Kept, when: &str) -> Kept {
    let now = keep(world, shape, begun).await;
    for (url, body) in kept {
        assert!(now.get(url) == Some(body), "{when}: nobody comes by {url:?} any more");
    }
    now
}

/// Waits for a fold: new clients get another handle than this.
async fn folded(world: &World, shape: &Shape, before: &Begun) -> Begun {
    eventually_within(Duration::from_secs(120), "the log to be folded", async || {
        let begun = begin(world, shape).await;
        (begun.0 != before.0).then_some(begun)
    })
    .await
}

async fn write_and_wait(world: &World, shape: &Shape, sql: &str) {
    world.sql(sql).await;
    let position = world.mark().await;
    world.client(shape.clone()).reach(position).await;
}

#[tokio::test]
async fn every_handle_keeps_its_bytes_when_the_log_is_folded_and_when_its_beginning_is_gone() {
    let window = |window: &str| vec!["--catch-up-window".to_owned(), window.to_owned()];
    let mut world = World::with(Database::shared().await, |options| {
        (options.chunk_bytes, options.arguments) = (Some(20_000), window("1h"));
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    world
        .sql("INSERT INTO items SELECT g, 0, repeat('x', 100) FROM generate_series(0, 299) g")
        .await;
    // Rows leave at the end of what makes the log large, and come back behind it.
    let shape = Shape::of("items").filter("n < 5990");
    world.follow(shape.clone()).await;
    let mut handles = vec![begin(&world, &shape).await];
    let mut kept: Vec<Kept> = Vec::new();
    for fold in 1..3 {
        write_and_wait(&world, &shape, CHURN).await;
        kept.push(keep(&world, &shape, &handles[fold - 1]).await);
        handles.push(folded(&world, &shape, &handles[fold - 1]).await);
        write_and_wait(&world, &shape, TAIL).await;
        for restarted in [false, true] {
            if restarted {
                world.server.crash().await;
            }
            let when = format!("fold {fold}, restarted: {restarted}");
            for (begun, kept) in handles.iter().zip(&kept) {
                assert_eq!(check_kept(&world, kept, &when).await, 0, "{when}");
                check_ends(&world, &shape, begun, kept, &when).await;
            }
        }
    }
    assert!(kept.iter().all(|kept| kept.len() > 200), "few chunks");
    let newest = handles.pop().unwrap();
    let mut last = keep(&world, &shape, &newest).await;
    assert!(last.len() > 16, "{} answers: few chunks", last.len());
    // From now on only the newest base is offered, and the log is not read back from its beginning.
    world.server.stop().await;
    world.server.options.arguments = window("1s");
    world.server.restart().await;
    eventually_within(Duration::from_secs(60), "the old handles to go", async || {
        let ((old, _), _) = kept[1].first_key_value().unwrap();
        (world.get(old).await.status == 409).then_some(())
    })
    .await;
    for when in ["retired", "restarted", "restarted again"] {
        for kept in &kept {
            assert_eq!(check_kept(&world, kept, when).await, kept.len(), "{when}: half a handle");
        }
        assert_eq!(check_kept(&world, &last, when).await, 0, "{when}");
        check_ends(&world, &shape, &newest, &last, when).await;
        // What is written now ends its chunks where it will after the next restart.
        write_and_wait(&world, &shape, TAIL).await;
        last = check_ends(&world, &shape, &newest, &last, when).await;
        world.server.crash().await;
    }
    check_ends(&world, &shape, &newest, &last, "at the end").await;
    world.verify_all(1).await;
}
