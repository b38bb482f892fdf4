//! What subqueries become, and that printing and compiling again changes nothing.

use super::*;
use crate::{Collation, compile_printed, compile_with};

fn table(oid: u32, name: &str, columns: &[(&str, u32)]) -> Arc<TableSchema> {
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
    let columns = columns.iter().enumerate().map(column).collect();
    let name = RelationName { schema: "public".into(), table: name.into() };
    Arc::new(TableSchema { oid, name, columns, partitioned: false })
}

fn tables() -> Tables {
    let columns =
        [("id", 23), ("a", 20), ("n", 1700), ("f", 701), ("g", 700), ("name", 25), ("ok", 16)];
    let tables = [table(1, "t", &columns), table(2, "u", &columns)];
    tables.into_iter().map(|table| (table.name.clone(), table)).collect()
}

fn compiled(text: &str, params: &[&str]) -> Result<Predicate, WhereError> {
    let tables = tables();
    let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
    let table = tables.values().find(|table| table.oid == 1).unwrap();
    compile_with(text, &params, table, &tables)
}

#[test]
fn a_clause_is_printed_from_its_tree() {
    for (text, params, printed) in [
        (
            "id IN (SELECT x.a FROM public.u x WHERE x.ok AND x.name = $1)",
            &["o'x"][..],
            r#"("id" IN (SELECT "a" FROM "public"."u" WHERE ("ok" AND ("name" = 'o''x'::text))))"#,
        ),
        (
            "(id, name) NOT IN (SELECT a, name FROM t)",
            &[],
            r#"(NOT (("id", "name") IN (SELECT "a", "name" FROM "public"."t")))"#,
        ),
        (
            "EXISTS (SELECT 1 FROM u WHERE t.id = u.a AND u.ok AND t.n = u.n)",
            &[],
            r#"((("id", "n") IN (SELECT "a", "n" FROM "public"."u" WHERE "ok")) IS TRUE)"#,
        ),
        (
            "NOT EXISTS (SELECT * FROM u WHERE u.ok)",
            &[],
            r#"((EXISTS (SELECT 1 FROM "public"."u" WHERE "ok")) IS NOT TRUE)"#,
        ),
    ] {
        let sql = compiled(text, params).unwrap().sql();

        assert_eq!(sql, printed, "{text}");
    }
}

/// The order in which tests are written does not show, and what is printed is the same again.
#[test]
fn equal_clauses_have_equal_text() {
    let tables = tables();
    let table = tables.values().find(|table| table.oid == 1).unwrap();
    let tests = [
        "id IN (SELECT a FROM u WHERE ok)",
        "(a, name) NOT IN (SELECT id, name FROM u WHERE id IN (SELECT a FROM t) OR a IN (SELECT id FROM t))",
        "n IN (SELECT n FROM t WHERE a IN (SELECT id FROM t) OR id IN (SELECT a FROM t))",
        "f = ANY (SELECT id FROM u)",
        "EXISTS (SELECT 1 FROM u WHERE u.id = t.a)",
    ];
    for one in tests {
        for two in tests {
            for three in tests {
                let text = format!("(({one}) AND id > 4) OR (({two}) AND ({three}))");
                let turned = format!("(({three}) AND ({two})) OR (id > 4 AND ({one}))");
                let predicate = compiled(&text, &[]).unwrap();
                assert_eq!(predicate, compiled(&turned, &[]).unwrap(), "{text}");
                let again = compile_printed(&predicate.sql(), table, &tables).unwrap();
                assert_eq!((again.sql(), again.form()), (predicate.sql(), predicate.form()));
            }
        }
    }
}

#[test]
fn columns_that_cannot_be_compared_exactly_are_refused() {
    for (left, right, fine) in [
        ("id", "a", true),
        ("a", "n", true),
        ("n", "f", true),
        ("f", "g", false),
        ("g", "g", true),
        ("g", "id", false),
        ("name", "name", true),
        ("name", "id", false),
        ("ok", "ok", true),
        ("ok", "id", false),
    ] {
        let text = format!("{left} IN (SELECT {right} FROM u)");
        assert_eq!(compiled(&text, &[]).is_ok(), fine, "{text}");
    }
}

#[test]
fn the_columns_of_a_clause_are_its_tables_own() {
    let predicate = compiled("ok OR a IN (SELECT id FROM u WHERE name = 'x')", &[]).unwrap();
    assert_eq!(predicate.columns(), [1, 6]);
    assert_eq!(predicate.memberships()[0].subquery.reads(), [0, 5]);
    let names: Vec<u32> = predicate.subquery_tables().iter().map(|table| table.oid).collect();
    assert_eq!(names, [2]);
    let names = named_tables("a IN (SELECT b FROM x.y WHERE EXISTS (SELECT FROM z)) AND c IN (1)");
    let names: Vec<String> = names.iter().map(RelationName::quoted).collect();
    assert_eq!(names, [r#""public"."z""#, r#""x"."y""#]);
}
