//! What happens at intervals: folding, and giving disk back.

use std::sync::Arc;
use std::time::Duration;

use super::life::{Life, Task};
use crate::shapes::fold;

impl Life {
    /// A log gets a new base. What is too old goes at once, and nobody reads it any more.
    pub(super) fn fold(&mut self) {
        let mut shapes: Vec<_> =
            self.shapes.values().filter(|shape| shape.is_complete() && shape.is_alive()).collect();
        shapes.sort_by_key(|shape| shape.id);
        if shapes.is_empty() {
            return;
        }
        let shape = Arc::clone(shapes[self.world.rng.below(shapes.len())]);
        let retires = self.world.rng.percent(60);
        let (seen, until) = self.postgres().lock().unwrap().look();
        let (registry, records) = (Arc::clone(&self.registry), Arc::clone(self.records()));
        let task: Task = Box::pin(async move {
            let shop = Arc::clone(registry.workshop());
            reached(|| shop.logs.processed() >= until).await;
            if !shape.log.is_past_snapshot(shop.logs.processed()) {
                return;
            }
            if fold::fold(&registry, &shape, &seen).await.is_ok() {
                let newest = shape.newest().handle;
                records.lock().unwrap().folded(shape.id, newest);
            }
            if !retires {
                return;
            }
            if let Ok(retired) = fold::retire(&registry, &shape, Duration::ZERO).await {
                retired.gone.iter().for_each(|base| shop.packs.release(&base.batches()));
                records.lock().unwrap().retired += retired.gone.len();
            }
        });
        self.tasks.push(task);
    }

    /// Disk is given back.
    pub(super) fn retain(&mut self) {
        let (retention, postgres) = (Arc::clone(&self.retention), Arc::clone(self.postgres()));
        let (shop, records) = (Arc::clone(&self.shop), Arc::clone(self.records()));
        self.tasks.push(Box::pin(async move {
            let Ok(mut retention) = retention.try_lock() else { return };
            let before = (shop.postings.bytes(), shop.catalog.bytes());
            let visible = async { Ok(postgres.lock().unwrap().look().0) };
            // What cannot be had now is had later.
            if retention.round(visible).await.is_ok() {
                let mut records = records.lock().unwrap();
                records.rewritten += usize::from(before.0 > shop.postings.bytes());
                records.compacted += usize::from(before.1 > shop.catalog.bytes());
            }
        }));
    }
}

/// Whoever waits is asked again and again.
async fn reached(is: impl Fn() -> bool) {
    std::future::poll_fn(|_| match is() {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    })
    .await;
}
