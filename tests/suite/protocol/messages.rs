//! Every kind of message, byte for byte. What varies is a placeholder.

use crate::harness::{Bindings, Follower, Shape, World, check};

/// Runs statements, waits until they have arrived, and compares the log from its start.
async fn log_becomes(world: &World, shape: &Follower, sql: &[&str], expected: &[&str]) {
    for sql in sql {
        world.sql(sql).await;
    }
    let mut reader = world.client(shape.shape.clone());
    let position = world.mark().await;
    // Only the raw text is looked at: that the log makes sense is what other tests are for.
    crate::harness::eventually("the log has everything", async || {
        reader.offset = "0_inf".to_owned();
        reader.handle.clone_from(&shape.handle);
        let body = world.get(&reader.target(false)).await.expect(200);
        let last = body.json().as_array().unwrap().last().unwrap()["headers"].clone();
        let seen: u64 = last["global_last_seen_lsn"].as_str()?.parse().unwrap();
        (seen >= position).then_some(())
    })
    .await;
    let body = world.get(&reader.target(false)).await.text();
    let end = r#"{"headers":{"control":"up-to-date","global_last_seen_lsn":"<*>"}}]"#;
    check(&format!("[{},{end}", expected.join(",")), &body, &mut Bindings::new());
}

async fn parcels() -> World {
    let world = World::new().await;
    world
        .sql("CREATE TABLE parcels (id int8 PRIMARY KEY, label text NOT NULL, weight numeric(8,2), depot_id int4, tags text[])")
        .await;
    world.sql("INSERT INTO parcels VALUES (1, 'north', 12.5, NULL, '{a,b}')").await;
    world
}

#[tokio::test]
async fn a_row_of_the_snapshot() {
    let world = parcels().await;
    let body = world.get("/v1/shape?table=parcels&offset=-1").await.expect(200).text();
    let expected = r#"[{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"north","weight":"12.50","depot_id":null,"tags":"{a,b}"},"headers":{"operation":"insert","relation":["public","parcels"]}},{"headers":{"control":"snapshot-end","xmin":"<*>","xmax":"<*>","xip_list":[<any>]}}]"#;
    check(expected, &body, &mut Bindings::new());
}

#[tokio::test]
async fn insert_update_and_delete() {
    let world = parcels().await;
    let shape = world.follow(Shape::of("parcels")).await;
    let statements = [
        "INSERT INTO parcels (id, label, depot_id) VALUES (9, 'new', 3)",
        "UPDATE parcels SET label = 'renamed', depot_id = NULL WHERE id = 9; DELETE FROM parcels WHERE id = 9",
        "UPDATE parcels SET label = label, tags = '{a,b}'",
    ];
    let expected = [
        r#"{"key":"\"public\".\"parcels\"/\"9\"","value":{"id":"9","label":"new","weight":null,"depot_id":"3","tags":null},"headers":{"last":true,"operation":"insert","relation":["public","parcels"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"9\"","value":{"id":"9","label":"renamed","depot_id":null},"headers":{"operation":"update","relation":["public","parcels"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"9\"","value":{"id":"9"},"headers":{"last":true,"operation":"delete","relation":["public","parcels"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>}}"#,
    ];
    log_becomes(&world, &shape, &statements, &expected).await;
}

#[tokio::test]
async fn update_and_delete_with_full_replicas() {
    let world = parcels().await;
    let shape = world.follow(Shape::of("parcels").more("&replica=full")).await;
    let statements = [
        "UPDATE parcels SET label = 'south', depot_id = 4",
        "UPDATE parcels SET label = label",
        "UPDATE parcels SET id = 2, tags = NULL",
        "DELETE FROM parcels",
    ];
    let expected = [
        r#"{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"south","weight":"12.50","depot_id":"4","tags":"{a,b}"},"old_value":{"label":"north","depot_id":null},"headers":{"last":true,"operation":"update","relation":["public","parcels"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"south","weight":"12.50","depot_id":"4","tags":"{a,b}"},"headers":{"operation":"delete","relation":["public","parcels"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>,"key_change_to":"\"public\".\"parcels\"/\"2\""}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"2\"","value":{"id":"2","label":"south","weight":"12.50","depot_id":"4","tags":null},"headers":{"last":true,"operation":"insert","relation":["public","parcels"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>,"key_change_from":"\"public\".\"parcels\"/\"1\""}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"2\"","value":{"id":"2","label":"south","weight":"12.50","depot_id":"4","tags":null},"headers":{"last":true,"operation":"delete","relation":["public","parcels"],"txids":[<x3>],"lsn":"<l3>","op_position":<*>}}"#,
    ];
    log_becomes(&world, &shape, &statements, &expected).await;
}

#[tokio::test]
async fn full_replicas_of_some_columns_have_no_others() {
    let world = parcels().await;
    let shape = world.follow(Shape::of("parcels").columns("id,label").more("&replica=full")).await;
    let statements = [
        "UPDATE parcels SET weight = 3",
        "UPDATE parcels SET weight = 4, label = 'south'",
        "DELETE FROM parcels",
    ];
    let expected = [
        r#"{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"south"},"old_value":{"label":"north"},"headers":{"last":true,"operation":"update","relation":["public","parcels"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}"#,
        r#"{"key":"\"public\".\"parcels\"/\"1\"","value":{"id":"1","label":"south"},"headers":{"last":true,"operation":"delete","relation":["public","parcels"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>}}"#,
    ];
    log_becomes(&world, &shape, &statements, &expected).await;
}

#[tokio::test]
async fn a_change_of_a_composite_key() {
    let world = World::new().await;
    world
        .sql("CREATE SCHEMA wms; CREATE TABLE wms.slots (aisle text, pos int4, sku varchar(20), PRIMARY KEY (aisle, pos))")
        .await;
    world.sql("INSERT INTO wms.slots VALUES ('A/B', 1, 'X-1')").await;
    let shape = world.follow(Shape::of("wms.slots")).await;
    let expected = [
        r#"{"key":"\"wms\".\"slots\"/\"A//B\"/\"1\"","value":{"aisle":"A/B","pos":"1"},"headers":{"operation":"delete","relation":["wms","slots"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>,"key_change_to":"\"wms\".\"slots\"/\"A//B\"/\"2\""}}"#,
        r#"{"key":"\"wms\".\"slots\"/\"A//B\"/\"2\"","value":{"aisle":"A/B","pos":"2","sku":"X-1"},"headers":{"last":true,"operation":"insert","relation":["wms","slots"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>,"key_change_from":"\"wms\".\"slots\"/\"A//B\"/\"1\""}}"#,
    ];
    log_becomes(&world, &shape, &["UPDATE wms.slots SET pos = 2"], &expected).await;
    world.verify_all(1).await;
}

#[tokio::test]
async fn a_table_without_a_key() {
    let world = World::new().await;
    world.sql("CREATE TABLE nokey (b text, a int); INSERT INTO nokey VALUES (NULL, 2)").await;
    let shape = world.follow(Shape::of("nokey")).await;
    let full = world.follow(Shape::of("nokey").more("&replica=full")).await;
    let statements = ["UPDATE nokey SET b = 'y'", "UPDATE nokey SET b = b", "DELETE FROM nokey"];
    let expected = [
        r#"{"key":"\"public\".\"nokey\"/\"2\"/_","value":{"b":null,"a":"2"},"headers":{"operation":"delete","relation":["public","nokey"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>,"key_change_to":"\"public\".\"nokey\"/\"2\"/\"y\""}}"#,
        r#"{"key":"\"public\".\"nokey\"/\"2\"/\"y\"","value":{"b":"y","a":"2"},"headers":{"last":true,"operation":"insert","relation":["public","nokey"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>,"key_change_from":"\"public\".\"nokey\"/\"2\"/_"}}"#,
        r#"{"key":"\"public\".\"nokey\"/\"2\"/\"y\"","value":{"b":"y","a":"2"},"headers":{"last":true,"operation":"delete","relation":["public","nokey"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>}}"#,
    ];
    log_becomes(&world, &shape, &statements, &expected).await;
    log_becomes(&world, &full, &[], &expected).await;
}

#[tokio::test]
async fn odd_names_and_keys() {
    let world = World::new().await;
    world.sql(r#"CREATE SCHEMA "my.schema"; CREATE TABLE "my.schema"."a/b ""ü""" ("I/d" text PRIMARY KEY, "v.""w" text)"#).await;
    let table = r#""my.schema"."a/b ""ü""""#;
    world.sql(&format!("INSERT INTO {table} VALUES ('x/\"y\".z\\', 'ä')")).await;
    let shape = world.follow(Shape::of(table)).await;
    let key = r#""key":"\"my..schema\".\"a//b \"ü\"\"/\"x//\"y\".z\\\"","value""#;
    let body = world.get(&format!("{}&offset=-1", shape.shape.target())).await.text();
    let row = [
        "[{",
        key,
        r#":{"I/d":"x/\"y\".z\\","v.\"w":"ä"},"headers":{"operation":"insert","relation":["my.schema","a/b \"ü\""]}},<any>"#,
    ];
    check(&row.concat(), &body, &mut Bindings::new());
    let update = [
        "{",
        key,
        r#":{"I/d":"x/\"y\".z\\","v.\"w":null},"headers":{"last":true,"operation":"update","relation":["my.schema","a/b \"ü\""],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}"#,
    ];
    let statement = format!("UPDATE {table} SET \"v.\"\"w\" = NULL");
    log_becomes(&world, &shape, &[&statement], &[&update.concat()]).await;
}

#[tokio::test]
async fn a_boolean_key_is_one_key() {
    let world = World::new().await;
    world
        .sql("CREATE TABLE flags (f bool PRIMARY KEY, n int); INSERT INTO flags VALUES (true, 1)")
        .await;
    let shape = world.follow(Shape::of("flags")).await;
    let body = world.get("/v1/shape?table=flags&offset=-1").await.text();
    check(
        r#"[{"key":"\"public\".\"flags\"/\"t\"","value":{"f":"t","n":"1"},<any>"#,
        &body,
        &mut Bindings::new(),
    );
    let expected = r#"{"key":"\"public\".\"flags\"/\"t\"","value":{"f":"t","n":"2"},"headers":{"last":true,"operation":"update","relation":["public","flags"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}"#;
    log_becomes(&world, &shape, &["UPDATE flags SET n = 2"], &[expected]).await;
}

#[tokio::test]
async fn rows_that_cross_the_filter() {
    let world = parcels().await;
    world.sql("INSERT INTO parcels VALUES (2, 'x', 1, 1, NULL)").await;
    let plain = world.follow(Shape::of("parcels").filter("depot_id = 1")).await;
    let full =
        world.follow(Shape::of("parcels").filter("depot_id = 1").more("&replica=full")).await;
    let statements = [
        "UPDATE parcels SET depot_id = 1 WHERE id = 1",
        "UPDATE parcels SET depot_id = 5, label = 'y' WHERE id = 2",
        "UPDATE parcels SET depot_id = 6, id = 10 WHERE id = 1",
        "UPDATE parcels SET depot_id = 1, id = 20 WHERE id = 2",
        "UPDATE parcels SET weight = 0 WHERE id = 10",
    ];
    let tail = |operation: &str, number: usize| {
        format!(
            r#""headers":{{"last":true,"operation":"{operation}","relation":["public","parcels"],"txids":[<x{number}>],"lsn":"<l{number}>","op_position":<*>}}}}"#
        )
    };
    let expected = |deleted: [&str; 2]| {
        [
            format!(
                r#"{{"key":"\"public\".\"parcels\"/\"1\"","value":{{"id":"1","label":"north","weight":"12.50","depot_id":"1","tags":"{{a,b}}"}},{}"#,
                tail("insert", 1)
            ),
            format!(
                r#"{{"key":"\"public\".\"parcels\"/\"2\"","value":{},{}"#,
                deleted[0],
                tail("delete", 2)
            ),
            format!(
                r#"{{"key":"\"public\".\"parcels\"/\"1\"","value":{},{}"#,
                deleted[1],
                tail("delete", 3)
            ),
            format!(
                r#"{{"key":"\"public\".\"parcels\"/\"20\"","value":{{"id":"20","label":"y","weight":"1.00","depot_id":"1","tags":null}},{}"#,
                tail("insert", 4)
            ),
        ]
    };
    let by_key = expected([r#"{"id":"2"}"#, r#"{"id":"1"}"#]);
    let whole = expected([
        r#"{"id":"2","label":"x","weight":"1.00","depot_id":"1","tags":null}"#,
        r#"{"id":"1","label":"north","weight":"12.50","depot_id":"1","tags":"{a,b}"}"#,
    ]);
    log_becomes(&world, &plain, &statements, &by_key.each_ref().map(String::as_str)).await;
    log_becomes(&world, &full, &[], &whole.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn a_value_stored_out_of_line_is_whole_in_full_replicas() {
    let world = World::new().await;
    world.sql("CREATE TABLE docs (id int PRIMARY KEY, n int, body text)").await;
    let big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 3000) g)";
    world.sql(&format!("INSERT INTO docs VALUES (1, 1, {big})")).await;
    let body = world.db.value("SELECT body FROM docs").await;
    let shape = world.follow(Shape::of("docs").more("&replica=full")).await;
    let expected = [
        format!(
            r#"{{"key":"\"public\".\"docs\"/\"1\"","value":{{"id":"1","n":"2","body":"{body}"}},"old_value":{{"n":"1"}},"headers":{{"last":true,"operation":"update","relation":["public","docs"],"txids":[<x1>],"lsn":"<l1>","op_position":<*>}}}}"#
        ),
        format!(
            r#"{{"key":"\"public\".\"docs\"/\"1\"","value":{{"id":"1","n":"2","body":"{body}"}},"headers":{{"last":true,"operation":"delete","relation":["public","docs"],"txids":[<x2>],"lsn":"<l2>","op_position":<*>}}}}"#
        ),
    ];
    log_becomes(
        &world,
        &shape,
        &["UPDATE docs SET n = 2", "DELETE FROM docs"],
        &expected.each_ref().map(String::as_str),
    )
    .await;
}
