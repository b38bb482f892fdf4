//! Bodies of POST requests, and requests that are too large.

use serde_json::{Value, json};

use crate::harness::{Request, Response, World, encode};

const BODY_MAX: usize = 8_000_000;

async fn world() -> World {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world.sql("INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three')").await;
    world
}

async fn post(world: &World, query: &str, body: impl Into<Vec<u8>>) -> Response {
    world.send(Request::new("POST", format!("/v1/shape?{query}")).body(body)).await
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let world = world().await;
    let default = Some("max-age=0, private, must-revalidate");
    for body in
        ["{bad", "{", "[1", "{\"a\":1}}", "nul", "'x'", "{\"a\":\"\u{1}\"}", "{a:1}", "\u{feff}{}"]
    {
        let refused = post(&world, "table=items&offset=-1", body).await;
        assert_eq!(refused.status, 400, "{body:?}: {}", refused.shown());
        assert_eq!(refused.json()["error"], "Invalid JSON in request body", "{body:?}");
        assert!(
            refused.json()["details"].is_string() && refused.json().as_object().unwrap().len() == 2
        );
        assert_eq!(refused.header("cache-control"), default, "{body:?}");
    }
    for body in ["[1]", "1", "\"x\"", "null", "true", "[]"] {
        let refused = post(&world, "table=items&offset=-1", body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.shown());
        assert_eq!(
            refused.json(),
            json!({"error": "Request body must be a JSON object"}),
            "{body}"
        );
        assert_eq!(refused.header("cache-control"), default, "{body}");
    }
    let invalid_utf8 =
        post(&world, "table=items&offset=-1", b"{\"where\": \"\xff\"}".to_vec()).await;
    assert_eq!(invalid_utf8.status, 400, "{}", invalid_utf8.shown());
    // Judged before the parameters.
    let both = post(&world, "offset=abc", "{bad").await.expect(400);
    assert!(both.json()["error"].is_string(), "{}", both.shown());
    for deep in [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("{{\"where\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)),
    ] {
        let refused = post(&world, "table=items&offset=-1", deep).await;
        assert_eq!(refused.status, 400, "{}", refused.shown());
    }
}

#[tokio::test]
async fn a_body_without_subset_is_an_ordinary_request() {
    let world = world().await;
    let get = world.get("/v1/shape?table=items&offset=-1").await.expect(200);
    let bodies = ["", "{}", r#"{"foo": 1}"#, r#"{"table": "items"}"#, r#"{"subset": null}"#];
    for body in bodies {
        let response = post(&world, "table=items&offset=-1", body).await;
        assert_eq!(response.status, 200, "{body}: {}", response.shown());
        assert_eq!(response.body, get.body, "{body}");
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{body}");
        assert_eq!(response.header("electric-handle"), get.header("electric-handle"), "{body}");
        assert!(
            response.header("electric-schema").is_some()
                && response.header("electric-snapshot").is_none()
        );
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let request =
            Request::new("POST", "/v1/shape?table=items&offset=-1").header("content-type", kind);
        world.send(request.body("{}")).await.expect(200);
    }
    let live = post(
        &world,
        &format!(
            "table=items&offset=0_inf&live=true&handle={}",
            get.header("electric-handle").unwrap()
        ),
        "{}",
    )
    .await;
    assert_eq!(
        (live.status, live.header("cache-control")),
        (200, Some("no-cache")),
        "{}",
        live.shown()
    );
}

#[tokio::test]
async fn members_of_the_body_win_over_the_query() {
    let world = world().await;
    let ids = |response: &Response| -> Vec<String> {
        let data = response.json()["data"].clone();
        let rows = data.as_array().unwrap_or_else(|| panic!("{}", response.shown()));
        rows.iter().map(|row| row["value"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "table=nope&offset=abc",
            json!({"table": "items", "subset": {"where": "id = 1"}, "offset": "-1"}),
            &["1"],
        ),
        // With a subset inside, everything else is the shape's.
        (
            "table=items&offset=now",
            json!({"subset": {"where": "id < 3"}, "where": "id > 1"}),
            &["2"],
        ),
        ("table=items&offset=now", json!({"where": "id < 3", "params": {}}), &["1", "2"]),
        ("table=items&offset=now&where=id%3E1", json!({"where": "id < 3"}), &["2"]),
        (
            "table=items&offset=now&where=id%3D%241&params%5B1%5D=3",
            json!({"where": "id > $1", "params": {"1": "0"}}),
            &["3"],
        ),
        (
            "table=items&offset=now",
            json!({"where": "id = $1", "params": {"1": 2}, "where_expr": {"x": 1}, "order_by_expr": []}),
            &["2"],
        ),
        ("table=items&offset=now&subset__where=id%3D1", json!({}), &["1"]),
    ];
    for (query, body, expected) in cases {
        let response = post(&world, query, body.to_string()).await;
        assert_eq!(response.status, 200, "{query} {body}: {}", response.shown());
        assert_eq!(ids(&response), *expected, "{query} {body}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_told_so() {
    let world = world().await;
    let padded = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    post(&world, "table=items&offset=-1", padded(BODY_MAX)).await.expect(200);
    let refused = post(&world, "table=items&offset=-1", padded(BODY_MAX + 1)).await.expect(413);
    assert_eq!(refused.json(), json!({"error": "Request body too large"}));
    assert_eq!(refused.header("cache-control"), Some("max-age=0, private, must-revalidate"));
    // The same without a length that gives it away.
    let mut chunked = b"2\r\n{}\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend(b"f4240\r\n");
        chunked.extend(vec![b' '; 1_000_000]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let mut connection = crate::harness::Connection::open(world.server.address).await.unwrap();
    connection
        .ask("POST", "/v1/shape?table=items&offset=-1", "transfer-encoding: chunked\r\n")
        .await
        .unwrap();
    // The server may close before it has read all of it.
    let _ = connection.write(&chunked).await;
    assert_eq!(connection.answer("POST").await.expect("an answer").status, 413);
    let filter = |length: usize| encode(&format!("name = '{}'", "x".repeat(length)));
    world
        .get(&format!("/v1/shape?table=items&offset=-1&where={}", filter(60_000)))
        .await
        .expect(200);
    let target = format!("/v1/shape?table=items&offset=-1&where={}", filter(70_000));
    let status = world.get(&target).await.status;
    assert!(status == 400 || status == 414, "{status}");
    // Where lines are too short for it, a body has room.
    let of_length = |length: usize| {
        let filter = format!("name = '{}'", "x".repeat(length - 9));
        json!({"where": filter, "subset": {"where": "id = 1"}}).to_string()
    };
    post(&world, "table=items&offset=now", of_length(65_536)).await.expect(200);
    let refused = post(&world, "table=items&offset=now", of_length(65_537)).await.expect(400);
    assert!(refused.json()["errors"]["where"][0].is_string(), "{}", refused.shown());
    for (length, statuses) in [(100_000, &[414][..]), (300_000, &[414, 431])] {
        let target = format!("/v1/shape?table=items&offset=-1&x={}", "x".repeat(length));
        let line = world.get(&target).await;
        assert!(statuses.contains(&line.status), "{length}: {}", line.shown());
    }
    let many = (0..150)
        .fold(Request::get("/v1/health"), |request, at| request.header(&format!("x-{at}"), "y"));
    assert_eq!(world.send(many).await.status, 431);
    let large = Request::get("/v1/health").header("x-large", &"y".repeat(300_000));
    assert_eq!(world.send(large).await.status, 431);
    world.get("/v1/health").await.expect(200);
}

#[tokio::test]
async fn query_strings_that_are_no_text_are_refused_plainly() {
    let world = world().await;
    for query in [
        "table=%ff",
        "%ff=1",
        "table=items&offset=-1&where=%c3%28",
        "table=items&offset=-1&x=%zz",
        "table=items&offset=-1&x=%",
    ] {
        let response = world.get(&format!("/v1/shape?{query}")).await;
        let is_refusal = response.status == 400 && !response.text().contains("errors");
        assert!(
            is_refusal || response.status == 200 && query.contains('x'),
            "{query}: {}",
            response.shown()
        );
    }
}
