//! `/v1/shape`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use brooklet_sql::{Lsn, RelationName};
use tokio::time::{Instant, timeout, timeout_at};

use super::Http;
use super::answer::{Answer, Refusal};
use super::body;
use super::query::Query;
use super::request::{DeleteRequest, ShapeRequest};
use crate::core::Core;
use crate::limits::{SNAPSHOT_STALL_MAX, SNAPSHOT_START_MAX};
use crate::shape_log::encode::up_to_date;
use crate::shape_log::{Offset, RequestOffset, Slice};
use crate::shapes::definition::FilterSource;
use crate::shapes::shape::Stage;
use crate::shapes::{Defined, Shape};

/// Answers any method of the route.
pub async fn answer(http: &Http, method: &Method, query: &Query, headers: &HeaderMap) -> Response {
    let answered = match *method {
        Method::GET | Method::HEAD => get(http, query, headers).await,
        Method::DELETE => delete(http, query).await,
        _ => Err(Refusal::Unsupported("POST is not supported yet; use GET")),
    };
    answered.unwrap_or_else(|refusal| refusal.response(method))
}

/// One request while it is being answered.
struct Reading<'a> {
    http: &'a Http,
    headers: &'a HeaderMap,
    request: &'a ShapeRequest,
    core: &'a Arc<Core>,
    shape: &'a Arc<Shape>,
}

async fn get(http: &Http, query: &Query, headers: &HeaderMap) -> Result<Response, Refusal> {
    let request = ShapeRequest::parse(query)?;
    let core = core(http)?;
    let shape = resolve(&core, &request).await?;
    let started = timeout(SNAPSHOT_START_MAX, shape.started()).await;
    let waited = || Refusal::Unavailable("the snapshot has not begun yet".to_owned(), 10);
    started.map_err(|_| waited())??;
    let reading = Reading { http, headers, request: &request, core: &core, shape: &shape };
    match request.offset {
        RequestOffset::Before => Ok(reading.snapshot(0)),
        RequestOffset::Now => reading.now(),
        RequestOffset::After(offset) if offset.tx == 0 && offset != Offset::SNAPSHOT_END => {
            match reading.next_chunk(offset.op).await? {
                Some(chunk) => Ok(reading.snapshot(chunk)),
                None => reading.log(Offset::SNAPSHOT_END).await,
            }
        }
        RequestOffset::After(offset) => reading.log(offset).await,
    }
}

fn core(http: &Http) -> Result<Arc<Core>, Refusal> {
    let core = http.core.borrow().clone();
    core.ok_or_else(|| Refusal::Unavailable("replication is starting over".to_owned(), 5))
}

/// The shape that is asked for; made if there is none.
async fn resolve(core: &Arc<Core>, request: &ShapeRequest) -> Result<Arc<Shape>, Refusal> {
    let (table, filter) = (&request.table, &request.filter);
    let columns = request.columns.as_deref();
    let defined = define(core, table, filter, columns, false).await?;
    let Some(handle) = &request.handle else {
        return find_or_create(core, defined, request).await;
    };
    match core.registry.by_handle(handle) {
        Some(shape) if shape.defined.definition == defined.definition => Ok(shape),
        _ => {
            let shape = find_or_create(core, defined, request).await?;
            Err(Refusal::MustRefetch(Some(shape.handle.clone())))
        }
    }
}

async fn find_or_create(
    core: &Arc<Core>,
    defined: Defined,
    request: &ShapeRequest,
) -> Result<Arc<Shape>, Refusal> {
    if let Some(shape) = core.registry.by_definition(&defined.definition) {
        return Ok(shape);
    }
    // What we know of the table may be out of date: a new shape begins with the truth.
    let columns = request.columns.as_deref();
    let defined = define(core, &request.table, &request.filter, columns, true).await?;
    Ok(core.registry.get_or_create(defined)?)
}

async fn define(
    core: &Core,
    table: &RelationName,
    filter: &Option<FilterSource>,
    columns: Option<&[String]>,
    fresh: bool,
) -> Result<Defined, Refusal> {
    let schemas = &core.registry.workshop().schemas;
    let fold = filter.as_ref().is_some_and(|filter| folds(&filter.text));
    if !fresh {
        let known = schemas.lookup(table, fold).await?;
        if let Ok(defined) = Defined::new(known, filter.clone(), columns) {
            return Ok(defined);
        }
        // What we know of the table may be out of date: no refusal without asking.
    }
    let schema = schemas.refresh(table, fold).await?;
    Ok(Defined::new(schema, filter.clone(), columns)?)
}

/// Whether a filter may need case folding; may say yes too often.
fn folds(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["~*", "~~*", "ilike", "lower", "upper"].iter().any(|fold| text.contains(fold))
}

impl Reading<'_> {
    fn answer(&self, offset: Offset) -> Answer<'_> {
        Answer {
            handle: &self.shape.handle,
            schema: &self.shape.schema,
            requested: self.request.offset,
            offset,
            up_to_date: false,
            has_data: true,
            live: self.request.live,
            cursor: self.request.cursor,
        }
    }

    fn respond(&self, answer: &Answer<'_>, body: impl FnOnce() -> Body) -> Response {
        let settings = &self.http.settings;
        if answer.is_known(self.headers) {
            return answer.response(settings, StatusCode::NOT_MODIFIED, Body::empty());
        }
        answer.response(settings, StatusCode::OK, body())
    }

    fn snapshot(&self, chunk: u32) -> Response {
        let answer = self.answer(Offset::chunk(chunk));
        self.respond(&answer, || body::snapshot(self.core, self.shape, chunk))
    }

    /// The chunk after `number`, or `None` where the snapshot ends with it. Waits while that is not
    /// decided.
    async fn next_chunk(&self, number: u64) -> Result<Option<u32>, Refusal> {
        let next = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        let mut snapshot = self.shape.snapshot();
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

    fn now(&self) -> Result<Response, Refusal> {
        let processed = self.processed();
        let end = self.shape.log.end()?;
        Ok(self.nothing(end, processed))
    }

    /// Entries after `after`: at once if there are any, else, if live, once there are.
    async fn log(&self, after: Offset) -> Result<Response, Refusal> {
        // Subscribe first, look second: nothing can come in between unseen.
        let mut changed = self.shape.log.subscribe();
        let deadline = Instant::now() + self.http.settings.long_poll;
        self.within_bounds(after, &mut changed).await?;
        let mut stopped = self.http.stopped.clone();
        loop {
            let processed = self.processed();
            let slice = self.shape.log.slice(after)?;
            if !slice.blocks.is_empty() {
                return Ok(self.data(slice, processed));
            }
            if !self.request.live {
                let answer = Answer { up_to_date: true, ..self.answer(after) };
                let message = up_to_date(processed.max(Lsn(after.tx)));
                return Ok(self.respond(&answer, || Body::from(format!("[{message}]"))));
            }
            tokio::select! {
                changed = timeout_at(deadline, changed.changed()) => if changed.is_err() {
                    // Sampled before the log was last seen empty: nothing up to there is missing.
                    return Ok(self.nothing(after, processed));
                },
                _ = stopped.wait_for(|stopped| *stopped) => {
                    return Err(Refusal::Unavailable("the server is stopping".to_owned(), 1));
                }
            }
        }
    }

    fn data(&self, slice: Slice, processed: Lsn) -> Response {
        let answer = Answer { up_to_date: slice.up_to_date, ..self.answer(slice.end) };
        let end = Lsn(slice.end.tx);
        let seen = if self.request.live { end } else { processed.max(end) };
        let last = slice.up_to_date.then(|| up_to_date(seen));
        self.respond(&answer, || body::log(self.core, self.shape, slice, last))
    }

    /// An answer that says how far the stream has come and nothing else.
    fn nothing(&self, offset: Offset, processed: Lsn) -> Response {
        let answer = Answer { up_to_date: true, has_data: false, ..self.answer(offset) };
        let message = up_to_date(processed.max(Lsn(offset.tx)));
        answer.response(&self.http.settings, StatusCode::OK, Body::from(format!("[{message}]")))
    }

    fn processed(&self) -> Lsn {
        self.core.registry.workshop().logs.processed()
    }

    /// An offset beyond the log may be about to come (another server was ahead of us), for half a
    /// long poll. After that, one that the stream has passed can never come: the client fetches
    /// anew. One that it has not is the client's mistake.
    async fn within_bounds(
        &self,
        after: Offset,
        changed: &mut tokio::sync::watch::Receiver<()>,
    ) -> Result<(), Refusal> {
        let grace: Duration = self.http.settings.long_poll / 2;
        let deadline = Instant::now() + grace;
        while after.tx > 0 && after > self.shape.log.end()? {
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(if Lsn(after.tx) <= self.processed() {
                    Refusal::MustRefetch(None)
                } else {
                    Refusal::field("offset", "out of bounds for this shape")
                });
            }
        }
        Ok(())
    }
}

async fn delete(http: &Http, query: &Query) -> Result<Response, Refusal> {
    let core = core(http)?;
    if !http.settings.deletion {
        return Err(Refusal::DeletionOff);
    }
    let request = DeleteRequest::parse(query)?;
    let by_handle = request.handle.as_ref().map(|handle| core.registry.by_handle(handle));
    let shape = match request.definition {
        None => by_handle.flatten(),
        Some((table, filter, columns)) => {
            let defined = define(&core, &table, &filter, columns.as_deref(), false).await?;
            let found = core.registry.by_definition(&defined.definition);
            match (found, by_handle) {
                (Some(found), Some(named)) if named.as_ref().map(|s| s.id) != Some(found.id) => {
                    return Err(Refusal::Mismatch);
                }
                (found, _) => found,
            }
        }
    };
    let shape = shape.ok_or(Refusal::NoShape)?;
    core.registry.remove(&shape).await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    super::set(response.headers_mut(), "cache-control", "no-cache");
    super::set(response.headers_mut(), "content-type", "application/json; charset=utf-8");
    Ok(response)
}
