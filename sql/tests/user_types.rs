//! Types that a database makes for itself, with Postgres as the oracle: composite types, of which IS NULL asks for the
//! fields, domains over enums, for which Postgres has no operator, and domains over all else.

#![allow(clippy::unwrap_used)]

use brooklet_sql::{Row, Truth, compile};
use tokio_postgres::{Client, SimpleQueryMessage};

mod generate;

use generate::connect::{given, open};
use generate::database;

const SETUP: &str = "
    SET client_min_messages = error;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE pair AS (x int4, y text);
    CREATE TYPE alone AS (x text);
    CREATE TYPE nothing AS ();
    CREATE TYPE nested AS (a pair, b alone, c text);
    CREATE DOMAIN own_mood AS mood;
    CREATE DOMAIN own_pair AS pair;
    CREATE DOMAIN own_int AS int4 CHECK (VALUE <> 77);
    CREATE DOMAIN own_own_int AS own_int;
    CREATE DOMAIN own_text AS varchar(5);
    CREATE DOMAIN own_list AS int4[];
    CREATE DOMAIN own_digits AS numeric(6,2);
    CREATE DOMAIN own_day AS date;
    CREATE DOMAIN own_bits AS bit(3);
    CREATE DOMAIN own_letters AS char(3);
    CREATE DOMAIN own_span AS interval(0);
    CREATE DOMAIN own_ints AS own_own_int[];
    CREATE TABLE made (number int4, p pair, a alone, z nothing, n nested, op own_pair, ps pair[], m mood,
                       om own_mood, oi own_own_int, ot own_text, ol own_list, am pg_catalog.pg_am,
                       ai own_own_int[], bi own_ints, ci own_int[], ao own_text[], an own_digits[],
                       ad own_day[], ab own_bits[], al own_letters[], ap own_span[], ae own_mood[],
                       em mood[], aa own_list[], xi int4[]);
";

/// Values of the columns behind the first.
const VALUES: &[(&str, &[&str])] = &[
    ("p", &["(,)", "(1,)", "(,a)", "(1,\"\")", "(5,\"x,y\")", "(5,\"(,)\")", "(1,\"q\"\"\\\\\")"]),
    ("a", &["()", "(\"\")", "(a)", "(\",\")", "(\"\"\"\")"]),
    ("z", &["()"]),
    ("n", &["(,,)", "(\"(,)\",,)", "(\"(,)\",\"()\",\"\")", "(\"(1,a)\",\"(\"\",\"\")\",x)"]),
    ("op", &["(,)", "(1,)", "(1,a)"]),
    ("ps", &["{}", "{NULL}", "{\"(,)\"}"]),
    ("m", &["sad", "ok", "happy"]),
    ("om", &["sad", "ok", "happy"]),
    ("oi", &["0", "5", "-5"]),
    ("ot", &["", "a", "b%"]),
    ("ol", &["{}", "{1,NULL}", "{5}"]),
    ("am", &["(,,,)", "(1,a,-,t)", "(1,,,)"]),
    ("ai", &["{}", "{1,NULL}", "{5}", "[0:1]={1,5}", "{1,2,5}"]),
    ("bi", &["{}", "{1,NULL}", "{5}"]),
    ("ci", &["{}", "{{1},{5}}"]),
    ("ao", &["{}", "{a,\"b,c\"}", "{NULL,\"NULL\"}", "{\"\"}"]),
    ("an", &["{}", "{1.5,2}", "{1.01,NULL}", "{NaN}"]),
    ("ad", &["{}", "{2024-01-05,NULL}", "{infinity}"]),
    ("ab", &["{}", "{101,NULL}", "{000}"]),
    ("al", &["{}", "{a,\"b \"}", "{abc,NULL}"]),
    ("ap", &["{}", "{\"1 day\"}"]),
    ("ae", &["{}", "{sad,happy}", "{ok,NULL}"]),
    ("em", &["{}", "{sad,happy}"]),
    ("aa", &["{}", "{\"{1,2}\"}"]),
    ("xi", &["{}", "{1,NULL}", "{5}"]),
];

/// Each over every row. Those that are refused say so.
const CLAUSES: &[(&str, bool)] = &[
    ("{} IS NULL", true),
    ("{} IS NOT NULL", true),
    ("NOT {} IS NULL", true),
    ("({} IS NOT NULL) IS FALSE", true),
    ("{} IS NULL OR {} IS NOT NULL", true),
    ("({} IS NULL) = (number > 3)", true),
    ("CASE WHEN {} IS NULL THEN number ELSE -1 END > 2", true),
    ("om::mood = 'ok'", true),
    ("om::mood > 'sad' AND om::mood IN ('ok', 'happy')", true),
    ("om::mood = m", true),
    ("om::mood <= m OR om::text = 'sad'", true),
    ("greatest(om::mood, m) = 'happy'", true),
    ("oi = 5 OR oi + 1 = 1", true),
    ("oi IN (0, -5)", true),
    ("ot LIKE 'b!%' ESCAPE '!' OR ot = ''", true),
    ("ot || 'x' = 'ax'", true),
    ("5 = ANY(ol) OR ol = '{ }' OR ol[1] = 1", true),
    ("ai = '{1,NULL}' OR ai <> '{5}'", true),
    ("ai < '{5}' AND ai >= '{ }'", true),
    ("ai IS DISTINCT FROM '{5}' OR ai IN ('{5}', '{1,NULL}')", true),
    ("ai = ai AND bi = bi AND bi = ai", true),
    ("ai = bi::own_own_int[]", true),
    ("ai @> '{5}' OR ai <@ '{1,2,5}' OR ai && '{2}'", true),
    ("5 = ANY(ai) OR oi = ANY(bi) OR 2.0 = ANY(ai)", true),
    ("5 <> ALL(ai)", true),
    ("number > ALL(ai)", true),
    ("ai[1] = 1 OR ai[2] + 1 = 6 OR ai[1:1] = '{1}'", true),
    ("array_length(ai, 1) = 2 OR cardinality(ai) = 3 OR array_ndims(ci) = 2", true),
    (
        "array_position(ai, '5') = 1 OR array_position(bi, 5) = 1 OR array_position(ai, ai[1]) = 1",
        true,
    ),
    ("array_append(ai, number) @> ARRAY[1]", true),
    ("array_append(ai, '5') @> '{5}' AND ai || '{5}' = '{5,5}'", true),
    ("array_append(ai, ai[1]) = '{5,5}' OR array_remove(ai, '1') = '{5}'", true),
    ("ai || ai[1] @> ai", true),
    ("ai || 1 = '{1,NULL,1}' OR 1 || ai = '{1,5}' OR ai || ai = '{5,5}'", true),
    ("ai::int4[] = '{5}' OR ai::int4[] = xi OR ai::int8[] @> '{5}' OR ai::text = '{5}'", true),
    ("ai::text[] = '{5}' OR ai = '{5}'::own_own_int[] OR NULL::own_own_int[] = ai", true),
    ("coalesce(ai, '{5}') = '{5}' OR CASE WHEN number > 3 THEN ai END = '{5}'", true),
    ("coalesce(xi, ai) = xi OR greatest(ai, '{1}') = '{5}' OR nullif(ai, '{5}') IS NULL", true),
    ("array_to_string(ai, ',') = '5' OR concat(ai) = '{5}' OR array_dims(ai) = '[0:1]'", true),
    ("(ai, number) = ('{5}', number) OR (ai, number) < ('{5}', 1)", true),
    ("CASE ai WHEN '{5}' THEN true END", true),
    ("ARRAY[oi, 5] = '{5,5}' OR ARRAY[oi] @> '{0}'", true),
    ("bi @> '{5}' OR ci @> '{1}' OR 1 = ANY(ci)", true),
    ("ao = '{a,\"b,c\"}' OR ao @> '{a}' OR 'a' = ANY(ao) OR ao[1] = '' OR ao[1] LIKE 'a%'", true),
    ("array_to_string(ao, '-') = 'a-b,c' OR array_position(ao, 'a') = 1", true),
    ("an = '{1.501,2}' OR an @> '{1.005}' OR an && '{2.001,7}' OR 1.5 = ANY(an)", true),
    ("an::numeric[] = '{1.501,2}' OR array_position(an, '1.499') = 1", true),
    ("ad = '{2024-01-05,NULL}' OR '2024-01-05' = ANY(ad) OR ad @> '{Jan 5 2024}'", true),
    ("ab @> '{101}' OR B'000' = ANY(ab) OR ab[1] = B'101'", true),
    ("al @> '{a}' OR al = '{\"a  \",b}' OR 'b' = ANY(al) OR al[2] = 'b'", true),
    ("ae = '{sad,happy}' OR ae @> '{ok}' OR ae < '{sad,happy}' OR ae::mood[] = em", true),
    ("ae[1]::mood = 'sad' OR ae::text[] @> '{ok}' OR ae IS NULL", true),
    ("ap = '{ }'", false),
    ("aa = '{ }'", false),
    ("ai = xi", false),
    ("ai = ARRAY[5]", false),
    ("ai @> ARRAY[5]", false),
    ("ai = ci", false),
    ("xi::own_own_int[] = ai", false),
    ("coalesce(ai, xi) = '{5}'", false),
    ("ae = em", false),
    ("ab = '{10}'", false),
    ("ao = '{abcdef}'", false),
    ("ROW(p, number) IS NULL", false),
    ("p IS DISTINCT FROM NULL", false),
    ("NULL IS NOT DISTINCT FROM op", false),
    ("p = p", false),
    ("coalesce(p, p) IS NULL", false),
];

/// The outcome for every row.
async fn ask(client: &Client, sql: &str) -> Result<Vec<Truth>, String> {
    let all = format!("SELECT ({sql})::bool FROM made ORDER BY number");
    let messages = client.simple_query(&all).await.map_err(|error| error.to_string())?;
    let outcomes = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(match row.get(0) {
            None => Truth::Null,
            Some(text) => Truth::from(text == "t"),
        }),
        _ => None,
    });
    Ok(outcomes.collect())
}

/// A row for every value, all else being NULL, and for every value of two columns of one place.
async fn fill(client: &Client) -> Vec<Row> {
    let mut sql = "INSERT INTO made (number) VALUES (0);".to_owned();
    let mut number = 0;
    for (column, values) in VALUES {
        for value in *values {
            number += 1;
            let value = brooklet_sql::name::literal(value);
            sql += &format!("INSERT INTO made (number, {column}) VALUES ({number}, {value});");
        }
    }
    for (at, _) in ["sad", "ok", "happy"].iter().enumerate() {
        for (other, _) in ["sad", "ok", "happy"].iter().enumerate() {
            number += 1;
            let labels = [VALUES[6].1[at], VALUES[7].1[other]];
            let [m, om] = labels.map(brooklet_sql::name::literal);
            sql += &format!("INSERT INTO made (number, m, om) VALUES ({number}, {m}, {om});");
        }
    }
    client.batch_execute(&sql).await.unwrap();
    let printed = client.simple_query("SELECT * FROM made ORDER BY number").await.unwrap();
    let rows = printed.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(Row::new((0..row.len()).map(|at| row.get(at)).collect::<Vec<_>>()).unwrap())
        }
        _ => None,
    });
    rows.collect()
}

#[tokio::test]
async fn postgres_agrees_on_types_of_the_database() {
    let client = open(&given()).await;
    let schema = format!("made_{}", std::process::id());
    let create = format!("CREATE SCHEMA {schema}; SET search_path = {schema}; {SETUP}");
    client.batch_execute(&create).await.unwrap();
    let table = database::described(&client, &schema, "made").await;
    let rows = fill(&client).await;
    let mut compared = 0;
    for (template, accepted) in CLAUSES {
        let columns: Vec<&str> = match template.contains("{}") {
            true => VALUES.iter().map(|(column, _)| *column).collect(),
            false => vec![""],
        };
        for clause in columns.into_iter().map(|column| template.replace("{}", column)) {
            let predicate = match compile(&clause, &[], &table) {
                Ok(predicate) if *accepted => predicate,
                Err(error) if !*accepted => {
                    let known = ["supported", "no operator", "too long", "does not match"];
                    assert!(
                        known.iter().any(|one| error.reason.contains(one)),
                        "{clause}: {error}"
                    );
                    continue;
                }
                other => panic!("{clause}: {other:?}"),
            };
            let ours: Vec<Truth> = rows.iter().map(|row| predicate.matches(row)).collect();
            assert_eq!(ask(&client, &clause).await.as_ref(), Ok(&ours), "{clause}");
            let printed = predicate.sql();
            assert_eq!(ask(&client, &printed).await.as_ref(), Ok(&ours), "{clause} as {printed}");
            let again = compile(&printed, &[], &table).unwrap();
            assert_eq!(again.sql(), printed, "printing is not stable");
            for (row, truth) in rows.iter().zip(&ours) {
                assert!(
                    *truth != Truth::True || predicate.access().admits(row),
                    "{clause} {row:?}"
                );
            }
            compared += rows.len();
        }
    }
    // What Postgres has no operator for we take as what its cast would make of it.
    let bare = compile("om = 'ok' OR om > 'ok'", &[], &table).unwrap().sql();
    let cast = compile("om::mood = 'ok' OR om::mood > 'ok'", &[], &table).unwrap().sql();
    assert_eq!(bare, cast);
    assert!(ask(&client, &bare).await.is_ok(), "{bare}");
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    println!("{compared} pairs");
}
