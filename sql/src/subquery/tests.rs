//! What subqueries become, and that printing and compiling again changes nothing.

use super::*;
use crate::RelationName;
use crate::Tables;
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
    Arc::new(TableSchema {
        oid,
        name,
        columns,
        partitioned: false,
        unique: vec![vec![0], vec![1, 2]],
    })
}

fn tables() -> Tables {
    let columns = [
        ("id", 23),
        ("a", 20),
        ("n", 1700),
        ("f", 701),
        ("g", 700),
        ("name", 25),
        ("ok", 16),
        ("tags", 1007),
    ];
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
        "NOT id = (SELECT a FROM u WHERE id = 5) OR ok IS DISTINCT FROM (SELECT ok FROM t WHERE id = 5)",
        "a NOT IN (SELECT unnest(tags) FROM u)",
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

/// Forms and what they are without them.
const SAME: &[(&str, &str)] = &[
        (
            "id IN (SELECT a FROM u UNION SELECT id FROM t UNION ALL VALUES (1), (2))",
            "id IN (SELECT a FROM u) OR id IN (SELECT id FROM t) OR id = 1 OR id = 2",
        ),
        (
            "id NOT IN (SELECT DISTINCT u.a AS x FROM u ORDER BY x, 1 DESC NULLS LAST)",
            "id NOT IN (SELECT a FROM u)",
        ),
        (
            "id IN (SELECT u.a FROM u JOIN t x ON x.id = u.id WHERE x.name = 'a' AND u.ok)",
            "id IN (SELECT a FROM u WHERE ok AND id IN (SELECT id FROM t WHERE name = 'a'))",
        ),
        (
            "id IN (SELECT x.id FROM u, t AS x, t y WHERE u.id = x.a AND x.n = u.n AND y.id = x.id AND y.ok)",
            "id IN (SELECT id FROM t WHERE (a, n) IN (SELECT id, n FROM u) AND id IN (SELECT id FROM t WHERE ok))",
        ),
        (
            "id IN (SELECT u.a FROM t JOIN u USING (id, name) WHERE id > 4)",
            "id IN (SELECT u.a FROM t JOIN u ON t.id = u.id AND t.name = u.name AND t.id > 4)",
        ),
        (
            "id IN (SELECT u.a FROM u CROSS JOIN t WHERE t.ok)",
            "id IN (SELECT a FROM u WHERE EXISTS (SELECT 1 FROM t WHERE ok))",
        ),
        (
            "id IN (SELECT u.a FROM u LEFT JOIN t ON t.a = u.id AND t.ok WHERE t.id IS NULL)",
            "id IN (SELECT a FROM u WHERE NOT EXISTS (SELECT FROM t WHERE t.a = u.id AND ok)
               OR id IN (SELECT a FROM t WHERE ok AND id IS NULL))",
        ),
        (
            "id IN (SELECT u.a FROM u LEFT JOIN t ON t.a = u.id LEFT JOIN t x ON x.a = t.id WHERE x.n > 1)",
            "id IN (SELECT u.a FROM u JOIN t ON t.a = u.id JOIN t x ON x.a = t.id WHERE x.n > 1)",
        ),
        (
            "id NOT IN (SELECT u.a FROM u WHERE u.n = t.n AND ok)",
            "NOT (n IS NOT NULL AND (id, n) IN (SELECT a, n FROM u WHERE ok AND n IS NOT NULL))",
        ),
        (
            "id IN (SELECT u.a FROM u WHERE t.ok AND u.name = 'a')",
            "ok IS TRUE AND id IN (SELECT u.a FROM u WHERE u.name = 'a')",
        ),
        (
            "EXISTS (SELECT * FROM u JOIN t y ON y.id = u.a WHERE u.id = t.id AND y.ok)",
            "EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.a IN (SELECT id FROM t WHERE ok))",
        ),
        ("EXISTS (SELECT id FROM u UNION SELECT 1)", "true"),
        // What can fail has a condition beside it that is true or an error.
        (
            "12 / id NOT IN (SELECT lower(name)::int8 FROM u)",
            "NOT ((12 / id IS NULL OR 12 / id IS NOT NULL) AND 12 / id IN
               (SELECT lower(name)::int8 FROM u WHERE lower(name)::int8 IS NULL OR lower(name)::int8 IS NOT NULL))",
        ),
        ("$1 IN (SELECT id FROM u WHERE u.a = t.id)", "'5'::int4 IN (SELECT id FROM u WHERE u.a = t.id)"),
        ("(id, name) IN (VALUES (1, 'a'))", "id = 1 AND name = 'a'"),
        ("ok AND (id IN (SELECT a FROM u) IS NULL AND false OR id NOT IN (SELECT id FROM u))", "ok AND id NOT IN (SELECT id FROM u)"),
        (
            "a = ANY (SELECT pg_catalog.unnest(x.tags) AS tag FROM u x ORDER BY tag)",
            "a IN (SELECT unnest(tags) FROM u)",
        ),
        ("EXISTS (SELECT u.* FROM u WHERE a = t.id LIMIT 1)", "EXISTS (SELECT FROM u WHERE a = t.id)"),
];

/// Subqueries as values.
const SINGLE: &[(&str, &str)] = &[
    // Where NULL is as good as false, it does not show whether there is a row.
    (
        "id = (SELECT a FROM u WHERE id = 5 ORDER BY n LIMIT 1)",
        "id IN (SELECT a FROM u WHERE id = 5)",
    ),
    (
        "ok OR ($1 = id AND ((SELECT a FROM u WHERE id = 2 + 3)) = t.id)",
        "ok OR (id = 5 AND t.id IN (SELECT a FROM u WHERE id = 5))",
    ),
    (
        "name = (SELECT u.name FROM u WHERE u.id = t.a)",
        "name IN (SELECT u.name FROM u WHERE u.id = t.a)",
    ),
    (
        "id <> (SELECT a FROM u WHERE id = 5)",
        "id NOT IN (SELECT a FROM u WHERE id = 5) AND EXISTS (SELECT FROM u WHERE id = 5)",
    ),
    (
        "NOT id = (SELECT u.id FROM u WHERE u.n = t.n AND t.ok AND a = 5)",
        "NOT (id IN (SELECT u.id FROM u WHERE u.n = t.n AND t.ok AND a = 5)
               OR NOT EXISTS (SELECT FROM u WHERE u.n = t.n AND t.ok AND a = 5) AND NULL)",
    ),
    (
        "id IS DISTINCT FROM (SELECT a FROM u WHERE id = 5)",
        "NOT ((id IN (SELECT a FROM u WHERE id = 5)) IS TRUE
               OR id IS NULL AND NOT EXISTS (SELECT FROM u WHERE id = 5 AND a IS NOT NULL))",
    ),
    (
        "(SELECT a FROM u WHERE id = 5) IS NULL AND (SELECT ok FROM u WHERE id = 5)",
        "NOT EXISTS (SELECT FROM u WHERE id = 5 AND a IS NOT NULL)
               AND true IN (SELECT ok FROM u WHERE id = 5)",
    ),
    (
        "(SELECT NULL::int FROM u WHERE id = 5 AND a IN (SELECT id FROM t)) IS NOT NULL",
        "EXISTS (SELECT FROM u WHERE false)",
    ),
    ("(SELECT 2 FROM u WHERE u.id = t.a) IS NOT NULL", "EXISTS (SELECT FROM u WHERE u.id = t.a)"),
    (
        "id IN (SELECT u.id FROM u WHERE (a, n) = (SELECT a, n FROM t x WHERE x.id = u.id))",
        "id IN (SELECT u.id FROM u WHERE (a, n) IN (SELECT a, n FROM t x WHERE x.id = u.id))",
    ),
];

/// Every other form is one that there is without it.
#[test]
fn forms_of_one_meaning_have_one_text() {
    for (text, same) in SAME.iter().chain(SINGLE) {
        let (one, other) = (compiled(text, &["5"]).unwrap(), compiled(same, &[]).unwrap());
        assert_eq!(one.sql(), other.sql(), "{text}");
        assert_eq!(one, other, "{text}");
    }
}

const REFUSED: &[(&str, usize, &str)] = &[
    ("id = (SELECT a FROM u)", 6, "must be of one row at most"),
    ("id = (SELECT a FROM u WHERE a = 5)", 6, "must be of one row at most"),
    ("id = (SELECT a FROM u WHERE id = 5 OR id = 6)", 6, "must be of one row at most"),
    ("id = (SELECT a FROM u WHERE id = 5 UNION VALUES (5))", 6, "must be of one row at most"),
    ("id = (SELECT unnest(tags) FROM u WHERE id = 5)", 6, "must be of one row at most"),
    // Several numbers are one float.
    ("id = (SELECT id FROM u WHERE a = 5::float8 AND n = 1)", 6, "must be of one row at most"),
    ("id = (SELECT u.id FROM u WHERE u.a = t.f AND n = 1)", 6, "must be of one row at most"),
    ("id = (SELECT u.a FROM u JOIN t x ON x.id = u.id WHERE u.id = 5)", 6, "of several tables"),
    ("id = (SELECT max(a) FROM u)", 6, "the aggregate max in a subquery is not supported"),
    ("id < (SELECT a FROM u WHERE id = 5)", 6, "supported next to =, <>"),
    ("id = (SELECT a FROM u WHERE id = 5) + 1", 6, "supported next to =, <>"),
    ("(SELECT a FROM u WHERE id = 5) = (SELECT a FROM u WHERE id = 5)", 0, "next to =, <>"),
    ("id IN (1, (SELECT a FROM u WHERE id = 5))", 10, "supported next to =, <>"),
    ("id = (SELECT id, a FROM u WHERE id = 5)", 6, "subquery has too many columns"),
    ("(SELECT id, a FROM u WHERE id = 5) IS NULL", 1, "subquery has too many columns"),
    ("(SELECT id, a FROM u WHERE id = 5) = (1, 2)", 1, "subquery must return only one column"),
    ("(id, a) IS DISTINCT FROM (SELECT id, a FROM u WHERE id = 5)", 26, "only one column"),
    ("(id, a) IN (SELECT unnest(tags), unnest(tags) FROM u)", 33, "a second unnest"),
    ("id IN (SELECT unnest(name) FROM u)", 14, "unnest of text is not supported"),
    ("id IN (SELECT unnest(tags) + 1 FROM u)", 14, "unnest"),
    ("id IN (SELECT id FROM u, t)", 14, "column reference id is ambiguous"),
    ("id IN (SELECT u.id FROM u, u)", 27, "table name u is specified more than once"),
    (
        "id IN (SELECT u.id FROM u JOIN t x ON x.a > u.a)",
        42,
        "joined by equalities of their columns",
    ),
    (
        "(id, a) IN (SELECT u.id, x.a FROM u JOIN t x ON x.a = u.a)",
        25,
        "columns of more than one table",
    ),
    (
        "id IN (SELECT u.id FROM u, t x, t y WHERE u.id = x.id AND x.a = y.a AND y.id = u.a)",
        77,
        "joined in a circle",
    ),
    (
        "id IN (SELECT u.id FROM u JOIN t x ON x.id = u.a WHERE x.n = t.n)",
        59,
        "columns of one table of the subquery",
    ),
    (
        "id IN (SELECT u.id FROM u LEFT JOIN t x ON x.id = u.a)",
        36,
        "LEFT JOIN in subqueries is only",
    ),
    (
        "id IN (SELECT u.id FROM u LEFT JOIN t x ON x.id = u.a WHERE x.ok IS NOT TRUE)",
        36,
        "LEFT JOIN in subqueries is only",
    ),
    (
        "id IN (SELECT u.id FROM u LEFT JOIN t x ON x.id = u.a AND u.ok WHERE x.id IS NULL)",
        36,
        "LEFT JOIN in subqueries is only",
    ),
    (
        "id IN (SELECT u.id FROM u LEFT JOIN t x ON x.id = u.a AND x.id IN (SELECT id FROM t) WHERE x.id IS NULL)",
        36,
        "LEFT JOIN in subqueries is only",
    ),
    (
        "id IN (SELECT x.id FROM u LEFT JOIN t x ON x.id = u.a WHERE x.id IS NULL)",
        36,
        "columns of a LEFT JOIN's table",
    ),
    (
        "id IN (SELECT a.id FROM u a JOIN t b ON b.a = c.a JOIN t c ON c.a = a.a)",
        46,
        "unknown reference c.a",
    ),
    ("id IN (SELECT u.id FROM u JOIN t USING (foo))", 31, "column foo of USING does not exist"),
    ("id IN (SELECT a FROM u UNION SELECT f FROM u)", 7, "columns of different types in a UNION"),
    ("id IN (SELECT a FROM u UNION SELECT id, a FROM u)", 29, "subquery has too many columns"),
    ("name IN (VALUES ('a'), (1))", 9, "columns of different types in a UNION"),
    ("id IN (VALUES ('1'))", 7, "no operator = for integer and text"),
    ("id IN (VALUES (1 + 1))", 17, "only supported for constants"),
    ("EXISTS (SELECT max(a) FROM u WHERE u.id = t.id)", 15, "functions in the list of EXISTS"),
    ("id IN (SELECT id FROM u WHERE u.n > t.n)", 36, "reference to t.n of the row outside"),
];

#[test]
fn what_has_no_other_form_is_refused_at_its_place() {
    for (text, at, reason) in REFUSED {
        let error = compiled(text, &[]).unwrap_err();
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert_eq!(error.location, Some(*at), "{text}: {error}");
    }
}

/// What a restart reads must be read, however deep it has become: a level of joins is several of what is printed.
#[test]
fn what_cannot_be_read_again_is_refused() {
    let tables = tables();
    let table = tables.values().find(|table| table.oid == 1).unwrap();
    let mut refused = 0;
    for (open, close) in [
        ("id IN (SELECT a FROM u WHERE ", ")"),
        ("EXISTS (SELECT FROM u WHERE u.a = u.id AND ", ")"),
        (
            "id NOT IN (SELECT x.a FROM u x JOIN t y ON x.id = y.a JOIN t z ON y.id = z.a WHERE z.",
            ")",
        ),
        ("id NOT IN (SELECT t.a FROM t WHERE ok UNION SELECT u.a FROM u WHERE ", ")"),
    ] {
        for depth in 1..130 {
            let text = format!("{}ok{}", open.repeat(depth), close.repeat(depth));
            match compiled(&text, &[]) {
                Ok(predicate) => {
                    let again = compile_printed(&predicate.sql(), table, &tables);
                    assert!(again.as_ref() == Ok(&predicate), "{depth} of {open}");
                }
                Err(error) => {
                    assert!(error.reason.contains("deep"), "{depth} of {open}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0);
}

/// What a value is asked twice is there twice, and once more for what stands in it.
#[test]
fn what_grows_without_bound_is_refused() {
    let nested = |depth: usize| {
        let (open, close) = ("NOT id = (SELECT a FROM u WHERE id = 5 AND ", ")");
        compiled(&format!("{}ok{}", open.repeat(depth), close.repeat(depth)), &[])
    };
    assert!(nested(3).is_ok());
    let error = nested(20).unwrap_err();
    assert!(error.reason.contains("not supported"), "{error}");
}

#[test]
fn elements_are_keys_of_their_own() {
    let predicate = compiled("(a, n) IN (SELECT unnest(tags), n FROM u)", &[]).unwrap();
    let test = &predicate.memberships()[0];
    let keys = |tags: Option<&str>| {
        let row = [Some("1"), None, Some("2.0"), None, None, None, None, tags];
        test.inner_keys(&Row::new(row).unwrap()).collect::<Vec<_>>()
    };
    let outer = |a: &str| {
        let row = [Some("1"), Some(a), Some("2"), None, None, None, None, None];
        test.outer_key(&Row::new(row).unwrap())
    };
    assert_eq!(keys(Some("{{7,8},{7,9}}")), ["7", "8", "7", "9"].map(outer));
    let [one, null] = &keys(Some("{7,NULL}"))[..] else { panic!() };
    assert!(!one.has_null && null.has_null && null.may_equal(&outer("7")));
    assert!(keys(Some("{}")).is_empty() && keys(None).is_empty());
}

/// What is said of two other tables decides whether a row finds a match, not whether it stays.
#[test]
fn an_absent_table_is_joined_by_its_own_columns_only() {
    for (on, fine) in [
        ("y.a = x.a", true),
        ("y.a = x.a AND y.ok", true),
        ("y.a = x.a AND x.n = z.n", false),
        ("x.n = z.n AND y.a = x.a", false),
        ("y.a = x.a AND x.ok", false),
    ] {
        let joined = format!("u x JOIN t z ON z.a = x.a LEFT JOIN u y ON {on}");
        // Where there must be a match it is an inner join.
        for (filter, fine) in [("y.id IS NULL", fine), ("y.id > 0", true)] {
            let text = format!("a IN (SELECT x.id FROM {joined} WHERE {filter})");
            let said = compiled(&text, &[]).map(|one| one.sql());
            assert_eq!(said.is_ok(), fine, "{text}: {said:?}");
        }
    }
}

#[test]
fn one_clause_tests_so_many_subqueries_and_no_more() {
    let clause = |count: usize| {
        let tests = (0..count).map(|at| format!("a IN (SELECT id FROM u WHERE n = {at})"));
        // Those that are there already are no others.
        let tests = tests.chain(["a IN (SELECT id FROM u WHERE n = 0)".to_owned()]);
        tests.collect::<Vec<_>>().join(" OR ")
    };
    assert_eq!(compiled(&clause(64), &[]).unwrap().memberships().len(), 64);
    for count in [65, 1_000] {
        let error = compiled(&clause(count), &[]).unwrap_err();
        assert!(error.to_string().contains("more than 64 different subqueries"), "{error}");
    }
}

/// On either side of a join, and where it is only asked whether it is NULL.
#[test]
fn what_is_not_replicated_is_not_joined_with() {
    let mut tables = tables();
    let columns = [("id", 23), ("x", 20), ("gen", 20)];
    let mut ga = (*table(3, "ga", &columns)).clone();
    ga.columns[2].generated = true;
    tables.insert(ga.name.clone(), Arc::new(ga));
    let outer = tables.values().find(|table| table.oid == 1).unwrap();
    for query in [
        "SELECT ga.x FROM ga JOIN u ON ga.gen = u.a",
        "SELECT u.a FROM u JOIN ga ON ga.gen = u.a",
        "SELECT ga.x FROM ga JOIN ga h USING (gen)",
        "SELECT ga.x FROM ga LEFT JOIN u ON u.a = ga.gen WHERE u.id IS NULL",
        "SELECT u.a FROM u LEFT JOIN ga ON ga.x = u.a WHERE ga.gen IS NULL",
        "SELECT u.a FROM u LEFT JOIN ga ON ga.gen = u.a WHERE ga.id IS NULL",
        "SELECT ga.x FROM ga WHERE ga.gen = t.a",
    ] {
        let text = format!("a IN ({query})");
        let said = compile_with(&text, &[], outer, &tables).map(|one| one.sql());
        let refused = said.as_ref().is_err_and(|error| {
            error.to_string().contains("column gen is generated, which replication leaves out")
        });
        assert!(refused, "{text}: {said:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_named_with_its_collation_and_a_way_out() {
    let mut tables = tables();
    let mut other = (*table(3, "v", &[("id", 23), ("name", 25)])).clone();
    other.columns[1].collation = Some(Collation { name: "tr-x-icu".into(), ..Collation::c() });
    tables.insert(other.name.clone(), Arc::new(other));
    let outer = tables.values().find(|table| table.oid == 1).unwrap();
    let said = |text: &str| compile_with(text, &[], outer, &tables).map(|one| one.sql());
    assert_eq!(
        said("name IN (SELECT v.name FROM v)").unwrap_err().to_string(),
        "At location 0: column name of type type 25 and collation C cannot be compared exactly with \
         column name of type type 25 and collation tr-x-icu of the subquery: write … COLLATE \"C\" on both sides"
    );
    said(r#"name COLLATE "C" IN (SELECT v.name COLLATE "C" FROM v)"#).unwrap();
    let error = said("f IN (SELECT g FROM u)").unwrap_err().to_string();
    assert!(error.ends_with("column g of type type 700 of the subquery"), "{error}");
    let error = said("id IN (SELECT id FROM u WHERE ok = t.ok OR ok)").unwrap_err().to_string();
    assert!(error.contains("supported only in EXISTS and IN, as an equality"), "{error}");
}
