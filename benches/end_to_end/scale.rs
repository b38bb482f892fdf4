//! Changes a second from WAL to readable logs, over kinds and numbers of shapes, beside `pg_recvlogical`
//! draining the same WAL.
//!
//! The shapes are made on an empty table. Then, in rounds, rows are inserted that one shape each wants, in
//! large transactions and in transactions of one; see `backlog.rs` for what is timed. At the end some of the
//! shapes are compared with Postgres. Then shapes are removed over HTTP, first where all are registered, then where
//! about a thousand are left.
//!
//! `BENCH_SCALE` is a list of templates with numbers of shapes, `BENCH_SCALE_CHANGES` the rows of a round; a
//! template may have its own: `subquery:10000:20000`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::backlog::{Drained, drain};
use super::harness::{Session, Shape, World, size};
use super::making::{make, remove};
use super::spread::Spread;
use super::templates::{SUBQUERY, TEMPLATES, Template};
use super::{figures, world_with};

/// Of each kind the two that are compared, fewest first.
const SMALL: &str = "equality:50,equality:500,ILIKE substring:50,range:50,IN of 5:50,subquery:20";

/// Rows in a transaction.
const TRANSACTIONS: [usize; 2] = [1_000, 1];

/// Shapes that are compared with Postgres at the end.
const COMPARED: usize = 30;

/// Removals are timed so many times, of at most so many shapes each: a few hundred take less than what
/// the server may have to do besides.
const REMOVALS: usize = 5;
const REMOVED: usize = 2_000;

/// One kind, number of shapes, and size of transactions.
struct Measured {
    template: &'static str,
    shapes: usize,
    made_per_second: f64,
    /// With all of them registered, and with few left.
    removed_per_second: [Spread; 2],
    transaction: usize,
    rounds: Vec<Drained>,
    changes: usize,
}

pub async fn scale() {
    let cases = std::env::var("BENCH_SCALE").unwrap_or_else(|_| SMALL.to_owned());
    let (changes, rounds) = (size("BENCH_SCALE_CHANGES", 300), size("BENCH_ROUNDS", 1));
    println!(
        "scale: rows that one shape each wants, changes/s, medians of {rounds} rounds (lowest to highest)\n  {:<16}{:>9}{:>8}{:>26}{:>26}{:>9}{:>13}{:>28}{:>28}{:>24}{:>22}",
        "template",
        "shapes",
        "made/s",
        "removed/s",
        "with few left",
        "changes",
        "transaction",
        "pg_recvlogical",
        "ours",
        "ours, % of it",
        "CPU µs a change"
    );
    let mut all = Vec::new();
    for case in cases.split(',') {
        let mut parts = case.split(':').map(str::trim);
        let name = parts.next().unwrap();
        let mut templates = TEMPLATES.iter().chain([&SUBQUERY]);
        let template = templates.find(|template| template.name == name);
        let template = template.unwrap_or_else(|| panic!("there is no template {name}"));
        let shapes = parts.next().expect("a number of shapes").parse().unwrap();
        let changes = parts.next().map_or(changes, |changes| changes.parse().unwrap());
        let measured = measure(template, shapes, changes, rounds).await;
        measured.iter().for_each(Measured::print);
        all.extend(measured);
    }
    compare(&all);
    figures::write("scale", &all.iter().map(Measured::json).collect());
}

async fn measure(
    template: &'static Template,
    shapes: usize,
    changes: usize,
    rounds: usize,
) -> Vec<Measured> {
    let world = world_with(|options| options.may_delete = true).await;
    world
        .sql("CREATE TABLE issues (id bigint PRIMARY KEY, project_id int NOT NULL, n bigint NOT NULL, title text NOT NULL, status text NOT NULL)")
        .await;
    if template.name == SUBQUERY.name {
        world.sql("CREATE TABLE memberships (user_id int, project_id int, PRIMARY KEY (user_id, project_id))").await;
        let fill = "INSERT INTO memberships SELECT k, k FROM generate_series(0, ";
        world.sql(&format!("{fill}{}) k", shapes - 1)).await;
    }
    let shape = |k: usize| Shape::of("issues").filter(&(template.filter)(k));
    let made = make(&world, 0..shapes, shape).await.took;
    let made_per_second = shapes as f64 / made.as_secs_f64();
    let measured = |transaction| {
        let (template, rounds) = (template.name, Vec::new());
        let removed_per_second = [Spread::of([0.0]); 2];
        Measured {
            template,
            shapes,
            made_per_second,
            removed_per_second,
            transaction,
            rounds,
            changes,
        }
    };
    let mut all = TRANSACTIONS.map(measured);
    let (session, mut number) = (world.db.session().await, 0);
    for _ in 0..rounds {
        for one in &mut all {
            number += 1;
            let last = format!("INSERT INTO issues VALUES (-{number}, -1, -1, 'the last', 'open')");
            let first = (number - 1) * changes;
            let insert = insert(&session, first, shapes, changes, one.transaction);
            one.rounds.push(drain(&world, &shape(0), &last, insert).await);
        }
    }
    check(&world, shapes, number * changes, shape).await;
    let removed = removal(&world, shapes, shape).await;
    all.iter_mut().for_each(|one| one.removed_per_second = removed);
    all.into()
}

/// Shapes a second that can be removed, with all of them registered, and with few left.
async fn removal(
    world: &World,
    shapes: usize,
    shape: impl Fn(usize) -> Shape + Clone + Send + 'static,
) -> [Spread; 2] {
    let timed = (shapes / (4 * REMOVALS)).clamp(1, REMOVED);
    let few = (2 * REMOVALS * timed).min(shapes);
    let mut left = shapes;
    let down_to = async |left: &mut usize, to: usize| {
        let begun = std::mem::replace(left, to);
        (begun - to) as f64 / remove(world, to..begun, shape.clone()).await.as_secs_f64()
    };
    let mut rates = [Vec::new(), Vec::new()];
    for (rates, from) in rates.iter_mut().zip([shapes, few]) {
        if left > from {
            down_to(&mut left, from).await;
        }
        for _ in 0..REMOVALS.min(left) {
            let to = left.saturating_sub(timed);
            rates.push(down_to(&mut left, to).await);
        }
    }
    rates.map(Spread::of)
}

/// Inserts rows of all shapes in no order, in transactions of a size, without waiting between them.
async fn insert(
    session: &Session,
    first: usize,
    shapes: usize,
    changes: usize,
    transaction: usize,
) {
    let block = format!(
        "DO $$ BEGIN
           FOR at IN 0..{} BY {transaction} LOOP
             INSERT INTO issues
               SELECT id, k, 10 * k + 5, format('issue %1$s: a Word%1$s in it', lpad(k::text, 7, '0')), 'open'
               FROM (SELECT id, id * 2654435761 % {shapes} AS k
                     FROM generate_series({first}::bigint + at, {first} + least(at + {transaction}, {changes}) - 1) id) rows;
             COMMIT;
           END LOOP;
         END $$",
        changes - 1
    );
    session.sql(&block).await;
}

/// Compares some of the shapes with Postgres; all that was written is in them.
async fn check(world: &World, shapes: usize, written: usize, shape: impl Fn(usize) -> Shape) {
    let some = (0..shapes).step_by(shapes.div_ceil(COMPARED));
    let mut followers: Vec<_> = some.map(|k| world.client(shape(k))).collect();
    world.compare_all(&mut followers).await;
    let rows: usize = followers.iter().map(|follower| follower.rows().len()).sum();
    let expected = written * followers.len() / shapes;
    assert!(rows + followers.len() >= expected, "{rows} rows where {expected} must be");
}

/// The most shapes of a kind beside the fewest.
fn compare(all: &[Measured]) {
    let mut kinds: BTreeMap<(&str, usize), Vec<&Measured>> = BTreeMap::new();
    for one in all {
        kinds.entry((one.template, one.transaction)).or_default().push(one);
    }
    for ((template, transaction), mut measured) in kinds {
        measured.sort_by_key(|one| one.shapes);
        let (Some(fewest), Some(most)) = (measured.first(), measured.last()) else { continue };
        if fewest.shapes < most.shapes {
            println!(
                "  {template}, transactions of {transaction}: with {} shapes {:.1} % of the rate with {}",
                most.shapes,
                100.0 * most.ours().median / fewest.ours().median,
                fewest.shapes
            );
        }
    }
}

impl Measured {
    fn floor(&self) -> Spread {
        let rates = self.rounds.iter().map(|round| self.changes as f64 / round.floor.as_secs_f64());
        Spread::of(rates)
    }

    fn ours(&self) -> Spread {
        let rates = self.rounds.iter().map(|round| self.changes as f64 / round.ours.as_secs_f64());
        Spread::of(rates)
    }

    fn ratio(&self) -> Spread {
        let ratio = |round: &Drained| round.floor.as_secs_f64() / round.ours.as_secs_f64();
        Spread::of(self.rounds.iter().map(ratio))
    }

    /// Microseconds of processors a change.
    fn cpu(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| 1e6 * round.cpu / self.changes as f64))
    }

    fn print(&self) {
        let ratio = self.ratio();
        let [median, lowest, highest] =
            [ratio.median, ratio.lowest, ratio.highest].map(|ratio| 100.0 * ratio);
        println!(
            "  {:<16}{:>9}{:>8.0}{:>26}{:>26}{:>9}{:>13}{:>28}{:>28}{:>24.1}{:>22.1}",
            self.template,
            self.shapes,
            self.made_per_second,
            self.removed_per_second[0],
            self.removed_per_second[1],
            self.changes,
            self.transaction,
            self.floor(),
            self.ours(),
            Spread { median, lowest, highest },
            self.cpu()
        );
    }

    fn json(&self) -> Value {
        json!({
            "template": self.template,
            "shapes": self.shapes,
            "shapes_made_per_second": self.made_per_second,
            "shapes_removed_per_second": self.removed_per_second[0].json(),
            "shapes_removed_per_second_with_few_left": self.removed_per_second[1].json(),
            "transaction_rows": self.transaction,
            "changes": self.changes,
            "rounds": self.rounds.len(),
            "pg_recvlogical_changes_per_second": self.floor().json(),
            "changes_per_second": self.ours().json(),
            "ratio": self.ratio().json(),
            "server_cpu_us": self.cpu().json(),
        })
    }
}
