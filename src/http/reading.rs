//! One request for a shape's log while it is being answered: a snapshot chunk, a catch-up, a long
//! poll.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use brooklet_sql::Lsn;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::accept::Accepted;
use super::answer::Answer;
use super::refusal::Refusal;
use super::request::{Live, ShapeRequest};
use super::{Http, body, events};
use crate::core::Core;
use crate::limits::{READ_HERE_BYTES_MAX, SNAPSHOT_STALL_MAX};
use crate::shape_log::{Control, Form, Offset, RequestOffset, Slice};
use crate::shapes::Shape;
use crate::shapes::base::{Base, Stage};

/// One request while it is being answered.
pub struct Reading<'a> {
    /// The server.
    pub http: &'a Http,
    /// What the client accepts.
    pub accepted: &'a Accepted,
    /// In which form.
    pub form: Form,
    /// What is asked.
    pub request: &'a ShapeRequest,
    /// Whether a cache may keep the answer.
    pub cacheable: bool,
    /// What answers.
    pub core: &'a Arc<Core>,
    /// Of which shape.
    pub shape: &'a Arc<Shape>,
    /// Under which of its handles.
    pub handle: &'a str,
    /// What that one begins with; `None` if its rows are gone.
    pub base: Option<&'a Arc<Base>>,
}

impl Reading<'_> {
    /// The answer from wherever the request wants to go on.
    pub async fn answer(&self) -> Result<Response, Refusal> {
        match self.request.offset {
            RequestOffset::Before => self.snapshot(self.base()?, 0),
            RequestOffset::Now => self.now(),
            RequestOffset::After(offset) if offset.tx == 0 => {
                let base = self.base()?;
                let next = match offset {
                    Offset::SNAPSHOT_END => None,
                    _ => self.next_chunk(base, offset.op).await?,
                };
                match next {
                    Some(chunk) => self.snapshot(base, chunk),
                    None => self.log(base.after().offset).await,
                }
            }
            RequestOffset::After(offset) => self.log(offset).await,
        }
    }

    fn base(&self) -> Result<&Arc<Base>, Refusal> {
        self.base.ok_or(Refusal::MustRefetch(None))
    }

    fn head(&self, offset: Offset) -> Answer<'_> {
        Answer {
            form: self.form,
            handle: self.handle,
            schema: self.shape.template.schema(),
            requested: self.request.offset,
            offset,
            up_to_date: false,
            has_data: true,
            live: self.request.live,
            cursor: self.request.cursor,
            cacheable: self.cacheable,
        }
    }

    fn respond(
        &self,
        answer: &Answer<'_>,
        body: impl FnOnce() -> io::Result<Body>,
    ) -> Result<Response, Refusal> {
        let settings = &self.http.settings;
        if answer.is_known(self.accepted) {
            return Ok(answer.response(settings, StatusCode::NOT_MODIFIED, Body::empty()));
        }
        Ok(answer.response(settings, StatusCode::OK, body().map_err(unwritten)?))
    }

    fn snapshot(&self, base: &Arc<Base>, chunk: u32) -> Result<Response, Refusal> {
        let mut answer = self.head(Offset::chunk(chunk));
        // Rows of a snapshot are never streamed as events.
        answer.live = answer.live.map(|_| Live::Poll);
        self.respond(&answer, || body::snapshot(self.core, self.shape, base, self.form, chunk))
    }

    /// The chunk after `number`, or `None` where the snapshot ends with it. Waits while that is not
    /// decided.
    async fn next_chunk(&self, base: &Base, number: u64) -> Result<Option<u32>, Refusal> {
        let next = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        let mut snapshot = base.snapshot();
        let decided = snapshot.wait_for(|state| {
            state.chunk >= next || matches!(state.stage, Stage::Complete(_) | Stage::Failed(_))
        });
        let decided = timeout(SNAPSHOT_STALL_MAX, decided).await;
        let stalled = || Refusal::Unavailable("the snapshot makes no progress".to_owned(), 10);
        let state = decided.map_err(|_| stalled())?.map_err(|_| stalled())?;
        match &state.stage {
            Stage::Failed(error) => Err(error.clone().into()),
            _ => Ok((state.chunk >= next).then_some(next)),
        }
    }

    /// Whether shapes may lack what was written since the slot was lost. To be asked before the log is
    /// looked at, and again behind it.
    fn is_lost(&self) -> bool {
        *self.core.lost.borrow()
    }

    fn lost(&self) -> Refusal {
        Refusal::lost(self.request.live.is_some())
    }

    fn now(&self) -> Result<Response, Refusal> {
        if self.is_lost() {
            return Err(self.lost());
        }
        let processed = self.processed();
        let end = self.shape.log.end()?;
        if self.is_lost() {
            return Err(self.lost());
        }
        self.nothing(end, processed)
    }

    /// Entries after `after`: at once if there are any, else, if live, once there are.
    async fn log(&self, after: Offset) -> Result<Response, Refusal> {
        // Subscribe first, look second: nothing can come in between unseen.
        let mut changed = self.shape.log.subscribe();
        let deadline = Instant::now() + self.http.settings.long_poll;
        self.within_bounds(after, &mut changed).await?;
        let mut stopped = self.http.stopped.clone();
        // The log's when it was first seen to have nothing for us.
        let mut weight = None;
        loop {
            let lost = self.is_lost();
            let processed = self.processed();
            let weighed = self.shape.log.weight();
            if self.is_of_another(after) {
                return Err(Refusal::MustRefetch(None));
            }
            let mut slice = self.shape.log.slice(after)?;
            let lost = lost || self.is_lost();
            let unsure = slice.up_to_date && lost;
            slice.up_to_date &= !lost;
            match self.request.live {
                Some(Live::Events) if lost => return Err(self.lost()),
                Some(Live::Events) => return self.events(slice, changed),
                _ if !slice.blocks.is_empty() => {
                    let came = |before| self.shape.log.weight().saturating_sub(before);
                    let fresh = weight.map(came).is_some_and(|bytes| bytes <= READ_HERE_BYTES_MAX);
                    return Box::pin(self.data(slice, unsure, processed, fresh)).await;
                }
                None if lost => return Err(self.lost()),
                None => {
                    let answer = Answer { up_to_date: true, ..self.head(after) };
                    let message = Control::UpToDate(processed.max(Lsn(after.tx)));
                    return self
                        .respond(&answer, || body::message(self.form, self.shape, &message));
                }
                Some(Live::Poll) => _ = weight.get_or_insert(weighed),
            }
            tokio::select! {
                changed = timeout_at(deadline, changed.changed()) => if changed.is_err() {
                    if lost || self.is_lost() {
                        return Err(self.lost());
                    }
                    // Sampled before the log was last seen empty: nothing up to there is missing.
                    return self.nothing(after, processed);
                },
                _ = stopped.wait_for(|stopped| *stopped) => {
                    return Err(Refusal::Unavailable("the server is stopping".to_owned(), 1));
                }
            }
        }
    }

    /// `unsure` where the slice ends the log and it is not known whether that is all: a client that
    /// has the same entries from before may have been told so with them. `fresh` where it is small and has just been
    /// written.
    async fn data(
        &self,
        slice: Slice,
        unsure: bool,
        processed: Lsn,
        fresh: bool,
    ) -> Result<Response, Refusal> {
        let answer = Answer { up_to_date: slice.up_to_date, ..self.head(slice.end) };
        let settings = &self.http.settings;
        if !unsure && answer.is_known(self.accepted) {
            return Ok(answer.response(settings, StatusCode::NOT_MODIFIED, Body::empty()));
        }
        let end = Lsn(slice.end.tx);
        let seen = if self.request.live.is_some() { end } else { processed.max(end) };
        let last = slice.up_to_date.then_some(Control::UpToDate(seen));
        let body = body::log(self.core, self.shape, self.form, slice, last, fresh).await;
        let body = body.map_err(|error| {
            tracing::error!(%error, handle = self.handle, "a log cannot be read");
            Refusal::Internal(format!("Unable to retrieve shape log: {error}"))
        })?;
        Ok(answer.response(settings, StatusCode::OK, body))
    }

    fn events(&self, slice: Slice, changed: watch::Receiver<()>) -> Result<Response, Refusal> {
        let known = Answer { up_to_date: slice.up_to_date, ..self.head(slice.end) };
        if !slice.blocks.is_empty() && known.is_known(self.accepted) {
            return self.respond(&known, || Ok(Body::empty()));
        }
        // Clients are where the head says before anything has come, and go on from there if nothing does.
        let up_to_date = slice.up_to_date && slice.blocks.is_empty();
        let answer = Answer { up_to_date, ..self.head(slice.after) };
        let stopped = self.http.stopped.clone();
        let body = events::body(self.core, self.shape, slice.after, changed, stopped);
        Ok(answer.response(&self.http.settings, StatusCode::OK, body))
    }

    /// An answer that says how far the stream has come and nothing else.
    fn nothing(&self, offset: Offset, processed: Lsn) -> Result<Response, Refusal> {
        let answer = Answer { up_to_date: true, has_data: false, ..self.head(offset) };
        let message = Control::UpToDate(processed.max(Lsn(offset.tx)));
        let body = body::message(self.form, self.shape, &message).map_err(unwritten)?;
        Ok(answer.response(&self.http.settings, StatusCode::OK, body))
    }

    /// Whether a client brings a place along from a shape that this one has come after. The published client does, after
    /// a request for a subset that was answered with 409: it takes the new handle and stays where it was.
    fn is_of_another(&self, after: Offset) -> bool {
        self.shape.born().is_some_and(|born| self.shape.log.is_before_all(after, born))
    }

    fn processed(&self) -> Lsn {
        self.core.registry.workshop().logs_of(self.shape).processed()
    }

    /// An offset beyond the log may be about to come (another server was ahead of us), for half a
    /// long poll. After that, one that the stream has passed can never come: the client fetches
    /// anew. One that it has not is the client's mistake.
    async fn within_bounds(
        &self,
        after: Offset,
        changed: &mut watch::Receiver<()>,
    ) -> Result<(), Refusal> {
        let grace: Duration = self.http.settings.long_poll / 2;
        let deadline = Instant::now() + grace;
        while after.tx > 0 && after > self.shape.log.end()? {
            if self.is_of_another(after) {
                return Err(Refusal::MustRefetch(None));
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(if self.is_lost() {
                    self.lost()
                } else if Lsn(after.tx) <= self.processed() {
                    Refusal::MustRefetch(None)
                } else if crate::members::concerns(&self.shape.plan)
                    || !*self.core.connected.borrow()
                {
                    // After a start its log may take a while to be where it was, and so may all if the power failed:
                    // what was read and not yet on the disk comes again with the stream.
                    Refusal::Unavailable("the shape's log is being made again".to_owned(), 1)
                } else {
                    Refusal::field("offset", "out of bounds for this shape")
                });
            }
        }
        Ok(())
    }
}

/// An answer that cannot be put into the form that is asked for.
fn unwritten(error: io::Error) -> Refusal {
    Refusal::Internal(format!("Unable to write the answer: {error}"))
}
