//! Which comparisons a column's collation lets us make.

use std::sync::Arc;

use super::{Item, Kind, Resolver};
use crate::sql_type::SqlType;
use crate::{CaseMap, Collation, TextOrder, WhereError};

/// What text is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// `=`, IN, LIKE: equal means equal bytes.
    Equality,
    /// `<`, BETWEEN.
    Order,
    /// ILIKE.
    Fold,
}

impl Resolver<'_> {
    /// Refuses a use of text that its collation does not allow; gives the case map for ILIKE.
    pub(super) fn check_collation(
        &self,
        sides: [&Item; 2],
        purpose: Use,
        at: usize,
    ) -> Result<Option<Arc<CaseMap>>, WhereError> {
        if sides.iter().all(|side| side.sql_type() != Some(SqlType::Text)) {
            return Ok(None);
        }
        let mut chosen: Option<&Collation> = None;
        for side in sides {
            let Kind::Column(index, _) = side.kind else { continue };
            let column = &self.table.columns[index];
            let collation = column.collation.as_ref().ok_or_else(|| {
                let reason = format!("the collation of column {} is unknown", column.name);
                WhereError::at(side.at, reason)
            })?;
            if chosen.is_some_and(|chosen| chosen != collation) {
                let reason = "comparing columns of different collations is not supported";
                return Err(WhereError::at(at, reason));
            }
            chosen = Some(collation);
        }
        match chosen {
            Some(collation) => allow(collation, purpose, at),
            None if purpose == Use::Equality => Ok(None),
            None => {
                let reason = "the order and case of text constants is that of the database, \
                              which is not supported without a column";
                Err(WhereError::at(at, reason))
            }
        }
    }
}

fn allow(
    collation: &Collation,
    purpose: Use,
    at: usize,
) -> Result<Option<Arc<CaseMap>>, WhereError> {
    let refuse = |what: &str| {
        let reason = format!("{what} under the collation {} is not supported", collation.name);
        Err(WhereError::at(at, reason))
    };
    if !collation.deterministic {
        return refuse("comparing text");
    }
    match purpose {
        Use::Equality => Ok(None),
        Use::Order if collation.order == TextOrder::Bytes => Ok(None),
        Use::Order => refuse("ordering text"),
        Use::Fold => match &collation.case_map {
            Some(map) => Ok(Some(Arc::clone(map))),
            None => refuse("ILIKE"),
        },
    }
}
