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

/// Runs the dataflow on the calling thread until `intake` is closed.
///
/// `intake` appends events to the batch it is given; one batch is one step of timely's own clock,
/// so that a backlog is worked off in bulk and a lone transaction goes alone. `emit` gets the
/// results in order and may block: that is how a slow log holds the worker back. Whoever makes
/// `intake` have more must unpark the thread; the token of an early unpark is kept, so nothing is
/// missed between an empty look and the park. Transactions of more than `part_postings` leave in parts.
pub fn run<I, E>(mut intake: I, part_postings: usize, emit: E)
where
    I: FnMut(&mut Vec<Event>) -> Intake + Send + Sync + 'static,
    E: Fn(Collated) + Send + Sync + 'static,
{
    timely::execute_directly(move |worker| {
        let mut input = InputHandleVec::new();
        let probe = ProbeHandle::new();
        worker.dataflow_named::<u64, _, _>("Shapes", |scope| {
            let events = scope.input_from(&mut input);
            collate(route(events), part_postings, emit).probe_with(&probe);
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
