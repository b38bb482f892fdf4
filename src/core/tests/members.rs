//! Shapes with subqueries in the simulation: the thread that keeps their rows, what Postgres would answer it, and
//! the model, which computes everything anew.
//!
//! The thread is a thread as in a server; whatever is sent to it is done before anything else goes on, so a seed
//! still repeats a life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use brooklet_dataflows::members::{Counts, KeptName, needs};
use brooklet_sql::{Lsn, RelationName, Tables};
use tokio::sync::{mpsc, oneshot};

use super::super::members::{MemberStores, start};
use super::super::{CoreEnd, member_plans};
use super::life::{Ended, Life, Task};
use super::postgres::{Commit, Operation, Postgres, Question, Seen, Values, row, schema};
use super::records::Records;
use super::upkeep::reached;
use super::world::World;
use crate::change_log::ChangeLog;
use crate::ingest::Entry;
use crate::members::checkpoint::CaughtUp;
use crate::members::load::{self, Need, add_unseen, all_needs};
use crate::members::watch::Watch;
use crate::members::{Input, MembersHandle, Restored, create};
use crate::shapes::create::{CreateError, Workshop};
use crate::shapes::definition::{FilterSource, Question as Asked};
use crate::shapes::registry::Registry;
use crate::shapes::visibility;
use crate::shapes::{Defined, Shape};
use crate::storage::tests::rng::Rng;

/// What stands in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subquery {
    /// `n IN (SELECT n FROM the other WHERE id < 6)`
    In,
    /// `n NOT IN (SELECT n FROM the other WHERE id > 7)`
    NotIn,
    /// `EXISTS (SELECT 1 FROM the other o WHERE o.n = n AND o.body IS NULL)`
    Exists,
    /// `n IN (SELECT id FROM the same WHERE n IS NOT NULL)`
    Same,
}

impl Subquery {
    pub fn random(rng: &mut Rng) -> Subquery {
        [Subquery::In, Subquery::NotIn, Subquery::Exists, Subquery::Same][rng.below(4)]
    }

    /// The table it asks, of a shape about a table.
    pub fn inner(self, table: usize) -> usize {
        if self == Subquery::Same { table } else { 1 - table }
    }

    pub fn text(self, table: usize) -> String {
        let inner = self.inner(table);
        match self {
            Subquery::In => format!("n IN (SELECT n FROM t{inner} WHERE id < 6)"),
            Subquery::NotIn => format!("n NOT IN (SELECT n FROM t{inner} WHERE id > 7)"),
            Subquery::Exists => {
                format!(
                    "EXISTS (SELECT 1 FROM t{inner} o WHERE o.n = t{table}.n AND o.body IS NULL)"
                )
            }
            Subquery::Same => format!("n IN (SELECT id FROM t{inner} WHERE n IS NOT NULL)"),
        }
    }

    /// Whether a row is let in, as SQL says it: true, and neither false nor NULL.
    fn holds(self, row: &Values, inner: &BTreeMap<String, Values>) -> bool {
        let id = |row: &Values| row[0].as_ref().and_then(|id| id.parse::<u32>().ok());
        let set: Vec<&Option<String>> = match self {
            Subquery::In => {
                inner.values().filter(|row| id(row) < Some(6)).map(|row| &row[1]).collect()
            }
            Subquery::NotIn => {
                inner.values().filter(|row| id(row) > Some(7)).map(|row| &row[1]).collect()
            }
            Subquery::Exists => {
                inner.values().filter(|row| row[2].is_none()).map(|row| &row[1]).collect()
            }
            Subquery::Same => {
                inner.values().filter(|row| row[1].is_some()).map(|row| &row[0]).collect()
            }
        };
        let n = &row[1];
        let is_in = n.is_some() && set.contains(&n);
        match self {
            Subquery::NotIn => set.is_empty() || (n.is_some() && !is_in && !set.contains(&&None)),
            _ => is_in,
        }
    }
}

/// Both tables after some transactions.
#[derive(Default)]
pub(super) struct State([BTreeMap<String, Values>; 2]);

impl State {
    pub fn apply(&mut self, commit: &Commit) {
        for operation in &commit.operations {
            match operation {
                Operation::Truncate { table } => self.0[*table].clear(),
                Operation::Row { table, old, new, .. } => {
                    let rows = &mut self.0[*table];
                    old.iter().for_each(|old| _ = rows.remove(&old[0].clone().unwrap()));
                    new.iter()
                        .for_each(|new| _ = rows.insert(new[0].clone().unwrap(), new.clone()));
                }
            }
        }
    }

    /// The rows that a question is about.
    pub fn rows(&self, question: Question) -> BTreeMap<String, Values> {
        let mut rows = self.0[question.table].clone();
        rows.retain(|_, row| match question.subquery {
            None => question.matches(row),
            Some(subquery) => subquery.holds(row, &self.0[subquery.inner(question.table)]),
        });
        rows
    }
}

/// The thread, its inputs in between.
pub(super) struct Lane {
    thread: mpsc::Sender<Input>,
    /// What tasks send it: handed on between their turns.
    sent: mpsc::Receiver<Input>,
    slices: mpsc::Receiver<Vec<Entry>>,
    _ends: mpsc::UnboundedReceiver<CoreEnd>,
}

impl Lane {
    /// Starts it as `core` does.
    pub fn open(
        world: &World,
        stores: MemberStores,
        shapes: &[Shape],
        log: &ChangeLog,
        end: Lsn,
    ) -> Result<(Lane, Watch, MembersHandle, Option<CaughtUp>), Ended> {
        let (ends, ended) = mpsc::unbounded_channel();
        let (plans, reached) = (member_plans(shapes), (world.repaired(), end));
        let started = start(stores, plans, 64 << 20, log, reached, &ends);
        let (started, watch, standing) = world.runtime.block_on(started)?;
        let ((inputs, sent), (slice, slices)) = (mpsc::channel(1_000), mpsc::channel(1_000));
        let handle = started.handle(slice);
        let mut lane = Lane { thread: handle.inputs.clone(), sent, slices, _ends: ended };
        lane.settle();
        Ok((lane, watch, MembersHandle { inputs, ..handle }, standing))
    }

    /// Whatever was sent is done.
    pub fn settle(&mut self) {
        while let Ok(input) = self.sent.try_recv() {
            self.thread.blocking_send(input).unwrap();
        }
        let (answer, done) = oneshot::channel();
        self.thread.blocking_send(Input::View(answer)).unwrap();
        done.blocking_recv().unwrap();
    }

    /// What tasks have for the change log.
    pub fn slice(&mut self) -> Option<Vec<Entry>> {
        self.slices.try_recv().ok()
    }
}

impl Life {
    /// What is kept is written down.
    pub(super) fn checkpoint(&mut self) {
        let (shop, records) = (Arc::clone(&self.shop), Arc::clone(self.records()));
        self.tasks.push(Box::pin(async move {
            let before = shop.members.checkpoints.position();
            if crate::members::checkpoint::make(&shop).await {
                let written = shop.members.checkpoints.position() > before;
                records.lock().unwrap().checkpoints += usize::from(written);
            }
        }));
    }
}

/// Whether some of the stream has not come to the logs yet.
pub(super) fn is_behind(life: &Life) -> bool {
    let last = life.postgres().lock().unwrap().commits.last().map(|commit| commit.lsn);
    last.is_some_and(|last| life.shop.members.logs.processed() < last)
}

/// What a question means.
pub(super) fn defined(question: Question, added: usize, tables: &Tables) -> Defined {
    let below =
        |below: u32| FilterSource { text: "n < $1".into(), params: vec![below.to_string()] };
    let subquery = |one: Subquery| FilterSource { text: one.text(question.table), params: vec![] };
    let filter = question.below.map(below).or(question.subquery.map(subquery));
    let name = RelationName { schema: "public".into(), table: format!("t{}", question.table) };
    let listed = ["id", "n", "body"].map(str::to_owned).to_vec();
    let columns = question.listed.then_some(listed);
    let asked = Asked { columns, ..Asked::all(name, filter) };
    Defined::new(schema(question.table, added), tables, asked).unwrap()
}

/// What a snapshot shows of tables, and which commits that are.
fn snapshot(
    postgres: &mut Postgres,
    needs: &[Need],
) -> (Arc<visibility::Seen>, Vec<(KeptName, Counts)>) {
    let taken = postgres.snapshot(Question::all(0));
    let count = |(name, _): &Need| {
        let mut counts = Counts::new(name);
        let question = Question::all(name.table as usize - 1);
        for values in postgres.rows(question, &taken.contains).values() {
            counts.add(&name.project(&row(values)).unwrap(), 1);
        }
        (name.clone(), counts)
    };
    let rows = needs.iter().map(count).collect();
    (visibility::Seen::new(taken.visibility, taken.until), rows)
}

/// What goes on from the beginning.
pub(super) fn begun(
    world: &World,
    registry: &Arc<Registry>,
    ended: mpsc::UnboundedReceiver<crate::shape_log::Ended>,
    checkpoint: Option<CaughtUp>,
) -> Vec<Task> {
    let (model, records) = (Arc::clone(&world.postgres), Arc::clone(&world.records));
    let follows = Arc::clone(registry).follow(ended);
    let restores = restore(Arc::clone(registry), checkpoint, model, records);
    vec![Box::pin(follows), Box::pin(restores)]
}

/// As `members::create::create` does it; what Postgres does there, the model does.
pub(super) async fn make(
    shop: &Workshop,
    shape: &Arc<Shape>,
    postgres: &Mutex<Postgres>,
    records: &Mutex<Records>,
) -> Result<(), CreateError> {
    let (after, missing) = create::collect(shop, shape, &needs(&shape.plan)).await?;
    let streamed = shop.recent.up_to(after);
    let (seen, rows) = snapshot(&mut postgres.lock().unwrap(), &missing);
    Postgres::rows_come(postgres).await;
    let rows = add_unseen(&shop.change_log, &seen.visibility, &streamed, rows).await?;
    let began = create::loaded(shop, shape, rows, seen).await?;
    let mut began = began.await.map_err(|_| CreateError::Ended)?;
    if let Ok(beginning) = &mut began {
        // They come in the order of a hash, which is another in each run; where chunks end depends on it.
        beginning.rows.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        let until = beginning.seen.until;
        let commits = postgres.lock().unwrap();
        let contains = commits.commits.iter().map(|commit| commit.lsn <= until).collect();
        records.lock().unwrap().change(shape.id(), |known| known.contains = Some(contains));
    }
    create::begin(shop, shape, began, || true).await
}

/// As `members::load::restore` does it.
async fn restore(
    registry: Arc<Registry>,
    checkpoint: Option<CaughtUp>,
    postgres: Arc<Mutex<Postgres>>,
    records: Arc<Mutex<Records>>,
) {
    let (shop, shapes) = (registry.workshop(), registry.finished_with_subqueries());
    let standing = load::standing(checkpoint).await;
    loop {
        let alive: Vec<Arc<Shape>> =
            shapes.iter().filter(|shape| shape.is_alive()).cloned().collect();
        if alive.is_empty() {
            return;
        }
        let mut needs = all_needs(alive.iter().map(|shape| &shape.plan));
        needs.retain(|(need, _)| standing.iter().all(|(name, _)| name != need));
        let visibility::Seen { visibility, until, .. } = visibility::Seen::nothing();
        let mut restored = Restored { rows: Vec::new(), standing: Vec::new(), visibility, until };
        if !needs.is_empty() {
            let streamed = shop.recent.up_to(shop.members.begun_after);
            let (seen, rows) = snapshot(&mut postgres.lock().unwrap(), &needs);
            match add_unseen(&shop.change_log, &seen.visibility, &streamed, rows).await {
                Ok(rows) => {
                    let (visibility, until) = (seen.visibility.clone(), seen.until);
                    restored = Restored { rows, visibility, until, ..restored };
                }
                Err(CreateError::Unavailable { .. }) => {
                    let mut asked = 0;
                    reached(|| std::mem::replace(&mut asked, 1) == 1).await;
                    continue;
                }
                Err(_) => {
                    let removing = |id, done| {
                        records.lock().unwrap().change(id, |known| {
                            known.removing = true;
                            known.removed |= done;
                        });
                    };
                    alive.iter().for_each(|shape| removing(shape.id(), false));
                    registry.end(&alive).await;
                    alive.iter().for_each(|shape| removing(shape.id(), true));
                    return;
                }
            }
        }
        records.lock().unwrap().from_checkpoint += standing.len();
        restored.standing = standing;
        // Fails only when the process is ending.
        _ = shop.members.inputs.send(Input::Restored(Box::new(restored))).await;
        return;
    }
}

/// After each transaction that a base does not contain a client has the rows that the tables have then. Says how many
/// rows moved: they come after the transaction's operations.
pub(super) fn each_transaction(
    postgres: &Postgres,
    question: Question,
    contained: Vec<bool>,
    mut rows: Vec<Values>,
    found: &[Seen],
    fold: fn(&mut Vec<Values>, &Seen),
) -> usize {
    let (mut state, mut moved) = (State::default(), 0);
    for (commit, contained) in postgres.commits.iter().zip(contained) {
        state.apply(commit);
        if contained {
            continue;
        }
        let own = found.iter().filter(|entry| entry.offset.tx == commit.lsn.0);
        for entry in own {
            fold(&mut rows, entry);
            moved += usize::from(entry.offset.op >= 2 * commit.operations.len() as u64);
        }
        let shown = |row: Values| row.into_iter().take(3).collect::<Values>();
        let mut expected: Vec<Values> = state.rows(question).into_values().map(shown).collect();
        let mut there = rows.clone();
        there.sort();
        expected.sort();
        assert_eq!(there, expected, "{question:?}: rows after {}", commit.lsn);
    }
    moved
}
