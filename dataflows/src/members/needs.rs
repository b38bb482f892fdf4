//! Which rows of which tables a shape needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_sql::{Difference, Membership, Predicate, Relation, TableSchema};

use super::KeptName;
use crate::plan::ShapePlan;

/// The rows that a shape needs, of its own table and of all behind it.
#[must_use]
pub fn needs(plan: &ShapePlan) -> Vec<(KeptName, Arc<TableSchema>)> {
    let mut needs = all(plan);
    needs.sort_by(|one, other| one.0.cmp(&other.0));
    needs.dedup_by(|one, other| one.0 == other.0);
    needs
}

/// The same, some more than once, and of one table that is known by several definitions each.
pub(super) fn all(plan: &ShapePlan) -> Vec<(KeptName, Arc<TableSchema>)> {
    let mut needs = inner_needs(plan);
    needs.push((source(plan), Arc::clone(plan.table())));
    needs
}

/// The rows that its subqueries need.
#[must_use]
pub fn inner_needs(plan: &ShapePlan) -> Vec<(KeptName, Arc<TableSchema>)> {
    let mut needs = Vec::new();
    let memberships = plan.predicate.iter().flat_map(Predicate::memberships);
    memberships.for_each(|membership| inner(membership, &mut needs));
    needs
}

fn inner(membership: &Membership, needs: &mut Vec<(KeptName, Arc<TableSchema>)>) {
    let subquery = &membership.subquery;
    needs.push((selected(membership), Arc::clone(&subquery.table)));
    let nested = subquery.predicate.iter().flat_map(Predicate::memberships);
    nested.for_each(|membership| inner(membership, needs));
}

pub(super) fn source(plan: &ShapePlan) -> KeptName {
    let columns: BTreeSet<usize> = plan.selection.uses(plan.read()).collect();
    KeptName::new(plan.table(), columns.into_iter().collect())
}

pub(super) fn selected(membership: &Membership) -> KeptName {
    let subquery = &membership.subquery;
    KeptName::new(&subquery.table, subquery.reads().into())
}

/// Whether a shape means something else once a table has another definition.
#[must_use]
pub fn outdated(plan: &ShapePlan, relation: &Relation) -> bool {
    if plan.table().oid == relation.oid {
        let difference = plan.table().difference(relation);
        if !plan.selection.survives(&difference, plan.read()) {
            return true;
        }
    }
    all(plan).iter().any(|(name, table)| {
        table.oid == relation.oid && loses(&table.difference(relation), &name.columns)
    })
}

/// Whether some of these columns are no longer what they were.
#[must_use]
pub fn loses(difference: &Difference, columns: &[usize]) -> bool {
    match difference {
        Difference::Columns { lost, .. } => columns.iter().any(|column| lost.contains(column)),
        _ => true,
    }
}
