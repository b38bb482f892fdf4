//! Joins in subqueries: tables that are joined by equalities are tests of one another.
//!
//! *Enters*: a SELECT over some tables. *Leaves*: a tree of [`Part`]s, each a table with the conditions that are
//! about it alone, and tests of its rows against those below it. *Invariant*: the rows of the uppermost table that
//! satisfy its part are those that the join has, once or more; how often does not matter to IN and EXISTS.
//!
//! That is so since a condition under AND holds where it is true, whether it is false or NULL otherwise, and since
//! tables whose equalities form no circle can be tested one by one from the leaves on.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::Resolver;
use super::subquery::{conjuncts, named};
use crate::syntax::{Branch, Node, Query, Select, Source, Syntax};
use crate::{TableSchema, WhereError};

/// A SELECT, taken apart.
pub(super) struct Plan<'q> {
    /// The table that what is selected comes from.
    pub(super) root: Part<'q>,
    /// Equalities of a column of the row outside with one of the root's.
    pub(super) correlated: Vec<(usize, usize)>,
    /// Conditions that are about the row outside and no other.
    pub(super) outside: Vec<&'q Node>,
}

/// A table, and which of its rows.
pub(super) struct Part<'q> {
    pub(super) source: &'q Source,
    pub(super) table: Arc<TableSchema>,
    pub(super) conditions: Vec<&'q Node>,
    pub(super) links: Vec<Link<'q>>,
}

/// A test of the rows of a part against another one.
pub(super) struct Link<'q> {
    /// Columns above, and the equal ones below; none if it matters only whether there is a row.
    pub(super) pairs: Vec<(usize, usize)>,
    pub(super) part: Part<'q>,
    pub(super) kind: LinkKind,
    pub(super) at: usize,
}

/// What the test says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// There must be one below.
    Some,
    /// There must be none, or one whose column is NULL: `LEFT JOIN … WHERE column IS NULL`.
    NoneOrNull(usize),
}

/// The tables that a name may stand for.
pub(super) struct Scope<'q> {
    pub(super) sources: &'q [Source],
    pub(super) tables: Vec<Arc<TableSchema>>,
}

/// What a condition names: places of tables, and whether also the row outside.
#[derive(Default)]
pub(super) struct Named {
    pub(super) tables: BTreeSet<usize>,
    pub(super) outside: bool,
}

/// A part of WHERE or ON, under AND.
pub(super) struct Condition<'q> {
    pub(super) node: &'q Node,
    pub(super) named: Named,
    /// The tables it sees.
    pub(super) sees: Range<usize>,
    /// Of the ON of this LEFT JOIN.
    pub(super) of: Option<usize>,
}

/// An equality of columns of two tables.
pub(super) struct Edge {
    /// Table and column, the earlier table first.
    pub(super) ends: [(usize, usize); 2],
    pub(super) at: usize,
    /// Of the ON of this LEFT JOIN.
    pub(super) of: Option<usize>,
}

/// The conditions of a SELECT by what they are about.
pub(super) struct Conditions<'q> {
    pub(super) rest: Vec<Condition<'q>>,
    pub(super) edges: Vec<Edge>,
}

impl<'q> Scope<'q> {
    /// The table and the column that a path means among those at `sees`.
    pub(super) fn find(&self, path: &[String], sees: Range<usize>, at: usize) -> Found {
        let mut found = None;
        for place in sees {
            let (source, table) = (&self.sources[place], &self.tables[place]);
            let Some(column) = named(table, source.alias.as_deref(), path) else { continue };
            // One that was merged by USING is the earlier one.
            let merged = matches!(path, [name] if source.using.contains(name));
            match found {
                Some(_) if !merged => {
                    let reason = format!("column reference {} is ambiguous", path.join("."));
                    return Err(WhereError::at(at, reason));
                }
                Some(_) => {}
                None => found = Some((place, column)),
            }
        }
        Ok(found)
    }
}

/// Table and column.
pub(super) type Found = Result<Option<(usize, usize)>, WhereError>;

impl Resolver<'_> {
    /// Takes a SELECT apart; `items` decide which table is the uppermost, if they are looked at.
    pub(super) fn plan<'q>(
        &self,
        select: &'q Select,
        items: &'q [Node],
    ) -> Result<Plan<'q>, WhereError> {
        let scope = self.scope(select)?;
        self.check_order(select, &scope)?;
        let Conditions { rest, edges } = self.conditions(select, &scope)?;
        let (joined, absent) = self.outer_joins(&scope, rest, edges)?;
        let Conditions { rest, edges } = joined;
        let mut correlated = Vec::new();
        let mut outside = Vec::new();
        let mut own: Vec<Vec<&Node>> = vec![Vec::new(); scope.tables.len()];
        let mut anywhere = Vec::new();
        for condition in rest {
            let Condition { node, named, sees, .. } = condition;
            let mut places = named.tables.iter().copied();
            match (places.next(), places.next(), named.outside) {
                (None, _, false) => anywhere.push(node),
                (None, _, true) => outside.push(node),
                (Some(place), None, false) => own[place].push(node),
                (Some(place), None, true) => match self.correlation(node, &scope, &sees)? {
                    Some((outer, inner)) => correlated.push((place, outer, inner, node.at)),
                    // Refused with the place of the name.
                    None => own[place].push(node),
                },
                (Some(_), Some(_), _) => {
                    let reason = "tables in a subquery are joined by equalities of their columns only, that stand alone or under AND";
                    return Err(WhereError::at(node.at, reason));
                }
            }
        }
        let root = self.root(&scope, items, &correlated)?;
        if let Some(absent) = absent.iter().find(|absent| absent.place == root) {
            let reason = "columns of a LEFT JOIN's table are not supported here";
            return Err(WhereError::at(absent.link.at, reason));
        }
        own[root].extend(anywhere);
        let correlated = correlated.into_iter().map(|(_, outer, inner, _)| (outer, inner));
        let mut correlated: Vec<(usize, usize)> = correlated.collect();
        correlated.sort_unstable();
        correlated.dedup();
        let mut tree = Tree { scope: &scope, own, edges, absent, taken: BTreeSet::new() };
        let mut root = tree.part(root, None)?;
        // What is joined with nothing has to have a row.
        for place in 0..scope.tables.len() {
            if !tree.taken.contains(&place) {
                let (at, kind) = (select.sources[place].at, LinkKind::Some);
                let part = tree.part(place, None)?;
                root.links.push(Link { pairs: Vec::new(), part, kind, at });
            }
        }
        Ok(Plan { root, correlated, outside })
    }

    pub(super) fn scope<'q>(&self, select: &'q Select) -> Result<Scope<'q>, WhereError> {
        let sources = &select.sources;
        let tables = sources.iter().map(|source| self.inner_table(source));
        let tables: Vec<Arc<TableSchema>> = tables.collect::<Result<_, _>>()?;
        for (place, source) in sources.iter().enumerate() {
            let called = |at: usize| {
                let name = &tables[at].name.table;
                sources[at].alias.as_ref().unwrap_or(name)
            };
            let same = |at: &usize| {
                let unnamed = sources[*at].alias.is_none() && source.alias.is_none();
                called(*at) == called(place) && !(unnamed && tables[*at].oid != tables[place].oid)
            };
            if let Some(at) = (0..place).find(same) {
                let reason = format!("table name {} is specified more than once", called(at));
                return Err(WhereError::at(source.at, reason));
            }
        }
        Ok(Scope { sources, tables })
    }

    fn conditions<'q>(
        &self,
        select: &'q Select,
        scope: &Scope<'q>,
    ) -> Result<Conditions<'q>, WhereError> {
        let (mut rest, mut edges) = (Vec::new(), Vec::new());
        let all = 0..scope.tables.len();
        let joined = select.sources.iter().enumerate().flat_map(|(place, source)| {
            let of = source.optional.then_some(place);
            source.on.iter().map(move |on| (on, source.first..place + 1, of))
        });
        let filter = select.filter.iter().map(|filter| (filter, all.clone(), None));
        for (node, sees, of) in joined.chain(filter) {
            for node in conjuncts(node) {
                match self.edge(node, scope, &sees)? {
                    Some(ends) => edges.push(Edge { ends, at: node.at, of }),
                    None => {
                        let mut named = Named::default();
                        self.named_in(node, scope, &sees, &mut Vec::new(), &mut named)?;
                        rest.push(Condition { node, named, sees: sees.clone(), of });
                    }
                }
            }
        }
        for (place, source) in select.sources.iter().enumerate() {
            for name in &source.using {
                let ends = self.merged(scope, place, name)?;
                let of = source.optional.then_some(place);
                edges.push(Edge { ends, at: source.at, of });
            }
        }
        Ok(Conditions { rest, edges })
    }

    /// The two columns that `USING (name)` takes as one.
    fn merged(
        &self,
        scope: &Scope,
        place: usize,
        name: &String,
    ) -> Result<[(usize, usize); 2], WhereError> {
        let at = scope.sources[place].at;
        let path = std::slice::from_ref(name);
        let one = scope.find(path, scope.sources[place].first..place, at)?;
        let other = scope.find(path, place..place + 1, at)?;
        let (Some(one), Some(other)) = (one, other) else {
            let reason = format!("column {name} of USING does not exist on both sides of the join");
            return Err(WhereError::at(at, reason));
        };
        let kind = |(table, column): (usize, usize)| &scope.tables[table].columns[column];
        // A value of the other side would be another one.
        if kind(one).base_type_oid != kind(other).base_type_oid {
            let reason =
                format!("column {name} of USING has two types, write ON; it is not supported");
            return Err(WhereError::at(at, reason));
        }
        Ok([one, other])
    }

    /// An equality of columns of two tables.
    fn edge(
        &self,
        node: &Node,
        scope: &Scope,
        sees: &Range<usize>,
    ) -> Result<Option<[(usize, usize); 2]>, WhereError> {
        let Some((left, right)) = equality(node) else { return Ok(None) };
        let find = |(path, at)| scope.find(path, sees.clone(), at);
        Ok(match (find(left)?, find(right)?) {
            (Some(one), Some(other)) if one.0 < other.0 => Some([one, other]),
            (Some(one), Some(other)) if one.0 > other.0 => Some([other, one]),
            _ => None,
        })
    }

    /// An equality of a column of the row outside with one of a table.
    fn correlation(
        &self,
        node: &Node,
        scope: &Scope,
        sees: &Range<usize>,
    ) -> Result<Option<(usize, usize)>, WhereError> {
        let Some((left, right)) = equality(node) else { return Ok(None) };
        let find = |(path, at)| scope.find(path, sees.clone(), at);
        let (inner, outer) = match (find(left)?, find(right)?) {
            (Some(inner), None) => (inner, right),
            (None, Some(inner)) => (inner, left),
            _ => return Ok(None),
        };
        Ok(Some((self.place(outer.0, outer.1)?, inner.1)))
    }

    /// Notes what a node names; `nested` are the tables of the subqueries around it, from outside to inside.
    fn named_in<'q>(
        &self,
        node: &'q Node,
        scope: &Scope,
        sees: &Range<usize>,
        nested: &mut Vec<(Scope<'q>, Range<usize>)>,
        found: &mut Named,
    ) -> Result<(), WhereError> {
        match &node.syntax {
            Syntax::Column(path) => {
                for (scope, sees) in nested.iter().rev() {
                    if scope.find(path, sees.clone(), node.at)?.is_some() {
                        return Ok(());
                    }
                }
                match scope.find(path, sees.clone(), node.at)? {
                    Some((table, _)) => _ = found.tables.insert(table),
                    None => {
                        // What no table inside has must be the row outside's.
                        self.place(path, node.at)?;
                        found.outside = true;
                    }
                }
                Ok(())
            }
            Syntax::Member { left, query, .. } => {
                self.named_in(left, scope, sees, nested, found)?;
                self.named_in_query(query, scope, sees, nested, found)
            }
            Syntax::Exists(query) | Syntax::Single(query) => {
                self.named_in_query(query, scope, sees, nested, found)
            }
            syntax => {
                let mut children = syntax.children().into_iter();
                children.try_for_each(|child| self.named_in(child, scope, sees, nested, found))
            }
        }
    }

    fn named_in_query<'q>(
        &self,
        query: &'q Query,
        scope: &Scope,
        sees: &Range<usize>,
        nested: &mut Vec<(Scope<'q>, Range<usize>)>,
        found: &mut Named,
    ) -> Result<(), WhereError> {
        for branch in &query.branches {
            let select = match branch {
                Branch::Select(select) => select,
                Branch::Values(_) | Branch::Row(_) => {
                    let mut rows = branch.rows().iter();
                    rows.try_for_each(|row| self.named_in(row, scope, sees, nested, found))?;
                    continue;
                }
            };
            let all = 0..select.sources.len();
            let joined = select.sources.iter().enumerate();
            let joined =
                joined.flat_map(|(at, one)| one.on.iter().map(move |on| (on, one.first..at + 1)));
            let rest = select.items.iter().chain(&select.filter).chain(&select.order);
            for (node, inside) in joined.chain(rest.map(|node| (node, all.clone()))) {
                nested.push((self.scope(select)?, inside));
                let named = self.named_in(node, scope, sees, nested, found);
                nested.pop();
                named?;
            }
        }
        Ok(())
    }

    /// The table that everything hangs on.
    fn root(
        &self,
        scope: &Scope,
        items: &[Node],
        correlated: &[(usize, usize, usize, usize)],
    ) -> Result<usize, WhereError> {
        let mut root = None;
        for item in items {
            let mut named = Named::default();
            let all = 0..scope.tables.len();
            self.named_in(item, scope, &all, &mut Vec::new(), &mut named)?;
            for place in named.tables {
                if root.is_some_and(|root| root != place) {
                    let reason = "columns of more than one table of a subquery are not supported";
                    return Err(WhereError::at(item.at, reason));
                }
                root = Some(place);
            }
        }
        for (place, _, _, at) in correlated {
            if root.is_some_and(|root| root != *place) {
                let reason = "what is selected and what is compared with the row outside must be columns of one table of the subquery";
                return Err(WhereError::at(*at, reason));
            }
            root = Some(*place);
        }
        Ok(root.unwrap_or(0))
    }
}

/// A column's path and where it stands.
type Path<'n> = (&'n [String], usize);

/// The sides of `column = column`.
fn equality(node: &Node) -> Option<(Path<'_>, Path<'_>)> {
    let Syntax::Binary { operator, left, right } = &node.syntax else { return None };
    match (&left.syntax, &right.syntax) {
        (Syntax::Column(one), Syntax::Column(other)) if operator == "=" => {
            Some(((one, left.at), (other, right.at)))
        }
        _ => None,
    }
}

/// The tree in the making.
struct Tree<'s, 'q> {
    scope: &'s Scope<'q>,
    own: Vec<Vec<&'q Node>>,
    edges: Vec<Edge>,
    absent: Vec<super::outer_join::Absent<'q>>,
    taken: BTreeSet<usize>,
}

impl<'q> Tree<'_, 'q> {
    /// The part of a table with everything that hangs on it, but what it hangs on.
    fn part(&mut self, place: usize, above: Option<usize>) -> Result<Part<'q>, WhereError> {
        self.taken.insert(place);
        let (source, table) = (&self.scope.sources[place], Arc::clone(&self.scope.tables[place]));
        let conditions = std::mem::take(&mut self.own[place]);
        let mut links = Vec::new();
        let others: BTreeSet<usize> =
            self.edges.iter().filter_map(|edge| edge.other(place)).collect();
        for other in others.into_iter().filter(|other| Some(*other) != above) {
            let of = |edge: &&Edge| edge.other(place) == Some(other);
            let at = self.edges.iter().find(of).map_or(source.at, |edge| edge.at);
            if self.taken.contains(&other) {
                let reason = "tables joined in a circle are not supported in subqueries";
                return Err(WhereError::at(at, reason));
            }
            let pairs = self.edges.iter().filter(of).map(|edge| edge.from(place));
            let mut pairs: Vec<(usize, usize)> = pairs.collect();
            pairs.sort_unstable();
            pairs.dedup();
            let part = self.part(other, Some(place))?;
            links.push(Link { pairs, part, kind: LinkKind::Some, at });
        }
        for absent in std::mem::take(&mut self.absent) {
            match absent.above == place {
                true => {
                    self.taken.insert(absent.place);
                    links.push(absent.link);
                }
                false => self.absent.push(absent),
            }
        }
        Ok(Part { source, table, conditions, links })
    }
}

impl Edge {
    pub(super) fn other(&self, place: usize) -> Option<usize> {
        match self.ends {
            [(one, _), (other, _)] if one == place => Some(other),
            [(one, _), (other, _)] if other == place => Some(one),
            _ => None,
        }
    }

    /// The columns, that of the table at `place` first.
    pub(super) fn from(&self, place: usize) -> (usize, usize) {
        match self.ends {
            [(one, column), (_, other)] if one == place => (column, other),
            [(_, other), (_, column)] => (column, other),
        }
    }
}
