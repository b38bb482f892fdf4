//! Table tests of what is printed and what is refused.

use super::*;
use crate::{Collation, Column, RelationName};

fn table() -> TableSchema {
    let column = |(name, type_name): (&str, &str)| Column {
        name: name.to_owned(),
        type_oid: 25,
        base_type_oid: 25,
        type_name: type_name.to_owned(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        generated: name == "g",
        collation: Some(Collation::c()),
        number: 0,
        dropped: false,
    };
    let columns =
        [("id", "int4"), ("t", "text"), ("odd \"na%me", "text"), ("m", "mood"), ("g", "int4")];
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "items".into() },
        columns: columns.into_iter().map(column).collect(),
    }
}

fn filter(text: &str, params: &[&str]) -> Result<ServerFilter, String> {
    let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
    compile_for_server(text, &params, &table(), None).map_err(|error| error.to_string())
}

fn order(text: &str) -> Result<String, String> {
    compile_order(text, &table(), None).map(|o| o.sql().to_owned()).map_err(|e| e.to_string())
}

#[test]
fn filters_are_printed_from_the_tree() {
    for (text, sql) in [
        ("ID = $1", r#"("id" = '5')"#),
        ("items.id = -1 OR g > 2 AND true", r#"(("id" = (-1)) OR (("g" > 2) AND true))"#),
        (r#""odd ""na%me" = 'it''s \'"#, r#"("odd ""na%me" = E'it''s \\')"#),
        ("m = ANY($2)", r#"("m" = ANY ('{a,"b"}'))"#),
        ("t NOT ILIKE '%é' ESCAPE '!'", r#"("t" NOT ILIKE '%é' ESCAPE '!')"#),
        ("true = true", "(true = true)"),
        (
            "lower(t) = 'x'::varchar(3)",
            r#"(pg_catalog."lower"("t") = CAST('x' AS pg_catalog."varchar"(3)))"#,
        ),
        ("t IN ('a', $1) IS NOT UNKNOWN", r#"(("t" IN ('a', '5')) IS NOT UNKNOWN)"#),
        ("m = 'ok'::mood", r#"("m" = CAST('ok' AS "mood"))"#),
        ("a.b.c IS NULL", "At location 0: unknown reference a.b.c"),
        (
            "coalesce(t, '') || 'x' COLLATE \"C\" < 'b'",
            r#"((COALESCE("t", '') || ('x' COLLATE "C")) < 'b')"#,
        ),
        (
            "case id when 1 then true else false end",
            r#"(CASE "id" WHEN 1 THEN true ELSE false END)"#,
        ),
        ("interval '1' day > '1 hour'", "(CAST('1' AS interval day) > '1 hour')"),
        ("(id, t) > (1, 'a')", r#"(ROW("id", "t") > ROW(1, 'a'))"#),
        (
            "t::jsonb @> '{}' and (t::int4[])[1:2] <> '{}'",
            r#"((CAST("t" AS pg_catalog."jsonb") @> '{}') AND (((CAST("t" AS pg_catalog."int4"[]))[1 : 2]) <> '{}'))"#,
        ),
    ] {
        let printed = filter(text, &["5", r#"{a,"b"}"#]).map(|filter| filter.sql().to_owned());
        assert_eq!(printed.unwrap_or_else(|error| error), sql, "{text}");
    }
    assert_eq!(filter("t = 'a' AND (id > 1 OR t IS NULL)", &[]).unwrap().columns(), [0, 1]);
}

#[test]
fn filters_refuse_what_has_no_certain_meaning() {
    for (text, reason) in [
        ("nope = 1", "At location 0: unknown reference nope"),
        ("ctid = '(0,1)'", "At location 0: unknown reference ctid"),
        ("id IN (SELECT 1)", "At location 6: Subqueries are not allowed in subsets"),
        ("EXISTS (SELECT 1)", "At location 0: Subqueries are not allowed in subsets"),
        ("id = ANY (SELECT 1)", "At location 5: Subqueries are not allowed in subsets"),
        ("random() < 1", "At location 0: unknown or unsupported function random/0"),
        ("pg_sleep(1) IS NULL", "At location 0: unknown or unsupported function pg_sleep/1"),
        ("public.lower(t) = ''", "At location 0: unknown or unsupported function public.lower/1"),
        ("count(*) > 1", "At location 0: aggregate count(*) is not supported"),
        ("t = current_user", "At location 4: session values are not supported"),
        ("id == 1", "At location 3: the operator == is not supported"),
        ("t::regclass IS NULL", "At location 3: type regclass is not supported"),
        ("id = $3", "At location 5: parameter $3 was not provided"),
        ("id = 1; DROP TABLE items", "At location 6: syntax error at or near \";\""),
        ("id = 1) OR (true", "At location 6: syntax error at or near \")\""),
        ("", "At location 0: syntax error at end of input"),
    ] {
        assert_eq!(filter(text, &["1", "2"]).unwrap_err(), reason, "{text}");
    }
    assert!(filter(&"(".repeat(60_000), &[]).unwrap_err().contains("nested deeper"));
    assert!(filter(&"x".repeat(70_000), &[]).unwrap_err().contains("bigger than the maximum"));
    assert!(filter("t = $1", &["a\0"]).unwrap_err().contains("U+0000"));
}

#[test]
fn orders_are_columns_with_directions() {
    assert_eq!(order("\"id\" DESC NULLS LAST, T").unwrap(), r#""id" DESC NULLS LAST, "t""#);
    assert_eq!(order("items.id asc nulls first").unwrap(), r#""id" NULLS FIRST"#);
    for (text, reason) in [
        ("nope", "At location 0: unknown reference nope"),
        ("id, lower(t)", "At location 4: FuncCall expressions are not allowed in ORDER BY clauses"),
        ("id + 1", "At location 3: A_Expr expressions are not allowed in ORDER BY clauses"),
        ("1", "At location 0: A_Const expressions are not allowed in ORDER BY clauses"),
        ("id::text", "At location 0: TypeCast expressions are not allowed in ORDER BY clauses"),
        ("$1", "At location 0: parameter $1 is not supported in ORDER BY clauses"),
        ("id USING <", "At location 3: syntax error at or near \"using\""),
        ("", "At location 0: syntax error at end of input"),
        ("id,", "At location 3: syntax error at end of input"),
        ("id; select 1", "At location 2: syntax error at or near \";\""),
    ] {
        assert_eq!(order(text).unwrap_err(), reason, "{text}");
    }
}

#[test]
fn hidden_columns_do_not_exist() {
    let hidden = compile_for_server("t = 'a'", &[], &table(), Some(&[0])).unwrap_err();
    assert_eq!(hidden.to_string(), "At location 0: unknown reference t");
    let hidden = compile_order("id, t", &table(), Some(&[0])).unwrap_err();
    assert_eq!(hidden.to_string(), "At location 4: unknown reference t");
}
