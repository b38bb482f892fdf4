//! Which logs are to be folded, and when those are tried again that could not be.
//!
//! *Enters*: logs that have become large, and folds that failed. *Leaves*: those to be folded now. *Invariant*: a log
//! waits until it was folded or has ended; what fails again and again is tried ever more seldom, up to a limit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use brooklet_dataflows::ShapeId;

use crate::limits::{FOLD_INTERVAL, FOLD_RETRY_MAX};

/// Logs that have become large.
#[derive(Default)]
pub(super) struct Waiting {
    logs: HashMap<ShapeId, Option<Failed>>,
}

/// The last try came to nothing.
struct Failed {
    pause: Duration,
    again: Instant,
}

impl Waiting {
    /// One more; nothing changes if it waits already.
    pub fn add(&mut self, id: ShapeId) {
        self.logs.entry(id).or_default();
    }

    /// It was folded, or has ended.
    pub fn remove(&mut self, id: ShapeId) {
        self.logs.remove(&id);
    }

    /// Those that are to be tried at this time.
    pub fn due(&self, at: Instant) -> Vec<ShapeId> {
        let due = |failed: &Option<Failed>| failed.as_ref().is_none_or(|failed| failed.again <= at);
        self.logs.iter().filter(|(_, failed)| due(failed)).map(|(id, _)| *id).collect()
    }

    /// A try came to nothing; whether it was the first one to do so.
    pub fn failed(&mut self, id: ShapeId, at: Instant) -> bool {
        let last = self.logs.entry(id).or_default();
        let pause = last.as_ref().map_or(FOLD_INTERVAL, |last| 2 * last.pause).min(FOLD_RETRY_MAX);
        last.replace(Failed { pause, again: at + pause }).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_first_one_once_and_again_after_the_log_was_folded() {
        let (mut waiting, one, now) = (Waiting::default(), ShapeId(1), Instant::now());
        waiting.add(one);
        let said: Vec<bool> = (0..20).map(|_| waiting.failed(one, now)).collect();
        assert!(said[0] && !said[1..].contains(&true), "{said:?}");
        waiting.add(ShapeId(2));
        assert_eq!(waiting.due(now), [ShapeId(2)], "one that fails holds up no other");
        waiting.remove(one);
        waiting.add(one);
        assert!(waiting.failed(one, now), "that is news");
    }
}
