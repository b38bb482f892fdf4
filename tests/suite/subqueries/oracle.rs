//! Random filters with subqueries, transactions, crashes and lost slots; Postgres says what is right.

use std::time::Duration;

use super::generate::{COLUMNS, Filters};
use crate::harness::{Following, Rng, Shape, World, size};

const IDS: i64 = 12;
const TRANSACTIONS: usize = 120;
const TABLES: [&str; 3] = ["people", "teams", "tasks"];

#[tokio::test]
async fn subqueries_agree_with_postgres() {
    let mut rng = Rng::for_test("subqueries");
    for round in 0..size("BROOKLET_TEST_ROUNDS", 2) {
        let mut world = World::new().await;
        let (shapes, changes, crashes) = play(&mut world, &mut rng).await;
        println!("round {}: {shapes} shapes, {changes} changes, {crashes} crashes", round + 1);
        assert!(shapes > 0 && changes > 0, "nothing was compared");
    }
}

async fn play(world: &mut World, rng: &mut Rng) -> (usize, usize, usize) {
    world.sql("CREATE EXTENSION IF NOT EXISTS citext").await;
    for table in TABLES {
        world.sql(&format!("CREATE TABLE {table} {COLUMNS}")).await;
        for id in 0..IDS / 2 {
            let values = values(rng);
            world.sql(&format!("INSERT INTO {table} VALUES ({id}, {values})")).await;
        }
    }
    let (mut followers, mut crashes) = (Vec::new(), 0);
    for _ in 0..2 {
        for _ in 0..6 {
            followers.push(world.client(shape(rng)).through_outages());
        }
        let mut following: Vec<Following> = followers.drain(..).map(Following::start).collect();
        crashes += burst(world, rng, &mut following).await;
        for client in following {
            followers.push(client.stop().await);
        }
        world.compare_all(&mut followers).await;
        world.verify_all(1).await;
    }
    let refetches: usize = followers.iter().map(|follower| follower.refetches).sum();
    println!("{refetches} began anew while their snapshot was cut off");
    let changes = followers.iter().map(|follower| follower.log.changes.len()).sum();
    (followers.len(), changes, crashes)
}

/// Two writers over all tables; the server is killed or stopped and its slot dropped meanwhile, and clients begin.
async fn burst(world: &mut World, rng: &mut Rng, following: &mut Vec<Following>) -> usize {
    let mut writers = Vec::new();
    for _ in 0..2 {
        let (session, mut rng) = (world.db.session().await, rng.fork());
        writers.push(tokio::spawn(async move {
            for _ in 0..TRANSACTIONS {
                session.transaction(&mut rng, 5, statement).await;
            }
        }));
    }
    let mut crashes = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        following.push(Following::start(world.client(shape(rng)).through_outages()));
        // The moment of the crash is random.
        tokio::time::sleep(Duration::from_millis(rng.between(20, 250) as u64)).await;
        let event = rng.below(12);
        match event {
            0..=3 => world.server.kill().await,
            4 => world.server.stop().await,
            _ => {}
        }
        // The slot is lost behind a running server, or while nobody looks.
        if matches!(event, 3..=5) {
            world.drop_slot().await;
        }
        if event <= 4 {
            world.server.restart().await;
        }
        crashes += usize::from(event <= 5);
    }
    for writer in writers {
        writer.await.expect("a writer failed, see above");
    }
    crashes
}

fn statement(rng: &mut Rng) -> String {
    let table = *rng.pick(&TABLES);
    let id = rng.below(IDS as usize);
    match rng.below(10) {
        0..=2 => {
            format!("INSERT INTO {table} VALUES ({id}, {}) ON CONFLICT DO NOTHING", values(rng))
        }
        3 => format!("DELETE FROM {table} WHERE id = {id}"),
        4 => format!("UPDATE {table} SET active = NOT active WHERE id = {id}"),
        5 => format!("UPDATE {table} SET id = {} WHERE id = {id}", rng.below(IDS as usize)),
        6 => format!(
            "UPDATE {table} SET active = {} WHERE id < {id}",
            rng.pick(&["true", "false", "NULL"])
        ),
        _ => {
            let column = *rng.pick(&["a", "b", "c", "name", "tags", "ci"]);
            format!("UPDATE {table} SET {column} = {} WHERE id = {id}", value(column, rng))
        }
    }
}

fn values(rng: &mut Rng) -> String {
    let list: Vec<String> = ["a", "b", "c", "name", "active", "tags", "ci"]
        .iter()
        .map(|column| value(column, rng))
        .collect();
    list.join(", ")
}

fn value(column: &str, rng: &mut Rng) -> String {
    if rng.percent(18) {
        return "NULL".to_owned();
    }
    match column {
        "c" => (*rng.pick(&["0", "1", "1.0", "2.50", "2.5", "3.00", "5"])).to_owned(),
        "ci" => (*rng.pick(&["'a'", "'A'", "'b'", "'B'"])).to_owned(),
        "name" => (*rng.pick(&["'a'", "'b'", "'A'", "''"])).to_owned(),
        "tags" => {
            (*rng.pick(&["'{}'", "'{1}'", "'{2,NULL,3}'", "'{{0,1},{2,4}}'", "'{3,3}'"])).to_owned()
        }
        "active" => (*rng.pick(&["true", "false"])).to_owned(),
        _ => rng.below(IDS as usize / 2).to_string(),
    }
}

fn shape(rng: &mut Rng) -> Shape {
    let table = *rng.pick(&TABLES);
    let filter = Filters::new(&TABLES, &mut |bound| rng.below(bound)).filter(table);
    let shape = Shape::of(table).filter(&filter);
    if rng.percent(30) { shape.columns("id,name") } else { shape }
}
