//! A thread that waits as a task does.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// Unparks the calling thread. The token of an early unpark is kept, so nothing is missed between an empty look and the
/// park.
#[must_use]
pub fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}
