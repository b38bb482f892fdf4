//! Logs that are large against their rows: new clients load rows, old ones go on.

use serde_json::Value;

use crate::harness::{Database, Follower, Response, Rng, Shape, Step, World, eventually};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, note text)";

/// Enough updates of few rows to make a log large: some MiB of entries.
const CHURN: &str = "DO $$ BEGIN FOR i IN 1..6000 LOOP UPDATE items SET n = i, note = repeat('x', i % 400) WHERE id = i % 20; END LOOP; END $$";

async fn world(window: &str) -> World {
    let world = World::with(Database::shared().await, |options| {
        options.chunk_bytes = Some(20_000);
        options.arguments = vec!["--catch-up-window".into(), window.into()];
    })
    .await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items SELECT g, 0, 'old' FROM generate_series(0, 29) g").await;
    world
}

/// What a new client is given first.
async fn beginning(world: &World, shape: &Shape) -> Response {
    world.get(&format!("{}&offset=-1", shape.target())).await.expect(200)
}

fn handle(response: &Response) -> String {
    response.header("electric-handle").unwrap().to_owned()
}

/// Waits until new clients get another handle than `old`.
async fn folded(world: &World, shape: &Shape, old: &str) -> Response {
    eventually("the log to be folded", async || {
        let found = beginning(world, shape).await;
        (found.header("electric-handle") != Some(old)).then_some(found)
    })
    .await
}

/// Copies of a client from every place where it stands on its way to the end of the log.
async fn places(mut reader: Follower) -> Vec<Follower> {
    let mut places = Vec::new();
    loop {
        let step = reader.step(false).await;
        places.push(reader.clone());
        if step == Step::UpToDate {
            return places;
        }
    }
}

#[tokio::test]
async fn a_new_client_of_a_row_updated_many_times_loads_the_rows_not_the_history() {
    let world = world("1h").await;
    let shape = Shape::of("items");
    let mut old = world.follow(shape.clone()).await;
    let first = handle(&beginning(&world, &shape).await);
    world.sql(CHURN).await;
    world
        .sql("UPDATE items SET id = id + 100 WHERE id = 3; DELETE FROM items WHERE id IN (4, 25)")
        .await;
    old.clone().reach(world.mark().await).await;
    let everywhere = places(old.clone()).await;
    assert!(everywhere.len() > 50, "the log has many chunks");
    let base = folded(&world, &shape, &first).await;
    let mut new = world.follow(shape.clone()).await;
    let (rows, entries) = (new.log.count(), new.log.changes.len());
    assert!(rows == 28 && entries == 0, "{rows} rows and {entries} entries");
    assert_ne!(handle(&base), first);
    // Whoever stood anywhere goes on under the old handle to the same rows.
    world
        .sql("INSERT INTO items VALUES (77, 7, 'new'); UPDATE items SET n = -1 WHERE id = 5")
        .await;
    let position = world.mark().await;
    world.compare(&mut old, position).await;
    world.compare(&mut new, position).await;
    for mut reader in everywhere.into_iter().step_by(7) {
        world.compare(&mut reader, position).await;
        assert_eq!(reader.handle, first);
    }
    // The transactions that were folded are said to be contained.
    let end: Value = base.json().as_array().unwrap().last().unwrap()["headers"].clone();
    let folded_in =
        world.db.value("SELECT max(xmin::text::bigint) FROM items WHERE id < 20 AND id <> 5").await;
    assert!(contains(&end, folded_in.parse().unwrap()), "{end} has {folded_in}");
    world.verify_all(1).await;
}

fn contains(end: &Value, xid: u64) -> bool {
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let listed = end["xip_list"].as_array().unwrap().iter().any(|id| number(id) == xid);
    xid < number(&end["xmin"]) || (xid < number(&end["xmax"]) && !listed)
}

#[tokio::test]
async fn once_the_window_has_passed_only_readers_that_are_behind_fetch_anew() {
    let mut world = world("5s").await;
    let shape = Shape::of("items").filter("n >= 0");
    let behind = world.follow(shape.clone()).await;
    let mut ahead = world.follow(shape.clone()).await;
    world.sql(CHURN).await;
    ahead.reach(world.mark().await).await;
    folded(&world, &shape, &ahead.handle).await;
    let refused = eventually("the old entries to go", async || {
        let answer = world.get(&behind.target(false)).await;
        (answer.status == 409).then_some(answer)
    })
    .await;
    assert_ne!(handle(&refused), behind.handle, "a handle to go on with");
    assert_eq!(handle(&refused), handle(&beginning(&world, &shape).await));
    for round in 0..2 {
        world.sql("INSERT INTO items SELECT max(id) + 1, 5, 'late' FROM items").await;
        world.sql("UPDATE items SET n = n + 1 WHERE id % 5 = 0").await;
        let position = world.mark().await;
        // The live one never noticed, and nobody learns of a restart.
        world.compare(&mut ahead, position).await;
        let mut new = world.follow(shape.clone()).await;
        world.compare(&mut new, position).await;
        let mut late = behind.clone().through_refetches();
        world.compare(&mut late, position).await;
        if round == 0 {
            world.server.crash().await;
        }
    }
    world.verify_all(1).await;
}

#[tokio::test]
async fn random_logs_fold_again_and_again_to_the_same_rows() {
    let mut rng = Rng::for_test("random_folds");
    let mut world = world("1h").await;
    world.sql("CREATE TABLE bag (a int, b text)").await;
    let shapes = [
        Shape::of("items").filter("n % 3 <> 0"),
        Shape::of("items").columns("id,note"),
        Shape::of("bag"),
    ];
    let mut ahead = Vec::new();
    for shape in &shapes {
        ahead.push(world.follow(shape.clone()).await);
    }
    for round in 0..3 {
        let mut script = String::new();
        for _ in 0..6000 {
            let (id, n) = (rng.between(0, 40), rng.between(0, 9));
            script.push_str(&match rng.below(7) {
                0 => format!("DELETE FROM items WHERE id = {id};"),
                1 => format!("UPDATE items SET id = id + 1000 WHERE id = {id} AND NOT EXISTS (SELECT FROM items WHERE id = {id} + 1000);"),
                2 => format!("DELETE FROM bag WHERE a = {n};"),
                3 => format!("INSERT INTO bag SELECT {n}, repeat('b', {id}) WHERE NOT EXISTS (SELECT FROM bag WHERE a = {n} AND b = repeat('b', {id}));"),
                _ => format!("INSERT INTO items VALUES ({id}, {n}, repeat('z', 300)) ON CONFLICT (id) DO UPDATE SET n = {n}, note = repeat('y', {id} * 40);"),
            });
            if rng.percent(2) {
                world.sql(&std::mem::take(&mut script)).await;
            }
        }
        world.sql(&script).await;
        for (shape, follower) in shapes.iter().zip(&mut ahead) {
            follower.reach(world.mark().await).await;
            if shape.target().contains("items") && round == 0 {
                folded(&world, shape, &follower.handle).await;
            }
        }
        if round == 1 {
            world.server.kill().await;
            world.server.restart().await;
        }
        let position = world.mark().await;
        for (shape, follower) in shapes.iter().zip(&mut ahead) {
            world.compare(follower, position).await;
            let mut new = world.follow(shape.clone()).await;
            world.compare(&mut new, position).await;
        }
    }
    world.verify_all(3).await;
}

#[tokio::test]
async fn equal_rows_of_a_table_without_a_key_are_as_many_after_a_fold() {
    let world = world("1h").await;
    world.sql("CREATE TABLE lines (n int, note text)").await;
    world.sql("ALTER TABLE lines REPLICA IDENTITY FULL").await;
    world
        .sql(
            "INSERT INTO lines SELECT g, 'old' FROM generate_series(1, 4) g, generate_series(1, 3)",
        )
        .await;
    let shape = Shape::of("lines");
    let first = handle(&beginning(&world, &shape).await);
    // One of three goes; two of three, and one comes back; three come; all are changed, and one back again.
    world
        .sql(
            "DELETE FROM lines WHERE ctid = (SELECT min(ctid) FROM lines WHERE n = 1);
             DELETE FROM lines WHERE n = 2 AND ctid > (SELECT min(ctid) FROM lines WHERE n = 2);
             INSERT INTO lines VALUES (2, 'old'), (5, 'new'), (5, 'new'), (5, 'new');
             UPDATE lines SET n = 6 WHERE n = 3;
             UPDATE lines SET n = 3 WHERE ctid = (SELECT min(ctid) FROM lines WHERE n = 6)",
        )
        .await;
    world.sql("DO $$ BEGIN FOR i IN 1..6000 LOOP UPDATE lines SET note = repeat('x', i % 400) WHERE n = 4; END LOOP; END $$").await;
    folded(&world, &shape, &first).await;
    let new = world.follow(shape.clone()).await;
    assert!(new.log.changes.len() < 1_000, "it begins with rows");
    // The rows themselves, since clients keep one of those that are equal.
    world.verify_all(1).await;
}
