//! The rows of tables from Postgres, counted, and made to stand at a place of the stream.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brooklet_dataflows::members::{Counts, KeptName, count, inner_needs, needs};
use brooklet_dataflows::{Change, ShapePlan};
use brooklet_sql::{Lsn, TableSchema, statement};

use super::checkpoint::CaughtUp;
use super::loading::Held;
use super::unreadable::Refused;
use super::{Input, Restored};
use crate::change_log::{ChangeLog, ChangeLogError, StoredCommit};
use crate::limits::NUDGE_AFTER;
use crate::replication::publication::PreparedTable;
use crate::replication::snapshot::Snapshot;
use crate::shapes::create::{CreateError, Workshop};
use crate::shapes::recent::Streamed;
use crate::shapes::visibility::{Seen, Visibility};
use crate::shapes::{Registry, Shape};

/// How long to wait before rows are asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// Rows and whose they are.
pub type Need = (KeptName, Arc<TableSchema>);

/// Everything that plans need, each once.
#[must_use]
pub fn all_needs<'a>(plans: impl IntoIterator<Item = &'a Arc<ShapePlan>>) -> Vec<Need> {
    let mut all: Vec<Need> = plans.into_iter().flat_map(|plan| needs(plan)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.dedup_by(|one, other| one.0 == other.0);
    all
}

/// The tables among them, each once.
#[must_use]
pub fn tables(needs: &[Need]) -> Vec<Arc<TableSchema>> {
    let mut seen = HashSet::new();
    let new = needs.iter().filter(|(name, _)| seen.insert(name.table));
    new.map(|(_, table)| Arc::clone(table)).collect()
}

/// Reads rows as the snapshot shows them; of more than there is room for none.
pub async fn rows(
    snapshot: &Snapshot,
    needs: &[Need],
    held: &mut Held,
) -> Result<Vec<(KeptName, Counts)>, CreateError> {
    let (begun, mut all) = (held.bytes(), Vec::new());
    let mut before = begun;
    for (name, table) in needs {
        let statement = statement::copy(table, &name.columns, None, None);
        let mut rows = snapshot.rows(&statement, name.columns.len()).await?;
        let mut counts = Counts::new(name);
        while let Some(row) = rows.next().await? {
            let Some(row) = name.place(&row) else { continue };
            counts.add(&row, 1);
            held.grow(before + counts.bytes()).inspect_err(|_| held.shrink(begun))?;
        }
        before += counts.bytes();
        all.push((name.clone(), counts));
    }
    Ok(all)
}

/// Adds what transactions did that the snapshot does not show. They were streamed before it was taken.
pub async fn add_unseen(
    log: &ChangeLog,
    visibility: &Visibility,
    streamed: &Streamed,
    mut rows: Vec<(KeptName, Counts)>,
) -> Result<Vec<(KeptName, Counts)>, CreateError> {
    let unseen = streamed.iter().filter(|commit| !visibility.contains(commit.xid));
    let unseen: Vec<StoredCommit> = unseen.copied().collect();
    if unseen.is_empty() {
        return Ok(rows);
    }
    if unseen.iter().any(|commit| commit.truncates) {
        let reason = "a TRUNCATE has been streamed that is not visible yet".to_owned();
        return Err(CreateError::Unavailable { reason, retry_after: 1 });
    }
    let log = log.clone();
    let added = tokio::task::spawn_blocking(move || {
        for (name, counts) in &mut rows {
            for commit in &unseen {
                let mut changes: Vec<Change> = Vec::new();
                let range = commit.first_seq..commit.next_seq;
                log.read_range(range, name.table, |change| changes.push(change))?;
                count(name, &changes, 1, counts);
            }
        }
        Ok::<_, ChangeLogError>(rows)
    });
    let internal = |error: String| CreateError::Internal(error);
    added.await.map_err(|e| internal(e.to_string()))?.map_err(|e| internal(e.to_string()))
}

/// Reads the rows of the shapes that were found at a start, from the last checkpoint; those that it lacks from Postgres, as
/// often as it takes. No file of the change log is sealed or deleted meanwhile, so shapes end whose tables Postgres will not
/// let be read.
pub async fn restore(
    registry: Arc<Registry>,
    shapes: Vec<Arc<Shape>>,
    checkpoint: Option<CaughtUp>,
) {
    let shop = Arc::clone(registry.workshop());
    let at = shop.members.begun_after;
    let begun = Instant::now();
    let (mut standing, mut refused) = (standing(checkpoint).await, Refused::default());
    loop {
        let alive: Vec<Arc<Shape>> =
            shapes.iter().filter(|shape| shape.is_alive()).cloned().collect();
        let forgotten = || shop.members.forgotten.load(Ordering::Acquire);
        if alive.is_empty() || forgotten() {
            return;
        }
        match read(&shop, &alive, at, &standing).await {
            Ok(mut restored) => {
                restored.standing = std::mem::take(&mut standing);
                let asked = !restored.rows.is_empty();
                let bytes = |rows: &[(KeptName, Counts)]| -> usize {
                    rows.iter().map(|(_, counts)| counts.bytes()).sum()
                };
                tracing::info!(
                    from_disk = bytes(&restored.standing),
                    from_postgres = bytes(&restored.rows),
                    elapsed = ?begun.elapsed(),
                    "the rows of subqueries are there again"
                );
                // Fails only when the process is ending.
                _ = shop.members.inputs.send(Input::Restored(Box::new(restored))).await;
                if asked {
                    tokio::time::sleep(NUDGE_AFTER).await;
                    nudge(&shop).await;
                }
                return;
            }
            Err(_) if forgotten() => return,
            // What they are made of is no longer there, or no longer fits.
            Err(
                error @ (CreateError::Ended | CreateError::Refused(_) | CreateError::Internal(_)),
            ) => {
                tracing::warn!(%error, shapes = alive.len(), "shapes with subqueries end");
                registry.remove(alive).await;
                return;
            }
            Err(error) => {
                let given_up = refused.given_up(&shop, &alive, &missing(&alive, &standing)).await;
                if !given_up.is_empty() {
                    let shapes = given_up.len();
                    tracing::warn!(%error, shapes, "rows for subqueries cannot be read: shapes end");
                    registry.remove(given_up).await;
                    continue;
                }
                tracing::warn!(%error, "rows for subqueries cannot be read yet; tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The rows that a checkpoint has; none if it turns out to be of no use.
pub(crate) async fn standing(checkpoint: Option<CaughtUp>) -> Vec<(KeptName, Counts)> {
    let Some(checkpoint) = checkpoint else { return Vec::new() };
    match tokio::task::spawn_blocking(|| checkpoint.read()).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what was kept for subqueries is of no use: it is read from Postgres");
            Vec::new()
        }
        // The process is ending.
        Err(_) => Vec::new(),
    }
}

/// The rows that shapes need and a checkpoint does not have.
fn missing(shapes: &[Arc<Shape>], standing: &[(KeptName, Counts)]) -> Vec<Need> {
    let mut needs = all_needs(shapes.iter().map(|shape| &shape.plan));
    needs.retain(|(need, _)| standing.iter().all(|(name, _)| name != need));
    needs
}

async fn read(
    shop: &Workshop,
    shapes: &[Arc<Shape>],
    at: Lsn,
    standing: &[(KeptName, Counts)],
) -> Result<Restored, CreateError> {
    let needs = missing(shapes, standing);
    if needs.is_empty() {
        let Seen { visibility, until, .. } = Seen::nothing();
        let (rows, standing) = (Vec::new(), Vec::new());
        return Ok(Restored { rows, standing, visibility, until });
    }
    let tables = tables(&needs);
    let streamed = shop.recent.up_to(at);
    let turn = shop.database.snapshot_turn().await;
    let snapshot = Snapshot::of_all(&shop.database, turn, &tables).await?;
    if !changed(shop, shapes, |_| true).await?.is_empty() {
        return Err(CreateError::Ended);
    }
    let mut held = shop.members.loading.begin();
    let rows = rows(&snapshot, &needs, &mut held).await?;
    let (visibility, until) = (snapshot.seen.visibility.clone(), snapshot.seen.until);
    snapshot.end_for_good().await?;
    let rows = add_unseen(&shop.change_log, &visibility, &streamed, rows).await?;
    Ok(Restored { rows, standing: Vec::new(), visibility, until })
}

/// Has Postgres write something, so that the stream goes on.
pub async fn nudge(shop: &Workshop) {
    if let Ok(client) = shop.database.pooled().await {
        // Somebody else's writing does as well.
        if client.batch_execute(statement::NUDGE).await.is_err() {
            _ = client.batch_execute("ROLLBACK").await;
        }
    }
}

/// Whether all tables are what they were when the question was asked, and published under these
/// `memberships`.
pub async fn check(
    shop: &Workshop,
    shape: &Arc<Shape>,
    memberships: &HashMap<u32, u32>,
) -> Result<(), CreateError> {
    let streamed = |now: &PreparedTable| now.membership.as_ref() == memberships.get(&now.oid);
    let changed = changed(shop, std::slice::from_ref(shape), streamed).await?;
    if changed.is_empty() { Ok(()) } else { Err(CreateError::Ended) }
}

/// The shapes some of whose tables are no longer what they were. One query, however many there are.
/// `streamed` says whether all changes of a table have been.
pub async fn changed(
    shop: &Workshop,
    shapes: &[Arc<Shape>],
    streamed: impl Fn(&PreparedTable) -> bool,
) -> Result<Vec<Arc<Shape>>, CreateError> {
    let oids = super::tables(shapes.iter().map(|shape| &shape.plan)).into_iter();
    let found = shop.publication.inspect(&oids.collect::<Vec<_>>()).await;
    let found = found.map_err(|error| CreateError::from(&error))?;
    let found: HashMap<u32, PreparedTable> =
        found.into_iter().map(|table| (table.oid, table)).collect();
    let right = |shape: &Shape| {
        let now = found.get(&shape.table().oid);
        let own =
            now.is_some_and(|now| streamed(now) && now.keeps(&shape.template, shape.plan.read()));
        let keeps = |(name, table): &Need| {
            found
                .get(&name.table)
                .is_some_and(|now| streamed(now) && now.keeps_read(table, &name.columns))
        };
        own && inner_needs(&shape.plan).iter().all(keeps)
    };
    let changed: Vec<Arc<Shape>> = shapes.iter().filter(|shape| !right(shape)).cloned().collect();
    for table in tables(&all_needs(changed.iter().map(|shape| &shape.plan))) {
        shop.schemas.forget(&table.name);
        shop.publication.forget(table.oid);
    }
    Ok(changed)
}

/// Ends those of some shapes whose inner tables are no longer what they were, also if no write ever says so; those that
/// are about one of `out`, which were not published for a while. `false` if that is not known now.
pub async fn reconcile(
    registry: &Arc<Registry>,
    suspects: &[Arc<Shape>],
    out: &HashSet<u32>,
) -> bool {
    if suspects.is_empty() {
        return true;
    }
    match changed(registry.workshop(), suspects, |now| !out.contains(&now.oid)).await {
        Ok(ended) if ended.is_empty() => {}
        Ok(ended) => {
            tracing::warn!(
                shapes = ended.len(),
                "tables of subqueries changed behind the stream: their shapes end"
            );
            registry.remove(ended).await;
        }
        Err(error) => {
            tracing::debug!(%error, "cannot look after the tables of subqueries");
            return false;
        }
    }
    true
}
