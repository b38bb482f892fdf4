//! Shapes that nobody asks for any more, and those that are too many: they end, and whoever comes
//! back fetches anew.

use std::sync::Arc;
use std::time::Duration;

use super::registry::Registry;
use super::shape::Shape;

/// How many shapes there may be, and for how long nobody may ask for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShapeLimits {
    /// At most so many, give or take those made since the last look.
    pub max: Option<usize>,
    /// None that was idle for longer.
    pub idle: Option<Duration>,
}

/// Ends the longest idle shapes that together take about so many bytes. Those that somebody waits for
/// go last.
pub async fn free(registry: &Arc<Registry>, bytes: u64) {
    let mut shapes: Vec<(Duration, Arc<Shape>)> =
        registry.finished().into_iter().map(|shape| (shape.idle(), shape)).collect();
    shapes.sort_unstable_by_key(|(idle, shape)| (std::cmp::Reverse(*idle), shape.id()));
    let (mut freed, mut evicted) = (0, Vec::new());
    for (idle, shape) in shapes {
        let packs = &registry.workshop().packs;
        let rows: u64 = shape.bases().iter().map(|base| packs.share(&base.batches())).sum();
        let entries = shape.log.weight() - shape.bases()[0].after().weight;
        if freed >= bytes {
            break;
        }
        tracing::info!(handle = shape.handle(), table = %shape.table().name, ?idle, "shape evicted");
        freed += rows + entries;
        evicted.push(shape);
    }
    registry.remove(evicted).await;
}

/// Ends what is idle for too long, then the longest idle of what is too many. Shapes that somebody
/// waits for are never idle: they go last.
pub async fn evict(registry: &Arc<Registry>, limits: ShapeLimits) {
    let too_many = limits.max.map_or(0, |max| registry.count().saturating_sub(max));
    if too_many == 0 && limits.idle.is_none() {
        return;
    }
    let mut shapes: Vec<(Duration, Arc<Shape>)> =
        registry.finished().into_iter().map(|shape| (shape.idle(), shape)).collect();
    shapes.sort_unstable_by_key(|(idle, shape)| (std::cmp::Reverse(*idle), shape.id()));
    let mut evicted = Vec::new();
    for (number, (idle, shape)) in shapes.into_iter().enumerate() {
        let expired = limits.idle.is_some_and(|max| idle > max);
        if !expired && number >= too_many {
            break;
        }
        let table = &shape.table().name;
        tracing::info!(handle = shape.handle(), %table, ?idle, expired, "shape evicted");
        evicted.push(shape);
    }
    if !evicted.is_empty() {
        registry.remove(evicted).await;
    }
}
