//! Shapes whose table is no longer what it was end, also if no write ever says so.
//!
//! The stream announces a table's definition before its next change only. A table that was dropped
//! and made again, renamed, altered, or taken out of the publication may never see one; so the
//! catalogue is asked at intervals, one query for all tables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use brooklet_dataflows::members::each_inner;
use brooklet_sql::mathematics::Functions;
use brooklet_sql::{Predicate, TableSchema, Zone};

use super::create::Workshop;
use super::registry::Registry;
use super::shape::Shape;
use super::template::Template;
use crate::limits::SHAPES_PER_BATCH_MAX;
use crate::replication::DatabaseError;
use crate::replication::partitions::partitions;
use crate::replication::publication::PreparedTable;

/// Ends every shape whose rows may no longer be what Postgres has.
pub async fn reconcile(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    let by_table = by_table(registry);
    if by_table.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> = by_table.keys().copied().collect();
    let workshop = registry.workshop();
    let uses = by_table.values().flatten().map(|template| template.uses());
    let inner = uses.flat_map(|uses| uses.inner.into_keys()).map(|(table, _)| table);
    let all: HashSet<u32> = oids.iter().copied().chain(inner).collect();
    let asked = workshop.publication.now();
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
        workshop.publication.was_out(*oid, membership, asked)
    };
    let out: HashSet<u32> = all.into_iter().filter(was_out).collect();
    // First, so that none of them is complete behind the look, nor made of what others have kept.
    forget_kept(registry, &out).await;
    end_unfinished(registry, &out).await;
    for (oid, templates) in by_table {
        let now = found.get(&oid).filter(|_| !out.contains(&oid));
        let wrong = wrong(registry, oid, &templates, |template, read| {
            now.is_some_and(|now| now.keeps(template, read))
        })
        .await;
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
    let right = |table: &TableSchema, read: &[usize]| {
        let now = found.get(&table.oid).filter(|_| !out.contains(&table.oid));
        now.is_some_and(|now| now.keeps_read(table, read))
    };
    let suspects = wrong_inside(registry, right).await;
    // With another look: what was asked for since the first one may know tables that are newer.
    if crate::members::load::reconcile(registry, &suspects, &out).await {
        out.into_iter().for_each(|oid| workshop.publication.ended(oid));
    }
    reconcile_partitions(workshop, &oids).await
}

/// What is kept of these tables for shapes with subqueries lacks what was written meanwhile: nobody new may find it, and
/// the shapes that stand on it end below, a thousand at a time.
async fn forget_kept(registry: &Arc<Registry>, out: &HashSet<u32>) {
    if out.is_empty() {
        return;
    }
    let mut stale = registry.finished_with_subqueries();
    stale.retain(|shape| about(shape, out));
    for some in stale.chunks(SHAPES_PER_BATCH_MAX) {
        registry.workshop().members.remove(some.iter().map(|shape| shape.id()).collect()).await;
    }
}

/// Whether a shape is about one of these tables.
fn about(shape: &Shape, tables: &HashSet<u32>) -> bool {
    tables.contains(&shape.table().oid)
        || crate::members::tables([&shape.plan]).iter().any(|table| tables.contains(table))
}

/// Ends the shapes in creation that are about one of these tables, which were out of the publication for a while.
async fn end_unfinished(registry: &Arc<Registry>, out: &HashSet<u32>) {
    if out.is_empty() {
        return;
    }
    let mut unfinished = registry.unfinished();
    unfinished.retain(|shape| about(shape, out));
    if !unfinished.is_empty() {
        registry.remove(unfinished).await;
    }
}

/// The finished shapes of a table that are not `right` any more, which is asked of a template and the columns that a
/// filter reads. Single shapes are looked at only where something changed, and only the table's own.
pub(crate) async fn wrong(
    registry: &Registry,
    table: u32,
    templates: &[Arc<Template>],
    right: impl Fn(&Template, &[usize]) -> bool,
) -> Vec<Arc<Shape>> {
    let changed = |template: &Template| {
        let uses = template.uses();
        !right(template, &[]) || uses.reads.iter().any(|read| !right(template, read))
    };
    let wrong = |shape: &Shape| !right(&shape.template, shape.plan.read());
    look_at(registry, table, templates, changed, wrong).await
}

/// The same for tables of subqueries, as they were, and the columns that are read of them.
pub(crate) async fn wrong_inside(
    registry: &Registry,
    right: impl Fn(&TableSchema, &[usize]) -> bool,
) -> Vec<Arc<Shape>> {
    let changed = |template: &Template| {
        let inner = template.uses().inner;
        inner.iter().any(|((_, read), known)| known.iter().any(|table| !right(table, read)))
    };
    let wrong = |shape: &Shape| {
        let (predicate, mut wrong) = (shape.plan.predicate.as_ref(), false);
        each_inner(predicate.map_or(&[], Predicate::memberships), &mut |membership| {
            wrong |= !right(&membership.subquery.table, &membership.subquery.reads());
        });
        wrong
    };
    let mut all = Vec::new();
    for (table, templates) in by_table(registry) {
        templates.iter().for_each(|template| template.recount_if_grown());
        all.extend(look_at(registry, table, &templates, changed, wrong).await);
    }
    all
}

/// The finished shapes of a table that are `wrong`, if one of its templates may have such.
async fn look_at(
    registry: &Registry,
    table: u32,
    templates: &[Arc<Template>],
    suspect: impl Fn(&Template) -> bool,
    wrong: impl Fn(&Shape) -> bool,
) -> Vec<Arc<Shape>> {
    let suspects: Vec<&Arc<Template>> = templates.iter().filter(|one| suspect(one)).collect();
    if suspects.is_empty() {
        return Vec::new();
    }
    let found = registry.of_table(table, |shape| shape.is_complete() && wrong(shape)).await;
    if found.is_empty() {
        // It was one that is gone, then; not again at every look.
        suspects.iter().for_each(|template| template.recount());
    }
    found
}

/// All templates, by table.
fn by_table(registry: &Registry) -> HashMap<u32, Vec<Arc<Template>>> {
    let mut by_table: HashMap<u32, Vec<Arc<Template>>> = HashMap::new();
    for template in registry.templates().all() {
        by_table.entry(template.table().oid).or_default().push(template);
    }
    by_table
}

/// Ends the shapes that know a time zone otherwise than the server does by now. Apart from the rest, which shall
/// not wait: the server takes up to a second for a zone.
pub async fn reconcile_zones(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    let templates = registry.templates().all();
    let zones = templates.iter().flat_map(|template| template.uses().zones);
    let used: HashSet<String> = zones.map(|(name, _)| name).collect();
    if used.is_empty() {
        return Ok(());
    }
    let schemas = &registry.workshop().schemas;
    let now = schemas.zones(used.into_iter().collect()).await?;
    let other = |(name, zone): (&String, &Arc<Zone>)| now.get(name) != Some(zone);
    let mut wrong = Vec::new();
    for (table, templates) in by_table(registry) {
        let suspect = |template: &Template| {
            template.uses().zones.iter().any(|(name, zone)| other((name, zone)))
        };
        let other = |shape: &Shape| {
            let predicate = shape.plan.predicate.as_ref();
            predicate.is_some_and(|one| one.form().zones().iter().any(other))
        };
        wrong.extend(look_at(registry, table, &templates, suspect, other).await);
    }
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
    registry.templates().all().iter().for_each(|template| used.add(template.uses().functions));
    if used == Functions::none() {
        return Ok(());
    }
    let alike = registry.workshop().schemas.computes_alike().await?;
    if used.are_among(alike) {
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (table, templates) in by_table(registry) {
        let suspect = |template: &Template| !template.uses().functions.are_among(alike);
        let other = |shape: &Shape| {
            let predicate = shape.plan.predicate.as_ref();
            predicate.is_some_and(|one| !one.form().mathematics().are_among(alike))
        };
        wrong.extend(look_at(registry, table, &templates, suspect, other).await);
    }
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
