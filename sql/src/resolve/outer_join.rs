//! LEFT JOIN in subqueries, where it is an inner join or the absence of a row.
//!
//! *Invariant*: where a condition above the join cannot be true for a row that found no match, the join is an inner
//! one; where all that is asked of the joined table is that a column of it IS NULL, a row above stays if it has no
//! match, or one whose column is NULL. Every other LEFT JOIN is refused.

use super::Resolver;
use super::joined::{Condition, Conditions, Edge, Link, LinkKind, Part, Scope};
use crate::WhereError;
use crate::syntax::{Node, Syntax};

/// A table of which there must be no row.
pub(super) struct Absent<'q> {
    /// Its place.
    pub(super) place: usize,
    /// The place of the table whose rows are tested.
    pub(super) above: usize,
    pub(super) link: Link<'q>,
}

const UNSUPPORTED: &str = "LEFT JOIN in subqueries is only supported where the WHERE compares a column of its table, or its one question is whether such a column IS NULL";

impl Resolver<'_> {
    /// Makes every LEFT JOIN one or the other.
    pub(super) fn outer_joins<'q>(
        &self,
        scope: &Scope<'q>,
        mut rest: Vec<Condition<'q>>,
        mut edges: Vec<Edge>,
    ) -> Result<(Conditions<'q>, Vec<Absent<'q>>), WhereError> {
        let mut optional: Vec<bool> = scope.sources.iter().map(|source| source.optional).collect();
        while let Some(place) = rejected(scope, &rest, &edges, &optional)? {
            optional[place] = false;
            let owned = rest.iter_mut().map(|one| &mut one.of);
            let owned = owned.chain(edges.iter_mut().map(|edge| &mut edge.of));
            owned.filter(|of| **of == Some(place)).for_each(|of| *of = None);
        }
        let mut absent = Vec::new();
        for place in (0..optional.len()).filter(|place| optional[*place]) {
            absent.push(take_absent(scope, place, &optional, &mut rest, &mut edges)?);
        }
        Ok((Conditions { rest, edges }, absent))
    }
}

/// A table of a LEFT JOIN without which some condition above it cannot be true.
fn rejected(
    scope: &Scope,
    rest: &[Condition],
    edges: &[Edge],
    optional: &[bool],
) -> Result<Option<usize>, WhereError> {
    for place in (0..optional.len()).filter(|place| optional[*place]) {
        let joined = |edge: &Edge| edge.of.is_none() && edge.ends.iter().any(|end| end.0 == place);
        if edges.iter().any(joined) {
            return Ok(Some(place));
        }
        for condition in rest.iter().filter(|condition| condition.of.is_none()) {
            if rejects(condition.node, scope, condition, place)? {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

/// Whether a condition is not true where all columns of the table are NULL.
fn rejects(
    node: &Node,
    scope: &Scope,
    condition: &Condition,
    place: usize,
) -> Result<bool, WhereError> {
    let operands: Vec<&Node> = match &node.syntax {
        Syntax::Column(_) => vec![node],
        Syntax::Binary { operator, left, right } => match operator.as_str() {
            "=" | "<>" | "<" | "<=" | ">" | ">=" => vec![left, right],
            _ => Vec::new(),
        },
        Syntax::In { operand, .. } | Syntax::Between { operand, .. } => vec![operand],
        Syntax::Like { operand, .. } | Syntax::Not(operand) => vec![operand],
        Syntax::Member { left, negated: false, .. } => vec![left],
        Syntax::IsNull { operand, negated: true } => vec![operand],
        Syntax::Test { operand, expected: Some(_), negated: false } => vec![operand],
        _ => Vec::new(),
    };
    for operand in operands {
        if let Syntax::Column(path) = &operand.syntax
            && let Some((table, _)) = scope.find(path, condition.sees.clone(), operand.at)?
            && table == place
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_subquery(node: &Node) -> bool {
    matches!(node.syntax, Syntax::Member { .. } | Syntax::Exists(_) | Syntax::Single(_))
        || node.syntax.children().into_iter().any(has_subquery)
}

/// Takes what is said of a table of a LEFT JOIN out of the conditions.
fn take_absent<'q>(
    scope: &Scope<'q>,
    place: usize,
    optional: &[bool],
    rest: &mut Vec<Condition<'q>>,
    edges: &mut Vec<Edge>,
) -> Result<Absent<'q>, WhereError> {
    let source = &scope.sources[place];
    let refuse = || WhereError::at(source.at, UNSUPPORTED);
    let (mut conditions, mut asked) = (Vec::new(), Vec::new());
    for condition in std::mem::take(rest) {
        match (condition.named.tables.contains(&place), condition.of) {
            (_, Some(of)) if of == place => {
                let alone = condition.named.tables.len() == 1 && !condition.named.outside;
                // It becomes a part of two tests; nested ones would be two of each.
                let alone = alone && !has_subquery(condition.node);
                if !alone || !condition.named.tables.contains(&place) {
                    return Err(refuse());
                }
                conditions.push(condition.node);
            }
            (true, None) => asked.push(condition),
            (true, Some(_)) => return Err(refuse()),
            (false, _) => rest.push(condition),
        }
    }
    let [Condition { node, sees, .. }] = asked.as_slice() else { return Err(refuse()) };
    let Syntax::IsNull { operand, negated: false } = &node.syntax else { return Err(refuse()) };
    let Syntax::Column(path) = &operand.syntax else { return Err(refuse()) };
    let Some((_, column)) = scope.find(path, sees.clone(), operand.at)? else {
        return Err(refuse());
    };
    let (mut above, mut pairs) = (None, Vec::new());
    for edge in std::mem::take(edges) {
        match edge.other(place) {
            // Of its ON, but about others: a row above that is not so has no match, and stays.
            None if edge.of == Some(place) => return Err(refuse()),
            None => edges.push(edge),
            Some(other) => {
                let fits = edge.of == Some(place) && above.is_none_or(|above| above == other);
                if !fits || optional[other] {
                    return Err(refuse());
                }
                above = Some(other);
                pairs.push(edge.from(other));
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let above = above.ok_or_else(refuse)?;
    let (table, links) = (scope.tables[place].clone(), Vec::new());
    let part = Part { source, table, conditions, links };
    let kind = LinkKind::NoneOrNull(column);
    Ok(Absent { place, above, link: Link { pairs, part, kind, at: source.at } })
}
