//! Time zones of the server against the server: instants near every change, by the rules of all years, and far
//! away, to wall clocks and back.
//!
//! `BROOKLET_TEST_ZONES` sets how many zones are compared, `all` of them if it says so; `BROOKLET_TEST_SEED`
//! replays a run.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use brooklet_sql::{
    Column, RelationName, Row, TableSchema, Tables, Truth, Zone, compile_with, zone::named_zones,
};
use tokio_postgres::{Client, SimpleQueryMessage};

mod generate;

use generate::Random;
use generate::database::{self, Locale};

const INSTANTS: usize = 3_000;

fn table() -> TableSchema {
    let column = |(name, oid): (&str, u32)| Column {
        name: name.to_owned(),
        type_oid: oid,
        base_type_oid: oid,
        ..Column { dropped: false, ..Column::gone() }
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "zoned".into() },
        columns: [("ts", 1114), ("tz", 1184), ("wall", 1114), ("back", 1184), ("day", 1184)]
            .map(column)
            .into(),
    }
}

/// Seconds since 1970 that a zone may get wrong.
fn instants(random: &mut Random, zone: &Zone) -> Vec<i64> {
    const SECONDS: [i64; 9] = [0, 1, -1, 3_599, 3_600, -3_600, 7_200, 86_400, -86_401];
    let changes: Vec<i64> = zone.changes().collect();
    let mut instants = Vec::with_capacity(INSTANTS);
    for _ in 0..INSTANTS {
        let near = changes.get(random.below(changes.len().max(1))).copied().unwrap_or_default();
        let cycles = [0, 0, 0, 1, 2, 500][random.below(6)] * 146_097 * 86_400;
        instants.push(match random.below(4) {
            0 => -210_000_000_000 + (random.next() % 9_000_000_000_000) as i64,
            1 => near + (random.below(400_000) as i64 - 200_000),
            _ if near > 4_102_444_800 => near + cycles + SECONDS[random.below(SECONDS.len())],
            _ => near + SECONDS[random.below(SECONDS.len())],
        });
    }
    instants
}

async fn compare(client: &Client, zone: Zone, random: &mut Random) {
    let name = zone.name().to_owned();
    let instants = instants(random, &zone);
    let (table, mut tables) = (table(), Tables::new());
    tables.zones.insert(zone.key(), Arc::new(zone));
    let clauses = [
        format!("tz AT TIME ZONE '{name}' = wall"),
        format!("timezone('{}', ts) = back", name.to_uppercase()),
        format!("date_trunc('day', tz, '{name}') = day"),
    ];
    let predicates = clauses.each_ref().map(|clause| {
        // UTC needs no asking; under another name it does (`posix/Etc/UTC`).
        let is_utc = ["UTC", "Etc/UTC", "GMT"].contains(&&*name);
        let asked = Vec::from_iter((!is_utc).then(|| name.to_lowercase()));
        assert_eq!(named_zones(clause, &[]), asked, "{clause}");
        compile_with(clause, &[], &table, &tables).unwrap()
    });
    let list: Vec<String> = instants.iter().map(i64::to_string).collect();
    let query = format!(
        "SELECT ts, tz, tz AT TIME ZONE '{name}', ts AT TIME ZONE '{name}', date_trunc('day', tz, '{name}')
         FROM unnest('{{{}}}'::int8[]) s, LATERAL (SELECT to_timestamp(s) AS tz) a,
              LATERAL (SELECT tz AT TIME ZONE 'UTC' AS ts) b",
        list.join(",")
    );
    for message in client.simple_query(&query).await.unwrap() {
        let SimpleQueryMessage::Row(found) = message else { continue };
        let row = Row::new((0..5).map(|at| found.get(at)).collect::<Vec<_>>()).unwrap();
        for (clause, predicate) in clauses.iter().zip(&predicates) {
            assert_eq!(predicate.matches(&row), Truth::True, "{clause} {row:?}");
        }
    }
}

#[tokio::test]
async fn zones_are_those_of_the_server() {
    let client = database::connect(Locale::Given).await.unwrap();
    client.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'").await.unwrap();
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let seed = std::env::var("BROOKLET_TEST_SEED").map_or(clock, |text| text.parse().unwrap());
    println!("BROOKLET_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let names =
        client.query("SELECT name FROM pg_timezone_names ORDER BY name", &[]).await.unwrap();
    let mut names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
    match std::env::var("BROOKLET_TEST_ZONES").as_deref() {
        Ok("all") => {}
        count => {
            let count = count.map_or(6, |count| count.parse().unwrap());
            names = (0..count).map(|_| names[random.below(names.len())].clone()).collect();
            let always = ["Europe/Dublin", "America/Godthab", "Asia/Manila", "America/St_Johns"];
            names.extend(always.map(str::to_owned));
        }
    }
    let mut refused = Vec::new();
    for name in names {
        match database::zone(&client, &name.to_lowercase()).await {
            Some(zone) => compare(&client, zone, &mut random).await,
            None => refused.push(name),
        }
    }
    println!("refused: {refused:?}");
    // Those that are abbreviations too.
    assert!(
        refused.iter().all(|name| !name.contains('/') || name.starts_with("posix")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_no_zones_name_is_none() {
    let client = database::connect(Locale::Given).await.unwrap();
    for name in ["EST", "est", "CET", "EST5EDT4", "<+03>-3", "Nowhere/Land", "", "Europe/Berlin'"] {
        assert!(database::zone(&client, name).await.is_none(), "{name}");
    }
}

/// An I is no I to Turkish rules.
#[tokio::test]
async fn names_are_found_by_ascii_in_every_database() {
    let Some(client) = database::connect(Locale::Turkish).await else { return };
    let zone = database::zone(&client, "asia/irkutsk").await.unwrap();
    assert_eq!(zone.name(), "Asia/Irkutsk");
    for abbreviation in ["IDT", "idt", "Idt"] {
        assert!(database::zone(&client, abbreviation).await.is_none());
    }
}
