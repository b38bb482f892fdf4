//! One answer of every kind, byte for byte: status, headers and body. What varies is a placeholder.

use std::time::Duration;

use crate::harness::{Bindings, Database, Request, World, check, fill};

const SCHEMA: &str = r#"{"id":{"type":"int8","pk_index":0,"not_null":true},"label":{"type":"text","not_null":true}}"#;
const BASE: &str = "/v1/shape?table=parcels&columns=id,label";

async fn world() -> World {
    let world = World::with(Database::shared().await, |options| {
        options.may_delete = true;
        options.long_poll = Duration::from_secs(2);
    })
    .await;
    world
        .sql("CREATE TABLE parcels (id int8 PRIMARY KEY, label text NOT NULL, weight numeric)")
        .await;
    world.sql("INSERT INTO parcels VALUES (1, 'north', 12.5)").await;
    world
}

/// Sends a GET, its placeholders filled in, and compares the answer.
async fn exchange(world: &World, bindings: &mut Bindings, target: &str, expected: &str) {
    let response = world.get(&fill(target, bindings)).await;
    check(&expected.replace("{schema}", SCHEMA), &response.transcript(), bindings);
}

const INITIAL: &str = r#"200
cache-control: public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746
content-type: application/json; charset=utf-8
electric-handle: <h1>
electric-has-data: true
electric-offset: 0_0
electric-schema: {schema}
etag: "<h1>:-1:0_0"

[{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"north"},"headers":{"operation":"insert","relation":["public","parcels"]}},{"headers":{"control":"snapshot-end","xmin":"<*>","xmax":"<*>","xip_list":[<any>]}}]"#;

const CATCH_UP: &str = r#"200
cache-control: public, max-age=60, stale-while-revalidate=300
content-type: application/json; charset=utf-8
electric-handle: <h1>
electric-has-data: true
electric-offset: 0_inf
electric-schema: {schema}
electric-up-to-date: 
etag: "<h1>:0_0:0_inf"

[{"headers":{"control":"up-to-date","global_last_seen_lsn":"<*>"}}]"#;

const LIVE: &str = r#"200
cache-control: public, max-age=5, stale-while-revalidate=5
content-type: application/json; charset=utf-8
electric-cursor: <*>
electric-handle: <h1>
electric-has-data: true
electric-offset: <l1>_<m1>
electric-up-to-date: 
etag: "<h1>:0_inf:<l1>_<m1>"

[{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"south"},"headers":{"last":true,"operation":"update","relation":["public","parcels"],"txids":[<x1>],"lsn":"<l1>","op_position":<m1>}},{"headers":{"control":"up-to-date","global_last_seen_lsn":"<l1>"}}]"#;

const LIVE_TIME_OUT: &str = r#"200
cache-control: public, max-age=5, stale-while-revalidate=5
content-type: application/json; charset=utf-8
electric-cursor: <*>
electric-handle: <h1>
electric-has-data: false
electric-offset: <l1>_<m1>
electric-up-to-date: 
etag: "<h1>:<l1>_<m1>:<l1>_<m1>:<*>"

[{"headers":{"control":"up-to-date","global_last_seen_lsn":"<*>"}}]"#;

const NOW: &str = r#"200
cache-control: public, max-age=60, stale-while-revalidate=300
content-type: application/json; charset=utf-8
electric-handle: <h1>
electric-has-data: false
electric-offset: <l1>_<m1>
electric-schema: {schema}
electric-up-to-date: 
etag: "<h1>:now:<l1>_<m1>:<*>"

[{"headers":{"control":"up-to-date","global_last_seen_lsn":"<*>"}}]"#;

#[tokio::test]
async fn initial_catch_up_live_time_out_and_now() {
    let world = world().await;
    let bindings = &mut Bindings::new();
    exchange(&world, bindings, &format!("{BASE}&offset=-1"), INITIAL).await;
    exchange(&world, bindings, &format!("{BASE}&offset=0_0&handle=<h1>"), CATCH_UP).await;
    let live = format!("{BASE}&offset=0_inf&handle=<h1>&live=true&cursor=57405600");
    tokio::join!(exchange(&world, bindings, &live, LIVE), async {
        world.sql("UPDATE parcels SET label = 'south'").await;
    });
    let live = format!("{BASE}&offset=<l1>_<m1>&handle=<h1>&live=true&cursor=57405620");
    exchange(&world, bindings, &live, LIVE_TIME_OUT).await;
    exchange(&world, bindings, &format!("{BASE}&offset=now"), NOW).await;
    // The end of the log once more, without waiting: nothing but up-to-date, at the same offset.
    let end = format!("{BASE}&offset=<l1>_<m1>&handle=<h1>");
    let expected =
        CATCH_UP.replace("0_0:0_inf", "<l1>_<m1>:<l1>_<m1>").replace("0_inf", "<l1>_<m1>");
    exchange(&world, bindings, &end, &expected).await;
}

#[tokio::test]
async fn not_modified_and_head() {
    let world = world().await;
    let bindings = &mut Bindings::new();
    exchange(&world, bindings, &format!("{BASE}&offset=-1"), INITIAL).await;
    for (offset, tag, expected) in
        [("-1", "<h1>:-1:0_0", INITIAL), ("0_0", "<h1>:0_0:0_inf", CATCH_UP)]
    {
        let handle = if offset == "-1" { "" } else { "&handle=<h1>" };
        let target = fill(&format!("{BASE}&offset={offset}{handle}"), bindings);
        let tag = fill(&format!("\"{tag}\""), bindings);
        let without_body =
            expected.split("\n\n").next().unwrap().replace("{schema}", SCHEMA) + "\n\n";
        let head = world.send(Request::new("HEAD", &target)).await;
        check(&without_body, &head.transcript(), bindings);
        let hit = world.send(Request::get(&target).header("if-none-match", &tag)).await;
        let without_schema = without_body.replace(&format!("electric-schema: {SCHEMA}\n"), "");
        check(&without_schema.replacen("200", "304", 1), &hit.transcript(), bindings);
    }
}

#[tokio::test]
async fn an_event_stream() {
    let world = world().await;
    let bindings = &mut Bindings::new();
    exchange(&world, bindings, &format!("{BASE}&offset=-1"), INITIAL).await;
    let target = "&offset=0_inf&handle=<h1>&live=true&live_sse=true&experimental_live_sse=true";
    let target = fill(&format!("{BASE}{target}&cursor=57405640"), bindings);
    let mut events = crate::harness::Events::open(world.server.address, &target).await;
    let expected = r#"200
cache-control: public, max-age=59
content-type: text/event-stream
electric-cursor: <*>
electric-handle: <h1>
electric-has-data: true
electric-offset: 0_inf
electric-up-to-date: 
etag: "<h1>:0_inf:0_inf"
x-accel-buffering: no

"#;
    check(expected, &events.head.transcript(), bindings);
    assert_eq!(events.head.header("connection").unwrap_or("keep-alive"), "keep-alive");
    assert_eq!(events.head.header("transfer-encoding"), Some("chunked"));
    world.sql("UPDATE parcels SET label = 'south'").await;
    let [change, end] = &events.batch().await[..] else { panic!("not two events") };
    let messages = LIVE.split_once("\n\n").unwrap().1;
    check(messages, &format!("[{},{}]", text(change), text(end)), bindings);
}

fn text(event: &crate::harness::Event) -> &str {
    let crate::harness::Event::Message(text) = event else { panic!("{event:?}") };
    text
}

#[tokio::test]
async fn must_refetch_and_refusals() {
    let world = world().await;
    let bindings = &mut Bindings::new();
    exchange(&world, bindings, &format!("{BASE}&offset=-1"), INITIAL).await;
    let conflict = r#"409
cache-control: public, max-age=60, must-revalidate
content-type: application/json; charset=utf-8
electric-handle: <h1>
etag: "<h1>::"

[{"headers":{"control":"must-refetch"}}]"#;
    for rest in ["&offset=0_inf&handle=11-22&live=true", "&offset=0_0&handle=11-22"] {
        exchange(&world, bindings, &format!("{BASE}{rest}"), conflict).await;
    }
    let refusals = [
        ("table=parcels&offset=abc", r#"{"offset":["has invalid format"]}"#),
        ("table=parcels&offset=0_inf", r#"{"handle":["can't be blank when offset != -1"]}"#),
        ("offset=-1", r#"{"table":["can't be blank"]}"#),
        (
            "table=parcels&offset=-1&columns=label",
            r#"{"columns":["The list of columns must include all primary key columns, missing: id"]}"#,
        ),
        (
            "table=parcels&offset=-1&subset__limit=5",
            r#"{"subset":{"order_by":["order_by is required when limit or offset is present"]}}"#,
        ),
    ];
    for (query, errors) in refusals {
        let body = format!(r#"{{"message":"Invalid request","errors":{errors}}}"#);
        let expected = format!(
            "400\ncache-control: no-store\ncontent-type: application/json; charset=utf-8\n\
             surrogate-control: no-store\n\n{body}"
        );
        exchange(&world, bindings, &format!("/v1/shape?{query}"), &expected).await;
    }
}

#[tokio::test]
async fn deletion_preflight_health_root_and_nowhere() {
    let world = world().await;
    let bindings = &mut Bindings::new();
    exchange(&world, bindings, &format!("{BASE}&offset=-1"), INITIAL).await;
    let delete = world.send(Request::new("DELETE", BASE)).await;
    assert_eq!((delete.status, delete.text().as_str()), (202, ""), "{}", delete.shown());
    assert_eq!(delete.header("cache-control"), Some("no-cache"));
    assert!(delete.header("electric-handle").is_none(), "{}", delete.shown());
    let preflight = world.send(Request::new("OPTIONS", "/v1/shape")).await;
    assert_eq!(preflight.status, 204, "{}", preflight.shown());
    assert_eq!(preflight.header("access-control-max-age"), Some("86400"));
    assert!(preflight.header("cache-control").is_none(), "{}", preflight.shown());
    let health = "200\ncache-control: no-cache, no-store, must-revalidate\n\
        content-type: application/json; charset=utf-8\n\n{\"status\":\"active\"}";
    exchange(&world, bindings, "/v1/health", health).await;
    let default = "cache-control: max-age=0, private, must-revalidate";
    exchange(&world, bindings, "/", &format!("200\n{default}\n\n")).await;
    let nowhere = format!("404\n{default}\n\nNot found");
    for path in ["/v2/x", "/v1", "/v1/shapes", "/v1/shape/parcels", "/metrics", "/v1/health/x"] {
        exchange(&world, bindings, path, &nowhere).await;
    }
}

#[tokio::test]
async fn the_secret_is_missing() {
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some("s".to_owned());
    })
    .await;
    let expected = "401\ncache-control: max-age=0, private, must-revalidate\n\n\
        {\"message\":\"Unauthorized - Invalid API secret\"}";
    for method in ["GET", "POST", "DELETE"] {
        let refused = world.send(Request::new(method, "/v1/shape?table=x&offset=bad")).await;
        check(expected, &refused.transcript(), &mut Bindings::new());
        let cors = refused.headers.iter().find(|(name, _)| name.starts_with("access-control"));
        assert!(cors.is_none(), "{}", refused.shown());
    }
    // Neither headers nor bodies carry the secret.
    let elsewhere = Request::new("POST", "/v1/shape?table=x&offset=-1").header("secret", "s");
    world.send(elsewhere.body("{\"secret\": \"s\"}")).await.expect(401);
    world.send(Request::new("OPTIONS", "/v1/shape")).await.expect(204);
    world.send(Request::new("PUT", "/v1/shape")).await.expect(404);
}
