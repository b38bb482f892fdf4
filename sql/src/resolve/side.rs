//! What is compared with a subquery, and what it selects.

use super::Resolver;
use super::collate::Derived;
use super::union::check_width;
use crate::data_type::DataType;
use crate::oid::Oid;
use crate::scalar::{Kind, Scalar};
use crate::subquery::{Side, Subquery};
use crate::syntax::{Node, Select, Syntax};
use crate::{Collation, Column, WhereError};

impl Resolver<'_> {
    /// What stands on the left, as many as there are on the right; a string by itself is of the type there.
    pub(super) fn fields(
        &mut self,
        left: &Node,
        subquery: &Subquery,
        select: &Select,
    ) -> Result<Vec<Side>, WhereError> {
        let fields = match &left.syntax {
            Syntax::Row(fields) => fields.iter().collect(),
            _ => vec![left],
        };
        check_width(fields.len(), select.items.len(), select.at)?;
        let pairs = fields.into_iter().zip(&subquery.columns);
        let side = |(field, right): (&Node, &Side)| {
            self.side(field, DataType::made_of(right.like(&subquery.table)))
        };
        pairs.map(side).collect()
    }

    /// A column or what is computed; `untyped` is the type of a bare string.
    fn side(&mut self, node: &Node, untyped: Option<DataType>) -> Result<Side, WhereError> {
        if let Syntax::Column(path) = &node.syntax {
            let column = self.place(path, node.at)?;
            return self.column_side(column, node.at);
        }
        let mut item = self.item(node)?;
        self.refuse_opaque(&item)?;
        // A cast that changes nothing.
        if let Kind::Column(column) = item.kind
            && column < self.table.columns.len()
        {
            return self.column_side(column, node.at);
        }
        if item.data_type.oid == Oid::UNKNOWN {
            item = self.coerce(item, &untyped.unwrap_or_else(|| Oid::TEXT.into()))?;
        }
        self.refuse_tests(&item, node.at)?;
        if item.data_type.oid == Oid::CITEXT {
            return self.folded_side(item);
        }
        let collation = self.collation_of(&item)?;
        let DataType { oid, labels, element, .. } = &item.data_type;
        // These are compared by what a column says of them.
        if labels.is_some() || element.is_some() || *oid == Oid::BPCHAR {
            let reason = format!(
                "only bare columns of type {} can be compared with a subquery",
                item.data_type.title()
            );
            return Err(WhereError::at(node.at, reason));
        }
        let (type_oid, type_name) = (oid.0, item.data_type.title());
        let gone = Column::gone();
        let like = Column { type_oid, base_type_oid: type_oid, type_name, collation, ..gone };
        Ok(Side::computed(item, like))
    }

    /// Refuses what reads more than the table's own columns: those behind stand for subqueries.
    fn refuse_tests(&self, item: &Scalar, at: usize) -> Result<(), WhereError> {
        let mut columns = Vec::new();
        item.columns(&mut columns);
        if columns.iter().any(|at| *at >= self.table.columns.len()) {
            let reason = "subqueries in what is compared with a subquery are not supported";
            return Err(WhereError::at(at, reason));
        }
        Ok(())
    }

    /// What is selected: `unnest(…)` is the elements of an array.
    pub(super) fn item_side(&mut self, node: &Node) -> Result<Side, WhereError> {
        let Some(array) = unnested(node) else { return self.side(node, None) };
        let item = self.item(array)?;
        self.refuse_opaque(&item)?;
        self.refuse_tests(&item, node.at)?;
        let collation = self.collation_of(&item)?;
        let refuse = |reason: String| Err(WhereError::at(node.at, reason));
        let Some(element) = item.data_type.element.clone() else {
            return refuse(format!("unnest of {} is not supported", item.data_type.title()));
        };
        if matches!(element.oid, Oid::CITEXT | Oid::BPCHAR) {
            return refuse(format!("unnest of {} is not supported", item.data_type.title()));
        }
        let labels = element.labels.iter().flat_map(|labels| &labels.labels);
        let labels = labels.map(|label| label.to_string()).collect();
        let (type_oid, type_name) = (element.oid.0, element.title());
        let gone = Column::gone();
        let base_type_oid = type_oid;
        let like = Column { type_oid, base_type_oid, type_name, collation, labels, ..gone };
        Ok(Side::elements(item, like))
    }

    pub(super) fn column_sides(
        &mut self,
        columns: Vec<usize>,
        at: usize,
    ) -> Result<Vec<Side>, WhereError> {
        columns.into_iter().map(|column| self.column_side(column, at)).collect()
    }

    /// A column, as it is compared.
    pub(super) fn column_side(&mut self, column: usize, at: usize) -> Result<Side, WhereError> {
        match Oid(self.table.columns[column].base_type_oid) {
            Oid::CITEXT => self.folded_side(super::uncased::column(column, at)),
            _ => Ok(Side::Column(column)),
        }
    }

    /// What is of `citext`, in lower case: it is compared with nothing but `citext`.
    fn folded_side(&mut self, item: Scalar) -> Result<Side, WhereError> {
        let folded = self.lowered(item)?;
        let collation = self.collation_of(&folded)?;
        let type_oid = Oid::CITEXT.0;
        let type_name = "citext".to_owned();
        let gone = Column::gone();
        let like = Column { type_oid, base_type_oid: type_oid, type_name, collation, ..gone };
        Ok(Side::computed(folded, like))
    }

    /// The collation that what is computed has, for a comparison with a subquery.
    fn collation_of(&self, item: &Scalar) -> Result<Option<Collation>, WhereError> {
        match self.derive(item) {
            Derived::Default => Ok(None),
            Derived::Column(collation) => Ok(Some(collation.clone())),
            Derived::Explicit => Ok(Some(Collation::c())),
            Derived::Conflict => {
                let reason = "columns of different collations cannot be compared with a subquery";
                Err(WhereError::at(item.at, reason))
            }
        }
    }
}

/// The array of `unnest(…)`.
pub(super) fn unnested(node: &Node) -> Option<&Node> {
    let Syntax::Call { name, arguments } = &node.syntax else { return None };
    match (name.as_slice(), arguments.as_slice()) {
        ([name], [array]) if name == "unnest" => Some(array),
        ([schema, name], [array]) if schema == "pg_catalog" && name == "unnest" => Some(array),
        _ => None,
    }
}

/// Refuses two arrays, of which Postgres takes an element each at a time.
pub(super) fn one_array(selected: &[Side], items: &[Node]) -> Result<(), WhereError> {
    let arrays = selected.iter().zip(items);
    let mut arrays = arrays.filter(|(side, _)| matches!(side, Side::Elements(_)));
    match arrays.nth(1) {
        Some((_, node)) => Err(WhereError::at(node.at, "a second unnest is not supported")),
        None => Ok(()),
    }
}
