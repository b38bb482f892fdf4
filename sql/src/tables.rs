//! What a clause may name besides its own table.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::mathematics::Functions;
use crate::{RelationName, TableSchema, Zones};

/// The tables of its subqueries, time zones, which Postgres it is, how it encodes text and how it computes.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    by_name: HashMap<RelationName, Arc<TableSchema>>,
    /// By their names in lower case.
    pub zones: Zones,
    /// `server_version_num`; 0 where nobody has asked, which refuses what depends on it.
    pub version: i32,
    /// The server's encoding where it is not UTF8, which refuses what depends on the bytes of text.
    pub encoding: Option<String>,
    /// What the server's C library computes as ours; none where nobody has asked.
    pub mathematics: Functions,
}

/// The version whose powers and logarithms are known.
const KNOWN: std::ops::Range<i32> = 150_000..160_000;

impl Tables {
    /// Whether the powers and logarithms of `numeric` have our digits.
    #[must_use]
    pub fn has_powers(&self) -> bool {
        KNOWN.contains(&self.version)
    }

    /// The same for what was compiled before, on this very server.
    pub(crate) fn as_before(&self) -> Tables {
        let (version, mathematics) = (KNOWN.start, Functions::ALL);
        Tables { version, mathematics, encoding: None, ..self.clone() }
    }

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
        Tables { by_name: tables.into_iter().collect(), ..Tables::default() }
    }
}

impl<const N: usize> From<[(RelationName, Arc<TableSchema>); N]> for Tables {
    fn from(tables: [(RelationName, Arc<TableSchema>); N]) -> Tables {
        tables.into_iter().collect()
    }
}
