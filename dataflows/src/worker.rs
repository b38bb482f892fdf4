//! The one standing dataflow and the loop that drives it.

use std::time::Duration;

use timely::dataflow::InputHandleVec;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Input, Probe};

use crate::change::Event;
use crate::collate::{Collated, collate};
use crate::route::route;

/// What the caller had for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// The batch holds events.
    Filled,
    /// Nothing now: the worker parks until its thread is unparked, or for so long.
    Idle(Option<Duration>),
    /// Nothing ever again.
    Closed,
}

/// How much goes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// A transaction of more postings leaves in parts.
    pub postings: usize,
    /// If more shapes end at once, some leave before the others.
    pub ends: usize,
}

/// Runs the dataflow on the calling thread until `intake` is closed.
///
/// `intake` appends events to the batch it is given; one batch is one step of timely's own clock,
/// so that a backlog is worked off in bulk and a lone transaction goes alone. `emit` gets the
/// results in order and may block: that is how a slow log holds the worker back. Whoever makes
/// `intake` have more must unpark the thread; the token of an early unpark is kept, so nothing is
/// missed between an empty look and the park. No result is larger than `most` says.
pub fn run<I, E>(mut intake: I, most: Most, emit: E)
where
    I: FnMut(&mut Vec<Event>) -> Intake + Send + Sync + 'static,
    E: Fn(Collated) + Send + Sync + 'static,
{
    timely::execute_directly(move |worker| {
        let mut input = InputHandleVec::new();
        let probe = ProbeHandle::new();
        worker.dataflow_named::<u64, _, _>("Shapes", |scope| {
            let events = scope.input_from(&mut input);
            collate(route(events, most.ends), most.postings, emit).probe_with(&probe);
        });
        let mut batch = Vec::new();
        let mut clock = 0;
        loop {
            match intake(&mut batch) {
                Intake::Filled => {
                    input.send_batch(&mut batch);
                    batch.clear();
                    clock += 1;
                    input.advance_to(clock);
                    input.flush();
                    worker.step_while(|| probe.less_than(&clock));
                }
                Intake::Idle(None) => std::thread::park(),
                Intake::Idle(Some(longest)) => std::thread::park_timeout(longest),
                Intake::Closed => break,
            }
        }
    });
}
