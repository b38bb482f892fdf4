//! What collations are called.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// The database's default, which may have the name of another one.
const DEFAULT: u32 = 100;

/// The names that we know of, by number; shared by all who look at tables.
#[derive(Default)]
pub struct CollationNames {
    /// All that each ever had: it can be renamed.
    names: Mutex<HashMap<u32, HashSet<String>>>,
}

impl CollationNames {
    /// Remembers one.
    pub fn learn(&self, oid: u32, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.entry(oid).or_default();
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
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
                Some(known) => known.contains(name),
                None if oid == DEFAULT => true,
                None => {
                    !names.iter().any(|(other, known)| *other != DEFAULT && known.contains(name))
                }
            },
        }
    }
}
