//! Conversations recorded with Electric 1.7.12, repeated with ours: same status, same headers, same body.
//!
//! `recorded.jsonl` has one exchange a line, in order, as it was recorded but for placeholders where servers cannot
//! agree (handles, positions, transaction ids, cursors, the wording of errors). Where ours differs on purpose is
//! listed in `INTENDED`, place by place, each with its reason; everything else has to agree, absent headers too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Bindings, Database, Event, Events, Request, Response, World, fill, matches, matches_text,
};

const RECORDED: &str = include_str!("recorded.jsonl");
const EXCHANGES: usize = 71;

/// Where ours differs on purpose: exchange (`*`: wherever it occurs), JSON pointer, our value (`null`: absent), why.
const INTENDED: &[(&str, &str, &str, &str)] = &[
    ("*", "/headers/vary", "null", VARY),
    ("every type: snapshot and schema", "/body/0/value/b", r#""t""#, BOOLEANS),
    ("every type: snapshot and schema", "/body/1/value/b", r#""f""#, BOOLEANS),
    ("every type: snapshot and schema", "/body/0/value/ip", r#""192.168.0.1""#, ADDRESSES),
    (
        "server-sent events, cut after 4 s without data",
        "/headers/x-accel-buffering",
        r#""no""#,
        "proxies that hold answers back have to be told; other clients do not see it",
    ),
    ("OPTIONS", "/headers/access-control-allow-headers", r#""<any>if-none-match<any>""#, PREFLIGHT),
    ("OPTIONS", "/headers/access-control-allow-origin", r#""*""#, ORIGIN),
    ("GET with Origin", "/headers/access-control-allow-origin", r#""*""#, ORIGIN),
    ("subquery: snapshot", "/body/0/headers/active_conditions", "null", SUBQUERIES),
    ("subquery: snapshot", "/body/0/headers/tags", "null", SUBQUERIES),
    ("subquery: log with a move-in and a move-out", "/body", MOVES, SUBQUERIES),
    (
        "subquery: log with a move-in and a move-out",
        "/headers/etag",
        r#""\"<h12>:0_inf:<*>_<*>\"""#,
        SUBQUERIES,
    ),
    (
        "subquery: log with a move-in and a move-out",
        "/headers/electric-offset",
        r#""<*>_<*>""#,
        SUBQUERIES,
    ),
];

const VARY: &str = "only where an answer may be compressed; a text of a few bytes never is";
const ORIGIN: &str = "an answer that caches may share names no one origin";
const BOOLEANS: &str = "one text for one value: the log has t and f, and all clients read both";
const ADDRESSES: &str = "one text for one value: what the type's output function prints";
const PREFLIGHT: &str = "pages may POST subsets and send tokens, which need more headers";
const SUBQUERIES: &str =
    "rows that come and go are plain inserts and deletes, which every client understands";
const MOVES: &str = r#"[
    {"key": "\"public\".\"parcels\"/\"51\"", "value": {"depot_id": "8", "id": "51"}, "headers": {"relation": ["public", "parcels"],
        "operation": "insert", "lsn": "<*>", "op_position": "<number>", "txids": ["<number>"], "last": true}},
    {"key": "\"public\".\"parcels\"/\"50\"", "value": {"id": "50"}, "headers": {"relation": ["public", "parcels"],
        "operation": "delete", "lsn": "<*>", "op_position": "<number>", "txids": ["<number>"], "last": true}},
    {"headers": {"control": "up-to-date", "global_last_seen_lsn": "<*>"}}]"#;

/// What HTTP itself brings, and what every answer of every server has with values of its own; no sample has them.
const OF_HTTP: &[&str] = &[
    "date",
    "connection",
    "content-length",
    "transfer-encoding",
    "electric-server",
    "x-request-id",
];

#[tokio::test]
async fn recorded_conversations_are_repeated() {
    let world = World::with(Database::shared().await, |options| {
        options.chunk_bytes = Some(2_000);
        options.may_delete = true;
        options.long_poll = Duration::from_secs(4);
    })
    .await;
    let mut bindings = Bindings::new();
    let mut failures = Vec::new();
    let samples = samples();
    for sample in &samples {
        if let Err(failure) = repeat(&world, sample, &mut bindings).await {
            failures.push(format!("{}: {failure}", sample["name"]));
        }
    }
    assert_eq!(samples.len(), EXCHANGES);
    let failures_text = failures.join("\n\n");
    assert!(failures.is_empty(), "{} exchanges differ:\n\n{failures_text}", failures.len());
}

/// The recorded exchanges with our intended differences put in.
fn samples() -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("recorded.jsonl is JSON");
    let mut samples: Vec<Value> = RECORDED.lines().map(parse).collect();
    for (exchange, pointer, ours, why) in INTENDED {
        let ours: Value = serde_json::from_str(ours).unwrap();
        let mut found = 0;
        let is_meant = |sample: &&mut Value| match *exchange {
            "*" => sample.pointer(pointer).is_some(),
            name => sample["name"] == name,
        };
        for sample in samples.iter_mut().filter(is_meant) {
            put(sample, pointer, &ours);
            found += 1;
        }
        assert!(found > 0 && !why.is_empty(), "{exchange} {pointer} is no difference any more");
    }
    samples
}

/// Puts a value where a pointer points to; `null` removes what is there.
fn put(sample: &mut Value, pointer: &str, value: &Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = sample.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {pointer}"));
    let parent = parent.as_object_mut().unwrap_or_else(|| panic!("{pointer} is in no object"));
    assert_ne!(parent.get(name), Some(value), "no difference at {pointer}");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value.clone());
    }
}

/// Repeats one exchange; after SQL it is asked again until the change has arrived.
async fn repeat(world: &World, sample: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let statements = sample["sql"].as_array().cloned().unwrap_or_default();
    let statements: Vec<&str> = statements.iter().map(|sql| sql.as_str().unwrap()).collect();
    let (request, target) = request(sample, bindings);
    if sample["events"].is_array() {
        return repeat_events(world, sample, &target, &statements, bindings).await;
    }
    if sample["meanwhile"] == true {
        let (response, ()) = tokio::join!(world.send(request), async {
            for sql in &statements {
                world.sql(sql).await;
            }
        });
        return compare(sample, &response, bindings);
    }
    for sql in &statements {
        world.sql(sql).await;
    }
    let deadline = Instant::now() + Duration::from_secs(if statements.is_empty() { 0 } else { 10 });
    loop {
        let mut attempt = bindings.clone();
        let outcome = compare(sample, &world.send(request.clone()).await, &mut attempt);
        if outcome.is_ok() || Instant::now() > deadline {
            *bindings = attempt;
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn request(sample: &Value, bindings: &Bindings) -> (Request, String) {
    let recorded = &sample["request"];
    let target = fill(recorded["target"].as_str().unwrap(), bindings);
    let mut request = Request::new(recorded["method"].as_str().unwrap(), target.clone());
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        request = request.header(name, &fill(value.as_str().unwrap(), bindings));
    }
    if let Some(body) = recorded["body"].as_str() {
        request = request.body(body);
    }
    (request, target)
}

/// Statements run once the stream is open; the events have to be the recorded ones.
async fn repeat_events(
    world: &World,
    sample: &Value,
    target: &str,
    statements: &[&str],
    bindings: &mut Bindings,
) -> Result<(), String> {
    let mut events = Events::open(world.server.address, target).await;
    compare_headers(sample, &events.head, bindings)?;
    let recorded = sample["events"].as_array().unwrap();
    let mut seen = Vec::new();
    for sql in statements {
        world.sql(sql).await;
        seen.extend(events.batch().await.iter().map(Event::json));
    }
    matches(&json!(recorded), &json!(seen), bindings)
}

fn compare(sample: &Value, response: &Response, bindings: &mut Bindings) -> Result<(), String> {
    if sample["status"] != response.status {
        return Err(format!("status {} instead of {}", response.shown(), sample["status"]));
    }
    compare_headers(sample, response, bindings)?;
    let body = &sample["body"];
    let actual = if body.is_string() { Value::from(response.text()) } else { response.json() };
    matches(body, &actual, bindings).map_err(|error| format!("body: {error}\n{}", response.shown()))
}

/// The same headers and no others.
fn compare_headers(
    sample: &Value,
    response: &Response,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let recorded = sample["headers"].as_object().unwrap();
    for (name, value) in recorded.iter().filter(|(name, _)| !OF_HTTP.contains(&name.as_str())) {
        let actual = response
            .header(name)
            .ok_or_else(|| format!("no header {name}: {}", response.shown()))?;
        matches_text(value.as_str().unwrap(), actual, bindings)
            .map_err(|error| format!("header {name}: {error}"))?;
    }
    let schema = sample.get("schema");
    for (name, value) in &response.headers {
        let varies = ["accept-encoding", "accept, accept-encoding"];
        let is_vary = name == "vary" && varies.contains(&value.as_str());
        let is_known = OF_HTTP.contains(&name.as_str()) || recorded.contains_key(name) || is_vary;
        if !(is_known || name == "electric-schema" && schema.is_some()) {
            return Err(format!("a header that was not recorded: {name}: {value}"));
        }
    }
    for name in ["electric-server", "x-request-id"] {
        response.header(name).ok_or_else(|| format!("no header {name}"))?;
    }
    if let Some(schema) = schema {
        let actual = response.header("electric-schema").ok_or("no electric-schema")?;
        let actual: Value = serde_json::from_str(actual).map_err(|error| error.to_string())?;
        matches(schema, &actual, bindings).map_err(|error| format!("schema: {error}"))?;
    }
    Ok(())
}
