//! A table is redefined, and before anybody has looked another shape asks the same subquery of it.

use crate::harness::{Follower, Shape, World};

/// A table, what a shape asks of it, what becomes of the table, and what is written then.
struct Case {
    name: &'static str,
    tables: &'static str,
    filter: &'static str,
    becomes: &'static str,
    written: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "a label between others",
        tables: "CREATE TYPE en AS ENUM ('a', 'c'); CREATE TABLE et (id int PRIMARY KEY, y int, e en);
                 INSERT INTO et VALUES (1, 1, 'a'), (2, 2, 'c')",
        filter: "x IN (SELECT y FROM et WHERE e < 'c')",
        becomes: "ALTER TYPE en ADD VALUE 'b' BEFORE 'c'",
        written: "INSERT INTO et VALUES (3, 3, 'b')",
    },
    Case {
        name: "a label between others, in what is computed",
        tables: "CREATE TYPE en AS ENUM ('a', 'c'); CREATE TABLE et (id int PRIMARY KEY, y int, e en);
                 INSERT INTO et VALUES (1, 1, 'a'), (2, 2, 'c')",
        filter: "x IN (SELECT CASE WHEN e < 'c' THEN y ELSE 5 END FROM et)",
        becomes: "ALTER TYPE en ADD VALUE 'b' BEFORE 'c'",
        written: "INSERT INTO et VALUES (3, 3, 'b')",
    },
    Case {
        name: "another table inside the one that is asked",
        tables: "CREATE TABLE p (id int PRIMARY KEY, q int); CREATE TABLE q (id int PRIMARY KEY);
                 INSERT INTO p SELECT g, g FROM generate_series(1, 6) g; INSERT INTO q VALUES (1), (2)",
        filter: "x IN (SELECT id FROM p WHERE q IN (SELECT id FROM q))",
        becomes: "ALTER TABLE q RENAME TO q_old; CREATE TABLE q (id int PRIMARY KEY);
                  INSERT INTO q VALUES (3)",
        written: "INSERT INTO q VALUES (4); DELETE FROM q_old WHERE id = 1; UPDATE p SET q = q WHERE id < 5",
    },
    Case {
        name: "another table",
        tables: "CREATE TABLE p (id int PRIMARY KEY, active bool); INSERT INTO p VALUES (1, true), (2, true)",
        filter: "x IN (SELECT id FROM p WHERE active)",
        becomes: "ALTER TABLE p RENAME TO p_old; CREATE TABLE p (id int PRIMARY KEY, active bool);
                  INSERT INTO p VALUES (3, true)",
        written: "INSERT INTO p VALUES (4, true); UPDATE p_old SET active = false",
    },
    Case {
        name: "another column of that name",
        tables: "CREATE TABLE p (id int PRIMARY KEY, a int, b int); INSERT INTO p VALUES (1, 1, 2), (2, 3, 4)",
        filter: "x IN (SELECT a FROM p WHERE b > 0)",
        becomes: "ALTER TABLE p RENAME a TO c; ALTER TABLE p RENAME b TO a; ALTER TABLE p RENAME c TO b",
        written: "INSERT INTO p VALUES (3, 5, 6)",
    },
    Case {
        name: "a role that everybody had before",
        tables: "CREATE TABLE m (id int PRIMARY KEY, x int, user_id int, role text);
                 INSERT INTO m VALUES (1, 1, 7, 'owner'), (2, 2, 7, 'guest'), (3, 3, 8, 'owner')",
        filter: "x IN (SELECT x FROM m WHERE user_id = 7 AND role = 'owner')",
        becomes: "ALTER TABLE m DROP COLUMN role; ALTER TABLE m ADD COLUMN role text DEFAULT 'guest'",
        written: "INSERT INTO m VALUES (4, 4, 7, 'owner')",
    },
];

#[tokio::test]
async fn a_redefined_table_is_another_one_at_once() {
    for case in CASES {
        let world = World::new().await;
        world.sql("CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT g, g FROM generate_series(1, 6) g").await;
        world.sql(case.tables).await;
        let mut before = world.follow(Shape::of("t").filter(case.filter)).await;
        world.compare_all(std::slice::from_mut(&mut before)).await;
        world.sql(case.becomes).await;
        let filter = format!("{} AND id > 0", case.filter);
        let mut after: Follower = world.client(Shape::of("t").filter(&filter)).through_refetches();
        after.catch_up().await;
        println!("{}", case.name);
        world.compare_all(std::slice::from_mut(&mut after)).await;
        world.sql(case.written).await;
        world.compare_all(std::slice::from_mut(&mut after)).await;
    }
}
