//! What collations are called.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The names that we know of, by number; shared by all who look at tables.
#[derive(Default)]
pub struct CollationNames {
    names: Mutex<HashMap<u32, String>>,
}

impl CollationNames {
    /// Remembers one.
    pub fn learn(&self, oid: u32, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(oid).or_insert_with(|| name.to_owned());
    }

    /// Whether the collation of this number may be `name`, `None` for types without one. It may if we know neither
    /// the number nor the name.
    #[must_use]
    pub fn may_be(&self, oid: u32, name: Option<&str>) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match (oid, name) {
            (0, name) => name.is_none(),
            (_, None) => false,
            (oid, Some(name)) => match names.get(&oid) {
                Some(known) => known == name,
                None => names.values().all(|known| known != name),
            },
        }
    }
}
