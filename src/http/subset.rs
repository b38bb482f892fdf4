//! Subset requests: a part of a shape's rows as they are now, straight from Postgres.
//!
//! *Enters*: a checked subset of a shape. *Leaves*: its rows, with what the client needs to tell
//! which changes of the shape's log they already contain. *Invariant*: the offset given with them
//! has nothing before it that is neither in the rows nor known to the client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use brooklet_sql::{
    Lsn, OrderBy, Predicate, ServerFilter, WhereError, compile_for_server, compile_order, statement,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::put;
use super::body::pieces;
use super::parameters::{Field, Subset, filled};
use super::refusal::Refusal;
use super::request::{Errors, numbered};
use super::shape::place;
use crate::core::Core;
use crate::limits::{BODY_PIECE_BYTES, SUBSET_MAX, SUBSET_PIECES, SUBSET_START_MAX};
use crate::replication::snapshot::{Rows, Snapshot, SnapshotError};
use crate::shape_log::{Offset, RequestOffset};
use crate::shapes::{CreateError, Defined, Shape};

/// How long to wait for a commit to become visible before Postgres is asked again.
const INVISIBLE_PAUSE: Duration = Duration::from_millis(50);

/// A subset, checked.
pub struct Part {
    filter: Option<ServerFilter>,
    order: Option<OrderBy>,
    limit: Option<u64>,
    offset: Option<u64>,
}

impl Part {
    /// Checks a subset against its shape.
    pub fn check(fields: &Map<String, Value>, defined: &Defined) -> Result<Part, Refusal> {
        let mut errors = Errors::default();
        let part = Part::parse(fields, defined, &mut errors);
        match (part, errors.take()) {
            (Some(part), None) => Ok(part),
            (_, errors) => Err(Refusal::Invalid(json!({ "subset": errors }))),
        }
    }

    fn parse(fields: &Map<String, Value>, defined: &Defined, errors: &mut Errors) -> Option<Part> {
        // Every member takes any value, so this cannot fail.
        let fields = Subset::deserialize(Value::Object(fields.clone())).unwrap_or_default();
        let limit = number("limit", &fields.limit, 1, errors);
        let offset = number("offset", &fields.offset, 0, errors);
        let filter = errors.cast("where", filled(&fields.r#where)).flatten();
        let order = errors.cast("order_by", filled(&fields.order_by)).flatten();
        if order.is_none() && (limit.is_some() || offset.is_some()) {
            errors.add("order_by", "order_by is required when limit or offset is present");
        }
        let params = params(&fields.params, errors)?;
        let (table, visible) = (&**defined.table(), defined.visible.as_deref());
        let filter = filter.map(|text| compile_for_server(&text, &params, table, visible));
        let order = order.map(|text| compile_order(&text, table, visible));
        let filter = checked("where", filter, errors);
        let order = checked("order_by", order, errors);
        Some(Part { filter, order, limit, offset })
    }
}

fn checked<T>(
    field: &str,
    compiled: Option<Result<T, WhereError>>,
    errors: &mut Errors,
) -> Option<T> {
    let said = |error: WhereError| match error.reason.as_str() {
        // The protocol's own words, without a place.
        reason @ "Subqueries are not allowed in subsets" => reason.to_owned(),
        _ => error.to_string(),
    };
    compiled?.map_err(|error| errors.add(field, said(error))).ok()
}

fn number(name: &str, field: &Field, least: i64, errors: &mut Errors) -> Option<u64> {
    let text = errors.cast(name, filled(field)).flatten()?;
    match text.trim().parse::<i64>() {
        Ok(number) if number >= least => u64::try_from(number).ok(),
        Ok(_) if least > 0 => {
            errors.add(name, "must be greater than 0");
            None
        }
        Ok(_) => {
            errors.add(name, "must be greater than or equal to 0");
            None
        }
        Err(_) => {
            errors.add(name, "is invalid");
            None
        }
    }
}

/// An object, or the JSON text of one.
fn params(field: &Field, errors: &mut Errors) -> Option<Vec<String>> {
    let parsed = match field {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Some(Vec::new()),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(parsed) => parsed,
            Err(_) => {
                errors.add("params", "params must be valid JSON");
                return None;
            }
        },
        Some(value) => value.clone(),
    };
    let Value::Object(params) = parsed else {
        errors.add("params", "params must be a JSON object");
        return None;
    };
    Some(numbered(&params, errors))
}

/// Reads the subset and answers with it.
pub async fn answer(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    handle: &str,
    requested: RequestOffset,
    part: &Part,
) -> Result<Response, Refusal> {
    if *core.lost.borrow() {
        return Err(Refusal::lost(false));
    }
    let deadline = Instant::now() + SUBSET_START_MAX;
    let (snapshot, rows, offset) = loop {
        let end = shape.log.end()?;
        let read = place(requested);
        let up_to = Lsn(read.map_or(end.tx, |read| read.tx));
        let streamed = core.registry.workshop().recent.up_to(up_to);
        let begun = timeout_at(deadline, begin(core, shape, part)).await;
        let late = || Refusal::Unavailable("Postgres takes too long to read the subset".into(), 10);
        let (snapshot, rows) = begun.map_err(|_| late())?.map_err(|error| refusal(&error))?;
        // A commit is streamed before snapshots see it. What is in the log and not in these rows must
        // still be ahead of the client.
        let invisible =
            streamed.iter().filter(|commit| !snapshot.seen.visibility.contains(commit.xid));
        let missing = invisible.filter(|commit| shape.log.has_transaction(commit.lsn));
        let first = missing.map(|commit| commit.lsn.0).min();
        match (read, first) {
            (Some(read), None) => break (snapshot, rows, read),
            (None, None) => break (snapshot, rows, end),
            (None, Some(first)) => {
                let before = Offset { tx: first.saturating_sub(1), op: 0 };
                break (snapshot, rows, end.min(before));
            }
            // The client has read it already, and the rows would take it back.
            (Some(_), Some(_)) if Instant::now() + INVISIBLE_PAUSE < deadline => {
                drop((snapshot, rows));
                tokio::time::sleep(INVISIBLE_PAUSE).await;
            }
            (Some(_), Some(_)) => {
                let reason = "a commit that the client knows of is not visible in Postgres yet: it waits for a synchronous standby";
                return Err(Refusal::Unavailable(reason.into(), 5));
            }
        }
    };
    let mark = mark();
    let head = head(&snapshot, mark);
    let mut response = Response::new(send(shape, snapshot, rows, head, mark));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    put(headers, "content-type", "application/json; charset=utf-8");
    put(headers, "cache-control", "no-cache");
    put(headers, "electric-handle", handle);
    put(headers, "electric-offset", &offset.to_string());
    put(headers, "electric-schema", shape.template.schema());
    put(headers, "electric-snapshot", "true");
    Ok(response)
}

/// An open snapshot and the first of its rows: most errors show before the first row.
async fn begin(
    core: &Core,
    shape: &Shape,
    part: &Part,
) -> Result<(Snapshot, First), SnapshotError> {
    let database = &core.registry.workshop().database;
    let turn = database.subset_turn().await;
    let mut tables = vec![Arc::clone(shape.table())];
    tables.extend(shape.plan.predicate.iter().flat_map(Predicate::subquery_tables));
    let snapshot = Snapshot::of_all(database, database.snapshot_turn().await, &tables).await?;
    snapshot.limit(SUBSET_MAX).await?;
    let columns = &shape.template.definition.columns;
    let statement = statement::subset(
        shape.table(),
        columns,
        shape.plan.predicate.as_ref(),
        part.filter.as_ref(),
        part.order.as_ref(),
        part.limit,
        part.offset,
    );
    let mut rows = snapshot.rows(&statement, columns.len()).await?;
    let first = rows.next().await?;
    Ok((snapshot, First { row: first, rows, _turn: turn }))
}

/// Rows of which the first has been read.
struct First {
    row: Option<brooklet_sql::Row>,
    rows: Rows,
    _turn: Option<OwnedSemaphorePermit>,
}

/// What Postgres says of the filter is the client's to mend, the rest may pass.
fn refusal(error: &SnapshotError) -> Refusal {
    let SnapshotError::Database(database) = error else {
        return Refusal::Internal(error.to_string());
    };
    match database.code() {
        // The table or a column is gone: what we know of it is out of date.
        Some("42P01" | "42703" | "3F000") => CreateError::Ended.into(),
        Some("42804") => Refusal::Invalid(
            json!({ "subset": { "where": ["WHERE clause must return a boolean"] } }),
        ),
        Some(code) if code.starts_with("22") || code.starts_with("42") && code != "42501" => {
            Refusal::Invalid(json!({ "subset": { "where": database.to_string() } }))
        }
        _ => Refusal::Unavailable(format!("Unable to read the subset: {database}"), 10),
    }
}

/// A number that no other subset of this time has.
fn mark() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    if LAST.load(Ordering::Relaxed) == 0 {
        // Lost to a racing request at worst: it is as random.
        _ = LAST.compare_exchange(
            0,
            super::fresh() as u32 | 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    LAST.fetch_add(1, Ordering::Relaxed) & 0x7FFF_FFFF
}

fn head(snapshot: &Snapshot, mark: u32) -> Vec<u8> {
    let seen = &snapshot.seen.visibility;
    let in_progress: Vec<String> = seen.in_progress().iter().map(u64::to_string).collect();
    let metadata = json!({
        "xmin": seen.xmin().to_string(),
        "xmax": seen.xmax().to_string(),
        "xip_list": in_progress,
        // The insert position: the written one may lag behind commits that are visible already.
        "database_lsn": snapshot.seen.until.0.to_string(),
        "snapshot_mark": mark,
    });
    format!("{{\"metadata\":{metadata},\"data\":[").into_bytes()
}

/// Rows as they come from Postgres; a cut answer never looks whole.
fn send(shape: &Arc<Shape>, snapshot: Snapshot, first: First, head: Vec<u8>, mark: u32) -> Body {
    let (sender, body) = pieces(SUBSET_PIECES);
    let shape = Arc::clone(shape);
    tokio::spawn(async move {
        // A client that takes its time must not keep the transaction for ever.
        let sent = timeout(SUBSET_MAX, rows(&shape, first, head, mark, &sender)).await;
        match sent.map_err(io::Error::other).and_then(|sent| sent) {
            Ok(true) => {
                if let Err(error) = snapshot.end().await {
                    tracing::debug!(%error, "a subset's transaction did not end well");
                }
            }
            // Nobody listens: dropped, not ended, since that would read to the end.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, handle = shape.handle(), "a subset cannot be sent to its end");
                drop(snapshot);
                // Whether or not anybody still listens, this was the last piece.
                _ = sender.send(Err(error)).await;
            }
        }
    });
    body
}

/// Sends all rows; `false` if nobody listens.
async fn rows(
    shape: &Shape,
    first: First,
    head: Vec<u8>,
    mark: u32,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    let First { row: mut next, mut rows, _turn } = first;
    let mut buffer = head;
    let mut empty = true;
    while let Some(row) = next {
        if !std::mem::take(&mut empty) {
            buffer.push(b',');
        }
        shape.view().subset_row(&row, mark, &mut buffer);
        if buffer.len() >= BODY_PIECE_BYTES
            && !send_pieces(std::mem::take(&mut buffer), sender).await
        {
            return Ok(false);
        }
        next = rows.next().await.map_err(io::Error::other)?;
    }
    buffer.extend_from_slice(b"]}");
    // All that Postgres had has been read.
    _ = send_pieces(buffer, sender).await;
    Ok(true)
}

/// In pieces of one size, so that what waits is bounded by their number; `false` if nobody listens.
async fn send_pieces(buffer: Vec<u8>, sender: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    let mut rest = Bytes::from(buffer.into_boxed_slice());
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(2 * BODY_PIECE_BYTES));
        if sender.send(Ok(piece)).await.is_err() {
            return false;
        }
    }
    true
}
