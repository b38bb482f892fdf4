//! Shapes whose table is no longer what it was end, also if no write ever says so.
//!
//! The stream announces a table's definition before its next change only. A table that was dropped
//! and made again, renamed, altered, or taken out of the publication may never see one; so the
//! catalogue is asked at intervals, one query for all tables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brooklet_sql::mathematics::Functions;
use brooklet_sql::{Form, Zones};

use super::create::Workshop;
use super::registry::Registry;
use super::shape::Shape;
use super::template::Template;
use crate::replication::DatabaseError;
use crate::replication::partitions::partitions;
use crate::replication::publication::PreparedTable;

/// Ends every shape whose rows may no longer be what Postgres has.
pub async fn reconcile(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    let mut by_table: HashMap<u32, Vec<Arc<Template>>> = HashMap::new();
    for template in registry.templates().all() {
        by_table.entry(template.table().oid).or_default().push(template);
    }
    if by_table.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> = by_table.keys().copied().collect();
    let workshop = registry.workshop();
    let with_subqueries = registry.finished_with_subqueries();
    let inner = crate::members::tables(with_subqueries.iter().map(|shape| &shape.plan));
    let all: HashSet<u32> = oids.iter().copied().chain(inner).collect();
    let found = workshop.publication.inspect(&all.iter().copied().collect::<Vec<_>>()).await?;
    let found: HashMap<u32, PreparedTable> =
        found.into_iter().map(|table| (table.oid, table)).collect();
    workshop.schemas.compare_keys(&found);
    if workshop.schemas.rewrites().take_noted()
        && let Err(error) = workshop.catalog.sync().await
    {
        // A shape that relies on it cannot be written either.
        tracing::error!(%error, "the catalogue cannot be written");
    }
    let was_out = |oid: &u32| {
        let membership = found.get(oid).and_then(|now| now.membership);
        workshop.publication.was_out(*oid, membership)
    };
    let out: HashSet<u32> = all.into_iter().filter(was_out).collect();
    for (oid, templates) in by_table {
        let now = found.get(&oid).filter(|_| !out.contains(&oid));
        let right =
            |template: &Template, read: &[usize]| now.is_some_and(|now| now.keeps(template, read));
        let changed = |template: &&Arc<Template>| {
            let reads = |form: Option<Arc<Form>>| form.map_or(Vec::new(), |f| f.columns().to_vec());
            template.forms().into_iter().any(|form| !right(template, &reads(form)))
        };
        // Single shapes are looked at only where something changed.
        if !templates.iter().any(|template| changed(&template)) {
            continue;
        }
        let wrong = |shape: &Arc<Shape>| {
            shape.table().oid == oid && !right(&shape.template, shape.plan.read())
        };
        let mut wrong_shapes = registry.finished();
        wrong_shapes.retain(wrong);
        let wrong = wrong_shapes;
        if let Some(shape) = wrong.first() {
            let name = &shape.table().name;
            tracing::warn!(table = %name, shapes = wrong.len(), "the table changed behind the stream: its shapes end");
            workshop.publication.forget(oid);
            workshop.schemas.forget(name);
        }
        if !wrong.is_empty() {
            registry.remove(wrong).await;
        }
    }
    reconcile_partitions(workshop, &oids).await?;
    crate::members::load::reconcile(registry, &out).await;
    Ok(())
}

/// Ends the shapes that know a time zone otherwise than the server does by now. Apart from the rest, which shall
/// not wait: the server takes up to a second for a zone.
pub async fn reconcile_zones(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    let mut used = Zones::new();
    for template in registry.templates().all() {
        template.forms().into_iter().flatten().for_each(|form| used.extend(form.zones()));
    }
    if used.is_empty() {
        return Ok(());
    }
    let schemas = &registry.workshop().schemas;
    let now = schemas.zones(used.into_keys().collect()).await?;
    let zones = |shape: &Arc<Shape>| shape.plan.predicate.as_ref().map(|one| one.form().zones());
    let mut wrong = registry.finished();
    wrong.retain(|shape| {
        zones(shape).is_some_and(|of| of.iter().any(|(name, zone)| now.get(name) != Some(zone)))
    });
    if !wrong.is_empty() {
        tracing::warn!(
            shapes = wrong.len(),
            "the server's time zones have changed: shapes that use them end"
        );
        registry.remove(wrong).await;
    }
    Ok(())
}

/// Ends the shapes of which the C library computes something, where the server's computes otherwise by now: it has
/// moved to another machine, or this process has.
pub async fn reconcile_mathematics(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    let mut used = Functions::none();
    for template in registry.templates().all() {
        template.forms().into_iter().flatten().for_each(|form| used.add(form.mathematics()));
    }
    if used == Functions::none() {
        return Ok(());
    }
    let alike = registry.workshop().schemas.computes_alike().await?;
    if used.are_among(alike) {
        return Ok(());
    }
    let mut wrong = registry.finished();
    wrong.retain(|shape| {
        let predicate = shape.plan.predicate.as_ref();
        predicate.is_some_and(|one| !one.form().mathematics().are_among(alike))
    });
    if !wrong.is_empty() {
        tracing::warn!(
            shapes = wrong.len(),
            "the server's C library rounds otherwise than this one's: shapes with powers, logarithms or \
             trigonometry of floats end"
        );
        registry.remove(wrong).await;
    }
    Ok(())
}

/// Partitions that came and went; those that came late get complete old rows.
async fn reconcile_partitions(workshop: &Workshop, tables: &[u32]) -> Result<(), DatabaseError> {
    let mut partial = Vec::new();
    for root in tables.iter().filter(|table| workshop.partitions.knows(**table)) {
        // One look a table, right before it is compared: the stream may bring new ones meanwhile.
        let client = workshop.database.pooled().await?;
        let found = partitions(&client, &[*root]).await?;
        if let Err(error) = workshop.partitions.agree(*root, &found).await {
            tracing::error!(%error, "the catalogue cannot be written");
        }
        partial.extend(found.into_iter().filter(|partition| !partition.full_identity));
    }
    for partition in &partial {
        if let Err(error) = workshop.publication.complete(partition).await {
            tracing::debug!(%error, partition = %partition.name, "a new partition's old rows are not complete: updates and deletes there end the shapes of the whole table");
        }
    }
    Ok(())
}
