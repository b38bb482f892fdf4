//! A client that follows live in the background until it is told to stop.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::follower::{Follower, Step};

/// A follower at work; stopping gives it back with what it has.
pub struct Following {
    shape: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Follower>,
}

impl Following {
    /// Lets a client follow.
    pub fn start(mut follower: Follower) -> Following {
        let shape = follower.shape.sql();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let live = follower.log.snapshot_read && follower.offset != "-1";
                tokio::select! {
                    _ = &mut stopped => return follower,
                    step = follower.step(live) => if step == Step::Outage {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    },
                }
            }
        });
        Following { shape, stop, task }
    }

    /// Takes the client back; what made it fail was printed when it failed.
    pub async fn stop(self) -> Follower {
        let _ = self.stop.send(());
        self.task.await.unwrap_or_else(|_| panic!("the client of {} failed, see above", self.shape))
    }
}
