//! Where each table's columns stand in rows, for good.
//!
//! *Invariant*: a place belongs to one column for ever; only the stream empties it.
//!
//! Postgres sends rows in the order of the columns that exist. Shapes outlive columns they do not
//! use, so rows are kept in *stable places*: see [`Relation::placed`]. The change log holds each
//! definition in this form, and finished shapes remember theirs, so that a restart goes on with the
//! same places.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use brooklet_sql::{Relation, RelationColumn, ReplicaIdentity, TableSchema};

/// The places of all tables' columns; shared between the stream and those who make shapes.
#[derive(Default)]
pub struct Layouts {
    /// Held for a look-up only.
    tables: Mutex<HashMap<u32, Layout>>,
}

/// The places of one table's columns.
struct Layout {
    relation: Arc<Relation>,
    /// For each place, whether the stream has named its column. Only the stream may empty a place,
    /// and only such a one: the catalogue may be behind the stream as well as ahead of it.
    streamed: Vec<bool>,
}

impl Layouts {
    /// What the change log holds, and what the tables of finished shapes say.
    #[must_use]
    pub fn new<'a>(
        mut known: HashMap<u32, Arc<Relation>>,
        tables: impl Iterator<Item = &'a TableSchema>,
    ) -> Layouts {
        for table in tables {
            let places = known.get(&table.oid).map_or(0, |known| known.columns.len());
            let relation = remembered(table);
            // Places are only ever added: the longer one is the later one.
            if relation.columns.len() > places {
                known.insert(table.oid, Arc::new(relation));
            }
        }
        let layout = |(oid, relation): (u32, Arc<Relation>)| {
            let streamed = vec![true; relation.columns.len()];
            (oid, Layout { relation, streamed })
        };
        Layouts { tables: Mutex::new(known.into_iter().map(layout).collect()) }
    }

    /// A definition as the stream announces it, in places. Columns that only the catalogue has named
    /// so far are still to come: they are in it, too.
    pub fn announced(&self, relation: Relation) -> Arc<Relation> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tables.remove(&relation.oid);
        let mut placed = relation.placed(before.as_ref().map(|before| &*before.relation));
        let mut streamed: Vec<bool> = placed.columns.iter().map(|c| !c.is_dropped()).collect();
        for (at, known) in before.iter().flat_map(|before| before.streamed.iter().enumerate()) {
            let column = &placed.columns[at];
            if column.is_dropped() && !known {
                let kept = before.iter().map(|before| before.relation.columns[at].clone());
                kept.for_each(|kept| placed.columns[at] = kept);
                if !placed.order.is_empty() && !placed.columns[at].is_dropped() {
                    placed.order.push(at);
                }
                streamed[at] = false;
            }
        }
        let relation = Arc::new(placed);
        tables.insert(relation.oid, Layout { relation: Arc::clone(&relation), streamed });
        relation
    }

    /// A table's definition as it is known now.
    #[must_use]
    pub fn current(&self, table: u32) -> Option<Arc<Relation>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.get(&table).map(|layout| Arc::clone(&layout.relation))
    }

    /// Whether the stream has announced a table.
    #[must_use]
    pub fn has_announced(&self, table: u32) -> bool {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.get(&table).is_some_and(|layout| layout.streamed.contains(&true))
    }

    /// A definition as the catalogue has it, in places. New columns get theirs here; the places of
    /// columns that it lacks are empty in what is returned, and nowhere else.
    pub fn known(&self, relation: Relation) -> Arc<Relation> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let oid = relation.oid;
        let Some(layout) = tables.get_mut(&oid) else {
            let streamed = vec![false; relation.columns.len()];
            let relation = Arc::new(relation);
            tables.insert(oid, Layout { relation: Arc::clone(&relation), streamed });
            return relation;
        };
        let placed = relation.placed(Some(&layout.relation));
        let (old, new) = (layout.relation.columns.len(), placed.columns.len());
        if new > old {
            let mut grown = Relation::clone(&layout.relation);
            if grown.order.is_empty() {
                let live = |at: &usize| !grown.columns[*at].is_dropped();
                grown.order = (0..old).filter(live).collect();
            }
            grown.columns.extend_from_slice(&placed.columns[old..]);
            grown.order.extend(old..new);
            layout.relation = Arc::new(grown);
            layout.streamed.resize(new, false);
        }
        Arc::new(placed)
    }
}

fn remembered(table: &TableSchema) -> Relation {
    let replicated = table.columns.iter().filter(|column| !column.generated);
    let columns = replicated.map(|column| match column.dropped {
        true => RelationColumn::dropped(),
        false => RelationColumn {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
        },
    });
    let mut order: Vec<usize> = table.live().filter(|at| !table.columns[*at].generated).collect();
    order.sort_by_key(|at| table.columns[*at].number);
    let (oid, name, columns) = (table.oid, table.name.clone(), columns.collect());
    Relation { oid, name, identity: ReplicaIdentity::Full, columns, order }
}

#[cfg(test)]
mod tests {
    use brooklet_sql::RelationName;

    use super::*;

    fn relation(columns: &[&str]) -> Relation {
        let column =
            |name: &&str| RelationColumn { name: (*name).into(), type_oid: 25, type_modifier: -1 };
        let name = RelationName { schema: "public".into(), table: "t".into() };
        let columns = columns.iter().map(column).collect();
        Relation { oid: 1, name, identity: ReplicaIdentity::Full, columns, order: Vec::new() }
    }

    fn names(relation: &Relation) -> Vec<&str> {
        relation.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn an_old_look_at_the_catalogue_empties_no_place() {
        let layouts = Layouts::default();
        layouts.announced(relation(&["a", "b", "c"]));
        assert_eq!(names(&layouts.known(relation(&["a", "b"]))), ["a", "b", ""]);
        assert_eq!(names(&layouts.known(relation(&["a", "b", "c"]))), ["a", "b", "c"]);
    }

    #[test]
    fn a_stream_that_is_behind_empties_no_place_of_a_column_to_come() {
        let layouts = Layouts::default();
        layouts.announced(relation(&["a", "b"]));
        assert_eq!(names(&layouts.known(relation(&["a", "c"]))), ["a", "", "c"]);
        // Announced again for another reason, then what the catalogue had already.
        assert_eq!(names(&layouts.announced(relation(&["a", "b"]))), ["a", "b", "c"]);
        assert_eq!(names(&layouts.announced(relation(&["a", "c"]))), ["a", "", "c"]);
        assert_eq!(names(&layouts.announced(relation(&["a"]))), ["a", "", ""]);
        assert_eq!(names(&layouts.announced(relation(&["a", "c"]))), ["a", "", "", "c"]);
    }
}
