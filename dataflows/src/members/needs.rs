//! Which rows of which tables a shape needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_sql::{Access, Difference, Membership, Predicate, Relation, Side, TableSchema, Want};

use super::KeptName;
use crate::plan::ShapePlan;

/// Rows and whose they are.
type Need = (KeptName, Arc<TableSchema>);

/// The rows that a shape needs, of its own table and of all behind it; with what is known of how they recur.
#[must_use]
pub fn needs(plan: &ShapePlan) -> Vec<Need> {
    let mut needs = inner_needs(plan);
    needs.push((source(plan).recurring(linked(plan)), Arc::clone(plan.table())));
    needs.sort_by(|one, other| one.0.cmp(&other.0));
    needs.dedup_by(|one, other| one.0 == other.0);
    needs
}

/// The same, some more than once, and of one table that is known by several definitions each; only their names.
pub(super) fn all(plan: &ShapePlan) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut note = |membership: &Membership| needs.push(of(membership, selected(membership)));
    each_inner(memberships(plan), &mut note);
    needs.push((source(plan), Arc::clone(plan.table())));
    needs
}

/// The rows that its subqueries need.
#[must_use]
pub fn inner_needs(plan: &ShapePlan) -> Vec<Need> {
    let mut needs = Vec::new();
    each_inner(memberships(plan), &mut |membership| {
        needs.push(of(membership, selected(membership).recurring(wanted(membership))));
    });
    needs
}

fn of(membership: &Membership, name: KeptName) -> Need {
    (name, Arc::clone(&membership.subquery.table))
}

fn memberships(plan: &ShapePlan) -> &[Membership] {
    plan.predicate.as_ref().map_or(&[], Predicate::memberships)
}

/// These tests of subqueries, and those in them.
pub fn each_inner(memberships: &[Membership], each: &mut impl FnMut(&Membership)) {
    for membership in memberships {
        each(membership);
        let nested = membership.subquery.predicate.as_ref();
        each_inner(nested.map_or(&[], Predicate::memberships), each);
    }
}

pub(super) fn source(plan: &ShapePlan) -> KeptName {
    let columns: BTreeSet<usize> = plan.selection.uses(plan.read()).collect();
    KeptName::new(plan.table(), columns.into_iter().collect())
}

pub(super) fn selected(membership: &Membership) -> KeptName {
    let subquery = &membership.subquery;
    KeptName::new(&subquery.table, subquery.reads().into())
}

/// The columns of a shape's rows that are looked up in other tables: these are rarely there once.
fn linked(plan: &ShapePlan) -> impl Iterator<Item = usize> {
    let linked = memberships(plan).iter().flat_map(|one| &one.left).filter_map(|side| match side {
        Side::Column(at) => Some(*at),
        Side::Computed(_) | Side::Elements(_) => None,
    });
    linked.filter(|at| !is_unique(plan.table(), *at))
}

/// The columns of which a subquery wants certain values, which many rows have. Of what it selects each key is kept once
/// elsewhere.
fn wanted(membership: &Membership) -> impl Iterator<Item = usize> {
    let subquery = &membership.subquery;
    let keys: Vec<usize> = subquery.columns.iter().flat_map(Side::columns).copied().collect();
    let wanted = subquery.predicate.iter().flat_map(equated);
    wanted.filter(move |at| !keys.contains(at) && !is_unique(&subquery.table, *at))
}

/// The columns of which a filter wants certain values.
fn equated(predicate: &Predicate) -> BTreeSet<usize> {
    let ways = predicate.member_ways();
    let all = std::iter::once(predicate.access()).chain(ways.into_iter().map(|way| way.rest));
    let lists = all.filter_map(|access| match access {
        Access::Any(list) => Some(list),
        Access::All | Access::Nothing => None,
    });
    let probes = lists.flatten().flat_map(|alternative| alternative.probes);
    let wants = probes.filter(|probe| matches!(probe.want, Want::Equal(_)));
    wants.flat_map(|probe| probe.source.equated().collect::<Vec<_>>()).collect()
}

/// Whether no two rows have the same value of a column.
fn is_unique(table: &TableSchema, column: usize) -> bool {
    table.unique.iter().any(|key| *key == [column]) || table.primary_key() == [column]
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
