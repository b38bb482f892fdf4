//! How fast new shapes of empty and of small results are made over HTTP, beside the bare snapshot queries on as many
//! connections as there are clients.
//!
//! Rounds alternate: as many clients make shapes `project_id = n`, then as many sessions ask Postgres for the same rows,
//! each time of other projects. What it costs the server and Postgres in CPU is printed beside the rates: on a busy
//! machine that says more.
//!
//! `BENCH_CREATION_CLIENTS` is a list of numbers of clients, `BENCH_CREATION_SHAPES` the shapes of a round.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::harness::{Shape, World, size};
use super::making::make_with;
use super::spread::Spread;
use super::{cpu_seconds, figures, status, world};

/// Rows of each shape.
const ROWS: [usize; 2] = [0, 2];

/// So many clients, and rows of each shape.
struct Measured {
    clients: usize,
    rows: usize,
    shapes: usize,
    rounds: Vec<Round>,
}

struct Round {
    made: Cost,
    bare: Cost,
}

/// What a round cost in all.
struct Cost {
    took: Duration,
    /// Seconds of CPU.
    server: f64,
    postgres: f64,
}

pub async fn creation() {
    let clients = std::env::var("BENCH_CREATION_CLIENTS").unwrap_or_else(|_| "4,8".to_owned());
    let clients: Vec<usize> = clients.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let (shapes, rounds) = (size("BENCH_CREATION_SHAPES", 100), size("BENCH_ROUNDS", 1));
    println!(
        "creation: {shapes} shapes project_id = n over HTTP, beside bare snapshot queries on as many connections, medians of {rounds} rounds (lowest to highest), CPU in µs a shape\n  {:>4}{:>9}{:>26}{:>26}{:>22}{:>10}{:>10}{:>10}",
        "rows", "clients", "made/s", "bare/s", "made, % of it", "server", "Postgres", "bare"
    );
    let mut all = Vec::new();
    for rows in ROWS {
        let projects = shapes * (1 + rounds * clients.len());
        let world = filled(rows, projects).await;
        // The first ones open connections and learn that they are quick.
        make_with(&world, clients[0], 0..shapes, shape).await;
        let mut measured: Vec<Measured> = clients
            .iter()
            .map(|&clients| Measured { clients, rows, shapes, rounds: Vec::new() })
            .collect();
        let mut first = shapes;
        for _ in 0..rounds {
            for one in &mut measured {
                let projects = first..first + shapes;
                first = projects.end;
                one.rounds.push(round(&world, one.clients, projects).await);
            }
        }
        measured.iter().for_each(Measured::print);
        all.extend(measured);
    }
    figures::write("creation", &all.iter().map(Measured::json).collect());
}

async fn filled(rows: usize, projects: usize) -> World {
    let world = world().await;
    world
        .sql("CREATE TABLE issues (id bigint PRIMARY KEY, project_id int NOT NULL, title text NOT NULL, status text NOT NULL)")
        .await;
    let values = format!("SELECT id, id / {}, 'Issue number ' || id, 'open'", rows.max(1));
    let ids = format!("generate_series(0, {}) id", projects * rows);
    world.sql(&format!("INSERT INTO issues {values} FROM {ids} WHERE {rows} > 0")).await;
    world.sql("CREATE INDEX ON issues (project_id)").await;
    world.sql("ANALYZE issues").await;
    world
}

fn shape(n: usize) -> Shape {
    Shape::of("issues").filter(&format!("project_id = {n}"))
}

async fn round(world: &World, clients: usize, projects: Range<usize>) -> Round {
    let postmaster = postmaster(world).await;
    let begun = (cpu_seconds(world.server.id()), children_seconds(postmaster));
    let took = make_with(world, clients, projects.clone(), shape).await.took;
    let server = cpu_seconds(world.server.id()) - begun.0;
    let made = Cost { took, server, postgres: children_seconds(postmaster) - begun.1 };
    Round { made, bare: bare(world, postmaster, clients, projects).await }
}

/// The queries that the shapes need at least: a snapshot transaction each.
async fn bare(world: &World, postmaster: u32, connections: usize, projects: Range<usize>) -> Cost {
    let mut sessions = Vec::new();
    for _ in 0..connections {
        sessions.push(world.db.session().await);
    }
    let cpu = children_seconds(postmaster);
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for (worker, session) in sessions.into_iter().enumerate() {
        let projects = projects.clone();
        workers.spawn(async move {
            for n in projects.skip(worker).step_by(connections) {
                session
                    .sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()::text")
                    .await;
                session.sql(&format!("SELECT * FROM issues WHERE project_id = {n}")).await;
                session.sql("COMMIT").await;
            }
            session
        });
    }
    let sessions = workers.join_all().await;
    let took = begun.elapsed();
    let postgres = children_seconds(postmaster) - cpu;
    drop(sessions);
    Cost { took, server: 0.0, postgres }
}

async fn postmaster(world: &World) -> u32 {
    let backend = world.db.value("SELECT pg_backend_pid()").await;
    status(backend.parse().unwrap(), "PPid") as u32
}

/// Seconds of CPU of all processes of a Postgres that live.
fn children_seconds(postmaster: u32) -> f64 {
    let children = format!("/proc/{postmaster}/task/{postmaster}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let alive = |child: &u32| std::fs::exists(format!("/proc/{child}/stat")).unwrap_or(false);
    children
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .filter(alive)
        .map(cpu_seconds)
        .sum()
}

impl Measured {
    fn rate(&self, cost: fn(&Round) -> &Cost) -> Spread {
        Spread::of(
            self.rounds.iter().map(|round| self.shapes as f64 / cost(round).took.as_secs_f64()),
        )
    }

    fn ratio(&self) -> Spread {
        let ratio =
            |round: &Round| 100.0 * round.bare.took.as_secs_f64() / round.made.took.as_secs_f64();
        Spread::of(self.rounds.iter().map(ratio))
    }

    /// Microseconds of CPU for each shape.
    fn micros(&self, cpu: fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| 1e6 * cpu(round) / self.shapes as f64))
    }

    fn print(&self) {
        println!(
            "  {:>4}{:>9}{:>26}{:>26}{:>22.1}{:>10.0}{:>10.0}{:>10.0}",
            self.rows,
            self.clients,
            self.rate(|round| &round.made),
            self.rate(|round| &round.bare),
            self.ratio(),
            self.micros(|round| round.made.server).median,
            self.micros(|round| round.made.postgres).median,
            self.micros(|round| round.bare.postgres).median,
        );
    }

    fn json(&self) -> Value {
        json!({
            "rows": self.rows,
            "clients": self.clients,
            "shapes": self.shapes,
            "rounds": self.rounds.len(),
            "made_per_second": self.rate(|round| &round.made).json(),
            "bare_per_second": self.rate(|round| &round.bare).json(),
            "ratio_percent": self.ratio().json(),
            "server_cpu_us": self.micros(|round| round.made.server).json(),
            "postgres_cpu_us": self.micros(|round| round.made.postgres).json(),
            "bare_cpu_us": self.micros(|round| round.bare.postgres).json(),
        })
    }
}
