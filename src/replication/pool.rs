//! Connections to Postgres that are used again.
//!
//! *Enters*: how to connect. *Leaves*: clients. *Invariant*: a connection is moved on by a task of its own, and beside
//! it by whoever reads a long answer: handed over every few KiB, the answer would cost a change of threads and back
//! each time.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use futures_util::task::AtomicWaker;
use tokio::task::JoinHandle;
use tokio_postgres::{Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes connections.
pub struct Connections {
    /// To where, and as whom.
    pub config: Config,
    /// How TLS is spoken.
    pub tls: MakeRustlsConnect,
}

/// A client and its connection.
pub struct Connected {
    client: ClientWrapper,
    wire: Arc<Wire>,
}

/// What moves bytes between a client and its socket.
struct Wire {
    /// `None` once it has ended.
    connection: Mutex<Option<Moves>>,
    task: AtomicWaker,
}

/// Its error is the client's, too.
type Moves = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A reader's share in a connection: until it is dropped the reader has to poll it, at least whenever its answer has
/// nothing more.
pub struct Share(Arc<Wire>);

impl Manager for Connections {
    type Type = Connected;
    type Error = Error;

    async fn create(&self) -> Result<Connected, Error> {
        // Apart: whoever waits for a connection would have room for all of TLS in its future.
        let (client, connection) = Box::pin(self.config.connect(self.tls.clone())).await?;
        let (wire, task) = Wire::spawn(Box::pin(connection));
        let client = ClientWrapper::new(client, task);
        // What is prepared are questions to the catalogue: to plan one takes longer than to run it, and its
        // values make no difference. Clauses of shapes are part of their statements' text. Compiling a plan takes
        // longer still than all of them.
        client.batch_execute("SET plan_cache_mode = force_generic_plan; SET jit = off").await?;
        Ok(Connected { client, wire })
    }

    async fn recycle(&self, connected: &mut Connected, _: &Metrics) -> RecycleResult<Error> {
        if connected.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

impl Connected {
    /// For who is about to read a long answer.
    #[must_use]
    pub fn share(&self) -> Share {
        Share(Arc::clone(&self.wire))
    }
}

impl Deref for Connected {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Connected {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

impl Wire {
    fn spawn(connection: Moves) -> (Arc<Wire>, JoinHandle<()>) {
        let wire = Wire { connection: Mutex::new(Some(connection)), task: AtomicWaker::new() };
        let wire = Arc::new(wire);
        let of_task = Arc::clone(&wire);
        let task = tokio::spawn(poll_fn(move |context| {
            of_task.task.register(context.waker());
            of_task.poll(context)
        }));
        (wire, task)
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *connection else { return Poll::Ready(()) };
        let ended = open.as_mut().poll(context).map(drop);
        if ended.is_ready() {
            *connection = None;
        }
        ended
    }
}

impl Share {
    /// Moves the connection on. Whoever polls it last is who is woken.
    pub fn poll(&self, context: &mut Context<'_>) {
        _ = self.0.poll(context);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // From here on it has to be the task that is woken.
        self.0.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_reader_moves_its_connection_on_and_leaves_it_to_its_task_again() {
        let (polls, mut polled) = unbounded_channel();
        let connection = poll_fn(move |context| {
            polls.send(context.waker().clone()).unwrap();
            Poll::Pending
        });
        let (wire, task) = Wire::spawn(Box::pin(connection));
        let by_task = polled.recv().await.unwrap();
        let share = Share(wire);
        poll_fn(|context| {
            share.poll(context);
            Poll::Ready(())
        })
        .await;
        assert!(!polled.try_recv().unwrap().will_wake(&by_task));
        drop(share);
        assert!(polled.recv().await.unwrap().will_wake(&by_task));
        task.abort();
    }

    #[tokio::test]
    async fn the_task_ends_with_a_connection_whose_end_its_reader_saw() {
        let mut polls = 0;
        let connection = poll_fn(move |_| {
            polls += 1;
            if polls < 2 { Poll::Pending } else { Poll::Ready(Ok(())) }
        });
        let (wire, task) = Wire::spawn(Box::pin(connection));
        tokio::task::yield_now().await;
        let share = Share(wire);
        poll_fn(|context| {
            share.poll(context);
            Poll::Ready(())
        })
        .await;
        drop(share);
        task.await.unwrap();
    }
}
