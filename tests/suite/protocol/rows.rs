//! What rows look like in messages: keys, values, and which message a write becomes.

use serde_json::json;

use crate::harness::{Follower, Shape, World};

/// The changes as (operation, key), which is what most of these tests are about.
fn changes(follower: &Follower) -> Vec<(String, String)> {
    follower
        .log
        .changes
        .iter()
        .map(|change| (change.operation.clone(), change.key.clone()))
        .collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn rows_enter_and_leave_the_filter() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, state text, note text)").await;
    world.sql("INSERT INTO items VALUES (1, 'open', NULL), (2, 'closed', 'x')").await;
    let mut open = world.follow(Shape::of("items").filter("state = 'open'")).await;
    world.sql("UPDATE items SET state = 'open' WHERE id = 2").await;
    world.sql("UPDATE items SET note = 'y'").await;
    world.sql("UPDATE items SET state = NULL WHERE id = 1").await;
    world.sql("UPDATE items SET note = 'z' WHERE id = 1").await;
    world.sql("DELETE FROM items WHERE id = 1").await;
    world.sql("DELETE FROM items WHERE id = 2").await;
    open.until("empty again", |rows| rows.is_empty()).await;
    let values: Vec<_> = open
        .log
        .changes
        .iter()
        .map(|change| (change.operation.as_str(), json!(change.value)))
        .collect();
    assert_eq!(
        values,
        [
            ("insert", json!({"id": "2", "state": "open", "note": "x"})),
            ("update", json!({"id": "1", "note": "y"})),
            ("update", json!({"id": "2", "note": "y"})),
            ("delete", json!({"id": "1"})),
            ("delete", json!({"id": "2"})),
        ]
    );
}

#[tokio::test]
async fn a_key_change_is_a_delete_and_an_insert_that_name_each_other() {
    let world = World::new().await;
    world.sql("CREATE TABLE slots (aisle text, pos int, sku text, PRIMARY KEY (aisle, pos))").await;
    world.sql("INSERT INTO slots VALUES ('A', 1, 'x')").await;
    let mut slots = world.follow(Shape::of("slots")).await;
    world.sql("UPDATE slots SET pos = 2").await;
    slots.until("the moved row", |rows| rows.len() == 1 && rows[0]["pos"] == text("2")).await;
    let [gone, new] = &slots.log.changes[..] else { panic!("{:?}", slots.log.changes) };
    assert_eq!((gone.operation.as_str(), new.operation.as_str()), ("delete", "insert"));
    assert_eq!(
        (&gone.headers["key_change_to"], &new.headers["key_change_from"]),
        (&json!(new.key), &json!(gone.key))
    );
    assert!(gone.headers.get("last").is_none() && new.headers["last"] == true);
    assert_eq!(gone.headers["lsn"], new.headers["lsn"]);
    // Into and out of a filter, a key change is one message only.
    let mut second = world.follow(Shape::of("slots").filter("pos > 10")).await;
    world.sql("UPDATE slots SET pos = 11").await;
    second.until("it entered", |rows| rows.len() == 1).await;
    world.sql("UPDATE slots SET pos = 3").await;
    second.until("it left", |rows| rows.is_empty()).await;
    assert_eq!(second.log.changes.len(), 2, "{:?}", changes(&second));
    world.verify_all(2).await;
}

#[tokio::test]
async fn a_composite_key_is_written_in_index_order() {
    let world = World::new().await;
    world.sql("CREATE TABLE pairs (b int, a int, c text, PRIMARY KEY (a, b))").await;
    world.sql("INSERT INTO pairs VALUES (2, 1, 'x')").await;
    let mut pairs = world.follow(Shape::of("pairs")).await;
    for update in [
        "UPDATE pairs SET a = 3",
        "UPDATE pairs SET b = 4",
        "UPDATE pairs SET c = 'y'",
        "DELETE FROM pairs",
    ] {
        world.sql(update).await;
    }
    pairs.until("the delete", |rows| rows.is_empty()).await;
    let key = |a: i32, b: i32| format!("\"public\".\"pairs\"/\"{a}\"/\"{b}\"");
    let expected = [
        ("delete", key(1, 2)),
        ("insert", key(3, 2)),
        ("delete", key(3, 2)),
        ("insert", key(3, 4)),
        ("update", key(3, 4)),
        ("delete", key(3, 4)),
    ];
    assert_eq!(changes(&pairs), expected.map(|(operation, key)| (operation.to_owned(), key)));
}

#[tokio::test]
async fn a_table_without_a_key_is_a_bag_of_rows() {
    let world = World::new().await;
    world.sql("CREATE TABLE events (b text, a int)").await;
    world.sql("INSERT INTO events VALUES ('x', 1), ('x', 1), (NULL, 2)").await;
    let mut events = world.follow(Shape::of("events")).await;
    assert_eq!(events.rows().len(), 3);
    world.sql("INSERT INTO events VALUES ('x', 1)").await;
    world.sql("UPDATE events SET b = 'y' WHERE a = 2").await;
    world.sql("DELETE FROM events WHERE ctid = (SELECT min(ctid) FROM events WHERE a = 1)").await;
    world.sql("INSERT INTO events VALUES ('end', 3)").await;
    events.until("the last row", |rows| rows.iter().any(|row| row["b"] == text("end"))).await;
    assert_eq!(events.rows(), world.truth(&events.shape).await);
    let refused = world.get("/v1/shape?table=events&offset=-1&columns=a").await.expect(400);
    assert!(refused.text().contains("primary key columns, missing: b"), "{}", refused.shown());
}

#[tokio::test]
async fn names_and_values_survive_quotes_slashes_dots_and_other_scripts() {
    let world = World::new().await;
    world.sql("CREATE SCHEMA \"my.schema\"").await;
    world.sql("CREATE TABLE \"my.schema\".\"a/b \"\"c\"\"\" (\"Id\" text PRIMARY KEY, \"größe, in \"\"cm\"\"\" text)").await;
    let table = "\"my.schema\".\"a/b \"\"c\"\"\"";
    let odd = [
        "a/b",
        "\"q\"",
        "\\",
        "ü\u{1F980}",
        "",
        " ",
        "\u{1}\n\t\r",
        "{\"json\": [1]}",
        "</script>",
        "%2F&=#",
    ];
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "''"));
    let insert = |range: &[&str]| {
        let rows: Vec<_> = range.iter().map(|id| format!("({0}, {0})", quoted(id))).collect();
        format!("INSERT INTO {table} VALUES {}", rows.join(", "))
    };
    world.sql(&insert(&odd[..5])).await;
    let mut shape = world.follow(Shape::of(table)).await;
    let mut narrow =
        world.follow(Shape::of(table).columns("\"Id\",\"größe, in \"\"cm\"\"\"")).await;
    world.sql(&insert(&odd[5..])).await;
    shape.until("all rows", |rows| rows.len() == odd.len()).await;
    narrow.until("all rows", |rows| rows.len() == odd.len()).await;
    assert_eq!(shape.rows(), world.truth(&shape.shape).await);
    assert_eq!(narrow.rows(), shape.rows());
    for value in odd {
        let one = world.follow(Shape::of(table).filter("\"Id\" = $1").parameter(value)).await;
        assert_eq!(one.rows().len(), 1, "the row with id {value:?}");
    }
}

#[tokio::test]
async fn a_megabyte_of_text_arrives_whole_and_stays_when_other_columns_change() {
    let world = World::new().await;
    world.sql("CREATE TABLE docs (id int PRIMARY KEY, body text, doc jsonb, count int)").await;
    // Not compressible, so that it is stored out of line: an unchanged value is then left out of the WAL.
    let big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 32768) g)";
    world
        .sql(&format!("INSERT INTO docs VALUES (1, {big}, jsonb_build_object('a', {big}), 0)"))
        .await;
    let mut docs = world.follow(Shape::of("docs")).await;
    let mut few = world.follow(Shape::of("docs").filter("count > 1")).await;
    world.sql(&format!("INSERT INTO docs VALUES (2, {big}, NULL, 0)")).await;
    world.sql("UPDATE docs SET count = 1").await;
    world.sql("UPDATE docs SET count = 2 WHERE id = 1").await;
    docs.until("both counted", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row["count"] != text("0"))
    })
    .await;
    docs.until("the second count", |rows| {
        rows[0]["count"] == text("2") || rows[1]["count"] == text("2")
    })
    .await;
    few.until("it entered with everything", |rows| rows.len() == 1).await;
    assert_eq!(docs.rows(), world.truth(&docs.shape).await);
    assert_eq!(few.rows(), world.truth(&few.shape).await);
    let updates = docs.log.changes.iter().filter(|change| change.operation == "update");
    assert!(
        updates.clone().count() == 3
            && updates.clone().all(|change| !change.value.contains_key("body"))
    );
    world.verify_all(2).await;
}

#[tokio::test]
async fn every_type_prints_alike_in_snapshot_log_and_postgres() {
    // The cluster's own display settings are German dates in New York: the promised ones must win everywhere.
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE kinds (id int PRIMARY KEY, b bool, f4 float4, f8 float8, n numeric, n2 numeric(6,2), c char(4), \
             u uuid, d date, t time, tz timetz, ts timestamp, tstz timestamptz, iv interval, j json, jb jsonb, by bytea, \
             ia int[], ta text[], r int4range, ip inet, bi bit(3), nm name, mo money)",
        )
        .await;
    world
        .sql(
            "INSERT INTO kinds VALUES (1, true, 1.1, 1e20, 12345678901234567890.10, 3.5, 'ab', \
             'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2024-02-29', '10:00:07.12', '10:00+02', '2024-01-05 10:00:00.5', \
             '2024-01-05 10:00+02', '1 year 2 mons 3 days 04:05:06.7', '{\"a\" : 1}', '{\"b\":[1,2],\"a\":1.0}', \
             '\\x00ff', '{1,NULL}', '{\"a b\",NULL,\"\"}', '[1,5)', '192.168.0.1', '101', 'nm', 1234.5), \
             (2, false, 'NaN', '-Infinity', 'NaN', NULL, NULL, NULL, 'infinity', NULL, NULL, '-infinity', \
             '0044-03-15 10:00:00+00 BC', '-1 day', NULL, NULL, '', NULL, '{}', 'empty', '::1/64', NULL, NULL, NULL)",
        )
        .await;
    let mut kinds = world.follow(Shape::of("kinds")).await;
    let columns =
        "b, f4, f8, n, n2, c, u, d, t, tz, ts, tstz, iv, j, jb, by, ia, ta, r, ip, bi, nm, mo";
    world
        .sql(&format!("INSERT INTO kinds (id, {columns}) SELECT id + 10, {columns} FROM kinds"))
        .await;
    kinds.until("the copies", |rows| rows.len() == 4).await;
    assert_eq!(kinds.rows(), world.truth(&kinds.shape).await);
}

#[tokio::test]
async fn every_operation_of_a_transaction_is_one_message_in_its_order() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int)").await;
    world.sql("INSERT INTO items VALUES (1, 0)").await;
    let mut items = world.follow(Shape::of("items")).await;
    let mut positive = world.follow(Shape::of("items").filter("n > 0")).await;
    // In and out of the filter, a no-op, a rolled back part, delete and re-insert: in one commit.
    world
        .sql(
            "BEGIN; UPDATE items SET n = 1; UPDATE items SET n = 1; SAVEPOINT a; UPDATE items SET n = 77; ROLLBACK TO a; \
             UPDATE items SET n = -1; UPDATE items SET n = 2; DELETE FROM items; INSERT INTO items VALUES (1, 3); COMMIT",
        )
        .await;
    items.until("the end", |rows| rows.len() == 1 && rows[0]["n"] == text("3")).await;
    positive.until("the end", |rows| rows.len() == 1 && rows[0]["n"] == text("3")).await;
    let operations = |follower: &Follower| -> Vec<String> {
        follower.log.changes.iter().map(|change| change.operation.clone()).collect()
    };
    assert_eq!(operations(&items), ["update", "update", "update", "delete", "insert"]);
    assert_eq!(operations(&positive), ["insert", "delete", "insert", "delete", "insert"]);
    assert!(
        items
            .log
            .changes
            .iter()
            .all(|change| change.transaction == items.log.changes[0].transaction)
    );
    world.sql("UPDATE items SET n = n").await;
    world.sql("DELETE FROM items").await;
    items.until("the delete after a no-op", |rows| rows.is_empty()).await;
    world.verify_all(2).await;
}

#[tokio::test]
async fn a_transactions_id_is_the_one_that_its_writer_saw() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let mut items = world.follow(Shape::of("items")).await;
    let writer = world.db.session().await;
    writer
        .sql("BEGIN; INSERT INTO items VALUES (1); SAVEPOINT a; INSERT INTO items VALUES (2)")
        .await;
    let id = writer.value("SELECT pg_current_xact_id()::text::bigint % 4294967296").await;
    writer.sql("COMMIT").await;
    items.until("both rows", |rows| rows.len() == 2).await;
    assert!(
        items.log.changes.iter().all(|change| change.transaction.to_string() == id),
        "{:?}",
        items.log.changes
    );
}

#[tokio::test]
async fn parameters_are_numbered_not_sorted_as_text() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    world.sql("INSERT INTO items SELECT generate_series(1, 900)").await;
    let numbers: Vec<i32> = (1..=200).collect();
    let list: Vec<String> = numbers.iter().map(|number| format!("${number}")).collect();
    let mut shape = Shape::of("items").filter(&format!("id IN ({})", list.join(", ")));
    for number in &numbers {
        shape = shape.parameter(&(number * 3).to_string());
    }
    let items = world.follow(shape).await;
    assert_eq!(items.rows(), world.truth(&items.shape).await);
    assert_eq!(items.rows().len(), 200);
    // $10 and $2 differ in type: swapped, they would be refused or match nothing.
    let filter = "id = $2 OR (id = $10 AND id > $1 AND id > $3 AND id > $4 AND id > $5 AND id > $6 AND id > $7 AND id > $8 AND id > $9)";
    let mut shape = Shape::of("items").filter(filter);
    for value in ["0", "7", "0", "0", "0", "0", "0", "0", "0", "9"] {
        shape = shape.parameter(value);
    }
    let ids: Vec<_> =
        world.follow(shape).await.rows().iter().map(|row| row["id"].clone().unwrap()).collect();
    assert_eq!(ids, ["7", "9"]);
}

#[tokio::test]
async fn a_row_that_several_arms_of_an_or_let_in_is_there_once() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, name text); CREATE TABLE owners (n int PRIMARY KEY)").await;
    world.sql("INSERT INTO items VALUES (1, 15, 'ab'), (2, 15, 'zz'), (3, NULL, NULL); INSERT INTO owners VALUES (15)").await;
    let arms = "n > 10 OR n < 100 OR n = 15 OR name LIKE 'a%' OR name LIKE '%b%' OR id IN (1, 2)";
    let subquery =
        format!("{arms} OR n IN (SELECT n FROM owners) OR n IN (SELECT n FROM owners WHERE n > 1)");
    for filter in [arms, &subquery] {
        let shape = Shape::of("items").filter(filter);
        let answer = world.get(&format!("{}&offset=-1", shape.target())).await.expect(200).json();
        let rows = answer.as_array().unwrap().iter().filter(|message| message["key"].is_string());
        assert_eq!(rows.count(), 2, "{answer}");
        let mut items = world.follow(shape).await;
        world.sql("INSERT INTO items VALUES (4, 20, 'abba'); UPDATE items SET n = 16, name = 'abc' WHERE id = 2").await;
        world.sql("UPDATE items SET n = NULL, name = NULL WHERE id = 4; DELETE FROM items WHERE id = 4").await;
        world.sql("UPDATE items SET n = 15, name = 'zz' WHERE id = 2").await;
        world.compare_all(std::slice::from_mut(&mut items)).await;
        let key = |id: u32| format!("\"public\".\"items\"/\"{id}\"");
        let expected = [("insert", 4), ("update", 2), ("delete", 4), ("update", 2)]
            .map(|(operation, id)| (operation.to_owned(), key(id)));
        assert_eq!(changes(&items), expected, "{filter}");
    }
    world.verify_all(2).await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_takes_nothing_away_from_a_later_delete() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int, note text); CREATE TABLE owners (n int PRIMARY KEY)").await;
    world.sql("INSERT INTO owners VALUES (7); INSERT INTO items VALUES (1, 7, 'x'), (2, 7, NULL), (3, 7, 'z')").await;
    let mut followers = Vec::new();
    for shape in [
        Shape::of("items"),
        Shape::of("items").filter("n = 7"),
        Shape::of("items").columns("id,n"),
        Shape::of("items").filter("n IN (SELECT n FROM owners)"),
    ] {
        followers.push(world.follow(shape).await);
    }
    world.sql("UPDATE items SET id = id, n = n, note = note; UPDATE owners SET n = n").await;
    world.sql("DELETE FROM items WHERE id = 1").await;
    world.sql("UPDATE items SET n = n WHERE id = 2; DELETE FROM items WHERE id = 2").await;
    world.compare_all(&mut followers).await;
    for follower in &followers {
        let deleted = changes(follower).into_iter().filter(|(operation, _)| operation == "delete");
        assert_eq!(deleted.count(), 2, "{}: {:?}", follower.shape.sql(), follower.log.changes);
        assert_eq!(follower.rows().len(), 1);
    }
    world.verify_all(followers.len()).await;
}
