//! Subset requests against a real Postgres: what is printed parses there and finds the right rows.

#![allow(clippy::unwrap_used)]

use brooklet_sql::{
    Collation, Column, RelationName, TableSchema, compile, compile_for_server, compile_order,
    statement,
};
use tokio_postgres::{Client, SimpleQueryMessage};

#[path = "generate/connect.rs"]
mod connect;

use connect::{given, open};

/// Both tests make the same schema.
static SCHEMA: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SETUP: &str = r#"
    DROP SCHEMA IF EXISTS subset_test CASCADE; CREATE SCHEMA subset_test;
    SET search_path = subset_test, public;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "happy"');
    CREATE TABLE "odd table" (id int4 PRIMARY KEY, label text, "odd ""na%me" text, m mood,
        at timestamptz, n numeric, u uuid, b bool, j jsonb, tags text[], "select" int8);
    INSERT INTO "odd table" VALUES
      (1, 'it''s \', 'é', 'sad', '2024-01-01', 1.50, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true, '{"a": [1, 2]}', '{a,b}', 5),
      (2, 'a%b', E'line\nbreak', 'ok', '2024-06-01 12:00+00', 'NaN', NULL, false, '{}', '{"x,y"}', 6),
      (3, NULL, '日本', 'very "happy"', NULL, 2, NULL, NULL, NULL, NULL, NULL);
"#;

fn table() -> TableSchema {
    let columns = [
        ("id", 23, "int4"),
        ("label", 25, "text"),
        ("odd \"na%me", 25, "text"),
        ("m", 99_999, "mood"),
        ("at", 1184, "timestamptz"),
        ("n", 1700, "numeric"),
        ("u", 2950, "uuid"),
        ("b", 16, "bool"),
        ("j", 3802, "jsonb"),
        ("tags", 1009, "text"),
        ("select", 20, "int8"),
    ];
    let column = |(name, oid, type_name): (&str, u32, &str)| Column {
        name: name.to_owned(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: type_name.to_owned(),
        type_modifier: -1,
        dimensions: i32::from(name == "tags"),
        not_null: name == "id",
        key_position: (name == "id").then_some(0),
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        generated: false,
        collation: (oid == 25 || oid == 1009).then(Collation::c),
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "subset_test".into(), table: "odd table".into() },
        columns: columns.into_iter().map(column).collect(),
    }
}

async fn connect() -> Client {
    let client = open(&given()).await;
    client.batch_execute(SETUP).await.unwrap();
    client
}

/// The ids that a subset has, in order.
async fn ids(client: &Client, copy: &str) -> Vec<i32> {
    let select = copy.strip_prefix("COPY (").unwrap().strip_suffix(") TO STDOUT").unwrap();
    let messages =
        client.simple_query(select).await.unwrap_or_else(|error| panic!("{select}\n{error:?}"));
    let ids = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get("id").unwrap().parse().unwrap()),
        _ => None,
    });
    ids.collect()
}

#[tokio::test]
async fn postgres_runs_what_is_printed() {
    let _own = SCHEMA.lock().await;
    let client = connect().await;
    let table = table();
    for (text, params, expected) in [
        ("\"id\" = $1", &["2"][..], &[2][..]),
        ("\"id\" = ANY($1)", &["{1,3}"], &[1, 3]),
        ("\"label\" = ANY($1)", &["{\"it's \\\\\",x}"], &[1]),
        ("label = 'it''s \\'", &[], &[1]),
        ("label LIKE 'a\\%b'", &[], &[2]),
        ("label ILIKE $1", &["A!%B"], &[]),
        ("label ILIKE 'A!%B' ESCAPE '!'", &[], &[2]),
        ("\"odd \"\"na%me\" IN ('é', $1)", &["日本"], &[1, 3]),
        ("\"odd \"\"na%me\" = E'line\\nbreak'", &[], &[2]),
        ("\"m\" = $1", &["very \"happy\""], &[3]),
        ("m > 'sad' AND m < $1", &["very \"happy\""], &[2]),
        ("m::text = 'ok' OR m = 'sad'::mood", &[], &[1, 2]),
        ("\"at\" > $1", &["2024-01-01T00:00:00.001Z"], &[2]),
        ("n = 1.5 OR n = 'NaN'", &[], &[1, 2]),
        ("u = $1", &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], &[1]),
        ("b", &[], &[1]),
        ("NOT b = $1", &["true"], &[2]),
        ("b IS NULL OR true = true", &[], &[1, 2, 3]),
        ("j @> '{\"a\": [2]}'", &[], &[1]),
        ("j -> 'a' ->> 1 = '2'", &[], &[1]),
        ("j = $1", &["{}"], &[2]),
        ("'a' = ANY(tags) OR tags = $1", &["{\"x,y\"}"], &[1, 2]),
        ("tags && ARRAY['b', $1]", &["x,y"], &[1, 2]),
        ("tags[1] = 'a'", &[], &[1]),
        ("(id, label) > (1, 'z') AND \"select\" IN (5, 6)", &[], &[2]),
        ("extract(month from at) = 6", &[], &[2]),
        ("date_trunc('month', at) = '2024-01-01'", &[], &[1]),
        ("at + interval '1' day > '2024-06-02'", &[], &[2]),
        ("substring(label from 1 for 1) = 'a' AND position('%' in label) = 2", &[], &[2]),
        ("trim(both 'a' from label) = '%b'", &[], &[2]),
        ("label COLLATE \"C\" < 'b'", &[], &[2]),
        ("CASE WHEN id < 3 THEN id::text ELSE 'z' END >= '2'", &[], &[2, 3]),
        ("coalesce(label, '') = ''", &[], &[3]),
        ("id % 2 = 1 AND -id ^ 2 = 1", &[], &[1]),
        ("at < now() AND at < CURRENT_TIMESTAMP", &[], &[1, 2]),
        ("at AT TIME ZONE 'UTC' = '2024-01-01'", &[], &[1]),
        ("label SIMILAR TO 'a_(b|c)'", &[], &[2]),
        ("n BETWEEN SYMMETRIC 2 AND 1", &[], &[1, 3]),
    ] {
        let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
        let filter = compile_for_server(text, &params, &table, None)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let order = compile_order("id", &table, None).unwrap();
        client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
        let copy = statement::subset(&table, &[0], None, Some(&filter), Some(&order), None, None);
        assert_eq!(ids(&client, &copy).await, expected, "{text}\n{copy}");
    }
}

#[tokio::test]
async fn a_subset_lies_within_its_shape() {
    let _own = SCHEMA.lock().await;
    let client = connect().await;
    let table = table();
    let shape = compile("id = 1 OR id = 2", &[], &table).unwrap();
    let filter = compile_for_server("id = 3 OR id >= 1", &[], &table, None).unwrap();
    let order = compile_order("\"select\" DESC NULLS FIRST, \"id\"", &table, None).unwrap();
    let copy = |limit, offset| {
        statement::subset(&table, &[0], Some(&shape), Some(&filter), Some(&order), limit, offset)
    };
    assert_eq!(ids(&client, &copy(None, None)).await, [2, 1]);
    assert_eq!(ids(&client, &copy(Some(1), Some(1))).await, [1]);
    assert_eq!(ids(&client, &copy(Some(u64::MAX), None)).await, [2, 1]);
    let all = statement::subset(&table, &[0, 2], None, None, Some(&order), Some(2), None);
    assert_eq!(ids(&client, &all).await, [3, 2]);
}
