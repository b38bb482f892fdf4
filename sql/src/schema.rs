//! What we know of a table: its identity, columns and key.

use serde::{Deserialize, Serialize};

use crate::{Collation, RelationName};

/// A column, as the catalogue describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// `pg_type.oid` as declared.
    pub type_oid: u32,
    /// `pg_type.oid` with domains resolved to what they are made of.
    pub base_type_oid: u32,
    /// `pg_type.typname`, of the element for arrays with declared dimensions.
    pub type_name: String,
    /// `atttypmod`, −1 where there is none.
    pub type_modifier: i32,
    /// Declared array dimensions, 0 for everything else.
    pub dimensions: i32,
    /// Declared NOT NULL.
    pub not_null: bool,
    /// Place in the primary key, from 0.
    pub key_position: Option<usize>,
    /// A generated column: Postgres before 18 does not replicate it.
    pub generated: bool,
    /// The collation of a text column, `None` for types without one.
    pub collation: Option<Collation>,
    /// The labels of an enum, or of the enum an array holds, in declared order; none for other types.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `pg_type.oid` of an array's elements, 0 for other types.
    #[serde(default)]
    pub element_type_oid: u32,
    /// The schema of that enum, empty where there are no labels.
    #[serde(default)]
    pub enum_schema: String,
    /// Its name there, which is not the column's `type_name` under a domain.
    #[serde(default)]
    pub enum_name: String,
}

/// A table, as the catalogue describes it. Column indices everywhere are places in `columns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// `pg_class.oid`: the identity; names may be reused.
    pub oid: u32,
    /// Schema and name.
    pub name: RelationName,
    /// Columns in attribute order, dropped ones left out.
    pub columns: Vec<Column>,
}

impl TableSchema {
    /// The place of a column by its unquoted name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The primary key's columns in key order; empty where the table has none.
    #[must_use]
    pub fn primary_key(&self) -> Vec<usize> {
        let mut key: Vec<(usize, usize)> = (self.columns.iter().enumerate())
            .filter_map(|(at, column)| column.key_position.map(|position| (position, at)))
            .collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }
}
