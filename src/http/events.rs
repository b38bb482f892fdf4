//! A live request answered as server-sent events: one message an event.
//!
//! The stream stays open for [`EVENTS_MAX`]; then the client connects again and names the last
//! position it was told. (Electric ends it at once where there is something to send right away:
//! clients take streams that short for a proxy that buffers, and fall back to polling.) A shape that
//! ends meanwhile ends the stream: the next request learns why.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use brooklet_sql::Lsn;
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::body::Entries;
use crate::core::Core;
use crate::limits::{
    EVENT_READS_IN_FLIGHT_MAX, EVENTS_KEEP_ALIVE, EVENTS_MAX, READ_HERE_BYTES_MAX,
};
use crate::shape_log::encode::up_to_date;
use crate::shape_log::{Offset, Slice};
use crate::shapes::Shape;

/// One open stream.
struct Feed {
    core: Arc<Core>,
    shape: Arc<Shape>,
    events: mpsc::Sender<io::Result<Vec<Event>>>,
}

/// The stream's body, from `after` on; `changed` was subscribed before the log was last looked at.
pub fn body(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    after: Offset,
    changed: watch::Receiver<()>,
    stopped: watch::Receiver<bool>,
) -> Body {
    let (events, receiver) = mpsc::channel(EVENT_READS_IN_FLIGHT_MAX);
    let feed = Feed { core: Arc::clone(core), shape: Arc::clone(shape), events };
    tokio::spawn(feed.follow(after, changed, stopped));
    let received = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|events| (events, receiver))
    });
    let received = received.flat_map(|events| {
        let (events, error) = match events {
            Ok(events) => (events, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        stream::iter(events.into_iter().map(Ok).chain(error))
    });
    let alive = KeepAlive::new().interval(EVENTS_KEEP_ALIVE).text("keep-alive");
    Sse::new(received.fuse()).keep_alive(alive).into_response().into_body()
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It was in use until now, see the same of requests that wait.
        self.core.registry.note_use(&self.shape);
    }
}

impl Feed {
    async fn follow(
        self,
        mut after: Offset,
        mut changed: watch::Receiver<()>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let end = Instant::now() + EVENTS_MAX;
        let mut lost = self.core.lost.clone();
        // The log's when it was last seen to have nothing for us.
        let mut weight = None;
        loop {
            let before = *lost.borrow();
            let weighed = self.shape.log.weight();
            let Ok(slice) = self.shape.log.slice(after) else { return };
            // The next request is told why there is nothing more.
            if before || *lost.borrow() {
                return;
            }
            if !slice.blocks.is_empty() {
                after = slice.end;
                let complete = slice.up_to_date;
                let came = |before| self.shape.log.weight().saturating_sub(before);
                let fresh = weight.take().map(came).is_some_and(|came| came <= READ_HERE_BYTES_MAX);
                if self.send(slice, fresh).await.is_none() {
                    return;
                }
                // Never amid a batch: a client throws away what no up-to-date follows.
                if complete && (Instant::now() >= end || *stopped.borrow()) {
                    return;
                }
                continue;
            }
            weight = Some(weighed);
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                () = sleep_until(end) => return,
                () = self.events.closed() => return,
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = lost.wait_for(|lost| *lost) => return,
            }
        }
    }

    /// Sends a slice, and where the log stands if that is its end. `None` if nobody listens, or the
    /// log cannot be read: the stream is cut then. `fresh` where it is small and has just been written: no disk is
    /// waited for.
    async fn send(&self, slice: Slice, fresh: bool) -> Option<()> {
        let last = slice.up_to_date.then(|| up_to_date(Lsn(slice.end.tx)));
        let mut entries = Entries::new(Arc::clone(&self.core), Arc::clone(&self.shape), slice);
        while !entries.ended {
            let read = move || {
                let mut messages = Vec::new();
                let read = entries.read(|message| messages.push(event(message)));
                (entries, read.map(|()| messages))
            };
            let read = if fresh { Ok(read()) } else { tokio::task::spawn_blocking(read).await };
            let (rest, messages) = match read {
                Ok((rest, Ok(messages))) => (rest, messages),
                Ok((_, Err(error))) => return self.cut(error).await,
                Err(error) => return self.cut(io::Error::other(error)).await,
            };
            entries = rest;
            if !messages.is_empty() {
                self.events.send(Ok(messages)).await.ok()?;
            }
        }
        if let Some(last) = last {
            self.events.send(Ok(vec![event(last.as_bytes())])).await.ok()?;
        }
        Some(())
    }

    async fn cut(&self, error: io::Error) -> Option<()> {
        tracing::error!(%error, handle = self.shape.handle(), "a log cannot be read");
        // Whether or not anybody still listens, this was the last event.
        _ = self.events.send(Err(error)).await;
        None
    }
}

fn event(message: &[u8]) -> Event {
    Event::default().data(String::from_utf8_lossy(message))
}
