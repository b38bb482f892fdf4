//! Shapes whose filter has subqueries: what one transaction brings, exactly.
//!
//! Rows that come or go for another table's sake are plain inserts and deletes after the transaction's own
//! operations. Each case below says what a client is told of a transaction; after it, the client's rows are compared
//! with Postgres' own.

// All tables have the same columns, so that any may stand inside or outside of any.
mod checkpoint;
#[path = "../../../sql/tests/generate/subqueries.rs"]
mod generate;
mod life;
mod oracle;
mod position;
mod redefined;
mod refused;

use crate::harness::{Follower, Shape, World};

/// The tables of a case; `{p}` and `{c}` stand for `parent` and `child` with the case's number.
const TABLES: &str = "
    CREATE TABLE {p} (id int PRIMARY KEY, active bool, tag int8, amount numeric, tags int[], mail citext);
    CREATE TABLE {m} (id int PRIMARY KEY, parent_id int);
    CREATE TABLE {c} (id int PRIMARY KEY, parent_id int, other int, name text, price numeric, mail citext)";

/// A filter over `{c}`, first rows, and transactions with what each brings.
struct Case {
    filter: &'static str,
    rows: &'static str,
    steps: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        filter: "parent_id IN (SELECT id FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, true), (2, true); INSERT INTO {c} VALUES (11, 1), (10, 1), (12, 2)",
        steps: &[
            ("UPDATE {p} SET active = false WHERE id = 1", "delete 10, delete 11"),
            ("UPDATE {p} SET active = true WHERE id = 1", "insert 10, insert 11"),
            ("TRUNCATE suite_other", ""),
        ],
    },
    Case {
        // The row never leaves.
        filter: "parent_id IN (SELECT id FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, true), (2, true); INSERT INTO {c} VALUES (10, 1), (11, 1), (12, 2)",
        steps: &[
            (
                "UPDATE {p} SET active = false WHERE id = 1; UPDATE {c} SET parent_id = 2 WHERE id = 10",
                "update 10, delete 11",
            ),
            (
                "UPDATE {p} SET active = false WHERE id = 2; UPDATE {p} SET active = true WHERE id = 2",
                "",
            ),
        ],
    },
    Case {
        // Out, in and out again, and the other way round, in one transaction: what is in the end, once.
        filter: "parent_id IN (SELECT id FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, true), (2, true), (3, false); INSERT INTO {c} VALUES (10, 1), (11, 2)",
        steps: &[
            (
                "UPDATE {p} SET active = false WHERE id = 1; UPDATE {p} SET active = true WHERE id = 1; UPDATE {p} SET active = false WHERE id = 1",
                "delete 10",
            ),
            (
                "UPDATE {p} SET active = true WHERE id = 1; UPDATE {p} SET active = false WHERE id = 1; UPDATE {p} SET active = true WHERE id = 1",
                "insert 10",
            ),
            (
                "UPDATE {p} SET active = NOT active WHERE id = 1; UPDATE {p} SET active = NOT active WHERE id = 1; UPDATE {p} SET active = NOT active WHERE id = 1; UPDATE {p} SET active = NOT active WHERE id = 1",
                "",
            ),
            // By another key, too.
            (
                "DELETE FROM {p} WHERE id = 1; INSERT INTO {p} VALUES (1, true); UPDATE {p} SET id = 4 WHERE id = 1",
                "delete 10",
            ),
        ],
    },
    Case {
        // Two rows have the value, one goes; and another type on the other side.
        filter: "parent_id IN (SELECT tag FROM {p})",
        rows: "INSERT INTO {p} VALUES (1, true, 7), (2, true, 7); INSERT INTO {c} VALUES (10, 7)",
        steps: &[("DELETE FROM {p} WHERE id = 1", ""), ("DELETE FROM {p}", "delete 10")],
    },
    Case {
        filter: "parent_id NOT IN (SELECT tag FROM {p})",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 1), (11, 2), (12, 7), (13, NULL)",
        steps: &[
            // Nothing is known not to be among these.
            ("INSERT INTO {p} VALUES (2, true, NULL)", "delete 10, delete 11"),
            ("DELETE FROM {p} WHERE id = 2", "insert 10, insert 11"),
            // Everything is outside of an empty set, NULL too.
            ("DELETE FROM {p}", "insert 12, insert 13"),
            ("INSERT INTO {p} VALUES (3, true, 1)", "delete 10, delete 13"),
        ],
    },
    Case {
        filter: "parent_id IN (SELECT id FROM {p} WHERE active) OR name = 'x'",
        rows: "INSERT INTO {p} VALUES (1, false); INSERT INTO {c} VALUES (10, 1, 0, NULL), (11, 1, 0, 'x')",
        steps: &[
            ("UPDATE {p} SET active = true", "insert 10"),
            ("UPDATE {p} SET active = false", "delete 10"),
            ("UPDATE {c} SET name = 'y' WHERE id = 11", "delete 11"),
        ],
    },
    Case {
        filter: "parent_id IN (SELECT id FROM {p} WHERE active) AND NOT (name = 'a')",
        rows: "INSERT INTO {p} VALUES (1, false); INSERT INTO {c} VALUES (10, 1, 0, NULL), (11, 1, 0, 'b')",
        steps: &[("UPDATE {p} SET active = true", "insert 11")],
    },
    Case {
        filter: "parent_id IN (SELECT tag FROM {p}) OR parent_id NOT IN (SELECT tag FROM {p})",
        rows: "INSERT INTO {c} VALUES (10, 1), (11, NULL), (12, 7)",
        steps: &[
            ("INSERT INTO {p} VALUES (1, true, 7)", "delete 11"),
            ("INSERT INTO {p} VALUES (2, true, NULL)", "delete 10"),
            ("DELETE FROM {p}", "insert 10, insert 11"),
        ],
    },
    Case {
        // From one qualifying grandparent to another.
        filter: "parent_id IN (SELECT id FROM {m} WHERE parent_id IN (SELECT id FROM {p} WHERE active))",
        rows: "INSERT INTO {p} VALUES (1, true), (2, true), (3, false); INSERT INTO {m} VALUES (5, 1); INSERT INTO {c} VALUES (10, 5)",
        steps: &[
            ("UPDATE {m} SET parent_id = 2", ""),
            ("UPDATE {p} SET active = false WHERE id = 1", ""),
            ("UPDATE {p} SET active = NOT active", "delete 10"),
            ("UPDATE {m} SET parent_id = 3", "insert 10"),
        ],
    },
    Case {
        // By place, whatever the columns' names.
        filter: "(parent_id, other) IN (SELECT tag, id FROM {p})",
        rows: "INSERT INTO {c} VALUES (10, 9, 5), (11, 5, 9), (12, NULL, 5)",
        steps: &[
            ("INSERT INTO {p} VALUES (5, true, 9)", "insert 10"),
            ("UPDATE {c} SET parent_id = 9 WHERE id = 12", "insert 12"),
        ],
    },
    Case {
        filter: "price IN (SELECT amount FROM {p})",
        rows: "INSERT INTO {c} VALUES (10, 0, 0, '', 1.5), (11, 0, 0, '', 1.51)",
        steps: &[
            ("INSERT INTO {p} VALUES (1, true, 0, 1.50)", "insert 10"),
            ("UPDATE {p} SET amount = 1.5000", ""),
            ("UPDATE {p} SET amount = 1.51", "delete 10, insert 11"),
        ],
    },
    Case {
        // Another key, the same value.
        filter: "parent_id IN (SELECT tag FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 7)",
        steps: &[("UPDATE {p} SET id = 2", ""), ("UPDATE {p} SET active = NULL", "delete 10")],
    },
    Case {
        // One row plays both roles.
        filter: "parent_id IN (SELECT id FROM {c} WHERE name = 'x')",
        rows: "INSERT INTO {c} VALUES (10, 10, 0, 'x'), (11, 10, 0, 'y'), (12, 11, 0, 'y')",
        steps: &[
            ("UPDATE {c} SET name = 'z' WHERE id = 10", "delete 10, delete 11"),
            ("UPDATE {c} SET name = 'x' WHERE id = 11", "insert 12"),
            ("UPDATE {c} SET parent_id = 11 WHERE id = 11", "insert 11"),
            ("DELETE FROM {c} WHERE id = 11", "delete 11, delete 12"),
        ],
    },
    Case {
        filter: "EXISTS (SELECT 1 FROM {p} p WHERE p.tag = parent_id AND p.active)",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 7), (11, NULL), (12, 8)",
        steps: &[
            ("UPDATE {p} SET tag = 8", "delete 10, insert 12"),
            ("UPDATE {p} SET active = false", "delete 12"),
        ],
    },
    Case {
        filter: "NOT EXISTS (SELECT * FROM {p} p WHERE p.tag = parent_id AND p.id = other)",
        rows: "INSERT INTO {c} VALUES (10, 7, 1), (11, NULL, 1)",
        steps: &[
            ("INSERT INTO {p} VALUES (1, true, 7)", "delete 10"),
            ("UPDATE {p} SET tag = NULL", "insert 10"),
        ],
    },
    Case {
        filter: "other = ANY (SELECT tag FROM {p}) AND parent_id <> ALL (SELECT id FROM {p})",
        rows: "INSERT INTO {c} VALUES (10, 5, 7), (11, 1, 7)",
        steps: &[
            ("INSERT INTO {p} VALUES (1, true, 7)", "insert 10"),
            ("UPDATE {p} SET id = 5", "delete 10, insert 11"),
        ],
    },
    Case {
        filter: "parent_id IN (SELECT id FROM {p} WHERE active UNION SELECT parent_id FROM {m} UNION VALUES (9))",
        rows: "INSERT INTO {p} VALUES (1, true), (2, false); INSERT INTO {m} VALUES (5, 1); INSERT INTO {c} VALUES (10, 1), (11, 2), (12, 9), (13, NULL)",
        steps: &[
            ("DELETE FROM {m}", ""),
            ("UPDATE {p} SET active = NOT active", "delete 10, insert 11"),
            ("INSERT INTO {m} VALUES (6, NULL), (7, 1)", "insert 10"),
        ],
    },
    Case {
        // One NULL in either branch, and nothing is known to be outside.
        filter: "parent_id NOT IN (SELECT tag FROM {p} UNION ALL SELECT parent_id FROM {m})",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 1), (11, 7), (12, NULL)",
        steps: &[
            ("INSERT INTO {m} VALUES (5, NULL)", "delete 10"),
            ("UPDATE {m} SET parent_id = 8", "insert 10"),
            ("DELETE FROM {p}; DELETE FROM {m}", "insert 11, insert 12"),
        ],
    },
    Case {
        filter: "parent_id IN (SELECT m.parent_id FROM {m} m JOIN {p} p ON p.id = m.id AND p.tag = m.parent_id WHERE p.active)",
        rows: "INSERT INTO {p} VALUES (1, true, 7), (2, false, 8); INSERT INTO {m} VALUES (1, 7), (2, 8), (3, 9); INSERT INTO {c} VALUES (10, 7), (11, 8), (12, 9)",
        steps: &[
            ("UPDATE {p} SET active = NOT active", "delete 10, insert 11"),
            ("UPDATE {p} SET tag = NULL", "delete 11"),
            ("INSERT INTO {p} VALUES (3, true, 9)", "insert 12"),
        ],
    },
    Case {
        // What has no row in the other table.
        filter: "parent_id IN (SELECT p.id FROM {p} p LEFT JOIN {m} m ON m.parent_id = p.id WHERE m.id IS NULL)",
        rows: "INSERT INTO {p} VALUES (1), (2); INSERT INTO {m} VALUES (5, 2); INSERT INTO {c} VALUES (10, 1), (11, 2)",
        steps: &[
            ("UPDATE {m} SET parent_id = 1", "delete 10, insert 11"),
            ("DELETE FROM {m}", "insert 10"),
        ],
    },
    Case {
        filter: "EXISTS (SELECT 1 FROM {m} m, {p} p WHERE p.id = m.parent_id AND p.active AND m.id = {c}.other)",
        rows: "INSERT INTO {p} VALUES (1, false); INSERT INTO {m} VALUES (5, 1); INSERT INTO {c} VALUES (10, 0, 5), (11, 0, NULL)",
        steps: &[
            ("UPDATE {p} SET active = true", "insert 10"),
            ("UPDATE {c} SET other = 5 WHERE other IS NULL", "insert 11"),
            ("DELETE FROM {m}", "delete 10, delete 11"),
        ],
    },
    Case {
        // Within a group of their own: an empty group, one with a NULL, none at all.
        filter: "parent_id NOT IN (SELECT p.tag FROM {p} p WHERE p.id = {c}.other AND p.active IS NOT FALSE)",
        rows: "INSERT INTO {c} VALUES (10, 7, 1), (11, NULL, 1), (12, 7, 2), (13, 7, NULL)",
        steps: &[
            ("INSERT INTO {p} VALUES (1, true, 7)", "delete 10, delete 11"),
            ("UPDATE {p} SET tag = 8", "insert 10"),
            ("UPDATE {p} SET tag = NULL", "delete 10"),
            ("UPDATE {p} SET active = false", "insert 10, insert 11"),
            ("INSERT INTO {p} VALUES (2, NULL, 7)", "delete 12"),
        ],
    },
    Case {
        filter: "lower(name) IN (SELECT p.id::text || 'x' FROM {p} p WHERE p.active)",
        rows: "INSERT INTO {p} VALUES (1, true); INSERT INTO {c} VALUES (10, 0, 0, '1X'), (11, 0, 0, '2X'), (12, 0, 0, NULL)",
        steps: &[
            ("UPDATE {p} SET id = 2", "delete 10, insert 11"),
            ("UPDATE {c} SET name = '2x' WHERE id = 11", "update 11"),
            ("UPDATE {p} SET active = false", "delete 11"),
        ],
    },
    Case {
        // What cannot be computed is not selected, and does not match.
        filter: "12 / parent_id NOT IN (SELECT 12 / p.tag FROM {p} p)",
        rows: "INSERT INTO {p} VALUES (1, true, 1); INSERT INTO {c} VALUES (10, 1), (11, 2), (12, NULL)",
        steps: &[
            ("UPDATE {p} SET tag = 2", "insert 10, delete 11"),
            ("INSERT INTO {p} VALUES (2, true, NULL)", "delete 10"),
        ],
    },
    Case {
        filter: "parent_id = (SELECT tag FROM {p} WHERE id = 1)",
        rows: "INSERT INTO {p} VALUES (1, true, 7), (2, true, 8); INSERT INTO {c} VALUES (10, 7), (11, 8), (12, NULL)",
        steps: &[
            ("UPDATE {p} SET tag = 8 WHERE id = 1", "delete 10, insert 11"),
            ("UPDATE {p} SET tag = NULL WHERE id = 1", "delete 11"),
            ("UPDATE {p} SET tag = 7 WHERE id = 1", "insert 10"),
            ("DELETE FROM {p} WHERE id = 1", "delete 10"),
        ],
    },
    Case {
        // No row, a NULL, and a value.
        filter: "(parent_id = (SELECT p.tag FROM {p} p WHERE p.id = {c}.other)) IS UNKNOWN",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 7, 1), (11, 8, 1), (12, NULL, 1), (13, 7, 2), (14, 7, NULL)",
        steps: &[
            ("INSERT INTO {p} VALUES (2, true, NULL)", ""),
            ("UPDATE {p} SET tag = 7 WHERE id = 2", "delete 13"),
            ("DELETE FROM {p} WHERE id = 1", "insert 10, insert 11"),
        ],
    },
    Case {
        filter: "parent_id <> (SELECT tag FROM {p} WHERE id = 1) OR parent_id IS NOT DISTINCT FROM (SELECT tag FROM {p} WHERE id = 2)",
        rows: "INSERT INTO {p} VALUES (1, true, 7); INSERT INTO {c} VALUES (10, 7), (11, 8), (12, NULL)",
        steps: &[
            ("DELETE FROM {p} WHERE id = 1", "delete 11"),
            ("INSERT INTO {p} VALUES (2, true, 8)", "insert 11, delete 12"),
            ("UPDATE {p} SET tag = NULL", "delete 11, insert 12"),
        ],
    },
    Case {
        filter: "mail IN (SELECT mail FROM {p}) AND NOT EXISTS (SELECT 1 FROM {m} m JOIN {p} p ON p.id = m.id WHERE p.mail = {c}.mail)",
        rows: "INSERT INTO {p} (id, mail) VALUES (1, 'A@b'), (2, NULL); INSERT INTO {c} (id, mail) VALUES (10, 'a@B'), (11, 'a@c'), (12, NULL)",
        steps: &[
            ("UPDATE {p} SET mail = 'a@B' WHERE id = 1", ""),
            ("UPDATE {p} SET mail = 'A@C' WHERE id = 2", "insert 11"),
            ("INSERT INTO {m} VALUES (1)", "delete 10"),
            ("UPDATE {c} SET mail = 'A@c' WHERE id = 10", "insert 10"),
        ],
    },
    Case {
        // Several of a row, a NULL among them, none.
        filter: "parent_id NOT IN (SELECT unnest(tags) FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, true, 0, 0, '{1,2}'); INSERT INTO {c} VALUES (10, 1), (11, 2), (12, 3), (13, NULL)",
        steps: &[
            ("UPDATE {p} SET tags = '{2,2,3}'", "insert 10, delete 12"),
            ("UPDATE {p} SET tags = '{{3},{2}}'", ""),
            ("INSERT INTO {p} VALUES (2, true, 0, 0, '{NULL}')", "delete 10"),
            ("DELETE FROM {p} WHERE id = 2", "insert 10"),
            ("UPDATE {p} SET tags = '{}'", "insert 11, insert 12, insert 13"),
            ("UPDATE {p} SET tags = NULL", ""),
        ],
    },
    Case {
        // Moves come after the transaction's own operations, by key.
        filter: "parent_id IN (SELECT id FROM {p} WHERE active)",
        rows: "INSERT INTO {p} VALUES (1, false), (2, true); INSERT INTO {c} VALUES (12, 1), (10, 1), (11, 2)",
        steps: &[(
            "UPDATE {p} SET active = NOT active; INSERT INTO {c} VALUES (13, 1), (14, 2); DELETE FROM {c} WHERE id = 12",
            "insert 13, insert 10, delete 11",
        )],
    },
];

/// Postgres fails where a row does; a stream cannot.
#[tokio::test]
async fn what_cannot_be_computed_is_not_selected_and_does_not_match() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE parent (id int PRIMARY KEY, n int); CREATE TABLE child (id int PRIMARY KEY, n int);
             INSERT INTO parent VALUES (1, 0), (2, 3); INSERT INTO child VALUES (10, 0), (11, 3), (12, 4)",
        )
        .await;
    let mut follower =
        world.follow(Shape::of("child").filter("12 / n NOT IN (SELECT 12 / n FROM parent)")).await;
    follower.until("what differs is there", |rows| rows.len() == 1).await;
    assert!(follower.rows()[0]["id"].as_deref() == Some("12"));
    world.sql("UPDATE parent SET n = 4 WHERE id = 1").await;
    follower.until("nothing differs", |rows| rows.is_empty()).await;
    world.sql("UPDATE parent SET n = 0 WHERE id = 2").await;
    follower.until("one differs", |rows| rows.len() == 1).await;
    assert!(follower.rows()[0]["id"].as_deref() == Some("11"));
    world.sql("DELETE FROM child WHERE id = 10; DELETE FROM parent WHERE n = 0").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
}

#[tokio::test]
async fn a_transaction_brings_its_net_effect() {
    let world = World::new().await;
    world.sql("CREATE EXTENSION citext; CREATE TABLE suite_other (id int PRIMARY KEY)").await;
    for (number, case) in CASES.iter().enumerate() {
        let named = |text: &str| {
            let named = text.replace("{p}", &format!("parent{number}"));
            named
                .replace("{m}", &format!("middle{number}"))
                .replace("{c}", &format!("child{number}"))
        };
        world.sql(&named(TABLES)).await;
        world.sql(&named(case.rows)).await;
        let filter = named(case.filter);
        let mut follower = world.follow(Shape::of(&named("{c}")).filter(&filter)).await;
        world.compare_all(std::slice::from_mut(&mut follower)).await;
        for (sql, expected) in case.steps {
            let brought = brought(&world, &mut follower, &named(sql)).await;
            assert_eq!(&brought, expected, "{filter}: {sql}");
        }
    }
    world.verify_all(CASES.len()).await;
}

/// What a transaction brings, `operation id, …`; compares the rows afterwards.
async fn brought(world: &World, follower: &mut Follower, sql: &str) -> String {
    let before = follower.log.changes.len();
    let id: u64 = {
        let session = world.db.session().await;
        session.sql(&format!("BEGIN; {sql}")).await;
        let id = session.value("SELECT pg_current_xact_id()").await.parse().unwrap();
        session.sql("COMMIT").await;
        id
    };
    world.compare_all(std::slice::from_mut(follower)).await;
    let changes = &follower.log.changes[before..];
    assert!(
        changes.iter().all(|change| change.transaction == id),
        "of transaction {id}: {changes:?}"
    );
    let shown = |change: &crate::harness::log::Change| {
        if change.operation == "delete" {
            assert_eq!(change.value.len(), 1, "a delete shows the key: {change:?}");
        }
        format!("{} {}", change.operation, change.value["id"].as_deref().unwrap())
    };
    changes.iter().map(shown).collect::<Vec<_>>().join(", ")
}
