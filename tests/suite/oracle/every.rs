//! Every template of filters, followed live through transactions and crashes; Postgres says what is right.
//!
//! `BROOKLET_TEST_ROUNDS` sets how often, each time in a new database; what was compared is printed by template.

use std::collections::BTreeMap;
use std::time::Duration;

use super::templates::{self, COLUMNS, Filter, TABLES, filter, value};
use crate::harness::{
    Cluster, Database, Follower, Following, Locale, Request, Rng, Session, Shape, World, size,
};

const IDS: usize = 16;
const TRANSACTIONS: usize = 60;

/// Rows to choose from that satisfy a filter.
const CANDIDATES: usize = 300;

/// So often a row comes that satisfies a template's filter, and goes, whatever the random writes do.
const VISITS: usize = 3;

/// What was compared of a template.
#[derive(Default)]
struct Count {
    shapes: usize,
    refused: usize,
    rows: usize,
    changes: usize,
    visits: usize,
    /// A filter asked the rows of its own table, where who comes for a visit may have gone as the one that let it in.
    asks_itself: bool,
}

type Counts = BTreeMap<&'static str, Count>;

#[tokio::test]
async fn every_template_agrees_with_postgres() {
    let mut rng = Rng::for_test("every_template");
    let (mut counts, mut crashes) = (Counts::new(), 0);
    let rounds = size("BROOKLET_TEST_ROUNDS", 2);
    for round in 0..rounds {
        let locale = [Locale::CUtf8, Locale::EnUs][round % 2];
        let mut world = World::with(Database::create(Cluster::shared(locale)).await, |_| {}).await;
        crashes += play(&mut world, locale, &mut rng, &mut counts).await;
        println!("round {}, {locale:?}: {crashes} crashes so far", round + 1);
    }
    for (template, count) in &counts {
        let Count { shapes, refused, rows, changes, visits, asks_itself } = count;
        println!(
            "{template}: {shapes} shapes, {refused} refused, {rows} rows in the end, {changes} changes, \
             {visits} visits"
        );
        // Who comes and who goes are one change each.
        let least = 2 * visits;
        assert!(
            (*visits > 0 || *asks_itself) && *changes >= least,
            "{template}: {changes} changes of {least} at least"
        );
    }
    let changes: usize = counts.values().map(|count| count.changes).sum();
    assert!(changes > 1_000 * rounds && crashes >= rounds, "{changes} changes, {crashes} crashes");
}

async fn play(world: &mut World, locale: Locale, rng: &mut Rng, counts: &mut Counts) -> usize {
    world.sql(TABLES).await;
    let session = world.db.session().await;
    for (table, _) in COLUMNS {
        for id in 0..IDS / 2 {
            session.sql(&insert(table, id, rng)).await;
        }
    }
    let candidates = Candidates::make(world.db.session().await, rng).await;
    let (mut followers, mut crashes): (Vec<(&'static str, Follower)>, usize) = (Vec::new(), 0);
    for turn in 0..2 {
        let (mut wrong, mut visited) = (Vec::new(), Vec::new());
        for template in templates::all() {
            // The first can be satisfied; others may be nobody's.
            let filter = match turn {
                0 => candidates.filter(template, locale, rng).await,
                _ => filter(template, locale, rng),
            };
            match begin(world, template, &filter, rng).await {
                Ok(Some(follower)) => {
                    followers.push((template, follower));
                    visited.push((template, filter));
                }
                Ok(None) => counts.entry(template).or_default().refused += 1,
                Err(refused) => wrong.push(refused),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let (names, clients): (Vec<_>, Vec<_>) = followers.drain(..).unzip();
        let following: Vec<Following> = clients.into_iter().map(Following::start).collect();
        for (template, filter) in visited.iter().filter(|_| turn == 0) {
            let visits = candidates.visit(&filter.text, rng).await;
            let count = counts.entry(template).or_default();
            count.visits += visits;
            count.asks_itself |= filter.text.contains("FROM things");
        }
        crashes += burst(world, rng).await;
        let mut clients = Vec::new();
        for client in following {
            clients.push(client.stop().await);
        }
        world.compare_all(&mut clients).await;
        followers = names.into_iter().zip(clients).collect();
    }
    for (template, follower) in followers {
        let count = counts.entry(template).or_default();
        count.shapes += 1;
        count.rows += follower.log.count();
        count.changes += follower.log.changes.len();
    }
    crashes
}

/// Starts a client of a template; `None` when the server may refuse the filter and does, what it says where it
/// may not.
async fn begin(
    world: &World,
    template: &str,
    filter: &Filter,
    rng: &mut Rng,
) -> Result<Option<Follower>, String> {
    let shape = Shape::of("things").filter(&filter.text);
    let shape = if rng.percent(25) { shape.columns("id,title") } else { shape };
    let target = format!("{}&offset=-1", shape.target());
    let answer = Request::get(target).send(world.server.address).await.expect("an answer");
    match answer.status {
        200 => Ok(Some(world.client(shape).through_outages())),
        400 if !filter.surely => Ok(None),
        _ => Err(format!("{template}: {}: {}", shape.sql(), answer.text())),
    }
}

/// Rows that may come, in a table that no shape is about.
struct Candidates {
    session: Session,
}

impl Candidates {
    async fn make(session: Session, rng: &mut Rng) -> Candidates {
        session.sql("CREATE TABLE candidates AS SELECT *, 0 AS number FROM things LIMIT 0").await;
        for number in 0..CANDIDATES {
            let values = values("things", rng);
            let id = rng.below(IDS);
            session.sql(&format!("INSERT INTO candidates VALUES ({id}, {values}, {number})")).await;
        }
        Candidates { session }
    }

    /// Those that satisfy a filter now.
    async fn of(&self, filter: &str) -> Vec<usize> {
        let numbers = "coalesce(string_agg(number::text, ',' ORDER BY number), '')";
        let sql = format!("SELECT {numbers} FROM candidates AS things WHERE {filter}");
        let found = self.session.value(&sql).await;
        found.split_terminator(',').map(|number| number.parse().expect("a number")).collect()
    }

    /// A filter of a template that one of them satisfies.
    async fn filter(&self, template: &str, locale: Locale, rng: &mut Rng) -> Filter {
        for _ in 0..200 {
            let filter = filter(template, locale, rng);
            if !self.of(&filter.text).await.is_empty() {
                return filter;
            }
        }
        panic!("{template}: no row ever satisfies it");
    }

    /// Lets some come and go; gives back how many did. What a subquery says may be another thing once its row is
    /// there, or once one has gone that made it true.
    async fn visit(&self, filter: &str, rng: &mut Rng) -> usize {
        let names: Vec<&str> = COLUMNS[0].1.iter().map(|(column, _)| *column).collect();
        let columns = format!("id, {}", names.join(", "));
        let (mut visits, mut tries) = (0, 0);
        while visits < VISITS {
            tries += 1;
            let fitting = self.of(filter).await;
            if tries > 50 || fitting.is_empty() {
                break;
            }
            let one = format!("FROM candidates WHERE number = {}", rng.pick(&fitting));
            let remove = format!("DELETE FROM things WHERE id = (SELECT id {one})");
            self.session.sql(&remove).await;
            self.session
                .sql(&format!("INSERT INTO things ({columns}) SELECT {columns} {one}"))
                .await;
            let holds =
                format!("SELECT count(*) FROM things WHERE id = (SELECT id {one}) AND ({filter})");
            visits += usize::from(self.session.value(&holds).await == "1");
            self.session.sql(&remove).await;
        }
        visits
    }
}

/// Two writers over all tables; the server is killed or stopped meanwhile. Gives the number of crashes.
async fn burst(world: &mut World, rng: &mut Rng) -> usize {
    let mut writers = Vec::new();
    for _ in 0..2 {
        let (session, mut rng) = (world.db.session().await, rng.fork());
        writers.push(tokio::spawn(async move {
            for _ in 0..TRANSACTIONS {
                session.transaction(&mut rng, 6, statement).await;
            }
        }));
    }
    let mut crashes = 0;
    while crashes == 0 || writers.iter().any(|writer| !writer.is_finished()) {
        // The moment of the crash is random.
        tokio::time::sleep(Duration::from_millis(rng.between(5, 400) as u64)).await;
        match rng.below(5) {
            0 => world.server.stop().await,
            _ => world.server.kill().await,
        }
        world.server.restart().await;
        crashes += 1;
    }
    for writer in writers {
        writer.await.expect("a writer failed, see above");
    }
    crashes
}

fn statement(rng: &mut Rng) -> String {
    let (table, columns) = *rng.pick(&COLUMNS);
    let (id, other) = (rng.below(IDS), rng.below(IDS));
    let mut set = || {
        let (column, pool) = *rng.pick(columns);
        format!("{column} = {}", value(column, pool, rng))
    };
    let (one, two) = (set(), set());
    match rng.below(12) {
        0..=2 => insert(table, id, rng),
        3 => format!("DELETE FROM {table} WHERE id = {id}"),
        4 => format!("UPDATE {table} SET id = {other} WHERE id = {id}"),
        5 => format!("UPDATE {table} SET {one} WHERE id < {id} AND id % 2 = {}", other % 2),
        // What links the tables moves on both sides.
        6 => format!(
            "UPDATE things SET project = {0} WHERE id = {id}; UPDATE members SET project = {0}, user_id = {1} WHERE id = {other}",
            id % 6,
            other % 6
        ),
        7 => "UPDATE projects SET active = NOT active WHERE owner IS NOT NULL".to_owned(),
        8 => format!(
            "UPDATE {table} SET {one} WHERE id = {id}; UPDATE {table} SET {two} WHERE id = {id}"
        ),
        _ => format!("UPDATE {table} SET {one} WHERE id = {id}"),
    }
}

fn insert(table: &str, id: usize, rng: &mut Rng) -> String {
    format!("INSERT INTO {table} VALUES ({id}, {}) ON CONFLICT DO NOTHING", values(table, rng))
}

/// Of all columns but the key.
fn values(table: &str, rng: &mut Rng) -> String {
    let (_, columns) = COLUMNS.iter().find(|(name, _)| *name == table).expect("one of them");
    let values: Vec<String> =
        columns.iter().map(|(column, pool)| value(column, pool, rng)).collect();
    values.join(", ")
}
