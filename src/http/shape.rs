//! `/v1/shape`: who may come in, which shape is meant, who answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use brooklet_sql::subquery::named_tables;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::accept::Accepted;
use super::admission::Permit;
use super::parameters::Parameters;
use super::query::Query;
use super::reading::Reading;
use super::refusal::Refusal;
use super::request::{DeleteRequest, ShapeRequest};
use super::{Http, subset};
use crate::core::Core;
use crate::limits::{BODY_BYTES_MAX, BODY_READ_MAX, READY_MAX, SHAPE_TRIES, SNAPSHOT_START_MAX};
use crate::shape_log::RequestOffset;
use crate::shapes::create::CreateError;
use crate::shapes::definition::Question;
use crate::shapes::handle::Handle;
use crate::shapes::{Defined, Shape};

/// Answers any method of the route.
pub async fn answer(http: &Http, query: &Query, request: Box<Request>) -> Response {
    let (head, body) = parts(request);
    let known = query.get("handle").is_some_and(|handle| {
        let core = http.core.borrow();
        core.as_ref().is_some_and(|core| core.registry.by_handle(handle).is_some())
    });
    let mut permit = match http.admission.enter(known) {
        Ok(permit) => permit,
        Err(refusal) => return refusal.response(&head.method),
    };
    let (method, accepted) = (head.method.clone(), Accepted::of(&head.headers));
    drop(head);
    let answered = if method == Method::DELETE {
        Box::pin(delete(http, query)).await
    } else {
        let body = (method == Method::POST).then_some(body);
        Box::pin(read(http, query, &accepted, body, known, &mut permit)).await
    };
    let response = answered.unwrap_or_else(|refusal| refusal.response(&method));
    permit.hold(response)
}

/// Here and not where the parts are used, because the box lasts as long as who takes it apart.
fn parts(request: Box<Request>) -> (Parts, Body) {
    request.into_parts()
}

async fn read(
    http: &Http,
    query: &Query,
    accepted: &Accepted,
    body: Option<Body>,
    known: bool,
    permit: &mut Permit,
) -> Result<Response, Refusal> {
    let cacheable = body.is_none();
    let body = match body {
        Some(body) => Box::pin(json_body(body)).await?,
        None => Map::new(),
    };
    let core = core(http).await?;
    let request = ShapeRequest::parse(&Parameters::new(query, body))?;
    let form = accepted.form(&request)?;
    // Boxed is what comes before the wait for news, so that those who wait do not carry its room along.
    let defined = Box::pin(define(&core, &request.question, false)).await?;
    let part = request.subset.as_ref().map(|subset| subset::Part::check(subset, &defined));
    let part = part.transpose()?;
    let refused = |handle: &str, defined: &Defined| -> Result<(), Refusal> {
        core.registry.refused(handle, defined).map_or(Ok(()), |error| Err(error.into()))
    };
    if let Some(handle) = &request.handle {
        refused(handle, &defined)?;
    }
    let shape = Box::pin(begun(&core, defined, &request)).await?;
    if !known {
        http.admission.exchange(permit);
    }
    let base = match &request.handle {
        Some(handle) => shape.base(handle).or_else(|| {
            handle.parse().into_iter().for_each(|handle| shape.note_retired(handle));
            None
        }),
        None => Some(shape.newest()),
    };
    let handle =
        request.handle.clone().or_else(|| base.as_ref().map(|base| base.handle.to_string()));
    let (handle, base) = (&*handle.unwrap_or_default(), base.as_ref());
    if let Some(part) = part {
        let answer = subset::answer(&core, &shape, handle, request.offset, &part);
        return Box::pin(answer).await;
    }
    let (core, shape, request) = (&core, &shape, &request);
    let reading = Reading { http, accepted, form, request, cacheable, core, shape, handle, base };
    let answer = reading.answer().await;
    if request.live.is_some() {
        // It was in use until now. By when it was asked for it might be the longest idle one before its client asks again.
        core.registry.note_use(shape);
    }
    match answer {
        Err(Refusal::MustRefetch(None)) => {
            if let Ok(defined) = Box::pin(define(core, &request.question, false)).await {
                refused(handle, &defined)?;
            }
            Err(Box::pin(replacement(core, request)).await)
        }
        answer => answer,
    }
}

/// A shape has ended under its reader. The answer names the shape to go on with: a cache in front may
/// hold the beginning of the old one for long, and only another URL gets past it.
async fn replacement(core: &Arc<Core>, request: &ShapeRequest) -> Refusal {
    let found = match define(core, &request.question, false).await {
        Ok(defined) => find_or_create(core, defined, request).await,
        Err(refusal) => Err(refusal),
    };
    let handle = found.ok().map(|shape| shape.handle());
    // A client takes the handle that it is refused with for ended. It is sent on by way of one that nobody has.
    let nobodys = || Handle::nobodys(super::fresh()).to_string();
    let same = |handle: &String| request.handle.as_ref() == Some(handle);
    Refusal::MustRefetch(handle.map(|handle| if same(&handle) { nobodys() } else { handle }))
}

/// The JSON object of a POST; nothing is as good as an empty one.
async fn json_body(body: Body) -> Result<Map<String, Value>, Refusal> {
    let refuse = |status, error| Refusal::Body(status, error, None);
    let read = timeout(BODY_READ_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let unread = || refuse(StatusCode::BAD_REQUEST, "Failed to read request body");
    let bytes = match read.map_err(|_| unread())? {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"));
        }
        Err(_) => return Err(unread()),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refuse(StatusCode::BAD_REQUEST, "Request body must be a JSON object")),
        Err(error) => Err(Refusal::Body(
            StatusCode::BAD_REQUEST,
            "Invalid JSON in request body",
            Some(error.to_string()),
        )),
    }
}

/// What runs behind us; waits a little while it starts over.
async fn core(http: &Http) -> Result<Arc<Core>, Refusal> {
    let mut core = http.core.clone();
    let ready = timeout(READY_MAX, core.wait_for(Option::is_some)).await;
    let found = ready.ok().and_then(Result::ok).and_then(|core| core.clone());
    found.ok_or_else(|| Refusal::Unavailable("replication is starting over".to_owned(), 5))
}

/// The shape that is asked for, once there is something to answer. One that ends before that, of which
/// nobody was told, is made again for those who ask for none in particular.
async fn begun(
    core: &Arc<Core>,
    mut defined: Defined,
    request: &ShapeRequest,
) -> Result<Arc<Shape>, Refusal> {
    for _ in 0..SHAPE_TRIES {
        let shape = resolve(core, defined, request).await?;
        core.registry.note_use(&shape);
        let started = timeout(SNAPSHOT_START_MAX, shape.started()).await;
        let waited = || Refusal::Unavailable("the snapshot has not begun yet".to_owned(), 10);
        match started.map_err(|_| waited())? {
            Ok(()) => return Ok(shape),
            Err(CreateError::Ended) if request.handle.is_none() => {}
            Err(error) => return Err(error.into()),
        }
        defined = define(core, &request.question, true).await?;
    }
    Err(Refusal::Unavailable("the table is emptied or altered again and again".to_owned(), 1))
}

/// The shape that is asked for; made if there is none.
async fn resolve(
    core: &Arc<Core>,
    defined: Defined,
    request: &ShapeRequest,
) -> Result<Arc<Shape>, Refusal> {
    let Some(handle) = &request.handle else {
        return find_or_create(core, defined, request).await;
    };
    match core.registry.by_handle(handle) {
        Some(shape) if shape.answers(&defined) => Ok(shape),
        _ => {
            let shape = find_or_create(core, defined, request).await?;
            // What was known of the table was out of date: it answers the question after all.
            if shape.handles().iter().any(|known| known.to_string() == *handle) {
                return Ok(shape);
            }
            Err(Refusal::MustRefetch(Some(shape.handle())))
        }
    }
}

async fn find_or_create(
    core: &Arc<Core>,
    defined: Defined,
    request: &ShapeRequest,
) -> Result<Arc<Shape>, Refusal> {
    if let Some(shape) = core.registry.by_definition(&defined) {
        return Ok(shape);
    }
    // What a restart has found, and tables behind a subquery, may be out of date: a new shape begins with the truth.
    let filter = request.question.filter.as_ref();
    let fold = filter.is_some_and(|filter| folds(&filter.text));
    let alone = filter.is_none_or(|filter| named_tables(&filter.text).is_empty());
    let schemas = &core.registry.workshop().schemas;
    let defined = match alone && schemas.has_seen(defined.template.table(), fold) {
        true => defined,
        false => define(core, &request.question, true).await?,
    };
    Ok(core.registry.get_or_create(defined)?)
}

async fn define(core: &Core, question: &Question, fresh: bool) -> Result<Defined, Refusal> {
    let schemas = &core.registry.workshop().schemas;
    let fold = question.filter.as_ref().is_some_and(|filter| folds(&filter.text));
    if !fresh {
        let known = schemas.lookup(&question.table, fold).await?;
        let tables = schemas.of_subqueries(question.filter.as_ref(), fold, false).await?;
        if let Ok(defined) = Defined::new(known, &tables, question.clone()) {
            return Ok(defined);
        }
        // What we know of the table may be out of date: no refusal without asking.
    }
    let schema = schemas.refresh(&question.table, fold).await?;
    let tables = schemas.of_subqueries(question.filter.as_ref(), fold, true).await?;
    Ok(Defined::new(schema, &tables, question.clone())?)
}

/// Whether a filter may need case folding; may say yes too often.
fn folds(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    // Regular expressions may have an option for it.
    let folding = ["~*", "~~*", "ilike", "lower", "upper", "initcap", "regexp_"];
    folding.iter().any(|fold| text.contains(fold))
}

async fn delete(http: &Http, query: &Query) -> Result<Response, Refusal> {
    let core = core(http).await?;
    if !http.settings.deletion {
        return Err(Refusal::DeletionOff);
    }
    let request = DeleteRequest::parse(&Parameters::new(query, Map::new()))?;
    let by_handle = request.handle.as_ref().map(|handle| core.registry.by_handle(handle));
    let shape = match request.question {
        None => by_handle.flatten(),
        Some(question) => {
            let defined = define(&core, &question, false).await?;
            let found = core.registry.by_definition(&defined);
            match (found, by_handle) {
                (Some(found), Some(named))
                    if named.as_ref().map(|s| s.id()) != Some(found.id()) =>
                {
                    return Err(Refusal::Mismatch);
                }
                (found, _) => found,
            }
        }
    };
    let shape = shape.ok_or(Refusal::NoShape)?;
    core.registry.remove(vec![shape]).await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    super::set(response.headers_mut(), "cache-control", "no-cache");
    super::set(response.headers_mut(), "content-type", "application/json; charset=utf-8");
    super::set(response.headers_mut(), "electric-has-data", "true");
    Ok(response)
}

/// Whether an offset stands for a place in the log, as opposed to its beginning or end.
#[must_use]
pub fn place(offset: RequestOffset) -> Option<crate::shape_log::Offset> {
    match offset {
        RequestOffset::After(offset) => Some(offset),
        RequestOffset::Before | RequestOffset::Now => None,
    }
}
