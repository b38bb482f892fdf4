//! The seam between tokio's world and the dataflow's thread; nothing else names both.
//!
//! *Enters*: batches of [`Event`]s from async code and from plain threads, in one order, and what the stream's
//! [`Inlet`] makes of what it receives. *Leaves*: [`Collated`] results through the closure given at the start.
//! *Invariant*: what is sent in order is processed in order; what was sent before the stream was given something goes
//! before that; at most [`SLICES_IN_FLIGHT_MAX`] batches wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use brooklet_dataflows::worker::{self, Intake, Most};
use brooklet_dataflows::{Collated, Event, View, Viewer};
use tokio::sync::{mpsc, oneshot};

use crate::limits::{PART_POSTINGS_MAX, SHAPES_PER_BATCH_MAX, SLICES_IN_FLIGHT_MAX};
use crate::unpark;

/// To send events; cheap to clone. The dataflow ends when the last one is dropped, and its inlet has ended.
#[derive(Clone)]
pub struct Engine {
    mail: mpsc::Sender<Mail>,
}

/// What the dataflow is sent.
pub(crate) enum Mail {
    /// Events.
    Events(Vec<Event>),
    /// Where the stream comes from, from now on.
    Inlet(Box<dyn Inlet>),
}

/// The dataflow's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the dataflow has stopped")]
pub struct EngineStopped;

/// Nothing more comes in.
#[derive(Debug)]
pub struct InletEnded;

/// Where the stream comes in: on the dataflow's own thread, which may block in it, but for its source's sake.
pub trait Inlet: Send {
    /// Takes what has arrived, a bounded part of it; the context is woken when more has.
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<Result<(), InletEnded>>;
    /// Adds the events of what was received.
    fn hand_on(&mut self, events: &mut Vec<Event>) -> Result<(), InletEnded>;
    /// The dataflow has worked them off. Asked again after what is given back, if not before.
    fn handed_on(&mut self) -> Result<Option<Duration>, InletEnded>;
}

/// Where results go.
pub trait Outlet: Send + Sync {
    /// One more; may block, which holds the dataflow back.
    fn emit(&self, collated: Collated);
    /// Nothing more comes before more comes in.
    fn rest(&self);
}

impl Engine {
    /// A dataflow, and what runs it on a thread of its own: it parks when idle and may block, neither of
    /// which may happen on tokio's threads.
    pub fn new(outlet: impl Outlet + 'static) -> (Engine, impl FnOnce() + Send + 'static) {
        let (sender, mail) = mpsc::channel(SLICES_IN_FLIGHT_MAX);
        let outlet = Arc::new(outlet);
        // Taken by the closure on the one thread that runs it; the mutex is for the compiler.
        let source = Mutex::new(Source { mail, inlet: None, waker: None });
        let rests = Arc::clone(&outlet);
        let intake = move |batch: &mut Vec<Event>| {
            rests.rest();
            source.lock().unwrap_or_else(PoisonError::into_inner).fill(batch)
        };
        let run = move || {
            let most = Most { postings: PART_POSTINGS_MAX, ends: SHAPES_PER_BATCH_MAX };
            worker::run(intake, most, move |collated| outlet.emit(collated));
        };
        (Engine { mail: sender }, run)
    }

    /// For a test that runs the dataflow itself.
    #[cfg(test)]
    pub(crate) fn here() -> (Engine, mpsc::Receiver<Mail>) {
        let (mail, receiver) = mpsc::channel(SLICES_IN_FLIGHT_MAX);
        (Engine { mail }, receiver)
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
        self.mail.send(Mail::Events(events)).await.map_err(|_| EngineStopped)
    }

    /// From a plain thread; waits while the dataflow is behind.
    pub fn send_blocking(&self, events: Vec<Event>) -> Result<(), EngineStopped> {
        self.mail.blocking_send(Mail::Events(events)).map_err(|_| EngineStopped)
    }

    /// Lets the stream in, behind all events that were sent before.
    pub async fn open(&self, inlet: impl Inlet + 'static) -> Result<(), EngineStopped> {
        self.mail.send(Mail::Inlet(Box::new(inlet))).await.map_err(|_| EngineStopped)
    }
}

/// The dataflow's side.
struct Source {
    mail: mpsc::Receiver<Mail>,
    inlet: Option<Box<dyn Inlet>>,
    /// Of the thread, once it runs.
    waker: Option<Waker>,
}

impl Source {
    fn fill(&mut self, batch: &mut Vec<Event>) -> Intake {
        let again = self.with_inlet(|inlet| inlet.handed_on()).flatten();
        let waker = self.waker.get_or_insert_with(unpark::waker).clone();
        let mut context = Context::from_waker(&waker);
        // Received first and handed on last: what was sent to us before the stream was given something goes before that.
        let received = match &mut self.inlet {
            Some(inlet) => inlet.receive(&mut context),
            None => Poll::Pending,
        };
        let (mut taken, mut closed) = (received.is_ready(), false);
        for _ in 0..SLICES_IN_FLIGHT_MAX {
            match self.mail.poll_recv(&mut context) {
                Poll::Ready(Some(Mail::Events(mut events))) => batch.append(&mut events),
                Poll::Ready(Some(Mail::Inlet(inlet))) => self.inlet = Some(inlet),
                Poll::Ready(None) => {
                    closed = true;
                    break;
                }
                Poll::Pending => break,
            }
            taken = true;
        }
        match received {
            Poll::Ready(Ok(())) => _ = self.with_inlet(|inlet| inlet.hand_on(batch)),
            Poll::Ready(Err(InletEnded)) => self.inlet = None,
            Poll::Pending => {}
        }
        match (taken, closed && self.inlet.is_none()) {
            (true, _) => Intake::Filled,
            (false, true) => Intake::Closed,
            (false, false) => Intake::Idle(again),
        }
    }

    fn with_inlet<T>(
        &mut self,
        act: impl FnOnce(&mut dyn Inlet) -> Result<T, InletEnded>,
    ) -> Option<T> {
        let done = act(&mut **self.inlet.as_mut()?).ok();
        if done.is_none() {
            self.inlet = None;
        }
        done
    }
}
