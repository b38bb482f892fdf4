//! Databases of other locales on the tests' server.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_sql::mathematics::Functions;
use brooklet_sql::{
    CaseMap, Collation, CollationFacts, Column, ColumnDomain, Folding, RelationName, TableSchema,
    Zone, Zones, mathematics, statement,
};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::connect::{given, open};

/// Whose rules text obeys in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locale {
    /// Those of the database that `BROOKLET_TEST_DATABASE_URL` names.
    Given,
    /// The C library's for American English.
    Libc,
    /// Bytes in order, but letters of American English.
    Mixed,
    /// ICU's.
    Icu,
    /// ICU's Turkish.
    Turkish,
    /// Bytes in order, in another encoding than UTF8.
    Latin2,
}

impl Locale {
    fn made(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Locale::Given => return None,
            Locale::Libc => ("brooklet_test_libc", "LOCALE 'en_US.UTF-8'"),
            Locale::Mixed => ("brooklet_test_mixed", "LC_COLLATE 'C' LC_CTYPE 'en_US.UTF-8'"),
            // The C library's locale is that of nobody here.
            Locale::Icu => {
                ("brooklet_test_icu", "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'")
            }
            Locale::Turkish => {
                ("brooklet_test_turkish", "LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C'")
            }
            Locale::Latin2 => ("brooklet_test_latin2", "LOCALE 'C'"),
        })
    }
}

/// A connection to a database of this locale, which is made if there is none yet; `None` where the
/// server was built without ICU.
pub async fn connect(locale: Locale) -> Option<Client> {
    let mut config = given();
    let client = open(&config).await;
    let Some((name, options)) = locale.made() else { return Some(client) };
    if matches!(locale, Locale::Icu | Locale::Turkish) {
        let icu = "SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'";
        if !client.query_one(icu, &[]).await.unwrap().get::<_, bool>(0) {
            println!("this server has no ICU: nothing to compare with");
            return None;
        }
    }
    let encoding = if locale == Locale::Latin2 { "LATIN2" } else { "UTF8" };
    let create =
        format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' {options}");
    // Two tests at once are one too many in the lock, and the lock goes with the connection.
    client.batch_execute("SELECT pg_advisory_lock(72664)").await.unwrap();
    let known = "SELECT count(*) FROM pg_database WHERE datname = $1";
    if client.query_one(known, &[&name]).await.unwrap().get::<_, i64>(0) == 0 {
        client.batch_execute(&create).await.unwrap();
    }
    config.dbname(name);
    Some(open(&config).await)
}

/// A collation as the catalogue describes it, with the server's own case map.
pub async fn collation(client: &Client, oid: u32) -> Collation {
    let row = client.query_one(statement::COLLATION, &[&oid]).await.unwrap();
    let facts = CollationFacts {
        schema: row.get("schema"),
        name: row.get("name"),
        is_default: row.get("is_default"),
        provider: row.get("provider"),
        deterministic: row.get("deterministic"),
        collate: row.get("collate"),
        ctype: row.get("ctype"),
        locale: row.get("locale"),
        encoding: row.get("encoding"),
    };
    let (mut collation, folding) = facts.collation();
    collation.case_map = match folding {
        Folding::Unknown => None,
        Folding::Ascii => Some(Arc::new(CaseMap::ascii())),
        Folding::Server => {
            let named = (!facts.is_default).then_some((&*facts.schema, &*facts.name));
            let rows = client.query(&statement::case_map(named), &[]).await.unwrap();
            let one = |at: usize| {
                let first = |text: String| text.chars().next().unwrap();
                rows.iter().map(move |row| (first(row.get(0)), first(row.get(at))))
            };
            Some(Arc::new(CaseMap::new(one(1)).with_upper(one(2))))
        }
    };
    collation
}

/// A table of `schema`, which is searched first, as the server itself describes it.
pub async fn described(client: &Client, schema: &str, table: &str) -> TableSchema {
    let class = "SELECT $1::text::regclass::oid";
    let oid: u32 = client.query_one(class, &[&table]).await.unwrap().get(0);
    let mut columns = Vec::new();
    let mut collations = BTreeMap::new();
    for row in client.query(statement::columns(), &[&oid]).await.unwrap() {
        let number: u32 = row.get("collation");
        if number != 0 && !collations.contains_key(&number) {
            collations.insert(number, collation(client, number).await);
        }
        columns.push(Column {
            name: row.get("name"),
            type_oid: row.get("type_oid"),
            base_type_oid: row.get("base_type_oid"),
            type_name: row.get("type_name"),
            type_modifier: row.get("type_modifier"),
            dimensions: row.get("dimensions"),
            collation: collations.get(&number).cloned(),
            labels: row.get("labels"),
            element_type_oid: row.get("element_type_oid"),
            enum_schema: row.get("enum_schema"),
            enum_name: row.get("enum_name"),
            domain: match row.get("domain_oid") {
                0 => None,
                oid => Some(ColumnDomain {
                    oid,
                    modifier: row.get("domain_modifier"),
                    schema: row.get("domain_schema"),
                    name: row.get("domain_name"),
                }),
            },
            parts: row.get("parts"),
            dropped: false,
            ..Column::gone()
        });
    }
    let name = RelationName { schema: schema.to_owned(), table: table.to_owned() };
    TableSchema { oid, name, columns, partitioned: false, unique: Vec::new() }
}

/// The zones that [`super::formats`] names, as the server knows them; asked for once.
pub async fn zones(client: &Client) -> Zones {
    static ZONES: tokio::sync::OnceCell<Zones> = tokio::sync::OnceCell::const_new();
    let ask = async || {
        let mut zones = Zones::new();
        for name in super::formats::ZONES {
            let zone = zone(client, name).await.unwrap();
            zones.insert(zone.key(), Arc::new(zone));
        }
        zones
    };
    ZONES.get_or_init(ask).await.clone()
}

/// A zone as the server describes it.
pub async fn zone(client: &Client, name: &str) -> Option<Zone> {
    let row = client.query_opt(statement::ZONE, &[&name]).await.unwrap()?;
    let (at, before): (Vec<i64>, Vec<i32>) = (row.get("at"), row.get("before"));
    let after: Vec<i32> = row.get("after");
    let changes: Vec<(i64, i32, i32)> = at
        .into_iter()
        .zip(before)
        .zip(after)
        .map(|((at, before), after)| (at, before, after))
        .collect();
    let goes_on: bool = row.get("goes_on");
    Zone::new(row.get("name"), row.get("first"), &changes).filter(|_| goes_on)
}

/// What the server's C library computes as ours does.
pub async fn computes_alike(client: &Client) -> Functions {
    let mut alike = Functions::none();
    for question in mathematics::questions() {
        let arguments: [&(dyn ToSql + Sync); 2] = [&question.first, &question.second];
        let row = client.query_one(&question.statement, &arguments).await.unwrap();
        if question.agrees(&row.get::<_, Vec<f64>>(0)) {
            alike.add(question.about);
        }
    }
    alike
}

/// The collation of columns without one of their own.
pub async fn default_collation(client: &Client) -> Collation {
    collation(client, DEFAULT).await
}

/// `pg_collation.oid` of the database's default, in every version.
const DEFAULT: u32 = 100;
