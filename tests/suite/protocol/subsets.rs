//! Subset requests: what they answer, byte for byte, and what they refuse.

use serde_json::{Value, json};

use crate::harness::{Bindings, Database, Request, Shape, World, check, encode, eventually};

async fn world() -> World {
    let world = World::new().await;
    world.sql("CREATE TYPE mood AS ENUM ('sad', 'ok')").await;
    world
        .sql("CREATE TABLE parcels (id int8 PRIMARY KEY, label text NOT NULL, depot int, feeling mood, secret text)")
        .await;
    world
        .sql(
            "INSERT INTO parcels VALUES (1, 'north', NULL, 'sad', 'a'), (2, 'süd \"q\"', 7, 'ok', 'b'), \
             (3, 'east', 7, NULL, 'c'), (4, 'West', 8, 'sad', 'd'), (10, 'f/g', 9, 'ok', 'e')",
        )
        .await;
    world
}

const BASE: &str = "/v1/shape?table=parcels&columns=id,label&log=changes_only";

fn post(target: &str, body: &Value) -> Request {
    Request::new("POST", target).body(body.to_string())
}

/// The ids of the rows in their order.
fn ids(body: &Value) -> Vec<&str> {
    let rows = body["data"].as_array().unwrap_or_else(|| panic!("no data: {body}"));
    rows.iter().map(|row| row["value"]["id"].as_str().unwrap()).collect()
}

const FOUND: &str = r#"200
cache-control: no-cache
content-type: application/json; charset=utf-8
electric-handle: <h1>
electric-offset: 0_inf
electric-schema: {"id":{"type":"int8","pk_index":0,"not_null":true},"label":{"type":"text","not_null":true}}
electric-snapshot: true

{"metadata":{"xmin":"<x1>","xmax":"<x2>","xip_list":[<any>],"database_lsn":"<l1>","snapshot_mark":<m1>},"data":[{"key":"\"public\".\"parcels\"/\"2\"","value":{"id":"2","label":"süd \"q\""},"headers":{"operation":"insert","relation":["public","parcels"],"snapshot_mark":<m1>}},{"key":"\"public\".\"parcels\"/\"3\"","value":{"id":"3","label":"east"},"headers":{"operation":"insert","relation":["public","parcels"],"snapshot_mark":<m1>}}]}"#;

#[tokio::test]
async fn a_subset_by_get_and_by_post_is_the_same() {
    let world = world().await;
    let shape =
        world.follow(Shape::of("parcels").columns("id,label").more("&log=changes_only")).await;
    let handle = &shape.handle;
    let filter = encode("\"depot\" = $1");
    let order = encode("\"id\" ASC NULLS FIRST");
    let mut requests = Vec::new();
    for position in ["offset=now".to_owned(), format!("offset=0_inf&handle={handle}")] {
        let rest = format!(
            "{BASE}&{position}&subset__where={filter}&subset__order_by={order}&subset__limit=10"
        );
        requests.push(Request::get(format!("{rest}&subset__params={}", encode("{\"1\":\"7\"}"))));
        requests.push(Request::get(format!("{rest}&subset__params={}", encode("{\"1\":7}"))));
        requests.push(Request::get(format!("{rest}&subset__params[1]=7")));
        requests.push(Request::get(format!("{rest}&subset__params%5B1%5D=7")));
        let subset = json!({"where": "\"depot\" = $1", "params": {"1": "7"}, "order_by": "\"id\" ASC NULLS FIRST", "limit": 10});
        requests.push(post(&format!("{BASE}&{position}"), &subset));
        requests
            .push(post(&format!("{BASE}&{position}"), &json!({"subset": subset, "where": null})));
        let mut text = subset.clone();
        text["params"] = json!("{\"1\":\"7\"}");
        text["limit"] = json!("10");
        requests.push(post(&format!("{BASE}&{position}"), &text));
    }
    let mut marks = Vec::new();
    for request in requests {
        let mut bindings = Bindings::new();
        let response = world.send(request).await;
        check(FOUND, &response.transcript(), &mut bindings);
        assert_eq!(bindings["<h1>"], *handle);
        for absent in ["etag", "electric-up-to-date", "electric-cursor", "electric-has-data"] {
            assert!(response.header(absent).is_none(), "{absent}: {}", response.shown());
        }
        let mark: u64 = bindings["<m1>"].parse().unwrap();
        assert!(mark < 1 << 31, "{mark}");
        assert!(!marks.contains(&mark), "the mark {mark} came twice");
        marks.push(mark);
        let known = bindings["<l1>"].parse::<u64>().unwrap();
        assert!(known > 0 && known <= world.db.position().await);
    }
}

#[tokio::test]
async fn an_empty_result_and_the_whole_table() {
    let world = world().await;
    let none = world.send(post(&format!("{BASE}&offset=now"), &json!({"where": "id < 0"}))).await;
    let expected = FOUND.split_once("\"data\":[").unwrap().0.to_owned() + "\"data\":[]}";
    check(&expected, &none.transcript(), &mut Bindings::new());
    let all = world
        .get(&format!("{BASE}&offset=now&subset__where=true%20%3D%20true&subset__order_by=id"))
        .await;
    assert_eq!(ids(&all.expect(200).json()), ["1", "2", "3", "4", "10"]);
    let all = world.send(post(&format!("{BASE}&offset=-1"), &json!({"order_by": "id DESC"}))).await;
    assert_eq!(ids(&all.expect(200).json()), ["10", "4", "3", "2", "1"]);
}

#[tokio::test]
async fn filters_orders_limits_and_offsets_are_postgres_own() {
    let world = world().await;
    let cases: &[(Value, &[&str])] = &[
        (json!({"where": "feeling = 'sad'", "order_by": "id"}), &["1", "4"]),
        (json!({"where": "feeling = $1", "params": {"1": "ok"}, "order_by": "id"}), &["2", "10"]),
        (
            json!({"where": "depot = ANY($1)", "params": {"1": "{7,9}"}, "order_by": "id"}),
            &["2", "3", "10"],
        ),
        (json!({"where": "label ILIKE 'w%'"}), &["4"]),
        (json!({"where": "label = $1", "params": {"1": "süd \"q\""}}), &["2"]),
        (json!({"where": "depot IS NULL"}), &["1"]),
        (json!({"where": "NOT (depot = 7)", "order_by": "id"}), &["4", "10"]),
        (json!({"where": "depot = 7 OR id = 1", "order_by": "id DESC"}), &["3", "2", "1"]),
        (json!({"where": "depot = 7 -- a comment\n AND id = 3"}), &["3"]),
        (json!({"order_by": "depot DESC NULLS LAST, id DESC", "limit": 3}), &["10", "4", "3"]),
        (json!({"order_by": "depot ASC NULLS FIRST, id", "limit": 2, "offset": 1}), &["2", "3"]),
        (json!({"order_by": "\"id\"", "offset": 4}), &["10"]),
        (json!({"order_by": "id", "offset": 0, "limit": 1}), &["1"]),
        (json!({"order_by": "id", "offset": 99}), &[]),
        (
            json!({"order_by": "id", "limit": 9_223_372_036_854_775_807u64}),
            &["1", "2", "3", "4", "10"],
        ),
    ];
    for (subset, expected) in cases {
        let response = world.send(post(&format!("{BASE}&offset=now"), subset)).await;
        assert_eq!(response.status, 200, "{subset}: {}", response.shown());
        assert_eq!(ids(&response.json()), *expected, "{subset}");
    }
}

#[tokio::test]
async fn both_filters_stand_in_parentheses() {
    let world = world().await;
    let target = format!("{BASE}&offset=now&where={}", encode("id = 1 OR id = 2 OR id = 4"));
    for (filter, expected) in [
        ("id = 2 OR id = 3", vec!["2"]),
        ("depot = 8 OR depot IS NULL", vec!["1", "4"]),
        ("id = 3", vec![]),
    ] {
        let response = world.send(post(&target, &json!({"where": filter, "order_by": "id"}))).await;
        assert_eq!(ids(&response.expect(200).json()), expected, "{filter}");
    }
    // What opens or closes parentheses or comments of its own does not get out of its place.
    for filter in
        ["id = 3) OR (true", "true) --", "true /*", "id = 3); SELECT (1", "true) OR (id = 3"]
    {
        let response = world.send(post(&target, &json!({"where": filter}))).await;
        assert_eq!(response.status, 400, "{filter}: {}", response.shown());
        assert!(response.json()["errors"]["subset"]["where"].is_array(), "{}", response.shown());
    }
}

#[tokio::test]
async fn a_filter_of_the_query_holds_for_a_body_that_names_none() {
    let world = world().await;
    let target = format!("{BASE}&offset=now&subset__where={}", encode("depot = 7"));
    let page = json!({"order_by": "id", "limit": 100});
    let bodies = [
        (page.clone(), vec!["2", "3"]),
        (json!({ "subset": page }), vec!["2", "3"]),
        (json!({"order_by": "id DESC", "where": null}), vec!["3", "2"]),
        (json!({"order_by": "id", "where": "depot = 8 OR depot = 9"}), vec!["4", "10"]),
        (json!({"subset": {"order_by": "id", "where": "id < 3"}}), vec!["1", "2"]),
    ];
    for (body, expected) in bodies {
        let response = world.send(post(&target, &body)).await;
        assert_eq!(response.status, 200, "{body}: {}", response.shown());
        assert_eq!(ids(&response.json()), expected, "{body}");
    }
    let refused = world.send(post(&target, &json!({"subset": "id", "limit": 1}))).await;
    assert_eq!(refused.expect(400).json()["errors"], json!({"subset": ["is invalid"]}));
}

#[tokio::test]
async fn hidden_columns_are_refused_in_filters_and_orders() {
    let world = world().await;
    for shape in ["&queryable_columns=id,label", "&queryable_columns=id,label&columns=id"] {
        let target = format!("/v1/shape?table=parcels{shape}&offset=now&log=changes_only");
        let refused = [
            ("where", "secret = 'a'", json!({"where": "secret = 'a'"})),
            ("where", "as text", json!({"where": "id = 1 OR \"secret\" LIKE 'a%'"})),
            ("where", "whole row", json!({"where": "parcels IS NOT NULL"})),
            ("where", "ctid", json!({"where": "ctid IS NOT NULL"})),
            ("where", "qualified", json!({"where": "parcels.secret = 'a'"})),
            ("order_by", "secret", json!({"order_by": "secret"})),
            ("order_by", "second", json!({"order_by": "id, \"secret\" DESC", "limit": 1})),
            ("order_by", "position", json!({"order_by": "2", "limit": 1})),
        ];
        for (field, name, subset) in refused {
            let response = world.send(post(&target, &subset)).await;
            assert_eq!(response.status, 400, "{name}: {}", response.shown());
            let reason = response.json()["errors"]["subset"][field][0].clone();
            assert!(reason.is_string(), "{name}: {}", response.shown());
            if name == "secret" || name.starts_with("secret") {
                assert!(reason.as_str().unwrap().contains("unknown reference secret"), "{reason}");
            }
        }
        let fine = json!({"where": "label = 'east'", "order_by": "label"});
        assert_eq!(ids(&world.send(post(&target, &fine)).await.expect(200).json()), ["3"]);
    }
    // Without the list everything may be asked for, selected or not.
    let open = post(&format!("{BASE}&offset=now"), &json!({"where": "secret = 'c'"}));
    assert_eq!(ids(&world.send(open).await.expect(200).json()), ["3"]);
}

#[tokio::test]
async fn what_postgres_refuses_is_told_in_its_own_words() {
    let world = world().await;
    let subset = json!({"where": "feeling = 'zzz'"});
    let refused = world.send(post(&format!("{BASE}&offset=now"), &subset)).await.expect(400);
    let expected = json!({"message": "Invalid request",
        "errors": {"subset": {"where": "invalid input value for enum mood: \"zzz\""}}});
    assert_eq!(refused.json(), expected);
    let divided = json!({"where": "1 / (id - id) = 1"});
    let refused = world.send(post(&format!("{BASE}&offset=now"), &divided)).await;
    assert_eq!(refused.status, 400, "{}", refused.shown());
    let get = format!("{BASE}&offset=now&subset__where={}", encode("feeling = 'zzz'"));
    let refused = world.get(&get).await.expect(400);
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(refused.json(), expected);
}

#[tokio::test]
async fn each_wrong_field_of_a_subset_is_named() {
    let world = world().await;
    let cases = [
        (json!({"limit": 0, "order_by": "id"}), "limit", "must be greater than 0"),
        (json!({"limit": -1, "order_by": "id"}), "limit", "must be greater than 0"),
        (json!({"limit": "x", "order_by": "id"}), "limit", "is invalid"),
        (json!({"limit": 1.5, "order_by": "id"}), "limit", "is invalid"),
        (json!({"limit": [1], "order_by": "id"}), "limit", "is invalid"),
        (json!({"offset": -1, "order_by": "id"}), "offset", "must be greater than or equal to 0"),
        (json!({"limit": 1}), "order_by", "order_by is required when limit or offset is present"),
        (json!({"offset": 1}), "order_by", "order_by is required when limit or offset is present"),
        (json!({"where": "id = $1", "params": [1]}), "params", "params must be a JSON object"),
        (json!({"where": "id = $1", "params": "[1]"}), "params", "params must be a JSON object"),
        (json!({"where": "id = $1", "params": "{"}), "params", "params must be valid JSON"),
        (
            json!({"where": "id = 1", "params": {"a": 1}}),
            "params",
            "Parameters can only use numbers as keys",
        ),
        (
            json!({"where": "id = 1", "params": {"2": 1}}),
            "params",
            "Parameters must be numbered sequentially, starting from 1",
        ),
        (json!({"where": "id IN (SELECT 1)"}), "where", "Subqueries are not allowed in subsets"),
        (json!({"where": "nope = 1"}), "where", "At location 0: unknown reference nope"),
        (json!({"where": "id = $1"}), "where", "At location 5: parameter $1 was not provided"),
        (json!({"where": "id"}), "where", "WHERE clause must return a boolean"),
        (json!({"where": {"a": 1}}), "where", "is invalid"),
    ];
    let mut wrong = Vec::new();
    for (subset, field, reason) in cases {
        let response = world.send(post(&format!("{BASE}&offset=now"), &subset)).await;
        let expected =
            json!({"message": "Invalid request", "errors": {"subset": {field: [reason]}}});
        if response.status != 400 || response.json() != expected {
            wrong.push(format!("{subset}: {} instead of {expected}", response.shown()));
        }
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{}", response.shown());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for order in [
        "lower(label)",
        "id + 1",
        "id COLLATE \"C\"",
        "id USING <",
        "$1",
        "id,",
        "id ASC DESC",
        "id; DROP TABLE parcels",
        "parcels.id; --",
        "'id'",
        "1",
        "id NULLS",
        "random()",
    ] {
        let response = world
            .send(post(&format!("{BASE}&offset=now"), &json!({"order_by": order, "limit": 1})))
            .await;
        assert_eq!(response.status, 400, "{order}: {}", response.shown());
        let reasons = &response.json()["errors"]["subset"]["order_by"];
        assert!(reasons[0].is_string(), "{order}: {}", response.shown());
    }
}

#[tokio::test]
async fn the_offset_of_a_subset_is_the_one_that_was_asked_for() {
    let world = world().await;
    let mut shape =
        world.follow(Shape::of("parcels").columns("id,label").more("&log=changes_only")).await;
    world.sql("UPDATE parcels SET label = 'x' WHERE id = 1; UPDATE parcels SET label = 'y' WHERE id = 1").await;
    // What a client has not read yet must stay ahead of it.
    let echo = async |offset: &str| {
        let target = format!("{BASE}&offset={offset}&handle={}&subset__where=id%3D1", shape.handle);
        let response = world.get(&target).await.expect(200);
        assert_eq!(ids(&response.json()), ["1"]);
        response.header("electric-offset").unwrap().to_owned()
    };
    for offset in ["0_0", "0_inf"] {
        assert_eq!(echo(offset).await, offset);
    }
    let position = world.mark().await;
    let handle = shape.handle.clone();
    let end = eventually("the updates are in the log", async || {
        let target = format!("{BASE}&offset=0_inf&handle={handle}");
        let response = world.get(&target).await.expect(200);
        let messages = response.json().as_array().unwrap().len();
        (messages == 3).then(|| response.header("electric-offset").unwrap().to_owned())
    })
    .await;
    assert!(position > 0);
    assert_eq!(echo(&end).await, end);
    let (lsn, _) = end.split_once('_').unwrap();
    assert_eq!(echo(&format!("{lsn}_0")).await, format!("{lsn}_0"));
    let now = world.get(&format!("{BASE}&offset=now&subset__where=id%3D1")).await.expect(200);
    assert_eq!(now.header("electric-offset"), Some(end.as_str()));
    let first = world.get(&format!("{BASE}&offset=-1&subset__where=id%3D1")).await.expect(200);
    let first = first.header("electric-offset").unwrap();
    assert!(first == end || first == "0_0", "{first}");
    shape.offset = end;
    shape.catch_up().await;
}

#[tokio::test]
async fn handles_are_resolved_as_for_any_request() {
    let world = World::with(Database::shared().await, |options| options.may_delete = true).await;
    world.sql("CREATE TABLE parcels (id int8 PRIMARY KEY, label text, depot int)").await;
    let shape =
        world.follow(Shape::of("parcels").columns("id,label").more("&log=changes_only")).await;
    let subset = json!({"where": "id = 1"});
    let unknown =
        world.send(post(&format!("{BASE}&offset=0_inf&handle=1-2"), &subset)).await.expect(409);
    assert_eq!(unknown.header("electric-handle"), Some(shape.handle.as_str()));
    assert_eq!(unknown.header("cache-control"), Some("no-cache"));
    assert!(unknown.header("electric-snapshot").is_none());
    let other = format!("/v1/shape?table=parcels&offset=0_inf&handle={}", shape.handle);
    let other = world.send(post(&other, &subset)).await.expect(409);
    assert_ne!(other.header("electric-handle"), Some(shape.handle.as_str()));
    for missing in ["offset=0_inf", ""] {
        world.send(post(&format!("{BASE}&{missing}"), &subset)).await.expect(400);
    }
    // No part of the log, no effect on it.
    world.send(post(&format!("{BASE}&offset=now"), &subset)).await.expect(200);
    let body = world.get(&format!("{BASE}&offset=0_inf&handle={}", shape.handle)).await.json();
    assert_eq!(body.as_array().unwrap().len(), 1, "{body}");
    // A tag of the log is none of a subset's.
    let tag = format!("\"{}:0_inf:0_inf\"", shape.handle);
    let target = format!("{BASE}&offset=0_inf&handle={}", shape.handle);
    world.send(post(&target, &subset).header("if-none-match", &tag)).await.expect(200);
    world
        .send(Request::get(format!("{target}&subset__where=true")).header("if-none-match", &tag))
        .await
        .expect(200);
    let head =
        world.send(Request::new("HEAD", format!("{target}&subset__where=true"))).await.expect(200);
    assert_eq!(head.header("electric-snapshot"), Some("true"));
}
