//! What outlives a process, and how its tasks are run.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};

use brooklet_sql::Lsn;
use tokio::runtime::Runtime;

use super::members::Lane;
use super::postgres::Postgres;
use super::records::Records;
use crate::storage::tests::rng::Rng;

/// The process would end here.
pub(super) type Ended = anyhow::Error;

/// Something that waits for other parts.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What outlives the process: the outside world, and what it has seen.
pub(super) struct World {
    pub rng: Rng,
    /// Of a hundred tasks that could go on, how many do so later.
    pub later: usize,
    pub postgres: Arc<Mutex<Postgres>>,
    /// Where repairs stand, as it would be noted on disk.
    pub repairs: Vec<Lsn>,
    pub records: Arc<Mutex<Records>>,
    pub runtime: Arc<Runtime>,
    /// Whether there are shapes with subqueries.
    pub subqueries: bool,
    /// The thread that keeps their rows.
    pub lane: Option<Lane>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl World {
    /// Where the last repair stands.
    pub fn repaired(&self) -> Lsn {
        self.repairs.last().copied().unwrap_or_default()
    }

    /// Polls a task until it waits for another part of the server. What it hands to another thread is
    /// waited for; now and then other things happen before the task goes on.
    pub fn poll(&mut self, task: &mut Task) -> Result<bool, Ended> {
        let runtime = Arc::clone(&self.runtime);
        let _context = runtime.enter();
        loop {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            let open = self.hold();
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context)));
            drop(open);
            self.settle();
            self.lane.iter_mut().for_each(Lane::settle);
            let polled = polled.map_err(|panic| match panic.downcast::<anyhow::Error>() {
                // What `fsync_failed` says. Everything else is a failure of the test.
                Ok(error) => *error,
                Err(other) => std::panic::resume_unwind(other),
            })?;
            let waits = !woken.0.load(Ordering::SeqCst) || self.rng.percent(self.later);
            if polled.is_ready() || waits {
                return Ok(polled.is_ready());
            }
        }
    }

    pub fn check_confirmed(&self, held: Lsn) {
        let confirmed = self.postgres.lock().unwrap().confirmed;
        assert!(confirmed <= held, "{confirmed} was confirmed, {held} is held");
    }

    /// Blocking work waits until what is returned goes, so that none is done within a poll by chance.
    pub fn hold(&self) -> mpsc::Sender<()> {
        let (open, gate) = mpsc::channel();
        self.runtime.spawn_blocking(move || gate.recv().is_ok());
        open
    }

    /// One thread takes blocking work in order, so all before this is done.
    pub fn settle(&self) {
        self.runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await }).unwrap();
    }
}
