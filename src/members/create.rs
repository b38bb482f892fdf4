//! How a shape with subqueries comes to be.
//!
//! 1. Its tables are prepared, and the change log's thread told to show their changes; once no other shape has the same
//!    tables read, see [`loading`](super::loading).
//! 2. A snapshot is taken of those that are not kept yet; with it, the transactions from before 1. that it does
//!    not show.
//! 3. Once the stream has passed the snapshot, what it did since is added, and the rows that the shape holds
//!    *then* are found in memory: its log begins there.
//! 4. They are stored, made durable and noted in the catalogue as for every shape.

use std::collections::HashMap;
use std::sync::Arc;

use brooklet_dataflows::members::{Counts, KeptName, needs};
use brooklet_sql::Lsn;
use tokio::sync::oneshot::{self, error::RecvError};
use tokio::time::timeout;

use super::load::{self, Need};
use super::{Beginning, Collect, Input, Loaded, Unkept};
use crate::ingest::Entry;
use crate::limits::NUDGE_AFTER;
use crate::replication::snapshot::Snapshot;
use crate::shapes::base::Stage;
use crate::shapes::chunks::Chunks;
use crate::shapes::create::{CreateError, Workshop, finish};
use crate::shapes::definition::LogMode;
use crate::shapes::visibility::Seen;
use crate::shapes::{Shape, fold};

/// Makes a shape whose handle is known already.
pub async fn create(shop: &Workshop, shape: &Arc<Shape>) -> Result<(), CreateError> {
    let needs = needs(&shape.plan);
    let tables = load::tables(&needs);
    let mut memberships = HashMap::new();
    for table in &tables {
        memberships.insert(table.oid, shop.publication.prepare(table).await?);
    }
    // Before it is said what is missing: who has the turn may be about to have it kept.
    let turn = shop.members.loading.turn(tables.iter().map(|table| table.oid)).await;
    let (after, missing) = collect(shop, shape, &needs).await?;
    let table_turn = Some(turn).filter(|_| !missing.is_empty());
    let streamed = shop.recent.up_to(after);
    // Not before: that place may have to wait for a restore, which needs a turn itself.
    let turn = shop.database.snapshot_turn().await;
    let snapshot = Snapshot::of_all(&shop.database, turn, &tables).await?;
    let mut held = shop.members.loading.begin();
    let rows = load::rows(&snapshot, &missing, &mut held).await?;
    // The locks are still held: what the catalogue says now is true of what was read.
    load::check(shop, shape, &memberships).await?;
    let seen = Arc::clone(&snapshot.seen);
    snapshot.end_for_good().await?;
    let rows = load::add_unseen(&shop.change_log, &seen.visibility, &streamed, rows).await?;
    let unseen: Vec<u32> = streamed.iter().map(|commit| commit.xid).collect();
    drop(streamed);
    let began = loaded(shop, shape, rows, seen).await?;
    let mut began = nudged(shop, began).await.map_err(|_| CreateError::Ended)?;
    // They are kept.
    drop((held, table_turn));
    began.iter_mut().for_each(|beginning| beginning.since.extend(&unseen));
    let published =
        |(table, membership): (&u32, &u32)| shop.publication.is_still(*table, *membership);
    begin(shop, shape, began, || memberships.iter().all(published)).await
}

/// Where a shape begins, or why it cannot; told once the stream has passed its snapshot.
pub(crate) type Began = Result<Beginning, Unkept>;

/// Hands on what a snapshot shows.
pub(crate) async fn loaded(
    shop: &Workshop,
    shape: &Arc<Shape>,
    rows: Vec<(KeptName, Counts)>,
    seen: Arc<Seen>,
) -> Result<oneshot::Receiver<Began>, CreateError> {
    let (answer, began) = oneshot::channel();
    let (plan, log) = (Arc::clone(&shape.plan), Arc::clone(&shape.log));
    let loaded = Loaded { plan, log, rows, seen, answer };
    send(shop, Input::Loaded(Box::new(loaded))).await?;
    Ok(began)
}

/// Stores the rows that a shape begins with, and notes it in the catalogue.
pub(crate) async fn begin(
    shop: &Workshop,
    shape: &Arc<Shape>,
    began: Began,
    still_right: impl Fn() -> bool,
) -> Result<(), CreateError> {
    let Beginning { seen, since, rows } = began?;
    shop.recent.forget_visible(&seen.visibility);
    // Its log will never say of these: clients that wait for one of them must find it here.
    let seen = Seen::new(fold::claimed(&seen.visibility, &since), seen.until);
    let seen = seen.born(shop.members.logs.processed().min(seen.until));
    let base = shape.newest();
    base.update(|state| state.stage = Stage::Running(Arc::clone(&seen)));
    let mut chunks = Chunks::new(&shop.packs, shop.chunk_bytes, shape, &base);
    let internal = |error: String| CreateError::Internal(error);
    if shape.template.definition.log == LogMode::Full {
        for row in &rows {
            let row = shape.view().select(row).map_err(|error| internal(error.to_string()))?;
            chunks.push(|place| row.get(place)).map_err(|error| internal(error.to_string()))?;
        }
    }
    drop(rows);
    chunks.flush().map_err(|error| internal(error.to_string()))?;
    finish(shop, shape, &seen, true, still_right).await?;
    if shape.log.large_beyond(fold::large_at(shape)) {
        // Fails only when the process is ending.
        _ = shop.large.send(shape.id());
    }
    Ok(())
}

/// Waits. Where nobody writes, the stream may stand right before what it has to pass.
async fn nudged<T>(shop: &Workshop, mut answer: oneshot::Receiver<T>) -> Result<T, RecvError> {
    if let Ok(answer) = timeout(NUDGE_AFTER, &mut answer).await {
        return answer;
    }
    let (answer, ()) = tokio::join!(answer, load::nudge(shop));
    answer
}

/// Asks for the stream from here on; says which transaction is the last before it, and which rows are not
/// kept yet.
pub(crate) async fn collect(
    shop: &Workshop,
    shape: &Shape,
    needs: &[Need],
) -> Result<(Lsn, Vec<Need>), CreateError> {
    let (answer, asked) = oneshot::channel();
    let names = needs.iter().map(|(name, _)| name.clone()).collect();
    let tables = needs.iter().map(|(name, _)| name.table).collect();
    let collect = Collect { shape: shape.id(), needs: names, answer };
    let entry = Entry::Watch(tables, Box::new(Input::Collect(collect)));
    let sent = shop.members.slices.send(vec![entry]).await;
    sent.map_err(|_| CreateError::Internal("the change log has stopped".to_owned()))?;
    let (after, missing) = asked.await.map_err(|_| CreateError::Ended)?;
    let missing = needs.iter().filter(|(name, _)| missing.contains(name)).cloned().collect();
    Ok((after, missing))
}

async fn send(shop: &Workshop, input: Input) -> Result<(), CreateError> {
    let sent = shop.members.inputs.send(input).await;
    sent.map_err(|_| CreateError::Internal("the thread of subqueries has stopped".to_owned()))
}
