//! What happens at intervals while a core runs.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::change_log::{ChangeLog, Rolled};
use crate::config::Settings;
use crate::limits::{
    EVICT_INTERVAL, POSTING_SYNC_INTERVAL, RECONCILE_INTERVAL, RECONCILE_PAUSE, SEGMENT_BYTES_MAX,
};
use crate::members::checkpoint;
use crate::shape_log::AppenderHandle;
use crate::shapes::create::{Workshop, prune_recent};
use crate::shapes::evict::{ShapeLimits, evict};
use crate::shapes::reconcile::{reconcile, reconcile_mathematics, reconcile_zones};
use crate::shapes::registry::Registry;
use crate::shapes::retention::Retention;

/// Starts what happens at intervals.
pub(super) fn keep_going(
    registry: &Arc<Registry>,
    appender: AppenderHandle,
    settings: &Settings,
    changed: Arc<Notify>,
) -> JoinSet<()> {
    let workshop = registry.workshop();
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_few(Arc::clone(registry), settings.shapes));
    let retention = Retention::new(Arc::clone(registry), settings.storage_limit);
    tasks.spawn(retention.run(settings.retention_interval));
    tasks.spawn(keep_reconciled(Arc::clone(registry), changed));
    tasks.spawn(keep_zones(Arc::clone(registry)));
    tasks.spawn(keep_pruned(Arc::clone(workshop)));
    tasks.spawn(keep_synced(Arc::clone(workshop), appender));
    tasks
}

/// Makes postings durable at intervals, so that a restart replays little and sealing can go on.
async fn keep_synced(workshop: Arc<Workshop>, appender: AppenderHandle) {
    let mut interval = tokio::time::interval(POSTING_SYNC_INTERVAL);
    loop {
        interval.tick().await;
        let members = &workshop.members;
        for (logs, appender) in [(&workshop.logs, &appender), (&members.logs, &members.appender)] {
            if logs.processed() > logs.durable() && appender.sync().await.is_err() {
                return;
            }
        }
    }
}

/// Keeps the remembered commits few. A task of its own: it may have to wait for its turn to take a
/// snapshot, and nothing else may wait with it.
async fn keep_pruned(workshop: Arc<Workshop>) {
    let mut interval = tokio::time::interval(POSTING_SYNC_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = prune_recent(&workshop).await {
            tracing::debug!(%error, "cannot ask which commits are visible");
        }
    }
}

/// Ends shapes that are too many or idle.
async fn keep_few(registry: Arc<Registry>, limits: ShapeLimits) {
    if !limits.are_some() {
        return;
    }
    let mut interval = tokio::time::interval(EVICT_INTERVAL);
    loop {
        interval.tick().await;
        evict(&registry, limits).await;
    }
}

/// Looks after the tables at intervals, and soon after one was announced again.
async fn keep_reconciled(registry: Arc<Registry>, changed: Arc<Notify>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RECONCILE_INTERVAL) => {}
            // Many are announced together when the publication changes.
            () = changed.notified() => tokio::time::sleep(RECONCILE_PAUSE).await,
        }
        if let Err(error) = reconcile(&registry).await {
            tracing::debug!(%error, "cannot look after the tables");
        }
    }
}

/// Looks after the time zones at intervals, and after how the server computes, and once at a start.
async fn keep_zones(registry: Arc<Registry>) {
    let mut interval = tokio::time::interval(RECONCILE_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = reconcile_mathematics(&registry).await {
            tracing::warn!(%error, "how the server computes cannot be asked: shapes with powers, logarithms or trigonometry of floats stay as they are until it can");
        }
        if let Err(error) = reconcile_zones(&registry).await {
            tracing::warn!(%error, "the server's time zones cannot be asked for: shapes that use them stay as they are until they can");
        }
    }
}

/// Seals files once the posting log has all of them, and once a checkpoint of what is kept for subqueries has: what is to be
/// replayed onto it has to be row-wise.
pub(super) async fn seal(
    shop: Arc<Workshop>,
    waiting: Vec<Rolled>,
    mut rolled: mpsc::UnboundedReceiver<Rolled>,
) {
    let mut waiting: std::collections::VecDeque<Rolled> = waiting.into();
    let (logs, mut written) = (shop.both_logs(), Vec::new());
    loop {
        let next = match waiting.pop_front() {
            Some(next) => next,
            None => match rolled.recv().await {
                Some(next) => next,
                None => return,
            },
        };
        while logs.iter().any(|logs| logs.durable() < next.end) {
            tokio::time::sleep(POSTING_SYNC_INTERVAL).await;
        }
        written.push(next);
        let checkpoints = &shop.members.checkpoints;
        if next.end > checkpoints.position() {
            // Not more is written than the stream brings.
            if (written.len() as u64).saturating_mul(SEGMENT_BYTES_MAX) < checkpoints.bytes() {
                continue;
            }
            while !checkpoint::make(&shop).await {
                tokio::time::sleep(POSTING_SYNC_INTERVAL).await;
            }
        }
        let mut left = Vec::new();
        for next in written.drain(..) {
            if !seal_file(&shop.change_log, next).await {
                left.push(next);
            }
        }
        // Tried again with the next one: files behind it are not cleaned before.
        written = left;
    }
}

/// Whether that is done.
async fn seal_file(log: &ChangeLog, file: Rolled) -> bool {
    let log = log.clone();
    match tokio::task::spawn_blocking(move || log.seal(&file)).await {
        Ok(Ok(())) => {
            tracing::debug!(first_seq = file.first_seq, "sealed");
            return true;
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a change log file stays row-wise until the next one is complete");
        }
        Err(error) => tracing::error!(%error, "sealing failed"),
    }
    false
}
