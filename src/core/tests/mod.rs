//! The inner parts of a server against a disk that fails: killed between any two operations, or in
//! the middle of one, they lose nothing, repeat nothing, and confirm nothing that is not durable.
//!
//! `BROOKLET_TEST_SEED` replays a run, `BROOKLET_TEST_CRASHES` sets how many crashes there are.

mod behind;
mod budget;
mod check;
mod flat;
mod life;
mod members;
mod moving;
mod order;
pub(crate) mod postgres;
mod records;
mod repair;
mod upkeep;
mod world;

use std::sync::{Arc, Mutex};

use brooklet_dataflows::worker::{self, Intake, Most};

use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;
use life::{Ended, Life, Step};
use postgres::Postgres;
use world::World;

/// Crashes of one world: the logs grow with them.
const CRASHES_PER_WORLD: usize = 25;

/// What a run has come by, to show that it was not idle.
#[derive(Debug, Default)]
struct Tally {
    crashes: usize,
    inside: usize,
    restored: usize,
    compared: usize,
    entries: usize,
    commits: usize,
    sealed: usize,
    folded: usize,
    retired: usize,
    rewritten: usize,
    compacted: usize,
    with_subqueries: usize,
    checkpoints: usize,
    from_checkpoint: usize,
    moved: usize,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn world(rng: &mut Rng) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    World {
        rng: rng.fork(),
        later: 0,
        postgres: Arc::new(Mutex::new(Postgres::new(rng.fork()))),
        repairs: Vec::new(),
        records: Arc::default(),
        runtime: Arc::new(runtime.unwrap()),
        subqueries: false,
        lane: None,
    }
}

/// What goes wrong in a life, and after how many operations.
#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    after: u64,
    /// Already while it starts.
    early: bool,
    steps: usize,
}

/// Where a life stands.
#[derive(Clone, Copy)]
enum Phase {
    /// It catches up with what happened while it was dead, then is compared with the model.
    First,
    /// So many steps are left until it is compared again.
    Steps(usize),
    Last,
}

/// Runs a life on this thread: the dataflow asks for more, and what happens until it gets it is the
/// rest of the server.
fn live(life: Life, disk: &Faulty, plan: Plan) -> (Life, Result<(), Ended>) {
    let mut phase = Phase::First;
    let own = disk.clone();
    run(life, disk, move |life| turn(life, &own, plan, &mut phase))
}

/// The same, with what happens given; until it says that there is no more.
fn run(
    life: Life,
    disk: &Faulty,
    mut turn: impl FnMut(&mut Life) -> Result<Option<Step>, Ended> + Send + Sync + 'static,
) -> (Life, Result<(), Ended>) {
    let emitter = life.emitter();
    let life = Arc::new(Mutex::new(Some(life)));
    let outcome = Arc::new(Mutex::new(Ok(())));
    let (inner, ended, disk) = (Arc::clone(&life), Arc::clone(&outcome), disk.clone());
    let intake = move |batch: &mut Vec<_>| {
        let mut life = inner.lock().unwrap();
        let life = life.as_mut().unwrap();
        loop {
            if matches!(disk.hit(), Some(Fault::Kill | Fault::PowerCut)) {
                return Intake::Closed;
            }
            match turn(life) {
                Ok(Some(Step::Other)) => {}
                Ok(Some(Step::Dataflow(mut events))) => {
                    batch.append(&mut events);
                    return Intake::Filled;
                }
                Ok(None) => return Intake::Closed,
                Err(error) => {
                    *ended.lock().unwrap() = Err(error);
                    return Intake::Closed;
                }
            }
        }
    };
    // So small that most transactions leave in parts.
    let most = Most { postings: 1, ends: 2 };
    worker::run(intake, most, move |collated| emitter.collated(collated));
    let life = life.lock().unwrap().take().unwrap();
    let outcome = std::mem::replace(&mut *outcome.lock().unwrap(), Ok(()));
    (life, outcome)
}

fn turn(
    life: &mut Life,
    disk: &Faulty,
    plan: Plan,
    phase: &mut Phase,
) -> Result<Option<Step>, Ended> {
    match phase {
        Phase::First => {
            let step = life.catch_up()?;
            if step.is_none() {
                check::everything(life)?;
                if !plan.early {
                    disk.arm(plan.fault, plan.after);
                }
                *phase = Phase::Steps(plan.steps);
            }
            Ok(Some(step.unwrap_or(Step::Other)))
        }
        Phase::Steps(0) => {
            *phase = Phase::Last;
            Ok(Some(Step::Other))
        }
        Phase::Steps(left) => {
            *left -= 1;
            life.step().map(Some)
        }
        Phase::Last => {
            let step = life.catch_up()?;
            if step.is_none() {
                check::everything(life)?;
            }
            Ok(step)
        }
    }
}

/// A world that ends a life again and again; says which operation each life ended at.
fn crash_again_and_again(
    seed: u64,
    crashes: usize,
    faults: &[Fault],
) -> (Tally, Vec<u64>, Vec<String>) {
    let mut rng = Rng::new(seed);
    let (mut world, mut disk) = (world(&mut rng), Faulty::new(rng.fork()));
    world.subqueries = true;
    let (mut tally, mut places, mut errors) = (Tally::default(), Vec::new(), Vec::new());
    for _ in 0..crashes {
        let fault = faults[rng.below(faults.len())];
        let early = rng.percent(25);
        let after = rng.below(if early { 30 } else { 200 }) as u64;
        let plan = Plan { fault, after, early, steps: 20 + rng.below(500) };
        if early {
            disk.arm(fault, after);
        }
        let outcome = match Life::start(world, &disk) {
            Ok(life) => {
                check::at_once(&life);
                let (life, outcome) = live(life, &disk, plan);
                world = life.end();
                outcome
            }
            Err((back, error)) => {
                world = back;
                Err(error)
            }
        };
        if let Err(error) = outcome {
            assert!(disk.hit().is_some(), "it ended without a reason: {error}");
            errors.push(format!("{error:#}"));
        }
        tally.crashes += 1;
        tally.inside += usize::from(disk.hit().is_some());
        places.push(disk.operations());
        assert!(!disk.retried(), "a sync that had failed was tried again");
        let power_cut = match fault {
            Fault::Kill => false,
            // A restart finds in the page cache what a failed sync has lost, and cannot know: the same
            // with every database. What is checked is that nothing relied on it before.
            Fault::PowerCut | Fault::SyncFails => true,
            _ => rng.percent(50),
        };
        disk = disk.restart(power_cut);
    }
    let records = world.records.lock().unwrap();
    tally.restored = records.restored;
    (tally.compared, tally.entries) = records.compared;
    tally.sealed = records.sealed;
    (tally.folded, tally.retired) = (records.folded, records.retired);
    (tally.rewritten, tally.compacted) = (records.rewritten, records.compacted);
    tally.with_subqueries = records.with_subqueries;
    tally.checkpoints = records.checkpoints;
    tally.from_checkpoint = records.from_checkpoint;
    tally.moved = records.moved;
    tally.commits = world.postgres.lock().unwrap().commits.len();
    drop(records);
    (tally, places, errors)
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.crashes += more.crashes;
        self.inside += more.inside;
        self.restored += more.restored;
        self.compared += more.compared;
        self.entries += more.entries;
        self.commits += more.commits;
        self.sealed += more.sealed;
        self.folded += more.folded;
        self.retired += more.retired;
        self.rewritten += more.rewritten;
        self.compacted += more.compacted;
        self.with_subqueries += more.with_subqueries;
        self.checkpoints += more.checkpoints;
        self.from_checkpoint += more.from_checkpoint;
        self.moved += more.moved;
    }
}

/// Many worlds, each with its seed.
fn worlds(crashes: usize, faults: &'static [Fault]) -> (Tally, Vec<String>) {
    let first = std::env::var("BROOKLET_TEST_SEED").ok().map(|text| text.parse::<u64>().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = first.unwrap_or(now.as_nanos() as u64 >> 10);
    println!("BROOKLET_TEST_SEED={seed}");
    let count = crashes.div_ceil(CRASHES_PER_WORLD) as u64;
    let share = |odd: u64| {
        let (mut tally, mut errors) = (Tally::default(), Vec::new());
        for seed in (0..count).filter(|n| n % 2 == odd).map(|n| seed.wrapping_add(n)) {
            let replay = Replay(seed);
            let (one, _, mut said) = crash_again_and_again(seed, CRASHES_PER_WORLD, faults);
            std::mem::forget(replay);
            tally += one;
            errors.append(&mut said);
        }
        (tally, errors)
    };
    let ((mut tally, mut errors), (more, mut said)) = std::thread::scope(|scope| {
        let other = scope.spawn(|| share(1));
        let own = share(0);
        (own, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    tally += more;
    errors.append(&mut said);
    println!("{tally:?}");
    (tally, errors)
}

/// Says how to repeat what failed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        println!("failed: BROOKLET_TEST_SEED={} BROOKLET_TEST_CRASHES={CRASHES_PER_WORLD}", self.0);
    }
}

#[test]
fn killed_at_thousands_of_points_between_receive_and_publish_nothing_is_lost_or_repeated() {
    let crashes = number("BROOKLET_TEST_CRASHES", 2000) as usize;
    let (tally, _) = worlds(crashes, &[Fault::Kill, Fault::PowerCut]);
    assert!(tally.inside * 2 > tally.crashes, "{tally:?}");
    let least = tally.crashes / 2;
    assert!(tally.restored > least && tally.compared > least && tally.entries > least, "{tally:?}");
    assert!(tally.commits > least && tally.sealed > least / 20, "{tally:?}");
    let least = tally.crashes / 20;
    assert!(tally.folded > least && tally.retired > least && tally.rewritten > least, "{tally:?}");
    assert!(tally.compacted > tally.crashes / 500, "{tally:?}");
    assert!(tally.with_subqueries > least && tally.moved > least, "{tally:?}");
    assert!(tally.checkpoints > least && tally.from_checkpoint > least, "{tally:?}");
}

#[test]
fn a_seed_repeats_a_run_to_the_operation() {
    let run =
        |seed| crash_again_and_again(seed, CRASHES_PER_WORLD, &[Fault::Kill, Fault::PowerCut]).1;
    let all: Vec<_> = [1, 2, 7].into_iter().map(run).collect();
    assert_eq!(all, [1, 2, 7].map(run));
    assert_ne!(all[0], all[1]);
}

#[test]
fn without_space_it_says_so_confirms_nothing_and_goes_on_where_it_was_when_there_is_some() {
    let (tally, errors) = worlds(400, &[Fault::NoSpace]);
    assert!(errors.len() * 3 > tally.crashes && tally.compared > tally.crashes, "{tally:?}");
    for error in errors {
        assert!(error.contains("/storage") && error.contains("no storage space"), "{error}");
    }
}

#[test]
fn a_sync_that_fails_is_the_end_of_the_process_and_nothing_is_confirmed_that_it_lost() {
    let (tally, errors) = worlds(400, &[Fault::SyncFails]);
    assert!(errors.len() * 2 > tally.crashes && tally.compared > tally.crashes, "{tally:?}");
    for error in errors {
        assert!(error.contains("Input/output error"), "{error}");
    }
}

#[test]
fn a_read_that_fails_gives_an_error_and_nothing_wrong() {
    let (tally, errors) = worlds(400, &[Fault::ReadFails]);
    assert!(!errors.is_empty() && tally.compared > tally.crashes, "{tally:?}");
}

/// Bits are flipped under a living server, each alone, and everything is read.
#[test]
fn a_flipped_bit_gives_an_error_and_never_wrong_rows() {
    let mut noticed = 0;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut world, mut disk) = (world(&mut rng), Faulty::new(rng.fork()));
        let quiet = Plan { fault: Fault::Kill, after: u64::MAX / 2, early: false, steps: 300 };
        for _ in 0..3 {
            let life = Life::start(world, &disk).map_err(|(_, error)| error).unwrap();
            let (life, outcome) = live(life, &disk, quiet);
            outcome.unwrap();
            world = life.end();
            disk = disk.restart(false);
        }
        // Read for the first time in this life: nothing is decoded yet.
        let life = Life::start(world, &disk).map_err(|(_, error)| error).unwrap();
        for _ in 0..60 {
            let files = disk.files();
            let path = &files[rng.below(files.len())];
            let (at, bit) = (rng.below(disk.length(path)), rng.below(8) as u8);
            disk.flip(path, at, bit);
            noticed += check::damaged(&life);
            disk.flip(path, at, bit);
        }
    }
    println!("{noticed} reads were refused");
    assert!(noticed > 100);
}
