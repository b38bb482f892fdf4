//! Requests that nobody should send: each gets its own clear refusal, none a 5xx or a hang.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Request, Response, Rng, Shape, World, size};

async fn world_with_items() -> World {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE items (id int8 PRIMARY KEY, name text, price numeric, ok bool, day date, at timestamptz, \
             u uuid, f float8, v varchar(10), s int2)",
        )
        .await;
    world
}

fn check_refusal(response: &Response, target: &str) {
    assert!((400..500).contains(&response.status), "{target}: {}", response.shown());
    if response.status == 400 {
        assert_eq!(
            response.header("cache-control"),
            Some("no-store"),
            "{target}: {}",
            response.shown()
        );
        assert!(response.json()["message"].is_string(), "{target}: {}", response.shown());
    }
}

#[tokio::test]
async fn each_wrong_parameter_is_named_with_its_reason() {
    let world = world_with_items().await;
    let cases: &[(&str, &str, &str)] = &[
        ("table=items", "offset", "can't be blank"),
        ("table=items&offset=", "offset", "can't be blank"),
        ("table=items&offset=abc", "offset", "has invalid format"),
        ("table=items&offset=1", "offset", "has invalid format"),
        ("table=items&offset=1_", "offset", "has invalid format"),
        ("table=items&offset=_1", "offset", "has invalid format"),
        ("table=items&offset=1_2_3", "offset", "has invalid format"),
        ("table=items&offset=-2_0", "offset", "has invalid format"),
        ("table=items&offset=1_-1", "offset", "has invalid format"),
        ("table=items&offset=NOW", "offset", "has invalid format"),
        ("table=items&offset=0x1_0", "offset", "has invalid format"),
        ("table=items&offset=1e3_0", "offset", "has invalid format"),
        ("table=items&offset=%2B1_0", "offset", "has invalid format"),
        ("table=items&offset=%D9%A1_0", "offset", "has invalid format"),
        ("table=items&offset=0_0", "handle", "can't be blank when offset != -1"),
        ("table=items&offset=0_inf&handle=%20", "handle", "can't be blank when offset != -1"),
        ("offset=-1", "table", "can't be blank"),
        ("table=%20&offset=-1", "table", "can't be blank"),
        ("table=items&offset=-1&live=true", "live", "can't be true when offset == -1"),
        ("table=items&offset=-1&live", "live", "can't be true when offset == -1"),
        ("table=items&offset=now&live=true", "live", "can't be true when offset is 'now'"),
        (
            "table=items&offset=0_0&handle=1-2&live_sse=true",
            "live_sse",
            "can't be true unless live is also true",
        ),
        ("table=items&offset=-1&replica=half", "replica", "is invalid"),
        ("table=items&offset=-1&log=x", "log", "is invalid"),
        ("table=items&offset=-1&where=id%3D%241&params=1", "params", "is invalid"),
        (
            "table=items&offset=-1&where=id%3D%241&params%5Ba%5D=1",
            "params",
            "Parameters can only use numbers as keys",
        ),
        (
            "table=items&offset=-1&where=id%3D%241&params%5B2%5D=1",
            "params",
            "Parameters must be numbered sequentially, starting from 1",
        ),
        ("table=items&offset=-1&where=id", "where", "WHERE clause must return a boolean"),
        (
            "table=items&offset=-1&columns=name",
            "columns",
            "The list of columns must include all primary key columns, missing: id",
        ),
        (
            "table=items&offset=-1&columns=id,nope,no",
            "columns",
            "The following columns are not found on the table: nope, no",
        ),
        (
            "table=a.b.c&offset=-1",
            "table",
            "Invalid relation identifier, too many delimiters: a.b.c",
        ),
    ];
    for (query, field, reason) in cases {
        let response = world.get(&format!("/v1/shape?{query}")).await.expect(400);
        let expected = json!({"message": "Invalid request", "errors": {*field: [reason]}});
        assert_eq!(response.json(), expected, "{query}");
        check_refusal(&response, query);
    }
}

#[tokio::test]
async fn tables_and_columns_that_are_none_are_refused() {
    let world = world_with_items().await;
    let long = "x".repeat(64);
    let cases: Vec<(String, &str)> = vec![
        ("table=nope&offset=-1".into(), "table"),
        ("table=%22Items%22&offset=-1".into(), "table"),
        ("table=nope.items&offset=-1".into(), "table"),
        ("table=%22%22&offset=-1".into(), "table"),
        ("table=it%22ems&offset=-1".into(), "table"),
        ("table=items%3B%20DROP%20TABLE%20items&offset=-1".into(), "table"),
        ("table=.items&offset=-1".into(), "table"),
        ("table=items.&offset=-1".into(), "table"),
        (format!("table={long}&offset=-1"), "table"),
        ("table=pg_class_id_seq&offset=-1".into(), "table"),
        ("table=items&offset=-1&columns=id,%22".into(), "columns"),
        ("table=items&offset=-1&columns=id,,name".into(), "columns"),
        ("table=items&offset=-1&columns=id,a%22b".into(), "columns"),
        ("table=items&offset=-1&columns=id,ctid".into(), "columns"),
        ("table=items&offset=-1&columns=*".into(), "columns"),
    ];
    for (query, field) in cases {
        let response = world.get(&format!("/v1/shape?{query}")).await.expect(400);
        check_refusal(&response, &query);
        let reasons = response.json()["errors"][field].clone();
        assert!(
            reasons.as_array().is_some_and(|reasons| reasons.iter().all(Value::is_string)),
            "{query}: {}",
            response.shown()
        );
    }
    world.get("/v1/shape?table=items&offset=-1&columns=%20id%20,%20name").await.expect(200);
    world.get("/v1/shape?table=Items&offset=-1").await.expect(200);
}

/// What Postgres refuses too, or what has no place in a shape.
const REFUSED: &[&str] = &[
    "nope = 1",
    "id = ",
    "id = = 1",
    "id = 1 OR",
    "(id = 1",
    "id = 1)",
    "id = 'x'",
    "id = 1.5.2",
    "name = 1",
    "now() IS NULL",
    "random() < 1",
    "pg_sleep(10) IS NULL",
    "id = $1",
    "id = $0",
    "id = $99999999999999999999",
    "id = 1; DROP TABLE items",
    "id = 1 GROUP BY id",
    "id = 1 ORDER BY id",
    "id = 1 LIMIT 1",
    "id = 1 UNION SELECT 1",
    "id IN (SELECT id FROM items LIMIT 1)",
    "EXISTS (SELECT 1 FROM nothing)",
    "count(*) > 1",
    "id IN ()",
    "others.id = 1",
    "day = 'yesterday-ish'",
    "u = 'not-a-uuid'",
    "ok = 'maybe'",
    "at > 'soon'",
    "id BETWEEN 1",
    "name LIKE 1",
    "ctid IS NULL",
    "xmin = 1",
    "true AND",
    "id = 99999999999999999999999999999999x",
    "name = E'\\u12'",
    "id = 1 --\n OR",
    "/* id = 1",
    "s = 'abc'",
    "$$",
    "name = 'unterminated",
    "\"id = 1",
    "f = 'fast'",
    "price = '1,5'",
    "day = '2024-02-30'",
    "id = '99999999999999999999'",
];

#[tokio::test]
async fn predicates_that_cannot_be_evaluated_are_refused_at_their_place() {
    let world = world_with_items().await;
    let mut wrong = Vec::new();
    for predicate in REFUSED {
        let target = format!("{}&offset=-1", Shape::of("items").filter(predicate).target());
        let response = world.get(&target).await;
        let reason =
            (response.status == 400).then(|| response.json()["errors"]["where"][0].clone());
        let reason = reason.as_ref().and_then(Value::as_str).unwrap_or_default();
        let placed = reason.strip_prefix("At location ").and_then(|rest| rest.split_once(": "));
        let is_place =
            |at: &str| at.parse::<usize>().is_ok_and(|at| at <= predicate.chars().count());
        if !placed.is_some_and(|(at, why)| is_place(at) && !why.is_empty()) {
            wrong.push(format!("{predicate}: {}", response.shown()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} answers are no refusal with a place:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let located = world
        .get(&format!(
            "{}&offset=-1",
            Shape::of("items").filter("id = 1 AND 'ä' = colour").target()
        ))
        .await;
    assert!(
        located.text().contains("At location 17: "),
        "characters are counted: {}",
        located.shown()
    );
}

/// Pieces of predicates, to be put together wrongly.
const PIECES: &str = "id name price ok day at u f = < > <= <> AND OR NOT IN ( ) , 'x' '' 1 - 1.5 1e999 NULL IS LIKE \
     ILIKE '%_\\' BETWEEN $1 $2 :: int4 \" -- /* */ ; E'\\ \\ \u{0} \u{FFFD} ä '2024-01-01' true ANY \
     ARRAY [ ] { COLLATE \"C\" SELECT + * / % || ~ @> 0x 1_000 U&' B' 'infinity' 'NaN' \
     9223372036854775808";

#[tokio::test]
async fn garbage_predicates_are_always_refused_or_answered() {
    let mut rng = Rng::for_test("garbage_predicates");
    let world = world_with_items().await;
    let pieces: Vec<&str> = PIECES.split(' ').collect();
    for round in 0..size("BROOKLET_TEST_GARBAGE", 3_000) {
        let predicate: String = if round % 4 == 0 {
            (0..rng.between(1, 40)).map(|_| char::from(rng.between(1, 126) as u8)).collect()
        } else {
            (0..rng.between(1, 14)).map(|_| format!("{} ", rng.pick(&pieces))).collect()
        };
        let target =
            format!("{}&offset=-1", Shape::of("items").filter(&predicate).parameter("1").target());
        let response = world.get(&target).await;
        // A predicate that happens to make sense is an empty table's shape.
        let fine = response.status == 200 || response.status == 400;
        assert!(fine, "{predicate:?} in {target}: {}", response.shown());
    }
    world.get("/v1/health").await.expect(200);
}

#[tokio::test]
async fn deep_nesting_and_long_lists_are_answered_without_a_crash() {
    let world = world_with_items().await;
    let deep = [
        format!("{}id = 1{}", "(".repeat(3_000), ")".repeat(3_000)),
        format!("{}ok", "NOT ".repeat(5_000)),
        vec!["id = 1"; 2_000].join(" OR "),
        format!("id IN ({})", vec!["1"; 4_000].join(",")),
        format!("id = {}1", "-".repeat(3_000).replace("--", "- ")),
        format!("name = '{}'", "x".repeat(60_000)),
        format!("price = {}", "9".repeat(9_000)),
        format!("name LIKE '{}'", "%a".repeat(4_000)),
        "name ~ '(((a{200}){200}){200}){200}'".to_owned(),
        "name ~ '(a*)*(a*)*(a*)*b'".to_owned(),
        format!("name ~ '{}'", "(".repeat(20_000)),
        format!("name ~ '{}'", "a?".repeat(5_000) + &"a".repeat(5_000)),
        format!("{}1{}", "CASE WHEN ok THEN ".repeat(2_000), " END".repeat(2_000)),
    ];
    for predicate in deep {
        let target = format!("{}&offset=-1", Shape::of("items").filter(&predicate).target());
        let response = world.get(&target).await;
        assert!(response.status < 500, "{}…: {}", &predicate[..40], response.shown());
        world.get("/v1/health").await.expect(200);
    }
}

#[tokio::test]
async fn broken_requests_get_an_answer_or_a_closed_connection_never_5xx() {
    let world = world_with_items().await;
    let long = "x".repeat(100_000);
    let targets = [
        format!("/v1/shape?table=items&offset=-1&where={long}"),
        format!("/{long}"),
        "/v1/shape?table=%ff%fe&offset=-1".to_owned(),
        "/v1/shape?table=items&offset=-1&where=%c3%28".to_owned(),
        "/v1/shape?%ff=1".to_owned(),
        "/v1/shape?table=items&offset=-1&where=%".to_owned(),
        "/v1/shape?table=items&offset=-1&where=%zz".to_owned(),
        "/v1/shape?table=items%00&offset=-1".to_owned(),
        "/v1/shape?table=items&offset=99999999999999999999999_0&handle=1-2".to_owned(),
        "/v1/shape?table=items&offset=0_99999999999999999999999&handle=1-2".to_owned(),
        format!("/v1/shape?table=items&offset=0_0&handle={}", "9".repeat(5_000)),
        "/v1/shape?&&&==&".to_owned(),
        "/v1/shape?table=items&table=items&offset=-1&offset=abc".to_owned(),
        format!("/v1/shape?table=items&offset=-1&{}", "a=b&".repeat(1_000)),
    ];
    for target in targets {
        let response = world.send(Request::get(target.clone())).await;
        let shown: String = target.chars().take(100).collect();
        assert!(
            (400..500).contains(&response.status) || response.status == 200,
            "{shown}: {}",
            response.shown()
        );
    }
    for method in ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "X"] {
        let response = world.send(Request::new(method, "/v1/shape?table=items&offset=-1")).await;
        assert!((400..500).contains(&response.status), "{method}: {}", response.shown());
    }
    let with_body = Request::get("/v1/shape?table=items&offset=-1").body("{\"table\": \"nope\"}");
    world.send(with_body).await.expect(200);
}

#[tokio::test]
async fn bytes_that_are_no_http_do_not_disturb_anybody() {
    let world = world_with_items().await;
    let many: Vec<String> = (0..2_000).map(|at| format!("x-{at}: y\r\n")).collect();
    let broken = [
        "\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /v1/health HTTP/9.9\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".to_owned(),
        format!("GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", many.concat()),
        format!("GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nbig: {}\r\n\r\n", "x".repeat(1_000_000)),
        "POST /v1/shape HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: abc\r\n\r\n".to_owned(),
        "POST /v1/shape?table=items&offset=-1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
    ];
    for bytes in broken {
        let mut stream = tokio::net::TcpStream::connect(world.server.address).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
            .await
            .expect("a hang");
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{:?}: {answer}", &bytes[..bytes.len().min(60)]);
        world.get("/v1/health").await.expect(200);
    }
}

#[tokio::test]
async fn a_filter_that_is_costly_holds_nobody_up() {
    let world = world_with_items().await;
    let mut all = world.follow(Shape::of("items")).await;
    for pattern in ["(a*)*(a*)*(a*)*b", "^(a+)+$", "(x+x+)+y", "(a|aa)+$", "a.*a.*a.*a.*a.*a.*b"] {
        let shape = Shape::of("items").filter(&format!("name ~ '{pattern}'"));
        let response = world.get(&format!("{}&offset=-1", shape.target())).await;
        // A pattern may be refused; what is taken has to be answered for any row.
        assert!([200, 400].contains(&response.status), "{pattern}: {}", response.shown());
    }
    let begun = std::time::Instant::now();
    world.sql("INSERT INTO items (id, name) VALUES (1, repeat('a', 30000) || '!'), (2, repeat('x', 30000))").await;
    all.until("both rows", |rows| rows.len() == 2).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
