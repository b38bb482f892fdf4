//! Columns of composite types: nothing of them but tests for NULL, which are of their fields.

use std::sync::Arc;

use super::Resolver;
use crate::expr::Expr;
use crate::oid::Oid;
use crate::scalar::{Kind, Scalar};
use crate::{Column, WhereError};

impl Resolver<'_> {
    /// `IS NULL` of such a column: that all its fields are; IS NOT NULL: that none is. Either may be false.
    /// `None` of everything else.
    pub(super) fn fields_null(&self, item: &Scalar, negated: bool) -> Option<Expr> {
        let Kind::Opaque(column) = item.kind else { return None };
        let count = self.table.columns.get(column)?.fields()?;
        let kind = Kind::Fields { column, negated, count };
        let scalar = Arc::new(Scalar::new(kind, Oid::BOOL, item.at));
        Some(Expr::Computed { scalar, negated: false })
    }

    /// Elsewhere Postgres asks whether there is a value, which IS NULL, as we print it, does not.
    pub(super) fn refuse_composites(&self, item: &Scalar) -> Result<(), WhereError> {
        match &item.kind {
            Kind::Opaque(column) => refuse_composite(&self.table.columns[*column], item.at),
            Kind::Row(fields) => fields.iter().try_for_each(|one| self.refuse_composites(one)),
            _ => Ok(()),
        }
    }
}

/// Refuses a column of a composite type.
pub(super) fn refuse_composite(column: &Column, at: usize) -> Result<(), WhereError> {
    if column.fields().is_none() {
        return Ok(());
    }
    let (name, of) = (&column.name, &column.type_name);
    let reason = format!(
        "column {name} has the composite type {of}, for which only {name} IS [NOT] NULL is supported"
    );
    Err(WhereError::at(at, reason))
}
