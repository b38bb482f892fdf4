//! Tables whose rows cannot be read after a start.
//!
//! *Enters*: that reading has failed. *Leaves*: the shapes that are not to wait any longer. *Invariant*: only what Postgres itself
//! says ends a shape; while it cannot be reached nothing is streamed either, so waiting holds nobody up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::load::{Need, tables};
use crate::limits::RESTORE_MAX;
use crate::replication::snapshot::{Snapshot, SnapshotError};
use crate::shapes::Shape;
use crate::shapes::create::Workshop;

/// How long Postgres has refused.
#[derive(Default)]
pub(super) struct Refused {
    since: Option<Instant>,
}

/// What Postgres says of a table.
enum Told {
    /// It can be read.
    Fine,
    /// It cannot, and perhaps can later.
    Later,
    /// It cannot, and trying again is of no use.
    Never,
    /// It was not reached.
    Nothing,
}

impl Refused {
    /// The shapes among these that are given up, since some of the rows they need can be read by nobody, or could not for
    /// long: each table is asked for by itself.
    pub(super) async fn given_up(
        &mut self,
        shop: &Workshop,
        shapes: &[Arc<Shape>],
        needs: &[Need],
    ) -> Vec<Arc<Shape>> {
        let (mut never, mut later) = (HashSet::new(), HashSet::new());
        for table in tables(needs) {
            let turn = shop.database.snapshot_turn().await;
            let asked = Snapshot::of_all(&shop.database, turn, std::slice::from_ref(&table)).await;
            let told = match asked {
                Ok(snapshot) => snapshot.end().await.map_or(Told::Nothing, |()| Told::Fine),
                Err(error) => told(&error),
            };
            match told {
                Told::Fine => {}
                Told::Later => _ = later.insert(table.oid),
                Told::Never => _ = never.insert(table.oid),
                Told::Nothing => self.since = None,
            }
            if matches!(told, Told::Nothing) {
                return Vec::new();
            }
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() > RESTORE_MAX {
            never.extend(later);
            if never.is_empty() {
                // It is not the tables by themselves.
                never.extend(needs.iter().map(|(name, _)| name.table));
            }
        }
        let waits = |shape: &&Arc<Shape>| {
            let own = brooklet_dataflows::members::needs(&shape.plan);
            own.iter().any(|need| never.contains(&need.0.table) && is_among(need, needs))
        };
        shapes.iter().filter(waits).cloned().collect()
    }
}

fn is_among(need: &Need, needs: &[Need]) -> bool {
    needs.iter().any(|(name, _)| *name == need.0)
}

fn told(error: &SnapshotError) -> Told {
    let SnapshotError::Database(error) = error else { return Told::Later };
    match error.code() {
        // Not allowed, or not there: the table, its schema.
        Some("42501" | "42P01" | "3F000") => Told::Never,
        // It is starting, or stopping.
        Some(code) if code.starts_with("57P") || code.starts_with("08") => Told::Nothing,
        Some(_) => Told::Later,
        None => Told::Nothing,
    }
}
