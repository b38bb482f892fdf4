//! A table as the replication stream announces it, before its first change and after every change
//! of its definition.

use serde::{Deserialize, Serialize};

use crate::{RelationName, TableSchema};

/// How much of the old row the stream carries (`pg_class.relreplident`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReplicaIdentity {
    /// The whole old row: what shapes need.
    Full,
    /// The primary key, an index or nothing.
    Partial,
}

/// One column of a [`Relation`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationColumn {
    /// The name, unquoted.
    pub name: String,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `atttypmod`.
    pub type_modifier: i32,
}

/// A table's definition at a position of the stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: RelationName,
    /// What old rows carry.
    pub identity: ReplicaIdentity,
    /// The replicated columns, in the order of row values.
    pub columns: Vec<RelationColumn>,
}

impl TableSchema {
    /// Whether rows under `relation` are rows of this schema: same table, same replicated columns
    /// in the same places, complete old rows. Generated columns stand last and are not replicated.
    #[must_use]
    pub fn describes(&self, relation: &Relation) -> bool {
        let replicated = self.columns.iter().filter(|column| !column.generated);
        self.oid == relation.oid
            && self.name == relation.name
            && relation.identity == ReplicaIdentity::Full
            && replicated.clone().count() == relation.columns.len()
            && replicated.zip(&relation.columns).all(|(ours, theirs)| {
                ours.name == theirs.name
                    && ours.type_oid == theirs.type_oid
                    && ours.type_modifier == theirs.type_modifier
            })
    }
}
