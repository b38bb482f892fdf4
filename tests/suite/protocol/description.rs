//! What the server says about itself and its tables: the protocol's description, metrics, schemas.

use serde_json::Value;

use crate::harness::{Database, Request, Shape, World};

/// Every parameter of the shape endpoint.
const PARAMETERS: &[&str] = &[
    "table",
    "offset",
    "handle",
    "live",
    "live_sse",
    "experimental_live_sse",
    "cursor",
    "where",
    "params",
    "columns",
    "queryable_columns",
    "replica",
    "log",
    "secret",
    "api_secret",
    "experimental_compaction",
    "subset__where",
    "subset__order_by",
    "subset__limit",
    "subset__offset",
    "subset__params",
];

#[tokio::test]
async fn the_description_names_every_path_and_parameter() {
    let world = World::new().await;
    let response = world.get("/openapi.json").await.expect(200);
    assert!(
        response.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
    );
    let description = response.json();
    assert!(
        description["openapi"].as_str().is_some_and(|version| version.starts_with("3.")),
        "{description}"
    );
    for (path, methods) in [
        ("/v1/shape", &["get", "post", "delete"][..]),
        ("/v1/health", &["get"]),
        ("/v1/admin/engine", &["get"]),
    ] {
        for method in methods {
            let operation = &description["paths"][path][method];
            assert!(operation["responses"].is_object(), "{method} {path}: {operation}");
        }
    }
    let named: Vec<&str> = description["paths"]["/v1/shape"]["get"]["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|parameter| parameter["name"].as_str().expect("a name"))
        .collect();
    let missing: Vec<_> = PARAMETERS
        .iter()
        .filter(|name| {
            !named.iter().any(|other| other == *name || other.starts_with(&format!("{name}[")))
        })
        .collect();
    assert!(missing.is_empty(), "not described: {missing:?}; described are {named:?}");
    check_references(&description, &description);
}

/// Every reference in the description leads somewhere.
fn check_references(part: &Value, whole: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("a reference into the document");
                assert!(whole.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| check_references(member, whole));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(item, whole)),
        _ => {}
    }
}

#[tokio::test]
async fn metrics_are_served_on_their_own_port_only() {
    let port = crate::harness::postgres::free_port();
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some("s".to_owned());
        options.arguments = ["--prometheus-port".to_owned(), port.to_string()].to_vec();
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let mut items = world.follow(Shape::of("items").more("&secret=s")).await;
    world.sql("INSERT INTO items VALUES (1)").await;
    items.until("the row", |rows| rows.len() == 1).await;
    world.get("/metrics").await.expect(404);
    let ask = async |target: &str| {
        Request::get(target).send(([127, 0, 0, 1], port).into()).await.unwrap()
    };
    let metrics = ask("/metrics").await.expect(200);
    assert!(
        metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")),
        "{}",
        metrics.shown()
    );
    let text = metrics.text();
    for family in [
        "electric_shapes_total_shapes_count",
        "electric_admission_control_acquire_current",
        "electric_plug_serve_shape",
        "electric_postgres_replication",
        "brooklet_filter_candidates_count",
        "brooklet_filter_matches_count",
    ] {
        assert!(text.lines().any(|line| line.starts_with(family)), "no {family} in:\n{text}");
    }
    // Electric's name for where Postgres is: a lag between that and our own would never be seen.
    assert!(!text.contains("pg_wal_offset"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        assert!(value.parse::<f64>().is_ok() && !name.contains("secret"), "{line}");
    }
    let position = world.db.position().await;
    for how_far in [
        "brooklet_stream_durable_offset",
        "brooklet_logs_processed_offset",
        "brooklet_subquery_logs_processed_offset",
    ] {
        world.sql("INSERT INTO items SELECT max(id) + 1 FROM items").await;
        crate::harness::eventually(how_far, async || {
            let text = ask("/metrics").await.expect(200).text();
            let value = text.lines().find_map(|line| line.strip_prefix(how_far)?.strip_prefix(' '));
            (value?.parse::<f64>().unwrap() >= position as f64).then_some(())
        })
        .await;
    }
    for other in ["/", "/v1/shape?table=items&offset=-1&secret=s", "/v1/health", "/metrics/x"] {
        let other = ask(other).await.expect(404);
        assert_eq!(other.text(), "Not found");
    }
}

#[tokio::test]
async fn columns_are_described_that_no_header_may_name_and_those_beside_a_key() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE items (b int, a int, beside int, \"no\u{7f}header\" int, vector int2vector, PRIMARY KEY (a, b) INCLUDE (beside));
             INSERT INTO items VALUES (1, 2, 3, 4, '5 6')",
        )
        .await;
    let mut shapes = vec![world.follow(Shape::of("items")).await];
    let answer = world.get(&format!("{}&offset=-1", shapes[0].shape.target())).await.expect(200);
    let schema = answer.header("electric-schema").expect("the table's schema").to_owned();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let places = ["a", "b", "beside", "no\u{7f}header"].map(|name| &schema[name]["pk_index"]);
    assert_eq!(places.map(Value::as_u64), [Some(0), Some(1), None, None], "{schema}");
    assert_eq!(schema["no\u{7f}header"]["type"], "int4");
    let key = answer.json()[0]["key"].as_str().map(str::to_owned);
    assert_eq!(key.as_deref(), Some(r#""public"."items"/"2"/"1""#));
    // What a key's index includes need not be asked for, and may be anything.
    shapes.push(world.follow(Shape::of("items").columns("a,b")).await);
    world.sql("UPDATE items SET beside = NULL; INSERT INTO items VALUES (7, 8, 9)").await;
    world.compare_all(&mut shapes).await;
    let arrow = Request::get(format!("{}&offset=-1", shapes[0].shape.target()))
        .header("accept", "application/vnd.apache.arrow.stream");
    world.send(arrow).await.expect(200);
}
