//! Parameters: which mistake is told first, in exactly which words, and what is no mistake.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Database, Request, Shape, World};

async fn world() -> World {
    let world = World::with(Database::shared().await, |options| {
        options.long_poll = Duration::from_secs(1);
        options.may_delete = true;
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text, price numeric)").await;
    world
}

#[tokio::test]
async fn the_first_stage_with_mistakes_tells_all_of_its_own_and_no_others() {
    let world = world().await;
    let cases: &[(&str, Value)] = &[
        // 1: what cannot be read, all of it at once and before anything else.
        (
            "replica=half&log=x&params=1",
            json!({"replica": ["is invalid"], "log": ["is invalid"], "params": ["is invalid"]}),
        ),
        ("table=items&replica=FULL&offset=-1", json!({"replica": ["is invalid"]})),
        ("table=items&offset=abc&log=none&live=true", json!({"log": ["is invalid"]})),
        (
            "table=items&offset=-1&experimental_compaction=maybe",
            json!({"experimental_compaction": ["is invalid"]}),
        ),
        (
            "replica=half&columns=%22a%22b%22",
            json!({"replica": ["is invalid"], "columns": ["Invalid identifier with unescaped quote: \"a\"b\""]}),
        ),
        // 2 and 3: the offset.
        ("live=true&live_sse=true", json!({"offset": ["can't be blank"]})),
        ("offset=&where=nope", json!({"offset": ["can't be blank"]})),
        ("offset=x&live=true", json!({"offset": ["has invalid format"]})),
        // 4: the handle.
        ("offset=0_0&live_sse=true", json!({"handle": ["can't be blank when offset != -1"]})),
        ("offset=5_inf&handle=&live=true", json!({"handle": ["can't be blank when offset != -1"]})),
        // 5 and 6: live.
        ("offset=-1&live=true&live_sse=true", json!({"live": ["can't be true when offset == -1"]})),
        (
            "offset=now&live=true&live_sse=true",
            json!({"live": ["can't be true when offset is 'now'"]}),
        ),
        (
            "offset=0_0&handle=1&live_sse=true",
            json!({"live_sse": ["can't be true unless live is also true"]}),
        ),
        (
            "offset=0_0&handle=1&live=false&live_sse=1",
            json!({"live_sse": ["can't be true unless live is also true"]}),
        ),
        // 7: the table.
        ("offset=-1&where=nope&columns=no&subset__limit=0", json!({"table": ["can't be blank"]})),
        ("offset=0_0&handle=1&live=true&live_sse=true", json!({"table": ["can't be blank"]})),
        // 8: what needs the catalogue; 9: the subset.
        (
            "table=a.b.c&offset=-1&subset__limit=0",
            json!({"table": ["Invalid relation identifier, too many delimiters: a.b.c"]}),
        ),
        (
            "table=items&offset=-1&where=id&subset__limit=0",
            json!({"where": ["WHERE clause must return a boolean"]}),
        ),
        (
            "table=items&offset=-1&subset__limit=0&subset__offset=-1&subset__order_by=id",
            json!({"subset": {"limit": ["must be greater than 0"], "offset": ["must be greater than or equal to 0"]}}),
        ),
    ];
    let mut wrong = Vec::new();
    for (query, errors) in cases {
        let response = world.get(&format!("/v1/shape?{query}")).await;
        let expected = json!({"message": "Invalid request", "errors": errors});
        if response.status != 400 || response.json() != expected {
            wrong.push(format!("{query}: {} instead of {expected}", response.shown()));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn names_of_tables_and_columns_are_judged_in_the_protocols_words() {
    let world = world().await;
    let long = "x".repeat(64);
    let too_long = format!("table={long}&offset=-1");
    let cases: &[(&str, &str, &str)] = &[
        ("table=%22%22&offset=-1", "table", "Invalid zero-length delimited identifier"),
        ("table=public.%22%22&offset=-1", "table", "Invalid zero-length delimited identifier"),
        (
            "table=it-ems&offset=-1",
            "table",
            "Invalid unquoted identifier contains special characters: it-ems",
        ),
        (
            "table=1items&offset=-1",
            "table",
            "Invalid unquoted identifier contains special characters: 1items",
        ),
        (&too_long, "table", "Identifier is too long (max length is 63)"),
        (
            "table=a.b.c.d&offset=-1",
            "table",
            "Invalid relation identifier, too many delimiters: a.b.c.d",
        ),
        (
            "table=items&offset=-1&columns=id,a-b",
            "columns",
            "Invalid unquoted identifier contains special characters: a-b",
        ),
        (
            "table=items&offset=-1&columns=id,%22%22",
            "columns",
            "Invalid zero-length delimited identifier",
        ),
        (
            "table=items&offset=-1&columns=name,price",
            "columns",
            "The list of columns must include all primary key columns, missing: id",
        ),
        (
            "table=items&offset=-1&columns=id,x,%22Name%22",
            "columns",
            "The following columns are not found on the table: x, Name",
        ),
        (
            "table=items&offset=-1&queryable_columns=name",
            "queryable_columns",
            "The list of queryable columns must include all primary key columns, missing: id",
        ),
        (
            "table=items&offset=-1&queryable_columns=id,x",
            "queryable_columns",
            "The following queryable columns are not found on the table: x",
        ),
        (
            "table=items&offset=-1&queryable_columns=id&columns=id,name",
            "columns",
            "The following columns are not found on the table: name",
        ),
    ];
    let mut wrong = Vec::new();
    for (query, field, reason) in cases {
        let response = world.get(&format!("/v1/shape?{query}")).await;
        let expected = json!({"message": "Invalid request", "errors": {*field: [reason]}});
        if response.status != 400 || response.json() != expected {
            wrong.push(format!("{query}: {} instead of {expected}", response.shown()));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn a_flag_is_set_unless_it_is_exactly_false() {
    let world = world().await;
    for value in ["", "=", "=0", "=true", "=1", "=no", "=False", "=FALSE", "=%20false"] {
        let refused = world.get(&format!("/v1/shape?table=items&offset=-1&live{value}")).await;
        assert_eq!(refused.status, 400, "live{value}: {}", refused.shown());
        assert_eq!(refused.json()["errors"], json!({"live": ["can't be true when offset == -1"]}));
        let refused =
            world.get(&format!("/v1/shape?table=items&offset=0_0&handle=1&live_sse{value}")).await;
        assert_eq!(
            refused.json()["errors"],
            json!({"live_sse": ["can't be true unless live is also true"]}),
            "live_sse{value}"
        );
    }
    let items = world.follow(Shape::of("items")).await;
    let base = format!("/v1/shape?table=items&offset=0_inf&handle={}", items.handle);
    for value in ["live=0", "live=", "live"] {
        let live = world.get(&format!("{base}&{value}")).await.expect(200);
        assert_eq!(live.header("electric-has-data"), Some("false"), "{value}");
        assert!(
            live.header("electric-cursor").is_some() && live.header("electric-schema").is_none(),
            "{value}"
        );
    }
    for value in ["live=false", "live=true&live=false", "live=false&live_sse=false"] {
        let plain = world.get(&format!("{base}&{value}")).await.expect(200);
        assert!(
            plain.header("electric-cursor").is_none() && plain.header("electric-schema").is_some(),
            "{value}"
        );
    }
    // The old name of live_sse counts where the new one is missing, and is strict about its values.
    for (value, events) in [
        ("true", true),
        ("1", true),
        ("false", false),
        ("0", false),
        ("true&live_sse=false", false),
    ] {
        let head = world
            .send(Request::new("HEAD", format!("{base}&live=true&experimental_live_sse={value}")))
            .await;
        let is_events = head.header("content-type") == Some("text/event-stream");
        assert_eq!((head.status, is_events), (200, events), "{value}: {}", head.shown());
    }
    let strict = world.get(&format!("{base}&live=true&experimental_live_sse=maybe")).await;
    assert_eq!(strict.status, 400, "{}", strict.shown());
}

#[tokio::test]
async fn what_is_no_mistake() {
    let world = world().await;
    let plain = world.get("/v1/shape?table=items&offset=-1").await.expect(200);
    let handle = plain.header("electric-handle").unwrap().to_owned();
    let same = [
        "where=",
        "where=%20",
        "columns=",
        "columns=%20%20",
        "replica=",
        "log=",
        "replica=default",
        "log=full",
        "handle=1-2",
        "handle=",
        "cursor=abc",
        "cursor=",
        "foo=bar",
        "expired_handle=1-2",
        "cache-buster=3",
        "subset__=1",
        "experimental_compaction=true",
        "experimental_compaction=false",
        "table=ITEMS",
        "table=public.items",
        "table=Public.%22items%22",
        "where_expr=1",
        "live=false",
        "offset=-1",
        "params%5B1%5D=unused",
    ];
    for more in same {
        let response = world.get(&format!("/v1/shape?table=items&offset=-1&{more}")).await;
        assert_eq!(response.status, 200, "{more}: {}", response.shown());
        if !more.starts_with("params") {
            assert_eq!(response.header("electric-handle"), Some(handle.as_str()), "{more}");
        }
        assert!(response.header("electric-snapshot").is_none(), "{more}");
    }
    for other in ["replica=full", "log=changes_only", "where=true", "columns=id"] {
        let response =
            world.get(&format!("/v1/shape?table=items&offset=-1&{other}")).await.expect(200);
        assert_ne!(response.header("electric-handle"), Some(handle.as_str()), "{other}");
    }
    // Equal but for spelling: one shape. The offsets before everything, too.
    let spelled = ["id > 1 AND name = 'x'", "id>1 and  name='x'", "\"id\" > 1 AND (name = 'x')"];
    let mut handles = Vec::new();
    for filter in spelled {
        let target = Shape::of("items").filter(filter).target();
        let response = world.get(&format!("{target}&offset=-1")).await.expect(200);
        handles.push(response.header("electric-handle").unwrap().to_owned());
    }
    assert!(handles.iter().all(|other| *other == handles[0]), "{handles:?}");
    for offset in ["00_00", "0_0", "0_007", "0_inf"] {
        let target = format!("/v1/shape?table=items&offset={offset}&handle={handle}");
        let response = world.get(&target).await.expect(200);
        assert_eq!(response.header("electric-offset"), Some("0_inf"), "{offset}");
    }
    let canonical = world.get(&format!("/v1/shape?table=items&offset=00_00&handle={handle}")).await;
    assert_eq!(canonical.header("etag"), Some(format!("\"{handle}:0_0:0_inf\"").as_str()));
}

#[tokio::test]
async fn deletion_by_definition_by_handle_and_by_neither() {
    let world = world().await;
    let delete =
        async |query: &str| world.send(Request::new("DELETE", format!("/v1/shape?{query}"))).await;
    let items = world.follow(Shape::of("items")).await;
    let some = world.follow(Shape::of("items").filter("id > 5")).await;
    let mismatch = delete(&format!("table=items&handle={}", some.handle)).await.expect(400);
    assert!(
        mismatch.json()["message"].is_string() && mismatch.json().get("errors").is_none(),
        "{}",
        mismatch.shown()
    );
    let blank = delete("").await.expect(400);
    let reason = json!({"handle": ["can't be blank when shape definition is missing"]});
    assert_eq!(blank.json(), json!({"message": "Invalid request", "errors": reason}));
    for unknown in ["handle=1-2", "table=items&where=id%3D77", "table=items&replica=full"] {
        let unknown = delete(unknown).await.expect(404);
        assert_eq!(unknown.json(), json!({"message": "No existing shape found"}));
        assert_eq!(unknown.header("cache-control"), Some("no-cache"));
    }
    world.get(&items.target(false)).await.expect(200);
    world.get(&some.target(false)).await.expect(200);
    let (address, parked) = (world.server.address, some.target(true));
    let parked = tokio::spawn(async move { Request::get(parked).send(address).await.unwrap() });
    let deleted =
        delete(&format!("table=items&where=id%3E5&handle={}", some.handle)).await.expect(202);
    assert!(deleted.body.is_empty() && deleted.header("electric-handle").is_none());
    let parked = parked.await.unwrap();
    assert_eq!(parked.status, 409, "{}", parked.shown());
    assert_ne!(parked.header("electric-handle"), Some(some.handle.as_str()));
    world.get(&some.target(false)).await.expect(409);
    delete(&format!("handle={}", items.handle)).await.expect(202);
    let fresh = world.get("/v1/shape?table=items&offset=-1").await.expect(200);
    assert_ne!(
        fresh.header("electric-handle"),
        Some(items.handle.as_str()),
        "a handle was used again"
    );
}

#[tokio::test]
async fn a_live_answer_with_data_can_be_revalidated() {
    let world = world().await;
    let mut items = world.follow(Shape::of("items")).await;
    world.sql("INSERT INTO items VALUES (1, 'one', 1)").await;
    let target = format!("/v1/shape?table=items&offset=0_inf&handle={}&live=true", items.handle);
    items.until("the row", |rows| rows.len() == 1).await;
    let live = world.get(&target).await.expect(200);
    let tag = live.header("etag").unwrap();
    let known = world.send(Request::get(&target).header("if-none-match", tag)).await.expect(304);
    for name in
        ["electric-handle", "electric-offset", "electric-up-to-date", "etag", "cache-control"]
    {
        assert_eq!(known.header(name), live.header(name), "{name}");
    }
    assert_eq!(known.header("electric-has-data"), Some("true"));
    assert!(known.header("electric-cursor").is_some() && known.header("electric-schema").is_none());
}
