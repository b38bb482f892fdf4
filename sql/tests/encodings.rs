//! A server whose encoding is not UTF8, with Postgres as the oracle: what would differ there is refused.

#![allow(clippy::unwrap_used)]

use brooklet_sql::name::literal;
use brooklet_sql::{Collation, Row, TableSchema, Tables, Truth, compile, compile_with, statement};
use tokio_postgres::Client;

mod generate;

use generate::database::{self, Locale};
use generate::typed::{self, COLUMNS};

/// Of ő in UTF8.
const MD5: &str = "4434a565df64667ea0fdd94db0a539db";

type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Whether a row satisfies a clause, to Postgres; an error is none of both.
async fn theirs(client: &Client, clause: &str, values: &[(&str, &str)]) -> Option<bool> {
    let columns: Vec<String> = (values.iter())
        .map(|(name, value)| {
            let (_, sql_type, ..) = COLUMNS.iter().find(|(known, ..)| known == name).unwrap();
            format!("{}::{sql_type} AS {name}", literal(value))
        })
        .collect();
    let columns = columns.join(", ");
    let query = format!("SELECT ({clause}) IS TRUE FROM (SELECT {columns}) items");
    client.query_one(&query, &[]).await.ok().map(|row| row.get(0))
}

fn ours(table: &TableSchema, clause: &str, values: &[(&str, &str)]) -> bool {
    let predicate = compile(clause, &[], table).unwrap_or_else(|error| panic!("{clause}: {error}"));
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, v)| *v);
    let row = Row::new(COLUMNS.iter().map(|(name, ..)| value(name)).collect::<Vec<_>>()).unwrap();
    predicate.matches(&row) == Truth::True
}

#[tokio::test]
async fn what_depends_on_the_bytes_of_text_is_refused_where_they_are_not_ours() {
    let client = database::connect(Locale::Latin2).await.unwrap();
    let table = typed::table(&Collation::c(), "public");
    let mut tables = Tables::new();
    tables.encoding = client.query_one(statement::VERSION, &[]).await.unwrap().get(1);
    assert_eq!(tables.encoding.as_deref(), Some("LATIN2"));
    let (o, forty, cut) = ([("t", "ő")], "ő".repeat(40), "ő".repeat(31));
    let json = [("j", r#"{"aa": 1, "ő": 2}"#)];
    let differ: &[Case<'_>] = &[
        ("octet_length(t) = 2", &o),
        ("bit_length(t) = 16", &o),
        ("octet_length(bp) = 5", &[("bp", "ő   ")]),
        ("md5(t) = 'MD5'", &o),
        ("ascii(t) = 337", &o),
        ("chr(i4) = 'ő'", &[("i4", "337")]),
        ("t::bytea = '\\xc591'", &o),
        ("by = 'ő'", &[("by", "\\xc591")]),
        ("by LIKE 'ő%'", &[("by", "\\xc591")]),
        ("ta::bytea[] = '{\"\\\\xc591\"}'", &[("ta", "{ő}")]),
        ("decode(t, 'escape') = '\\xc591'", &o),
        ("convert_from(by, 'UTF8') = '€'", &[("by", "\\xe282ac")]),
        ("t COLLATE \"C\" < 'Ł'", &[("t", "Á")]),
        ("t BETWEEN 'A' AND 'Ł'", &[("t", "Á")]),
        ("greatest(t, 'Ł') = 'Ł'", &[("t", "Á")]),
        ("ta < '{Ł}'", &[("ta", "{Á}")]),
        ("'FORTY'::name = t", &[("t", &cut)]),
        ("'Á'::name < 'Ł' AND t = 'ő'", &o),
        (r#"j::text = '{"aa": 1, "ő": 2}'"#, &json),
        (r#"concat(j) = '{"aa": 1, "ő": 2}'"#, &json),
        (r#"format('%s', j) = '{"aa": 1, "ő": 2}'"#, &json),
    ];
    let same: &[Case<'_>] = &[
        ("t = 'ő' AND t <> 'o' AND length(t) = 1 AND t IN ('ő', 'x')", &o),
        ("t LIKE '_' AND t ~ '^.$' AND strpos(t || 'x', 'x') = 2 AND left(t, 1) = t", &o),
        ("octet_length(convert_to(t, 'UTF8')) = 2 AND md5(convert_to(t, 'UTF8')) = 'MD5'", &o),
        ("'ő'::name = t", &o),
        ("lower(t COLLATE \"C\") = 'ő' AND t::varchar = t", &o),
        ("by = 'abc' AND by LIKE 'a%' AND decode('616263', 'hex') = by", &[("by", "\\x616263")]),
        (r#"j ->> 'ő' = '2' AND j = '{"ő": 2, "aa": 1}' AND j ? 'ő'"#, &json),
        ("net::text || i4 = '10.0.0.1/321' AND i4 < 2", &[("net", "10.0.0.1"), ("i4", "1")]),
    ];
    for (clause, values) in differ {
        let clause = clause.replace("MD5", MD5).replace("FORTY", &forty);
        assert!(ours(&table, &clause, values), "{clause}");
        assert_ne!(theirs(&client, &clause, values).await, Some(true), "{clause}");
        let refusal = compile_with(&clause, &[], &table, &tables).map(|found| found.sql());
        let reason = refusal.expect_err(&clause).to_string();
        assert!(reason.contains("this one's is LATIN2"), "{clause}: {reason}");
    }
    for (clause, values) in same {
        let clause = clause.replace("MD5", MD5).replace("FORTY", &forty);
        assert!(ours(&table, &clause, values), "{clause}");
        assert_eq!(theirs(&client, &clause, values).await, Some(true), "{clause}");
        let printed = compile_with(&clause, &[], &table, &tables).unwrap().sql();
        assert_eq!(theirs(&client, &printed, values).await, Some(true), "{printed}");
    }
}
