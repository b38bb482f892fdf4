//! The seam between tokio's world and the dataflow's thread; nothing else names both.
//!
//! *Enters*: batches of [`Event`]s, from async code and from plain threads, in one order. *Leaves*:
//! [`Collated`] results through the closure given at the start. *Invariant*: what is sent in order
//! is processed in order; at most [`SLICES_IN_FLIGHT_MAX`] batches wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use brooklet_dataflows::worker::{self, Intake};
use brooklet_dataflows::{Collated, Event, View, Viewer};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::sync::oneshot;

use crate::limits::{PART_POSTINGS_MAX, SLICES_IN_FLIGHT_MAX, SLICES_PER_FLUSH_MAX};

/// To send events; cheap to clone. The dataflow ends when the last one is dropped.
#[derive(Clone)]
pub struct Engine {
    batches: mpsc::Sender<Vec<Event>>,
    worker: Wake,
}

/// Unparks the worker when it is dropped, too: so that it sees the channel close.
#[derive(Clone)]
struct Wake(Thread);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// The dataflow's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the dataflow has stopped")]
pub struct EngineStopped;

impl Engine {
    /// Starts the dataflow on a thread of its own: it parks when idle and may block in `emit`,
    /// neither of which may happen on tokio's threads.
    pub fn start(
        emit: impl Fn(Collated) + Send + Sync + 'static,
    ) -> std::io::Result<(Engine, JoinHandle<()>)> {
        let (batches, receiver) = mpsc::channel::<Vec<Event>>(SLICES_IN_FLIGHT_MAX);
        // Taken by the closure on the one thread that runs it; the mutex is for the compiler.
        let receiver = Arc::new(Mutex::new(receiver));
        let intake = move |batch: &mut Vec<Event>| {
            let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..SLICES_PER_FLUSH_MAX {
                match receiver.try_recv() {
                    Ok(mut events) => batch.append(&mut events),
                    Err(_) if !batch.is_empty() => break,
                    Err(TryRecvError::Empty) => return Intake::Idle,
                    Err(TryRecvError::Disconnected) => return Intake::Closed,
                }
            }
            Intake::Filled
        };
        let run = move || worker::run(intake, PART_POSTINGS_MAX, emit);
        let thread = std::thread::Builder::new().name("dataflow".into()).spawn(run)?;
        let worker = Wake(thread.thread().clone());
        Ok((Engine { batches, worker }, thread))
    }

    /// For a test that runs the dataflow itself, on the thread that calls this.
    #[cfg(test)]
    pub(crate) fn here() -> (Engine, mpsc::Receiver<Vec<Event>>) {
        let (batches, receiver) = mpsc::channel(SLICES_IN_FLIGHT_MAX);
        (Engine { batches, worker: Wake(std::thread::current()) }, receiver)
    }

    /// How often a filter could not be evaluated for a row, since the process began.
    #[must_use]
    pub fn evaluation_errors(&self) -> u64 {
        brooklet_dataflows::evaluation_errors()
    }

    /// How often a shape was asked about a change, and how often it was concerned, since the process
    /// began.
    #[must_use]
    pub fn asked(&self) -> (u64, u64) {
        brooklet_dataflows::asked()
    }

    /// How shapes are found, and how often; its turn comes among the events that were sent before.
    pub async fn view(&self) -> Result<View, EngineStopped> {
        let (sender, receiver) = oneshot::channel();
        // Called once; the mutex makes the sender one that a `Fn` may give away.
        let sender = Mutex::new(Some(sender));
        let viewer = Viewer::new(move |view| {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Whoever asked may be gone.
            _ = sender.map(|sender| sender.send(view));
        });
        self.send(vec![Event::View(viewer)]).await?;
        receiver.await.map_err(|_| EngineStopped)
    }

    /// From async code; waits while the dataflow is behind.
    pub async fn send(&self, events: Vec<Event>) -> Result<(), EngineStopped> {
        self.batches.send(events).await.map_err(|_| EngineStopped)?;
        self.worker.0.unpark();
        Ok(())
    }

    /// From a plain thread; waits while the dataflow is behind.
    pub fn send_blocking(&self, events: Vec<Event>) -> Result<(), EngineStopped> {
        self.batches.blocking_send(events).map_err(|_| EngineStopped)?;
        self.worker.0.unpark();
        Ok(())
    }
}
