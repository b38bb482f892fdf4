//! A short look at a table that was looked at before.
//!
//! *Enters*: what a look at all of a table has found, with its mark: the versions of the rows of the catalogue that this
//! was read from. *Leaves*: the same, as long as the table has that mark. *Invariant*: what leaves is true at some time
//! after it was asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::publication::PreparedTable;
use crate::shared_call::SharedCall;

/// What is kept of the last look at a table.
#[derive(Default)]
pub struct Glance {
    /// Held for a comparison only.
    kept: Mutex<Option<Kept>>,
    mark: SharedCall<Option<String>>,
}

struct Kept {
    mark: String,
    table: Arc<PreparedTable>,
}

impl Glance {
    /// What is kept, if the table's mark, which `ask` asks for, is still the same.
    pub async fn at<E, F>(&self, ask: impl FnOnce() -> F) -> Result<Option<Arc<PreparedTable>>, E>
    where
        F: Future<Output = Result<Option<String>, E>>,
    {
        if self.kept().is_none() {
            return Ok(None);
        }
        let mark = self.mark.call(ask).await?;
        let mut kept = self.kept();
        let same = kept.as_ref().filter(|kept| Some(&kept.mark) == mark.as_ref());
        let same = same.map(|kept| Arc::clone(&kept.table));
        if same.is_none() {
            *kept = None;
        }
        Ok(same)
    }

    /// Keeps what was found together with its mark, if that says all of it.
    pub fn keep(&self, mark: String, table: &Arc<PreparedTable>) {
        let table = Arc::clone(table);
        *self.kept() = table.has_plain_types().then_some(Kept { mark, table });
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
