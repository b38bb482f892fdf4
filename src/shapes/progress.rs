//! How far a snapshot is, and who waits for more of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::base::{SnapshotState, Stage};
use super::visibility::Visibility;
use crate::shape_log::BatchPlace;

/// A snapshot's state. Nobody waits for one that is complete, so it costs no more than its content
/// then: there may be a million.
pub struct Progress(Mutex<State>);

enum State {
    Open(watch::Sender<SnapshotState>),
    Complete(Complete),
}

/// The same as a [`SnapshotState`] that is complete.
struct Complete {
    visibility: Visibility,
    /// `None` where there are none, in the first chunk.
    rows: Option<Box<Rows>>,
}

struct Rows {
    batches: Box<[BatchPlace]>,
    chunk: u32,
}

const _: () = assert!(size_of::<Progress>() <= 24);

impl Progress {
    /// A snapshot that is at some state.
    #[must_use]
    pub fn new(state: SnapshotState) -> Progress {
        Progress(Mutex::new(State::from(state)))
    }

    /// Follows it. Of one that is complete there is no news: the receiver says so.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<SnapshotState> {
        match &*self.state() {
            State::Open(sender) => sender.subscribe(),
            State::Complete(complete) => watch::channel(complete.state()).1,
        }
    }

    /// How far it is now.
    #[must_use]
    pub fn now(&self) -> SnapshotState {
        match &*self.state() {
            State::Open(sender) => sender.borrow().clone(),
            State::Complete(complete) => complete.state(),
        }
    }

    /// Where a batch is now; `None` if there is none of this number.
    #[must_use]
    pub fn batch(&self, number: usize) -> Option<BatchPlace> {
        match &*self.state() {
            State::Open(sender) => sender.borrow().batches.get(number).copied(),
            State::Complete(complete) => complete.rows.as_ref()?.batches.get(number).copied(),
        }
    }

    /// Whether all rows are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(&*self.state(), State::Complete(_))
    }

    /// Changes it, and has its readers wait for another change: there is nothing in it for them.
    pub fn note(&self, change: impl FnOnce(&mut SnapshotState)) {
        if let State::Open(sender) = &*self.state() {
            sender.send_if_modified(|state| {
                change(state);
                false
            });
        }
    }

    /// Changes it and wakes its readers.
    pub fn update(&self, change: impl FnOnce(&mut SnapshotState)) {
        let mut state = self.state();
        let now = match &*state {
            State::Open(sender) => {
                sender.send_modify(change);
                let now = sender.borrow();
                if !matches!(now.stage, Stage::Complete(_)) {
                    return;
                }
                now.clone()
            }
            State::Complete(complete) => {
                let mut now = complete.state();
                change(&mut now);
                now
            }
        };
        *state = State::from(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<SnapshotState> for State {
    fn from(state: SnapshotState) -> State {
        match state.stage {
            Stage::Complete(visibility) => {
                let (batches, chunk) = (state.batches, state.chunk);
                let some = !batches.is_empty() || chunk > 0;
                let rows = some.then(|| Box::new(Rows { batches: batches.into(), chunk }));
                State::Complete(Complete { visibility, rows })
            }
            _ => State::Open(watch::channel(state).0),
        }
    }
}

impl Complete {
    fn state(&self) -> SnapshotState {
        let stage = Stage::Complete(self.visibility.clone());
        let (batches, chunk) = match &self.rows {
            Some(rows) => (rows.batches.to_vec(), rows.chunk),
            None => (Vec::new(), 0),
        };
        SnapshotState { stage, batches, chunk }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_for_long_finds_rows_where_they_have_been_moved_to() {
        let place = |pack: u32| -> BatchPlace {
            let place = serde_json::json!({ "chunk": 0, "pack": pack, "at": 8, "length": 9 });
            serde_json::from_value(place).unwrap()
        };
        let (stage, batches) = (Stage::Complete("1:2:1".parse().unwrap()), vec![place(1)]);
        let progress = Progress::new(SnapshotState { stage, batches, chunk: 0 });
        let reader = progress.subscribe();
        progress.update(|state| state.batches[0] = place(2));
        assert_eq!(reader.borrow().batches, [place(1)], "so nobody may ask there");
        assert_eq!((progress.batch(0), progress.batch(1)), (Some(place(2)), None));
        progress.update(|state| state.batches.clear());
        assert_eq!(progress.batch(0), None);
    }

    #[tokio::test]
    async fn waiters_see_the_end_and_latecomers_too() {
        let progress = Progress::new(SnapshotState::starting());
        let mut early = progress.subscribe();
        progress.update(|state| state.chunk = 3);
        let reached = early.wait_for(|state| state.chunk == 3).await.map(|state| state.chunk);
        assert_eq!(reached.unwrap(), 3);
        assert!(!progress.is_complete());
        let seen: Visibility = "1:2:1".parse().unwrap();
        progress.update(|state| state.stage = Stage::Complete(seen.clone()));
        assert!(progress.is_complete());
        let over = |state: &SnapshotState| matches!(&state.stage, Stage::Complete(found) if *found == seen);
        for mut waiter in [early, progress.subscribe()] {
            let chunk = waiter.wait_for(over).await.map(|state| state.chunk);
            assert_eq!(chunk.unwrap(), 3);
            assert!(waiter.changed().await.is_err(), "nothing more to come");
        }
    }
}
