//! Where each table's columns stand in rows, for good.
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
    tables: Mutex<HashMap<u32, Arc<Relation>>>,
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
        Layouts { tables: Mutex::new(known) }
    }

    /// Gives a definition, as the stream or the catalogue has it, its places.
    pub fn place(&self, relation: Relation) -> Arc<Relation> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tables.get(&relation.oid).cloned();
        let placed = relation.placed(before.as_deref());
        let placed = Arc::new(placed);
        tables.insert(placed.oid, Arc::clone(&placed));
        placed
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
