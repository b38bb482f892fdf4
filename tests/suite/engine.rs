//! What can be seen of the engine: `brooklet explain`, and `/v1/admin/engine` behind the secret.

use std::time::Duration;

use crate::harness::server::brooklet;
use crate::harness::{Database, Process, Request, Shape, World, eventually};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, name text COLLATE \"C\", due date, tags text[])";

const VIEW: &str = "/v1/admin/engine";

async fn explain(world: &World, more: &[&str]) -> (bool, String) {
    let mut command = brooklet();
    command.args(["explain", "--database-url", &world.db.url(), "--table", "items"]);
    let mut process = Process::spawn(command.args(more));
    let status = process.exit(Duration::from_secs(30)).await;
    (status.success(), process.output())
}

#[tokio::test]
async fn explain_tells_every_way_that_a_filter_may_be_found() {
    let world = World::new().await;
    world.sql(TABLE).await;
    let both = "id = 7 AND n IN (SELECT id FROM items)";
    let (accepted, said) = explain(&world, &["--where", both]).await;
    let ways = "found by     sets of \"n\"\nor by        equality \"id\"\n";
    assert!(accepted && said.contains(ways), "{said}");
    let either = "id = 7 OR n IN (SELECT id FROM items)";
    let (accepted, said) = explain(&world, &["--where", either]).await;
    let ways = "found by     sets of \"n\", or what else the row says\n";
    assert!(accepted && said.contains(ways) && !said.contains("or by"), "{said}");
    let none = "n > 5 AND n < 5 AND n IN (SELECT id FROM items)";
    let (accepted, said) = explain(&world, &["--where", none]).await;
    let way = "found by     nothing: no row can match\nasked about  0 of all changes\n";
    assert!(accepted && said.contains(way) && !said.contains("sets of"), "{said}");
    let (accepted, said) = explain(&world, &["--where", "n NOT IN (SELECT id FROM items)"]).await;
    assert!(accepted && said.contains("found by     every row"), "{said}");
    assert!(said.contains("about every change of its table\n"), "{said}");
}

#[tokio::test]
async fn explain_says_how_a_filter_is_found_and_why_another_is_refused() {
    let world = World::new().await;
    world.sql(TABLE).await;
    for (filter, expected, cost) in [
        ("n = $1", "equality \"n\"", "keys         1 in the index; a changed row is read 1 times"),
        (
            "n IN (1, 2, 2, 3)",
            "equality \"n\"",
            "keys         3 in the index; a changed row is read 1 times",
        ),
        (
            "due BETWEEN '2024-01-01' AND '2024-02-01'",
            "range \"due\"",
            "keys         1 in the index",
        ),
        (
            "name ILIKE '%tea%' AND id > 5",
            "fragment \"name\", case folded",
            "keys         1 in the index",
        ),
        (
            "tags @> '{a}' OR n IS NULL",
            "null \"n\" or equality elements of \"tags\"",
            "keys         2 in the index; a changed row is read 2 times",
        ),
        ("id = n", "every row", "asked about  1.0 of all changes"),
        ("n > 5 AND n < 5", "nothing: no row can match", "asked about  0 of all changes"),
    ] {
        let (accepted, said) = explain(&world, &["--where", filter, "--param", "7"]).await;
        assert!(accepted, "{filter}: {said}");
        let found = said.lines().find(|line| line.starts_with("found by")).unwrap_or_default();
        assert!(found.ends_with(expected), "{filter}: {said}");
        assert!(said.lines().any(|line| line.starts_with(cost)), "{filter}: {said}");
        for part in ["normal form", "template", "reads", "asked about"] {
            assert!(said.lines().any(|line| line.starts_with(part)), "{filter}: {said}");
        }
    }
    let joined = "n IN (SELECT a.id FROM items a, items b WHERE b.n = a.n AND b.id > 3)";
    let (accepted, said) = explain(&world, &["--where", joined]).await;
    let becomes = r#""n" IN (SELECT "id" FROM "public"."items" WHERE ("n" IN (SELECT "n" FROM"#;
    let of = r#"subqueries   of "public"."items""#;
    assert!(accepted && said.contains(becomes) && said.contains(of), "{said}");
    assert!(said.contains("found by     sets of \"n\"\n"), "{said}");
    let (accepted, said) =
        explain(&world, &["--where", "n IN (SELECT id FROM items FETCH FIRST ROW ONLY)"]).await;
    let refused = "At location 27: FETCH in subqueries is not supported";
    assert!(!accepted && said.contains(refused), "{said}");
    let (accepted, said) = explain(&world, &["--where", "n = now()"]).await;
    assert!(!accepted && said.contains("refused"), "{said}");
    let (accepted, said) = explain(&world, &["--where", "id = 1"]).await;
    assert!(accepted && !said.contains("or by"), "{said}");
    let mut command = brooklet();
    command.args([
        "explain",
        "--database-url",
        &world.db.url(),
        "--table",
        "nothing",
        "--where",
        "true",
    ]);
    let mut missing = Process::spawn(&mut command);
    assert!(!missing.exit(Duration::from_secs(30)).await.success(), "{}", missing.output());
}

#[tokio::test]
async fn explain_refuses_what_the_server_refuses() {
    let world = World::new().await;
    world
        .sql("CREATE TABLE items (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (id * 2) STORED)")
        .await;
    world
        .sql("CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT")
        .await;
    for (filter, word) in [
        ("twice = 4", "generated"),
        ("n IN (SELECT id FROM parts)", "partitioned"),
        ("n = now()", "now"),
    ] {
        let (accepted, said) = explain(&world, &["--where", filter]).await;
        assert!(!accepted && said.starts_with("refused") && said.contains(word), "{said}");
        let shape = Shape::of("items").columns("id").filter(filter);
        let refusal = world.get(&format!("{}&offset=-1", shape.target())).await.expect(400).json();
        let reason = refusal["errors"]["where"][0].as_str().unwrap_or_default().to_owned();
        assert!(!reason.is_empty() && said.contains(&reason), "{refusal}: {said}");
    }
}

#[tokio::test]
async fn the_engine_is_shown_to_who_has_the_secret_only() {
    const SECRET: &str = "s3cret";
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some(SECRET.to_owned());
    })
    .await;
    for guess in ["", "?secret=", "?secret=x"] {
        let refused = world.send(Request::get(format!("{VIEW}{guess}"))).await;
        assert_eq!(refused.status, 401, "{}", refused.shown());
        assert!(!refused.text().contains("tables"), "{}", refused.shown());
    }
    let post = Request::new("POST", format!("{VIEW}?secret={SECRET}"));
    assert_eq!(world.send(post).await.status, 404);
    let shown = world.get(&format!("{VIEW}?secret={SECRET}")).await.expect(200);
    assert!(shown.header("access-control-allow-origin").is_none(), "{}", shown.shown());
    assert_eq!(shown.json(), serde_json::json!({"tables": []}), "no shapes yet");
}

#[tokio::test]
async fn the_engine_says_how_often_shapes_are_asked() {
    let world = World::new().await;
    world.sql(TABLE).await;
    let mut shapes = Vec::new();
    for n in 0..5 {
        let shape = Shape::of("items").filter(&format!("n = {n} AND name = 'topsecret'"));
        shapes.push(world.follow(shape).await);
    }
    shapes.push(world.follow(Shape::of("items").filter("due > '2024-01-01'")).await);
    world
        .sql(
            "INSERT INTO items VALUES (1, 3, 'topsecret', '2024-02-01', NULL), \
             (2, 9, 'x', '2023-01-01', NULL)",
        )
        .await;
    world.compare_all(&mut shapes).await;
    let engine = eventually("both changes are counted", async || {
        let engine = world.get(VIEW).await.expect(200).json();
        (engine["tables"][0]["changes"].as_u64() == Some(2)).then_some(engine)
    })
    .await;
    let table = &engine["tables"][0];
    let templates = table["templates"].as_array().unwrap();
    assert_eq!((table["shapes"].as_u64(), templates.len()), (Some(6), 2), "{engine}");
    let counts = |path: &str| {
        let found = templates.iter().find(|one| one["path"] == path);
        let found = found.unwrap_or_else(|| panic!("no {path} in {engine}"));
        ["shapes", "candidates", "matches"].map(|key| found[key].as_u64())
    };
    assert_eq!(counts("equality \"n\", \"name\""), [Some(5), Some(1), Some(1)], "{engine}");
    assert_eq!(counts("range \"due\""), [Some(1), Some(1), Some(1)], "{engine}");
    assert!(!engine.to_string().contains("topsecret"), "no values: {engine}");
    // The first change of a table is one of those that are timed.
    let took = |of: &serde_json::Value, key| of[key].as_u64().is_some_and(|time| time > 0);
    assert!(took(table, "change_ns"), "{engine}");
    assert!(templates.iter().all(|one| took(one, "candidate_ns")), "{engine}");
}

#[tokio::test]
async fn shapes_with_subqueries_are_shown_among_the_others() {
    let world = World::new().await;
    world.sql(TABLE).await;
    world.sql("CREATE TABLE memberships (id int PRIMARY KEY, user_id int, n int)").await;
    world.sql("INSERT INTO memberships SELECT id, id, id FROM generate_series(0, 9) id").await;
    let mut shapes = vec![world.follow(Shape::of("items").filter("n = 3")).await];
    for user in 0..4 {
        let filter = format!("n IN (SELECT n FROM memberships WHERE user_id = {user})");
        shapes.push(world.follow(Shape::of("items").filter(&filter)).await);
    }
    world.sql("INSERT INTO items VALUES (1, 3, 'x', NULL, NULL)").await;
    world.sql("INSERT INTO items VALUES (2, 9, 'x', NULL, NULL)").await;
    world.compare_all(&mut shapes).await;
    let engine = eventually("both changes are counted", async || {
        let engine = world.get(VIEW).await.expect(200).json();
        (engine["tables"][0]["changes"].as_u64() == Some(2)).then_some(engine)
    })
    .await;
    let tables = engine["tables"].as_array().unwrap();
    let of_items = tables.iter().filter(|one| one["table"].as_str().unwrap().contains("items"));
    assert_eq!(of_items.count(), 1, "both kinds are of one table: {engine}");
    assert_eq!(tables[0]["shapes"].as_u64(), Some(5), "{engine}");
    let templates = tables[0]["templates"].as_array().unwrap();
    let found = templates.iter().find(|one| one["path"] == "set \"n\"");
    let found = found.unwrap_or_else(|| panic!("no set in {engine}"));
    let counts = ["shapes", "candidates", "matches"].map(|key| found[key].as_u64());
    assert_eq!(counts, [Some(4), Some(1), Some(1)], "{engine}");
    let took = |of: &serde_json::Value, key| of[key].as_u64().is_some_and(|time| time > 0);
    assert!(took(found, "candidate_ns") && took(&tables[0], "transaction_ns"), "{engine}");
}

#[tokio::test]
async fn queries_that_cannot_go_on_and_one_that_is_asked_for_every_row_hold_up_no_other() {
    const SIMPLE: usize = 100;
    let world = World::new().await;
    world.sql(TABLE).await;
    world
        .sql("CREATE TABLE known (id int PRIMARY KEY); CREATE TABLE new (id int PRIMARY KEY)")
        .await;
    world.follow(Shape::of("known")).await;
    let owner = world.db.session().await;
    owner.sql("BEGIN; LOCK TABLE known, new IN ACCESS EXCLUSIVE MODE").await;
    // The rows of one cannot be read, the table of the other cannot even be published.
    let stuck = [Shape::of("known").filter("id > 1"), Shape::of("new")].map(|shape| {
        let mut client = world.client(shape).through_outages();
        tokio::spawn(async move {
            client.catch_up().await;
            client
        })
    });
    for table in ["known", "new"] {
        let waiting = format!(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
        );
        eventually("a query to be held up", async || {
            (world.db.value(&waiting).await != "0").then_some(())
        })
        .await;
    }
    let every_row = "name NOT LIKE '%a%b%c%d%e%f%' AND id + n <> 7";
    let mut shapes = vec![world.follow(Shape::of("items").filter(every_row)).await];
    for n in 0..SIMPLE {
        shapes.push(world.follow(Shape::of("items").filter(&format!("n = {n}"))).await);
    }
    let before = world.db.confirmed().await;
    let write =
        format!("INSERT INTO items SELECT g, g, 'abcdef' FROM generate_series(1, {SIMPLE}) g");
    world.sql(&write).await;
    world.sql("UPDATE items SET n = 1").await;
    world.compare_all(&mut shapes).await;
    // Nor the slot: what others write need not be kept for who is stuck.
    let written = world.db.position().await;
    assert!(before < written, "{before} was confirmed before {written} was written");
    world.db.confirms(written).await;
    assert!(stuck.iter().all(|stuck| !stuck.is_finished()), "nothing was held up");
    let engine = world.get(VIEW).await.expect(200).json();
    let tables = engine["tables"].as_array().unwrap();
    let items = tables.iter().find(|one| one["table"].as_str().unwrap().contains("items"));
    let templates = items.unwrap()["templates"].as_array().unwrap();
    let simple = templates.iter().find(|one| one["path"] == "equality \"n\"");
    let candidates = simple.unwrap_or_else(|| panic!("{engine}"))["candidates"].as_u64().unwrap();
    // A row that comes asks one shape, one that moves asks two at most.
    assert!(candidates <= 3 * SIMPLE as u64, "{engine}");
    owner.sql("COMMIT").await;
    for stuck in stuck {
        world.compare_all(&mut [stuck.await.unwrap()]).await;
    }
    // Those two, the one that is asked for every row, and the first of the locked table.
    world.verify_all(SIMPLE + 4).await;
}
