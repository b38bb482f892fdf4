//! Arrow over HTTP: the same log positions as JSON, with typed columns.

use crate::harness::arrow::{ARROW, Comparison, read, text};
use crate::harness::{Database, Follower, Request, Response, Rng, Shape, World, eventually, size};

async fn arrow(world: &World, target: &str) -> Response {
    world.send(Request::get(target).header("accept", ARROW)).await
}

/// Reads a log from its beginning in both forms.
async fn compare(world: &World, shape: &Shape, comparison: &mut Comparison) -> Follower {
    let mut reader = world.client(shape.clone());
    loop {
        let target = reader.target(false);
        let json = world.get(&target).await.expect(200);
        let typed = arrow(world, &target).await.expect(200);
        comparison.same(&json, &typed).await;
        reader.handle = json.header("electric-handle").unwrap().to_owned();
        reader.offset = json.header("electric-offset").unwrap().to_owned();
        if json.header("electric-up-to-date").is_some() {
            return reader;
        }
    }
}

/// Waits until a shape has everything up to a position.
async fn settle(world: &World, shape: &Shape, position: u64) {
    eventually("the log has everything", async || {
        let target = format!("{}&offset=now", shape.target());
        let end = world.get(&target).await.expect(200).json();
        let seen = end[0]["headers"]["global_last_seen_lsn"].as_str()?.parse::<u64>().ok()?;
        (seen >= position).then_some(())
    })
    .await;
}

/// Columns, each with values that are usual, at the edge, and beyond what Arrow can hold.
const KINDS: &[(&str, &str, &[&str])] = &[
    ("b", "bool", &["true", "false"]),
    ("i2", "int2", &["0", "-32768", "32767"]),
    ("i4", "int4", &["0", "-2147483648", "2147483647"]),
    ("i8", "int8", &["1", "-9223372036854775808", "9223372036854775807"]),
    ("f4", "float4", &["1.1", "NaN", "-Infinity", "-0", "1e-45", "3.4028235e38"]),
    ("f8", "float8", &["0.1", "NaN", "Infinity", "-0", "5e-324", "1.7976931348623157e308"]),
    ("n", "numeric", &["1.10", "NaN", "-Infinity", "1e100", "0.000"]),
    ("n8", "numeric(8,2)", &["1.5", "NaN", "-999999.99", "0"]),
    ("n38", "numeric(38,10)", &["9999999999999999999999999999.9999999999", "-0.0000000001", "NaN"]),
    ("n39", "numeric(39,0)", &["999999999999999999999999999999999999999", "NaN"]),
    ("c", "char(4)", &["ab", "", "äöüß"]),
    ("v", "varchar(9)", &["ab", "", " "]),
    ("t", "text", &["a'b", "", "NULL", "\u{1F980}/\"\\", "infinity"]),
    ("nm", "name", &["nm"]),
    ("by", "bytea", &["\\x", "\\x00ff5c", "\\x27"]),
    (
        "u",
        "uuid",
        &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "00000000-0000-0000-0000-000000000000"],
    ),
    (
        "d",
        "date",
        &["2024-02-29", "1969-12-31", "infinity", "-infinity", "4714-11-24 BC", "5874897-12-31"],
    ),
    ("tm", "time", &["10:00:07.12", "00:00", "24:00:00", "23:59:59.999999"]),
    (
        "ts",
        "timestamp",
        &[
            "2024-01-05 10:00:00.5",
            "1969-12-31 23:59:59.999999",
            "infinity",
            "4714-11-24 00:00:00 BC",
            "294246-12-31 23:59:59.999999",
            "294276-12-31 23:59:59.999999",
        ],
    ),
    (
        "tz",
        "timestamptz",
        &[
            "2024-01-05 10:00+02",
            "-infinity",
            "0044-03-15 10:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
        ],
    ),
    ("j", "json", &["{\"a\" : 1}", "null", "\"infinity\""]),
    ("jb", "jsonb", &["{\"b\":[1,2],\"a\":1.0}", "[]"]),
    ("iv", "interval", &["1 year 2 mons 3 days 04:05:06.7", "-1 day"]),
    ("ip", "inet", &["192.168.0.1", "::1/64"]),
    ("r", "int4range", &["[1,5)", "empty"]),
    ("mo", "mood", &["happy", "sad, or \"not\""]),
    ("ai", "int4[]", &["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={1,2}"]),
    ("at", "text[]", &["{}", "{\"a b\",NULL,\"NULL\",\"\",\"q\\\"\\\\\",\"{\"}", "{{a},{b}}"]),
    ("ad", "date[]", &["{2024-02-29,NULL}", "{infinity}"]),
    ("an", "numeric(8,2)[]", &["{1.50,-2.00}", "{NaN}"]),
    ("ats", "timestamptz[]", &["{\"2024-01-05 10:00:00+00\"}", "{-infinity,NULL}"]),
    ("au", "uuid[]", &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}"]),
    ("ab", "bytea[]", &["{\"\\\\x00ff\",NULL}"]),
    ("am", "mood[]", &["{happy,\"sad, or \\\"not\\\"\"}"]),
    ("aj", "jsonb[]", &["{\"{\\\"a\\\": [1]}\",NULL}"]),
    ("a2", "int4[][]", &["{1,2}", "{{1},{2}}"]),
    ("ap", "interval[]", &["{\"1 day\"}"]),
    ("dm", "posint", &["7"]),
];

fn value(values: &[&str], rng: &mut Rng) -> String {
    if rng.percent(15) {
        return "NULL".to_owned();
    }
    format!("'{}'", rng.pick(values).replace('\'', "''"))
}

async fn kinds() -> World {
    let world =
        World::with(Database::shared().await, |options| options.chunk_bytes = Some(20_000)).await;
    let columns: Vec<_> =
        KINDS.iter().map(|(name, kind, _)| format!("\"{name}\" {kind}")).collect();
    world
        .sql(&format!(
            "CREATE TYPE mood AS ENUM ('happy', 'sad, or \"not\"'); CREATE DOMAIN posint AS int CHECK (VALUE > 0); \
             CREATE TABLE kinds (id int PRIMARY KEY, {})",
            columns.join(", ")
        ))
        .await;
    world
}

fn insert(id: usize, rng: &mut Rng) -> String {
    let values: Vec<_> = KINDS.iter().map(|(_, _, values)| value(values, rng)).collect();
    format!("INSERT INTO kinds VALUES ({id}, {});", values.join(", "))
}

#[tokio::test]
async fn every_type_is_the_same_in_both_forms_in_snapshot_and_log() {
    let world = kinds().await;
    let mut rng = Rng::for_test("every_type_is_the_same_in_both_forms");
    let rounds = size("BROOKLET_TEST_ARROW_ROWS", 60);
    for id in 0..rounds {
        world.sql(&insert(id, &mut rng)).await;
    }
    let shapes = [
        Shape::of("kinds"),
        Shape::of("kinds").more("&replica=full"),
        Shape::of("kinds").filter("id < 100").columns("id,d,ts,ai"),
    ];
    for shape in &shapes {
        world.follow(shape.clone()).await;
    }
    for id in 0..rounds {
        let (name, _, values) = rng.pick(KINDS);
        let value = value(values, &mut rng);
        let (at, next) = (rng.below(rounds), rounds + id);
        let write = match rng.below(5) {
            0 => format!("DELETE FROM kinds WHERE id = {at}"),
            1 => format!("UPDATE kinds SET id = id + 1000 WHERE id = {at}"),
            2 => insert(next, &mut rng),
            _ => format!("UPDATE kinds SET \"{name}\" = {value} WHERE id % 7 = {at} % 7"),
        };
        world.sql(&write).await;
    }
    let position = world.mark().await;
    for shape in &shapes {
        settle(&world, shape, position).await;
        let mut comparison = Comparison::of(world.db.session().await, "kinds").await;
        compare(&world, shape, &mut comparison).await;
        assert!(comparison.compared > rounds && comparison.unheld > 0, "{}", comparison.compared);
    }
}

#[tokio::test]
async fn live_requests_large_transactions_and_empty_answers_come_in_both_forms() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, body text)").await;
    let shape = Shape::of("items");
    let mut comparison = Comparison::of(world.db.session().await, "items").await;
    let mut reader = compare(&world, &shape, &mut comparison).await;
    for write in [
        "INSERT INTO items VALUES (1, 1, 'x')",
        "UPDATE items SET n = NULL; UPDATE items SET id = 2; DELETE FROM items",
        // More than a piece, so that it is streamed.
        "INSERT INTO items SELECT g, g, repeat('y', 100) FROM generate_series(1, 3000) g",
        "UPDATE items SET n = n + 1",
    ] {
        let target = reader.target(true);
        let write = async {
            // Both wait, or come late and find it: the answer is the same.
            world.sql(write).await;
        };
        let (json, typed, ()) = tokio::join!(world.get(&target), arrow(&world, &target), write);
        comparison.same(&json.expect(200), &typed.expect(200)).await;
        let again = arrow(&world, &target).await.expect(200);
        reader.offset = again.header("electric-offset").unwrap().to_owned();
    }
    assert!(comparison.compared > 6000, "{}", comparison.compared);
    // Nothing comes: only the position.
    let target = reader.target(true);
    let (json, typed) = tokio::join!(world.get(&target), arrow(&world, &target));
    comparison.same(&json.expect(200), &typed.expect(200)).await;
    let now = "/v1/shape?table=items&offset=now";
    let (_, batches) = read(&arrow(&world, now).await.expect(200));
    assert_eq!(text(&batches[0], "control", 0).as_deref(), Some("up-to-date"));
    // The whole log again, in large pieces.
    let mut comparison = Comparison::of(world.db.session().await, "items").await;
    compare(&world, &shape, &mut comparison).await;
}

#[tokio::test]
async fn names_of_columns_and_tables_clash_with_nothing() {
    let world = World::new().await;
    world
        .sql("CREATE TABLE \"Odd.t/\" (\"value\" int PRIMARY KEY, key text, operation text, \"control\" date, \"ä \"\"q\" int)")
        .await;
    world.sql("INSERT INTO \"Odd.t/\" VALUES (1, 'a/b', 'delete', 'infinity', 5)").await;
    let shape = Shape::of("\"Odd.t/\"");
    let mut comparison = Comparison::of(world.db.session().await, "\"Odd.t/\"").await;
    compare(&world, &shape, &mut comparison).await;
    let (schema, _) = read(&arrow(&world, &world.client(shape).target(false)).await);
    assert_eq!(
        schema.metadata().get("pg_table").map(|name| name.to_string()),
        Some("Odd.t/".to_owned())
    );
    let row = schema.field_with_name("value").unwrap();
    let arrow::datatypes::DataType::Struct(fields) = row.data_type() else { panic!("{row}") };
    let field = &fields[0];
    let noted = |name: &str| field.metadata().get(name).map(|value| value.to_string());
    assert_eq!(noted("pg_type").as_deref(), Some("int4"));
    assert_eq!(noted("pg_not_null").as_deref(), Some("true"));
    assert_eq!(noted("pg_key_position").as_deref(), Some("0"));
    assert_eq!(comparison.unheld, 1);
}

#[tokio::test]
async fn tags_and_refusals_belong_to_their_form() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1)").await;
    let target = "/v1/shape?table=items&offset=-1";
    let json = world.get(target).await.expect(200);
    let typed = arrow(&world, target).await.expect(200);
    let (json_tag, tag) = (json.header("etag").unwrap(), typed.header("etag").unwrap());
    assert_ne!(json_tag, tag);
    for (accept, known, other) in [("*/*", json_tag, tag), (ARROW, tag, json_tag)] {
        let ask = |tag| Request::get(target).header("accept", accept).header("if-none-match", tag);
        let same = world.send(ask(known)).await.expect(304);
        assert_eq!(
            (same.header("etag"), same.header("vary")),
            (Some(known), Some("accept, accept-encoding"))
        );
        world.send(ask(other)).await.expect(200);
    }
    let head = Request::new("HEAD", target).header("accept", ARROW);
    let head = world.send(head).await.expect(200);
    assert!(head.body.is_empty());
    for name in ["etag", "content-type", "electric-handle", "electric-offset", "electric-schema"] {
        assert_eq!(head.header(name), typed.header(name), "{name}");
    }
    let handle = typed.header("electric-handle").unwrap();
    for (target, status) in [
        ("/v1/shape?table=items&offset=0_0&handle=gone".to_owned(), 409),
        ("/v1/shape?table=nothing&offset=-1".to_owned(), 400),
        ("/v1/shape?table=items&offset=x".to_owned(), 400),
        (
            format!("/v1/shape?table=items&offset=0_inf&handle={handle}&live=true&live_sse=true"),
            406,
        ),
        ("/v1/shape?table=items&offset=now&subset__limit=1&subset__order_by=id".to_owned(), 406),
    ] {
        let refused = arrow(&world, &target).await.expect(status);
        assert_eq!(refused.header("content-type"), Some("application/json; charset=utf-8"));
        assert!(refused.json().is_array() || refused.json().is_object());
        if status != 406 {
            // What is refused is refused alike.
            let json = world.get(&target).await;
            assert_eq!(refused.transcript(), json.transcript(), "{target}");
        } else {
            assert_eq!(refused.header("cache-control"), Some("no-store"));
        }
    }
    for accept in ["*/*", "application/json", "text/html,*/*;q=0.8", "application/json, */*"] {
        let answer = world.send(Request::get(target).header("accept", accept)).await.expect(200);
        assert_eq!(answer.text(), json.text(), "{accept}");
    }
    let post = Request::new("POST", target).header("accept", ARROW).body("{}");
    assert_eq!(world.send(post).await.expect(200).body, typed.body);
}
