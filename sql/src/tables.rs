//! What a clause may name besides its own table.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::{RelationName, TableSchema, Zones};

/// The tables of its subqueries, and time zones.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    by_name: HashMap<RelationName, Arc<TableSchema>>,
    /// By their names in lower case.
    pub zones: Zones,
}

impl Tables {
    /// None at all.
    #[must_use]
    pub fn new() -> Tables {
        Tables::default()
    }
}

impl Deref for Tables {
    type Target = HashMap<RelationName, Arc<TableSchema>>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

impl DerefMut for Tables {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.by_name
    }
}

impl FromIterator<(RelationName, Arc<TableSchema>)> for Tables {
    fn from_iter<I: IntoIterator<Item = (RelationName, Arc<TableSchema>)>>(tables: I) -> Tables {
        Tables { by_name: tables.into_iter().collect(), zones: Zones::new() }
    }
}

impl<const N: usize> From<[(RelationName, Arc<TableSchema>); N]> for Tables {
    fn from(tables: [(RelationName, Arc<TableSchema>); N]) -> Tables {
        tables.into_iter().collect()
    }
}
