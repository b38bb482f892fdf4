//! Filters with subqueries that are refused, and the place that is named.

use crate::harness::{Shape, World, eventually};

const REFUSED: &[(&str, &str)] = &[
    (
        "parent_id IN (SELECT id FROM nowhere)",
        "At location 29: table \"public\".\"nowhere\" does not exist",
    ),
    ("parent_id IN (SELECT id, tag FROM parent)", "At location 14: subquery has too many columns"),
    (
        "parent_id IN (SELECT id || 'a' FROM parent)",
        "At location 0: column parent_id of type int4 cannot be compared exactly with a value of type text of the subquery",
    ),
    (
        "(parent_id IN (SELECT id FROM parent)) IN (SELECT true FROM parent)",
        "subqueries in what is compared with a subquery are not supported",
    ),
    (
        "ARRAY[parent_id] IN (SELECT ARRAY[id] FROM parent)",
        "At location 28: only bare columns of type integer[] can be compared with a subquery",
    ),
    ("parent_id IN (SELECT name FROM parent)", "cannot be compared exactly"),
    (
        "parent_id IN (SELECT id FROM parent LIMIT 1)",
        "At location 36: LIMIT in subqueries is not supported",
    ),
    ("parent_id IN (SELECT id FROM parent GROUP BY id)", "GROUP BY in subqueries is not supported"),
    (
        "parent_id IN (SELECT id FROM parent, child)",
        "At location 21: column reference id is ambiguous",
    ),
    (
        "parent_id IN (SELECT p.id FROM parent p JOIN child c ON c.other < p.id)",
        "At location 64: tables in a subquery are joined by equalities of their columns only",
    ),
    (
        "parent_id IN (SELECT id FROM parent INTERSECT SELECT other FROM child)",
        "At location 36: INTERSECT, to which NULLs are equal, write AND with two INs; it is not supported",
    ),
    (
        "parent_id IN (SELECT id FROM parent UNION SELECT 1.5::float8)",
        "columns of different types in a UNION are not supported",
    ),
    (
        "parent_id IN (WITH x AS (SELECT 1) SELECT * FROM x)",
        "WITH as a subquery, write SELECT; it is not supported",
    ),
    (
        "EXISTS (SELECT max(id) FROM parent)",
        "functions in the list of EXISTS are not supported, write SELECT 1",
    ),
    (
        "parent_id = (SELECT tag FROM parent)",
        "At location 13: a subquery as a value must be of one row",
    ),
    (
        "parent_id = (SELECT max(id) FROM parent)",
        "the aggregate max in a subquery is not supported",
    ),
    (
        "parent_id < (SELECT id FROM parent WHERE id = 5)",
        "a subquery as a value is supported next to",
    ),
    ("parent_id < ANY (SELECT id FROM parent)", "but for = ANY and <> ALL"),
    (
        "parent_id IN (SELECT id FROM parent WHERE tag > other)",
        "of the row outside: that is supported only in EXISTS",
    ),
    (
        "EXISTS (SELECT 1 FROM parent WHERE tag > other)",
        "of the row outside: that is supported only in EXISTS",
    ),
    ("parent_id IN (SELECT id FROM parts)", "is partitioned"),
    ("parent_id IN (SELECT id FROM seen)", "does not exist or cannot be served"),
];

#[tokio::test]
async fn what_is_not_supported_is_refused_with_its_place() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE parent (id int PRIMARY KEY, tag int8, name text);
             CREATE TABLE child (id int PRIMARY KEY, parent_id int, other int);
             CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY LIST (id);
             CREATE VIEW seen AS SELECT id FROM parent",
        )
        .await;
    for (filter, expected) in REFUSED {
        let target = format!("{}&offset=-1", Shape::of("child").filter(filter).target());
        let answer = world.get(&target).await.expect(400).json();
        let reason = answer["errors"]["where"][0].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(reason.contains(expected), "{filter}: {reason}");
    }
    // Subsets are read from Postgres, and kept free of what reads other tables.
    let subset = "&offset=now&subset__where=id%20IN%20(SELECT%20id%20FROM%20parent)";
    let target = format!("{}{subset}", Shape::of("child").target());
    let answer = world.get(&target).await.expect(400);
    assert!(answer.json().to_string().contains("Subqueries are not allowed in subsets"));
}

#[tokio::test]
async fn more_than_may_be_kept_is_refused() {
    let db = crate::harness::Database::shared().await;
    let limited = ["--subquery-memory", "100KiB"].map(str::to_owned);
    let world = World::with(db, |options| options.arguments.extend(limited)).await;
    world
        .sql(
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent_id int);
             INSERT INTO child SELECT g, g FROM generate_series(1, 10000) g",
        )
        .await;
    let shape = Shape::of("child").filter("parent_id IN (SELECT id FROM parent)");
    let answer = world.get(&format!("{}&offset=-1", shape.target())).await.expect(400).json();
    assert!(answer.to_string().contains("--subquery-memory"), "{answer}");
    world.sql("DELETE FROM child WHERE id > 100").await;
    let mut follower = world.client(shape).through_refetches();
    follower.catch_up().await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    // Nothing is left of this one, but it does not fit.
    world
        .sql("INSERT INTO child SELECT g, g FROM generate_series(1001, 9000) g; DELETE FROM child WHERE id > 1000; INSERT INTO parent VALUES (7)")
        .await;
    follower.until("the row is there", |rows| rows.len() == 1).await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 1);
}

#[tokio::test]
async fn more_that_happens_while_a_shape_is_made_than_may_be_kept_is_refused() {
    let db = crate::harness::Database::shared().await;
    let limited = ["--subquery-memory", "1MiB"].map(str::to_owned);
    let world = World::with(db, |options| {
        options.may_delete = true;
        options.arguments.extend(limited);
    })
    .await;
    world
        .sql("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent_id int, body text); INSERT INTO child VALUES (0, 1, 'x'); INSERT INTO parent VALUES (1)")
        .await;
    let mut others = vec![world.follow(Shape::of("child")).await];
    let shape = Shape::of("child").filter("parent_id IN (SELECT id FROM parent)");
    let target = format!("{}&offset=-1", shape.target());
    for (writes, status) in [(3, 200), (60, 400)] {
        let holder = world.db.session().await;
        holder.sql("BEGIN; LOCK TABLE parent IN ACCESS EXCLUSIVE MODE").await;
        let write = async {
            let waits = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 'parent'::regclass";
            eventually("its snapshot waits for the lock", async || {
                (world.db.value(waits).await != "0").then_some(())
            })
            .await;
            // Of each there is nothing left.
            for _ in 0..writes {
                world.sql("INSERT INTO child SELECT g, g, repeat('x', 1000) FROM generate_series(1, 100) g").await;
                world.sql("DELETE FROM child WHERE id > 0").await;
            }
            world.compare_all(&mut others).await;
            holder.sql("COMMIT").await;
        };
        let (answer, ()) = tokio::join!(world.get(&target), write);
        let answer = answer.expect(status);
        if status == 200 {
            let one = world.follow(shape.clone()).await;
            let delete = crate::harness::Request::new("DELETE", one.shape.target());
            world.send(delete).await.expect(202);
        } else {
            assert!(answer.text().contains("--subquery-memory"), "{}", answer.text());
        }
    }
    // At another time it fits.
    others.push(world.follow(shape).await);
    world.compare_all(&mut others).await;
}
