//! One call for everybody who waits for one: an fsync, a question to Postgres.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// Whoever arrives while a call runs is answered by the next one, and many by the same.
pub struct SharedCall<T> {
    asked: AtomicU64,
    /// Between the beginnings of two calls.
    pause: Duration,
    /// An async mutex: it is held across the call, on purpose.
    done: Mutex<Done<T>>,
}

/// The last answer.
pub struct Done<T> {
    /// The last number that it is for.
    covered: u64,
    begun: Option<Instant>,
    answer: Option<T>,
}

impl<T> Default for SharedCall<T> {
    fn default() -> SharedCall<T> {
        SharedCall::with_pause(Duration::ZERO)
    }
}

impl<T> SharedCall<T> {
    /// Calls that begin so long after each other at least while several wait: in a rush more are answered by one.
    #[must_use]
    pub fn with_pause(pause: Duration) -> SharedCall<T> {
        let done = Mutex::new(Done { covered: 0, begun: None, answer: None });
        SharedCall { asked: AtomicU64::new(0), pause, done }
    }
}

impl<T: Clone> SharedCall<T> {
    /// What a call answered that began after this one was asked for. One that fails is made again for the
    /// next who waits.
    pub async fn call<E, F>(&self, call: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().await;
        if done.covered >= mine
            && let Some(answer) = &done.answer
        {
            return Ok(answer.clone());
        }
        // Who is alone need not wait for others.
        if let Some(begun) = done.begun
            && begun.elapsed() < self.pause
            && self.asked.load(Ordering::SeqCst) > done.covered + 1
        {
            sleep_until(begun + self.pause).await;
        }
        let covered = self.asked.load(Ordering::SeqCst);
        let begun = Some(Instant::now());
        done.begun = begun;
        let answer = call().await?;
        *done = Done { covered, begun, answer: Some(answer.clone()) };
        Ok(answer)
    }

    /// No call runs or begins as long as the guard lives.
    pub async fn pause(&self) -> MutexGuard<'_, Done<T>> {
        self.done.lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn those_who_wait_share_a_call_that_began_after_they_asked() {
        let (shared, made) = (Arc::new(SharedCall::default()), Arc::new(AtomicU64::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let ask = || {
            let (shared, made, gate) = (Arc::clone(&shared), Arc::clone(&made), Arc::clone(&gate));
            async move {
                let call = || async {
                    let number = made.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.acquire().await.map_err(|_| ())?.forget();
                    Ok::<u64, ()>(number)
                };
                shared.call(call).await
            }
        };
        let first = tokio::spawn(ask());
        while made.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..10).map(|_| tokio::spawn(ask())).collect();
        while shared.asked.load(Ordering::SeqCst) < 11 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(1));
        for other in others {
            assert_eq!(other.await.unwrap(), Ok(2));
        }
    }

    #[tokio::test]
    async fn in_a_rush_a_call_waits_for_more_who_ask() {
        let (shared, made) = (SharedCall::with_pause(Duration::from_secs(1)), AtomicU64::new(0));
        // They ask one after the other, while the first call runs and while the second one waits.
        let ask = async |turns: u64| {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let call = async || {
                let number = made.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, ()>(number)
            };
            shared.call(call).await.unwrap()
        };
        assert_eq!(ask(0).await, 0);
        assert_eq!(ask(0).await, 1, "who is alone does not wait");
        let answers = futures_util::future::join_all((0..10).map(|number| ask(number / 2))).await;
        // The second one is alone, too, when its turn comes.
        assert_eq!(answers, [2, 3, 4, 4, 4, 4, 4, 4, 4, 4]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_one_only() {
        let shared = SharedCall::default();
        let mut fails = [true, false].into_iter();
        let mut call = || std::future::ready(if fails.next().unwrap() { Err("no") } else { Ok(7) });
        assert_eq!(shared.call(&mut call).await, Err("no"));
        assert_eq!(shared.call(&mut call).await, Ok(7));
    }
}
