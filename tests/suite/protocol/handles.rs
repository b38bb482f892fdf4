//! Handles: which requests share one, and what ends one.

use crate::harness::{Database, Request, Shape, World, eventually};

async fn world_with_items() -> World {
    let world = World::with(Database::shared().await, |options| options.may_delete = true).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world.sql("INSERT INTO items VALUES (1, 'one'), (2, 'two')").await;
    world
}

#[tokio::test]
async fn one_question_in_two_spellings_is_one_shape() {
    let world = world_with_items().await;
    let same = [
        Shape::of("items").filter("id = 1 AND name = 'one'"),
        Shape::of("public.items").filter("  id=1   and\tNAME = 'one' "),
        Shape::of("\"public\".\"items\"")
            .filter("(\"id\" = $1) AND (name = $2)")
            .parameter("1")
            .parameter("one"),
        Shape::of("ITEMS").filter("id = 1 /* of them */ AND name = 'one' -- all"),
        Shape::of("items")
            .filter("id = 1 AND name = 'one'")
            .more("&cache-buster=7&expired_handle=1-2&foo=bar"),
    ];
    let first = world.follow(same[0].clone()).await;
    for shape in &same[1..] {
        assert_eq!(world.follow(shape.clone()).await.handle, first.handle, "{shape:?}");
    }
    let different = [
        Shape::of("items"),
        Shape::of("items").filter("id = 1"),
        Shape::of("items").filter("id = 1 OR name = 'one'"),
        Shape::of("items").filter("id = 1 AND name = 'One'"),
        Shape::of("items").filter("id = 1 AND name = 'one'").columns("id"),
        Shape::of("items").filter("NOT (id = 1 AND name = 'one')"),
        Shape::of("items").filter("id = 2 AND name = 'one'"),
    ];
    let mut handles = vec![first.handle];
    for shape in different {
        let handle = world.follow(shape.clone()).await.handle;
        assert!(!handles.contains(&handle), "{shape:?} shares {handle}");
        handles.push(handle);
    }
}

#[tokio::test]
async fn simultaneous_first_requests_share_one_handle_and_one_snapshot() {
    let world = world_with_items().await;
    let asking: Vec<_> = (0..30)
        .map(|_| {
            let mut follower = world.client(Shape::of("items").filter("id > 0"));
            tokio::spawn(async move {
                follower.catch_up().await;
                (follower.handle.clone(), follower.rows())
            })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await.unwrap());
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0] && answer.1.len() == 2),
        "{answers:?}"
    );
}

#[tokio::test]
async fn an_unknown_or_foreign_handle_is_409_with_one_that_works() {
    let world = world_with_items().await;
    let items = world.follow(Shape::of("items")).await;
    let one = Shape::of("items").filter("id = 1");
    for (shape, handle) in [
        (Shape::of("items"), "1-2"),
        (Shape::of("items"), "not a handle/?&"),
        (Shape::of("items"), "99999999999999999999-1"),
        (one.clone(), items.handle.as_str()),
    ] {
        for live in ["", "&live=true"] {
            let handle = crate::harness::encode(handle);
            let target = format!("{}&offset=0_inf&handle={handle}{live}", shape.target());
            let answer = world.get(&target).await.expect(409);
            assert_eq!(
                answer.json(),
                serde_json::json!([{"headers": {"control": "must-refetch"}}])
            );
            assert!(answer.header("electric-offset").is_none(), "{}", answer.shown());
            let usable = answer.header("electric-handle").expect("a usable handle").to_owned();
            assert_eq!(answer.header("etag"), Some(format!("\"{usable}::\"").as_str()));
            assert_eq!(world.follow(shape.clone()).await.handle, usable);
        }
    }
}

#[tokio::test]
async fn the_handle_is_ignored_where_reading_begins() {
    let world = world_with_items().await;
    let items = world.follow(Shape::of("items")).await;
    for offset in ["-1", "now"] {
        let answer = world
            .get(&format!("/v1/shape?table=items&offset={offset}&handle=1-2"))
            .await
            .expect(200);
        assert_eq!(answer.header("electric-handle"), Some(items.handle.as_str()));
    }
}

#[tokio::test]
async fn now_is_the_end_of_the_log() {
    let world = world_with_items().await;
    let fresh = world.get("/v1/shape?table=items&offset=now").await.expect(200);
    assert_eq!(fresh.header("electric-offset"), Some("0_inf"));
    let mut items = world.follow(Shape::of("items")).await;
    assert_eq!(fresh.header("electric-handle"), Some(items.handle.as_str()));
    world.sql("DELETE FROM items WHERE id = 1").await;
    items.until("one row", |rows| rows.len() == 1).await;
    let now = world.get("/v1/shape?table=items&offset=now").await.expect(200);
    assert_eq!(now.header("electric-offset"), Some(items.offset.as_str()));
    assert!(now.header("electric-up-to-date").is_some() && now.header("electric-schema").is_some());
    assert_eq!(now.header("electric-has-data"), Some("false"));
    assert_eq!(now.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn truncate_ends_every_shape_of_the_table_and_a_new_one_has_what_came_after() {
    let world = world_with_items().await;
    world.sql("CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items)").await;
    world.sql("INSERT INTO parts VALUES (1, 1)").await;
    let mut all = world.follow(Shape::of("items")).await.through_refetches();
    let mut one = world.follow(Shape::of("items").filter("id = 1")).await.through_refetches();
    let mut parts = world.follow(Shape::of("parts")).await.through_refetches();
    world.sql("BEGIN; INSERT INTO items VALUES (3, 'x'); TRUNCATE items CASCADE; INSERT INTO items VALUES (1, 'new'); COMMIT").await;
    let is_new =
        |rows: &[crate::harness::Row]| rows.len() == 1 && rows[0]["name"].as_deref() == Some("new");
    all.until("the new row", is_new).await;
    one.until("the new row", is_new).await;
    parts.until("no parts", |rows| rows.is_empty()).await;
    assert_eq!((all.refetches, one.refetches, parts.refetches), (1, 1, 1));
}

#[tokio::test]
async fn a_change_of_columns_ends_the_shapes_that_have_them() {
    let world = world_with_items().await;
    let mut handle = world.follow(Shape::of("items")).await.handle;
    for change in [
        "ALTER TABLE items ADD COLUMN extra int DEFAULT 7",
        "ALTER TABLE items RENAME COLUMN extra TO more",
        "ALTER TABLE items ALTER COLUMN more TYPE text",
        "ALTER TABLE items DROP COLUMN more",
    ] {
        world.sql(change).await;
        world.sql("INSERT INTO items SELECT max(id) + 1, 'later' FROM items").await;
        eventually(change, async || {
            let answer =
                world.get(&format!("/v1/shape?table=items&offset=0_inf&handle={handle}")).await;
            (answer.status == 409).then_some(())
        })
        .await;
        let fresh = world.follow(Shape::of("items")).await;
        assert_ne!(fresh.handle, handle);
        assert_eq!(fresh.rows(), world.truth(&fresh.shape).await, "after {change}");
        handle = fresh.handle;
    }
}

#[tokio::test]
async fn a_table_that_is_dropped_and_made_again_is_another_table() {
    let world = world_with_items().await;
    let old = world.follow(Shape::of("items")).await;
    world.sql("DROP TABLE items").await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world.sql("INSERT INTO items VALUES (9, 'nine')").await;
    let mut fresh = eventually("a new handle for the new table", async || {
        let fresh = world.client(Shape::of("items")).through_outages().through_refetches();
        let mut fresh = fresh;
        fresh.catch_up().await;
        (fresh.handle != old.handle).then_some(fresh)
    })
    .await;
    assert_eq!(fresh.rows().len(), 1);
    world.sql("INSERT INTO items VALUES (10, 'ten')").await;
    fresh.until("the stream of the new table", |rows| rows.len() == 2).await;
    eventually("the old handle ends", async || {
        let answer =
            world.get(&format!("/v1/shape?table=items&offset=0_inf&handle={}", old.handle)).await;
        (answer.status == 409).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_shape_can_be_deleted_by_handle_or_by_definition() {
    let world = world_with_items().await;
    let mut items = world.follow(Shape::of("items")).await.through_refetches();
    let delete = |target: String| world.send(Request::new("DELETE", target));
    let wrong = delete(format!("/v1/shape?table=items&where=id%3D1&handle={}", items.handle)).await;
    assert!(wrong.status == 400 || wrong.status == 404, "{}", wrong.shown());
    let (target, server) = (items.target(true), world.server.address);
    let parked = tokio::spawn(async move { Request::get(target).send(server).await.unwrap() });
    delete(format!("/v1/shape?handle={}", items.handle)).await.expect(202);
    parked.await.unwrap().expect(409);
    assert_eq!(items.step(true).await, crate::harness::Step::Refetch);
    items.catch_up().await;
    let second = items.handle.clone();
    delete("/v1/shape?table=items".to_owned()).await.expect(202);
    let gone =
        world.get(&format!("/v1/shape?table=items&offset=0_inf&handle={second}")).await.expect(409);
    assert_ne!(gone.header("electric-handle"), Some(second.as_str()));
    let unknown = delete("/v1/shape?table=items&where=id%3D77".to_owned()).await.expect(404);
    assert_eq!(unknown.json()["message"], "No existing shape found");
    let blank = delete("/v1/shape".to_owned()).await.expect(400);
    assert_eq!(
        blank.json()["errors"]["handle"][0],
        "can't be blank when shape definition is missing"
    );
}

#[tokio::test]
async fn a_shape_cannot_be_deleted_unless_that_was_allowed() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let refused = world
        .send(Request::new("DELETE", format!("/v1/shape?handle={}", items.handle)))
        .await
        .expect(405);
    assert_eq!(refused.json()["message"], "DELETE not allowed");
    assert_eq!(refused.header("cache-control"), Some("no-cache"));
    world.get(&items.target(false)).await.expect(200);
}

#[tokio::test]
async fn an_offset_that_the_log_never_reached_is_refused() {
    let world = World::with(Database::shared().await, |options| {
        options.long_poll = std::time::Duration::from_secs(1)
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let items = world.follow(Shape::of("items")).await;
    let answer = world
        .get(&format!("/v1/shape?table=items&offset=999999999999_0&handle={}", items.handle))
        .await;
    assert!(answer.status == 400 || answer.status == 409, "{}", answer.shown());
    if answer.status == 400 {
        assert_eq!(answer.json()["errors"]["offset"][0], "out of bounds for this shape");
    }
}

#[tokio::test]
async fn a_handle_is_made_of_characters_that_need_no_encoding() {
    let world = world_with_items().await;
    let handle = world.follow(Shape::of("items")).await.handle;
    assert_eq!(crate::harness::encode(&handle), handle);
}

#[tokio::test]
async fn a_place_in_an_ended_shape_is_none_in_the_one_that_comes_after() {
    let world = world_with_items().await;
    for shape in [Shape::of("items"), Shape::of("items").more("&log=changes_only")] {
        let mut ended = world.follow(shape.clone()).await;
        world.sql("INSERT INTO items VALUES (7, 'seven')").await;
        ended
            .until("its row", |rows| rows.iter().any(|row| row["id"].as_deref() == Some("7")))
            .await;
        world.sql("TRUNCATE items; INSERT INTO items VALUES (8, 'eight')").await;
        // Somebody else asks first; a client that asks for a subset then takes the handle and keeps its place.
        let mut next = world.client(shape.clone());
        eventually("another shape", async || {
            next = world.client(shape.clone()).through_refetches();
            next.catch_up().await;
            (next.handle != ended.handle).then_some(())
        })
        .await;
        // It may have been made before the stream has told of the TRUNCATE.
        next.reach(world.mark().await).await;
        let taken = format!("{}&offset={}", shape.target(), ended.offset);
        let with = |handle: &str| format!("&handle={handle}");
        for write in ["SELECT 1", "INSERT INTO items VALUES (9, 'nine')"] {
            world.sql(write).await;
            next.catch_up().await;
            for live in ["", "&live=true"] {
                let refused = world.get(&format!("{taken}{}{live}", with(&next.handle))).await;
                let refused = refused.expect(409);
                let nobodys = refused.header("electric-handle").expect("a handle to go on with");
                // Its own would be taken for ended.
                let (ours, old) = (&next.handle, &ended.handle);
                assert!(nobodys.starts_with("0-"), "{nobodys} for {ours}, after {old}, {live}");
                let again = format!("{}&offset=-1{}", shape.target(), with(nobodys));
                let again = world.get(&again).await.expect(409);
                assert_eq!(again.header("electric-handle"), Some(next.handle.as_str()));
            }
        }
        next.until("the next row", |rows| rows.iter().any(|row| row["id"].as_deref() == Some("9")))
            .await;
        world.get(&next.target(false)).await.expect(200);
        world.sql("DELETE FROM items").await;
    }
}
