//! Clauses whose subqueries would multiply, and what must not be taken for one another.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use brooklet_sql::subquery::named_tables;
use brooklet_sql::{
    Collation, Column, Predicate, RelationName, TableSchema, Tables, WhereError, compile_with,
};

fn tables() -> Tables {
    let columns = [("id", 23), ("a", 23), ("t", 25), ("ok", 16), ("tags", 1007)];
    let column = |(at, (name, oid)): (usize, &(&str, u32))| Column {
        name: (*name).into(),
        type_oid: *oid,
        base_type_oid: *oid,
        type_name: format!("type {oid}"),
        key_position: (at == 0).then_some(0),
        collation: (*oid == 25).then(Collation::c),
        dropped: false,
        ..Column::gone()
    };
    let columns: Vec<Column> = columns.iter().enumerate().map(column).collect();
    let table = |(oid, name): (u32, &str)| {
        let name = RelationName { schema: "public".into(), table: name.into() };
        let (columns, unique) = (columns.clone(), vec![vec![0]]);
        let table = TableSchema { oid, name, columns, partitioned: false, unique };
        (table.name.clone(), Arc::new(table))
    };
    [(1, "t"), (2, "u")].into_iter().map(table).collect()
}

fn compiled(text: &str) -> Result<Predicate, WhereError> {
    let tables = tables();
    let table = tables.values().find(|table| table.oid == 1).unwrap();
    compile_with(text, &[], table, &tables)
}

fn nested(before: &str, middle: &str, after: &str, levels: usize) -> String {
    format!("{}{middle}{}", before.repeat(levels), after.repeat(levels))
}

#[test]
fn what_multiplies_with_each_level_is_refused_before_it_does() {
    let ordered = " c FROM u ORDER BY c,c,c,c,c,c,c,c,c,c)";
    for clause in [
        // A flag that four comparisons ask for, each of which is four above.
        nested("(id IN (SELECT id FROM u WHERE ", "ok", ")) BETWEEN SYMMETRIC false AND true", 20),
        // What is about the row outside is resolved for the value and for whether there is one.
        nested(
            "a = (SELECT a FROM u WHERE u.id = 1 AND t.a = (SELECT a FROM u x WHERE x.id = 1 AND t.",
            "a = 1",
            "))",
            12,
        ),
        nested(
            "(",
            "(a = 1)",
            " IN (SELECT unnest('{t}'::bool[]) UNION SELECT unnest('{f}'::bool[])))",
            25,
        ),
        nested("true IN (SELECT unnest(ARRAY[", "true", "]))", 25),
    ] {
        let refused = compiled(&clause).err().map(|error| error.reason);
        let said = refused.is_some_and(|reason| reason.contains("not supported"));
        assert!(said, "{clause}: {:?}", compiled(&clause).err());
    }
    // Parsed, and gone through for names, in as many steps as it has parts.
    let clause = nested("a IN (SELECT ", "1", ordered, 12);
    assert_eq!(named_tables(&clause).len(), 1);
    _ = compiled(&clause);
}

#[test]
fn subqueries_that_differ_are_told_apart_wherever_they_stand() {
    for clause in [
        "tags[CASE WHEN EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.a = 11) THEN 1 ELSE 2 END] = 5 \
         AND tags[CASE WHEN EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.a = 12) THEN 1 ELSE 2 END] = 6",
        "(id IN (SELECT id FROM u WHERE u.a = 11)) IN (SELECT unnest('{t}'::bool[])) \
         AND (id IN (SELECT id FROM u WHERE u.a = 12)) IN (SELECT unnest('{f}'::bool[]))",
    ] {
        let sql = compiled(clause).unwrap_or_else(|error| panic!("{clause}: {error}")).sql();
        assert!(sql.contains("'11'") && sql.contains("'12'"), "{clause} is {sql}");
    }
    let twice =
        "tags[CASE WHEN EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.a = 11) THEN 1 ELSE 2 END]";
    let other = twice.replace("11", "12");
    for clause in [format!("{twice} = 5 OR {other} = 5"), format!("{other} <> 5 OR {twice} = 5")] {
        let sql = compiled(&clause).unwrap().sql();
        assert!(sql.contains("'11'") && sql.contains("'12'"), "{clause} is {sql}");
    }
}

#[test]
fn a_subquery_in_what_is_selected_is_refused() {
    let clause = "ok IN (SELECT unnest(ARRAY[id IN (SELECT id FROM u)]) FROM u)";
    let refused = compiled(clause).err().map(|error| error.reason);
    let reason = "subqueries in what is compared with a subquery are not supported";
    assert_eq!(refused.as_deref(), Some(reason));
}
