//! How long changes take, by samples.
//!
//! *Enters*: durations. *Leaves*: their mean. *Invariant*: one change of so many is timed, so that the clock costs the
//! others nothing; counts and times of a table's views are of the same changes. Transactions for shapes with subqueries
//! are all timed: they take long enough.

use std::time::{Duration, Instant};

/// One change of a table in so many is timed: to look at the clock for each candidate of all of them would take as long
/// as asking it.
const EVERY: u64 = 64;

/// What was timed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timed {
    times: u64,
    nanos: u64,
}

impl Timed {
    /// When a change begins, if it is one that is timed.
    pub(super) fn begin(number: u64) -> Option<Instant> {
        (number % EVERY == 1).then(Instant::now)
    }

    pub(super) fn add(&mut self, time: Duration) {
        self.add_all(1, time);
    }

    /// So many at once took this in all.
    pub(super) fn add_all(&mut self, times: u64, time: Duration) {
        self.times += times;
        self.nanos += u64::try_from(time.as_nanos()).unwrap_or_default();
    }

    pub(super) fn merge(&mut self, other: Timed) {
        self.times += other.times;
        self.nanos += other.nanos;
    }

    /// The mean in nanoseconds; `None` where nothing was timed.
    pub(super) fn mean(self) -> Option<u64> {
        self.nanos.checked_div(self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_sixty_four_is_timed_and_the_mean_is_told() {
        assert_eq!((1..=640).filter(|number| Timed::begin(*number).is_some()).count(), 10);
        let (mut one, mut other) = (Timed::default(), Timed::default());
        assert_eq!(one.mean(), None);
        one.add(Duration::from_nanos(100));
        other.add(Duration::from_nanos(300));
        other.add(Duration::from_nanos(200));
        one.merge(other);
        assert_eq!(one.mean(), Some(200));
        one.add_all(7, Duration::from_nanos(1_400));
        assert_eq!(one.mean(), Some(200));
    }
}
