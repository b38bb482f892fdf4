//! Headers: cross-origin access, caching, entity tags, cursors, and the methods beside GET.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Database, Request, Response, Shape, World};

const EXPOSED: &str = "electric-cursor,electric-handle,electric-has-data,electric-offset,electric-schema,\
     electric-up-to-date,electric-internal-known-error,retry-after";

async fn world_with_one_row() -> World {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world.sql("INSERT INTO items VALUES (1, 'one')").await;
    world
}

fn check_cross_origin(response: &Response, methods: &str) {
    let origin = response.header("access-control-allow-origin");
    assert!(origin == Some("*") || origin == Some("http://a.example"), "{}", response.shown());
    assert!(response.header("access-control-allow-credentials").is_none());
    assert_eq!(
        response.header("access-control-allow-methods"),
        Some(methods),
        "{}",
        response.shown()
    );
    let exposed = response.header("access-control-expose-headers").unwrap_or_default();
    for name in EXPOSED.split(',') {
        assert!(
            exposed.split(',').any(|other| other.trim() == name),
            "{name} is not exposed: {exposed}"
        );
    }
}

#[tokio::test]
async fn every_answer_can_be_read_by_a_page_of_another_origin() {
    let world = world_with_one_row().await;
    let shape = "GET, POST, HEAD, DELETE, OPTIONS";
    let cases = [
        ("/v1/shape?table=items&offset=-1", 200, shape),
        ("/v1/shape?table=items", 400, shape),
        ("/v1/shape?table=items&offset=0_0&handle=1-2", 409, shape),
        ("/v1/health", 200, "GET, HEAD"),
        ("/", 200, "GET, HEAD"),
        ("/nowhere", 404, "GET, HEAD"),
    ];
    for (target, status, methods) in cases {
        let response = world
            .send(Request::get(target).header("origin", "http://a.example"))
            .await
            .expect(status);
        check_cross_origin(&response, methods);
        assert!(response.header("x-request-id").is_some(), "{}", response.shown());
        assert!(response.header("electric-server").is_some(), "{}", response.shown());
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_secret_and_allows_what_browsers_ask_for() {
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some("s3cret".to_owned());
    })
    .await;
    for asked in ["if-none-match", "content-type", "authorization"] {
        let preflight = Request::new("OPTIONS", "/v1/shape?table=items&offset=-1")
            .header("origin", "http://a.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", asked);
        let response = world.send(preflight).await.expect(204);
        check_cross_origin(&response, "GET, POST, HEAD, DELETE, OPTIONS");
        assert_eq!(response.header("access-control-max-age"), Some("86400"));
        let allowed =
            response.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
        assert!(
            allowed.split(',').any(|name| name.trim() == asked),
            "{asked} is not in '{allowed}'"
        );
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let world = world_with_one_row().await;
    let items = world.follow(Shape::of("items")).await;
    for target in [
        "/v1/shape?table=items&offset=-1".to_owned(),
        items.target(false),
        "/v1/shape?table=items&offset=0_0&handle=1-2".to_owned(),
        "/v1/shape?table=items&offset=bad".to_owned(),
        "/v1/health".to_owned(),
        "/".to_owned(),
        "/nowhere".to_owned(),
    ] {
        let get = world.get(&target).await;
        let head = world.send(Request::new("HEAD", &target)).await;
        assert_eq!(get.status, head.status, "{target}");
        let varying = ["date", "x-request-id", "transfer-encoding", "content-length", "connection"];
        let kept = |response: &Response| -> BTreeMap<String, String> {
            response
                .headers
                .iter()
                .filter(|(name, _)| !varying.contains(&name.as_str()))
                .cloned()
                .collect()
        };
        assert_eq!(kept(&get), kept(&head), "{target}");
    }
}

#[tokio::test]
async fn an_entity_tag_that_still_holds_is_304_without_schema() {
    let world = world_with_one_row().await;
    let mut items = world.follow(Shape::of("items")).await;
    let initial = world.get("/v1/shape?table=items&offset=-1").await;
    let tag = initial.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}:-1:0_0\"", items.handle));
    let conditional =
        |tag: &str| Request::get("/v1/shape?table=items&offset=-1").header("if-none-match", tag);
    for matching in [tag.clone(), format!("\"other\", {tag}"), tag.trim_matches('"').to_owned()] {
        let hit = world.send(conditional(&matching)).await.expect(304);
        for name in ["electric-handle", "electric-offset", "etag", "cache-control"] {
            assert_eq!(hit.header(name), initial.header(name), "{name}");
        }
        assert!(hit.header("electric-schema").is_none());
    }
    for other in ["*".to_owned(), format!("W/{tag}"), "\"other\"".to_owned()] {
        world.send(conditional(&other)).await.expect(200);
    }
    let end = items.target(false);
    let tag = world.get(&end).await.header("etag").unwrap().to_owned();
    world.send(Request::get(&end).header("if-none-match", &tag)).await.expect(304);
    world.sql("UPDATE items SET name = 'uno'").await;
    items.until("the update", |rows| rows[0]["name"].as_deref() == Some("uno")).await;
    world.send(Request::get(&end).header("if-none-match", &tag)).await.expect(200);
}

#[tokio::test]
async fn an_empty_live_answer_cannot_be_revalidated() {
    let world =
        World::with(Database::shared().await, |options| options.long_poll = Duration::from_secs(1))
            .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let first = world.get(&items.target(true)).await.expect(200);
    let second = world.get(&items.target(true)).await.expect(200);
    assert_eq!(first.header("electric-has-data"), Some("false"));
    assert_ne!(first.header("etag"), second.header("etag"));
    let now = [
        world.get("/v1/shape?table=items&offset=now").await,
        world.get("/v1/shape?table=items&offset=now").await,
    ];
    assert_ne!(now[0].header("etag"), now[1].header("etag"));
}

#[tokio::test]
async fn a_cursor_differs_from_the_one_that_was_sent() {
    let world =
        World::with(Database::shared().await, |options| options.long_poll = Duration::from_secs(1))
            .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let base = format!(
        "{}&offset={}&handle={}&live=true",
        items.shape.target(),
        items.offset,
        items.handle
    );
    for sent in ["", "0", "abc", "1", "99999999999", "18446744073709551615"] {
        let response = world.get(&format!("{base}&cursor={sent}")).await.expect(200);
        let cursor = response.header("electric-cursor").expect("a cursor").to_owned();
        assert!(cursor.parse::<u128>().is_ok() && cursor != sent, "{cursor} after {sent}");
    }
}

#[tokio::test]
async fn caches_are_told_how_long_an_answer_holds() {
    let world =
        World::with(Database::shared().await, |options| options.long_poll = Duration::from_secs(1))
            .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let cases = [
        (
            "/v1/shape?table=items&offset=-1".to_owned(),
            "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746",
        ),
        (
            "/v1/shape?table=items&offset=now".to_owned(),
            "public, max-age=60, stale-while-revalidate=300",
        ),
        (items.target(false), "public, max-age=60, stale-while-revalidate=300"),
        (items.target(true), "public, max-age=5, stale-while-revalidate=5"),
        (
            "/v1/shape?table=items&offset=0_0&handle=1-2".to_owned(),
            "public, max-age=60, must-revalidate",
        ),
        ("/v1/shape?table=items".to_owned(), "no-store"),
        ("/v1/health".to_owned(), "no-cache, no-store, must-revalidate"),
    ];
    for (target, expected) in cases {
        let response = world.get(&target).await;
        assert_eq!(response.header("cache-control"), Some(expected), "{target}");
        let surrogate = (expected == "no-store").then_some("no-store");
        assert_eq!(response.header("surrogate-control"), surrogate, "{target}");
    }
}

#[tokio::test]
async fn a_request_id_of_the_client_is_kept() {
    let world = World::new().await;
    let mine = "0123456789abcdef0123456789";
    let kept = world.send(Request::get("/v1/health").header("x-request-id", mine)).await;
    assert_eq!(kept.header("x-request-id"), Some(mine));
    let replaced = world.send(Request::get("/v1/health").header("x-request-id", "short")).await;
    assert!(replaced.header("x-request-id").is_some_and(|id| id != "short" && id.len() >= 20));
}

#[tokio::test]
async fn the_root_is_a_page_only_for_browsers() {
    let world = World::new().await;
    let plain = world.get("/").await.expect(200);
    assert!(plain.body.is_empty(), "{}", plain.shown());
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = world.send(Request::get("/").header("accept", accept)).await.expect(200);
    assert!(
        page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
        "{}",
        page.shown()
    );
    assert!(page.text().contains("<html"), "{}", page.shown());
}
