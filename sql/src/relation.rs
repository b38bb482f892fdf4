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
    /// In stable places: the places in Postgres' order, which a renamed column keeps and a column
    /// that was dropped and added again does not. Empty: as they stand.
    #[serde(default)]
    pub order: Vec<usize>,
}

impl RelationColumn {
    /// The place of a column that was dropped.
    #[must_use]
    pub fn dropped() -> RelationColumn {
        RelationColumn { name: String::new(), type_oid: 0, type_modifier: -1 }
    }

    /// Whether the place is empty: no type has number 0.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.type_oid == 0
    }
}

impl Relation {
    /// The same definition in *stable places*: a column keeps the place it had in `before`, a place
    /// whose column is gone stays empty, new columns come last. A column of another name or type
    /// counts as a new one.
    #[must_use]
    pub fn placed(self, before: Option<&Relation>) -> Relation {
        let Some(before) = before else { return self };
        let mut places = vec![RelationColumn::dropped(); before.columns.len()];
        let known = before.in_order();
        let (mut order, mut from) = (Vec::with_capacity(self.columns.len()), 0);
        for column in self.columns {
            // Postgres keeps the order of columns, so what comes before the last match is gone.
            let same = |place: &usize| before.columns[*place] == column;
            match known[from..].iter().position(same) {
                Some(at) => {
                    from += at + 1;
                    order.push(known[from - 1]);
                    places[known[from - 1]] = column;
                }
                None => {
                    order.push(places.len());
                    places.push(column);
                }
            }
        }
        Relation { columns: places, order, ..self }
    }

    /// The places of the columns that exist, in Postgres' order.
    fn in_order(&self) -> Vec<usize> {
        if !self.order.is_empty() {
            return self.order.clone();
        }
        let live = self.columns.iter().enumerate().filter(|(_, column)| !column.is_dropped());
        live.map(|(at, _)| at).collect()
    }

    /// The place of a column by its unquoted name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| !column.is_dropped() && column.name == name)
    }
}

/// What a later definition of a table changes, for those who know an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Another table, another name, or old rows that are no longer complete: nothing is as it was.
    Everything,
    /// Columns.
    Columns {
        /// The places of those that are gone or of another type.
        lost: Vec<usize>,
        /// Whether there are others.
        gained: bool,
    },
}

impl TableSchema {
    /// How `relation`, in stable places, differs from this schema. Generated columns are not
    /// replicated, so nothing is said of them.
    #[must_use]
    pub fn difference(&self, relation: &Relation) -> Difference {
        let same = self.oid == relation.oid && self.name == relation.name;
        if !same || relation.identity != ReplicaIdentity::Full {
            return Difference::Everything;
        }
        let ours = |at: usize| self.columns.get(at).filter(|c| !c.generated && !c.dropped);
        let kept = |at: usize| {
            let now = relation.columns.get(at).filter(|now| !now.is_dropped());
            ours(at).zip(now).is_some_and(|(ours, now)| {
                ours.name == now.name
                    && ours.type_oid == now.type_oid
                    && ours.type_modifier == now.type_modifier
            })
        };
        let lost = (0..self.columns.len()).filter(|at| ours(*at).is_some() && !kept(*at));
        let live = |at: &usize| !relation.columns[*at].is_dropped();
        let gained = (0..relation.columns.len()).filter(live).any(|at| !kept(at));
        Difference::Columns { lost: lost.collect(), gained }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(columns: &[&str]) -> Relation {
        let column = |name: &&str| match *name {
            "" => RelationColumn::dropped(),
            name => RelationColumn { name: name.into(), type_oid: 25, type_modifier: -1 },
        };
        let name = RelationName { schema: "public".into(), table: "t".into() };
        let columns = columns.iter().map(column).collect();
        Relation { oid: 1, name, identity: ReplicaIdentity::Full, columns, order: Vec::new() }
    }

    #[test]
    fn columns_keep_their_places() {
        let placed = |before: &[&str], now: &[&str]| {
            let placed = relation(now).placed(Some(&relation(before)));
            placed.columns.into_iter().map(|column| column.name).collect::<Vec<_>>()
        };
        assert_eq!(relation(&["a"]).placed(None), relation(&["a"]));
        assert_eq!(placed(&["a", "b"], &["a", "b", "c"]), ["a", "b", "c"]);
        assert_eq!(placed(&["a", "b", "c"], &["a", "c"]), ["a", "", "c"]);
        assert_eq!(placed(&["a", "", "c"], &["a", "c", "d"]), ["a", "", "c", "d"]);
        // Renamed: another column. Dropped and added again: not the one before.
        assert_eq!(placed(&["a", "b", "c"], &["a", "x", "c"]), ["a", "", "c", "x"]);
        assert_eq!(placed(&["a", "b", "c"], &["a", "c", "b"]), ["a", "", "c", "b"]);
        // A renamed one stands last, and still comes second.
        let renamed = relation(&["a", "x", "c"]).placed(Some(&relation(&["a", "b", "c"])));
        assert_eq!(relation(&["a", "x", "c"]).placed(Some(&renamed)), renamed);
    }
}
