//! Shapes that nobody asks for any more, and those that are too many: they end, and whoever comes
//! back fetches anew.

use std::sync::Arc;
use std::time::Duration;

use super::registry::Registry;
use super::shape::Shape;
use crate::limits::{EVICT_LOOKS_MAX, SHAPES_PER_BATCH_MAX};

/// So many are told one by one; of more, these are named.
const NAMED_MAX: usize = 8;

/// How many shapes there may be, and for how long nobody may ask for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShapeLimits {
    /// At most so many, give or take those made since the last look.
    pub max: Option<usize>,
    /// None that was idle for longer.
    pub idle: Option<Duration>,
}

impl ShapeLimits {
    /// Whether there is any.
    #[must_use]
    pub fn are_some(self) -> bool {
        self != ShapeLimits::default()
    }
}

/// Ends the longest idle shapes that together take about so many bytes. Those that somebody waits for
/// go last.
pub async fn free(registry: &Arc<Registry>, bytes: u64) {
    let (mut freed, packs) = (0, &registry.workshop().packs);
    loop {
        let mut count = 0;
        let evicted = registry.longest_idle(EVICT_LOOKS_MAX, |shape| {
            let goes = freed < bytes && count < SHAPES_PER_BATCH_MAX;
            if goes {
                let rows: u64 = shape.bases().iter().map(|base| packs.share(&base.batches())).sum();
                freed += rows + shape.log.weight() - shape.bases()[0].after().weight;
                count += 1;
            }
            goes
        });
        if evicted.is_empty() {
            return;
        }
        say(&evicted, 0);
        registry.remove(evicted).await;
    }
}

/// Ends what is idle for too long, then the longest idle of what is too many. Shapes that somebody
/// waits for are never idle: they go last. What this costs depends on how many end, not on how many there are.
pub async fn evict(registry: &Arc<Registry>, limits: ShapeLimits) {
    loop {
        let too_many = limits.max.map_or(0, |max| registry.count().saturating_sub(max));
        if too_many == 0 && limits.idle.is_none() {
            return;
        }
        let (mut count, mut idle) = (0, 0);
        // Where those that somebody waits for are in the way, more are looked at the more are too many.
        let looks = EVICT_LOOKS_MAX.saturating_add(2 * too_many);
        let evicted = registry.longest_idle(looks, |shape| {
            let expired = limits.idle.is_some_and(|max| shape.idle() > max);
            let goes = (expired || count < too_many) && count < SHAPES_PER_BATCH_MAX;
            if goes {
                count += 1;
                idle += usize::from(expired);
            }
            goes
        });
        if evicted.is_empty() {
            return;
        }
        say(&evicted, idle);
        registry.remove(evicted).await;
    }
}

/// The handles of the first ones, where there are too many to be told one by one.
pub(super) fn first_of_many(shapes: &[Arc<Shape>]) -> Option<String> {
    let handles = shapes.iter().take(NAMED_MAX).map(|one| one.handle());
    (shapes.len() > NAMED_MAX).then(|| handles.collect::<Vec<_>>().join(" "))
}

/// With how many of them, the first ones, were idle for too long. Not while they are looked for: whoever reads what is
/// said may be slow, and the registry is held then.
fn say(evicted: &[Arc<Shape>], expired: usize) {
    if let Some(first) = first_of_many(evicted) {
        return tracing::info!(shapes = evicted.len(), expired, first, "shapes evicted");
    }
    for (at, shape) in evicted.iter().enumerate() {
        let (handle, table, idle) = (shape.handle(), &shape.table().name, shape.idle());
        tracing::info!(handle, %table, ?idle, expired = at < expired, "shape evicted");
    }
}
