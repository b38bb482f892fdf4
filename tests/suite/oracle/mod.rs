//! Random tables, predicates, transactions and crashes; Postgres says what is right.
//!
//! Clients with random shapes follow live while writers commit and the server is killed. When all is quiet, each
//! client's rows must be what `SELECT … WHERE (predicate) IS TRUE` gives. `BROOKLET_TEST_SEED` replays a run's
//! choices, `BROOKLET_TEST_ROUNDS` sets its length.

mod every;
mod migrations;
mod predicates;
mod tables;
mod templates;
mod writes;

use std::time::Duration;

use predicates::Predicate;
use tables::Table;

use crate::harness::{
    Cluster, Database, Follower, Following, Locale, Request, Rng, Shape, World, size,
};

const TABLES: usize = 3;
const SHAPES_PER_TABLE: usize = 2;
const TRANSACTIONS: usize = 80;

#[tokio::test]
async fn oracle_agrees_with_postgres_where_text_is_bytes() {
    run(Locale::CUtf8, Rng::for_test("oracle_bytes")).await;
}

#[tokio::test]
async fn oracle_agrees_with_postgres_in_a_locale_of_the_c_library() {
    run(Locale::EnUs, Rng::for_test("oracle_locale")).await;
}

async fn run(locale: Locale, mut rng: Rng) {
    let mut compared = Tally::default();
    for round in 0..size("BROOKLET_TEST_ROUNDS", 2) {
        let db = Database::create(Cluster::shared(locale)).await;
        let chunk_bytes = *rng.pick(&[Some(500), Some(5_000), None]);
        let mut world = World::with(db, |options| options.chunk_bytes = chunk_bytes).await;
        compared.add(play(&mut world, locale, &mut rng).await);
        println!("{locale:?}, round {}: {compared:?}", round + 1);
    }
    assert!(compared.shapes > 0 && compared.changes > 0, "nothing was compared: {compared:?}");
}

/// What a run amounted to.
#[derive(Default, Debug)]
struct Tally {
    shapes: usize,
    refused: usize,
    transactions: usize,
    changes: usize,
    crashes: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.shapes += other.shapes;
        self.refused += other.refused;
        self.transactions += other.transactions;
        self.changes += other.changes;
        self.crashes += other.crashes;
    }
}

/// One round: tables, clients, two bursts of writes with crashes, a comparison after each.
async fn play(world: &mut World, locale: Locale, rng: &mut Rng) -> Tally {
    let mut tally = Tally::default();
    let tables: Vec<Table> =
        (0..TABLES).map(|number| Table::random(&format!("t{number}"), rng)).collect();
    for table in &tables {
        world.sql(&table.create()).await;
        writes::fill(&world.db.session().await, table, rng).await;
    }
    let mut followers: Vec<Follower> = Vec::new();
    for _ in 0..2 {
        for table in &tables {
            for _ in 0..SHAPES_PER_TABLE {
                match begin(world, table, locale, rng).await {
                    Some(follower) => followers.push(follower),
                    None => tally.refused += 1,
                }
            }
        }
        let mut following: Vec<_> = followers.drain(..).map(Following::start).collect();
        tally.crashes += burst(world, &tables, locale, rng, &mut following).await;
        tally.transactions += TRANSACTIONS * TABLES;
        for client in following {
            followers.push(client.stop().await);
        }
        world.compare_all(&mut followers).await;
    }
    tally.shapes += followers.len();
    tally.changes += followers.iter().map(|follower| follower.log.changes.len()).sum::<usize>();
    tally
}

/// A random question to a table, and whether it surely is in the server's language.
fn random_shape(table: &Table, locale: Locale, rng: &mut Rng) -> (Shape, bool) {
    let mut shape = Shape::of(&table.name);
    let mut surely = true;
    if rng.percent(90) {
        let predicate = Predicate::random(table, locale, rng);
        surely = predicate.surely;
        shape = shape.filter(&predicate.text);
        for value in &predicate.parameters {
            shape = shape.parameter(value);
        }
    }
    if let Some(columns) = table.some_columns(rng) {
        shape = shape.columns(&columns);
    }
    (shape, surely)
}

/// Starts a client of a random shape; `None` when the server may refuse it and does.
async fn begin(world: &World, table: &Table, locale: Locale, rng: &mut Rng) -> Option<Follower> {
    let (shape, surely) = random_shape(table, locale, rng);
    // What Postgres itself refuses must be refused, by our own reading of it.
    let makes_sense = world.db.session().await.try_sql(&shape.sql()).await;
    let target = format!("{}&offset=-1", shape.target());
    let answer = Request::get(target).send(world.server.address).await.expect("an answer");
    match (answer.status, makes_sense) {
        (200, Ok(())) => Some(world.client(shape).through_outages()),
        (400, Err(_)) => None,
        (400, Ok(())) if !surely => None,
        (_, sense) => {
            panic!("{}\nPostgres: {sense:?}\nthe server: {}", shape.sql(), answer.shown())
        }
    }
}

/// Writers on every table at once; meanwhile the server is killed or stopped now and then, and further clients
/// begin, so that snapshots are taken among commits and crashes. Gives the number of crashes.
async fn burst(
    world: &mut World,
    tables: &[Table],
    locale: Locale,
    rng: &mut Rng,
    following: &mut Vec<Following>,
) -> usize {
    let mut writers = Vec::new();
    for table in tables {
        let session = world.db.session().await;
        let (table, mut rng) = (table.clone(), rng.fork());
        writers.push(tokio::spawn(async move {
            for _ in 0..TRANSACTIONS {
                writes::transaction(&session, &table, &mut rng).await;
            }
        }));
    }
    let mut crashes = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let (shape, surely) = random_shape(rng.pick(tables), locale, rng);
        if surely {
            following.push(Following::start(world.client(shape).through_outages()));
        }
        let pause = Duration::from_millis(rng.between(5, 150) as u64); // The moment of the crash is random.
        tokio::time::sleep(pause).await;
        match rng.below(10) {
            0..=1 => world.server.kill().await,
            2 => world.server.stop().await,
            _ => continue,
        }
        world.server.restart().await;
        crashes += 1;
    }
    for writer in writers {
        writer.await.expect("a writer failed, see above");
    }
    crashes
}
