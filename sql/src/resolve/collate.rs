//! Which comparisons the collation of text lets us make.

use std::sync::LazyLock;

use super::Resolver;
use crate::data_type::DataType;
use crate::oid::Oid;
use crate::routine::{Call, TextUse};
use crate::scalar::{Kind, Scalar};
use crate::syntax::Node;
use crate::{Collation, TextOrder, WhereError};

/// Where an expression's collation comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Derived<'a> {
    /// The database's default: no column takes part.
    Default,
    Column(&'a Collation),
    /// `COLLATE "C"`.
    Explicit,
    /// Columns that disagree.
    Conflict,
}

impl<'a> Derived<'a> {
    fn with(self, other: Derived<'a>) -> Derived<'a> {
        match (self, other) {
            (Derived::Explicit, _) | (_, Derived::Explicit) => Derived::Explicit,
            (Derived::Conflict, _) | (_, Derived::Conflict) => Derived::Conflict,
            (Derived::Default, other) => other,
            (one, Derived::Default) => one,
            (Derived::Column(one), Derived::Column(other)) if one == other => self,
            // However much is known of it.
            (Derived::Column(one), Derived::Column(other)) if is_c(one) && is_c(other) => self,
            (Derived::Column(one), Derived::Column(_)) if one.is_default => other,
            (Derived::Column(_), Derived::Column(other)) if other.is_default => self,
            _ => Derived::Conflict,
        }
    }
}

impl<'a> Resolver<'a> {
    /// `COLLATE "C"`, the one collation that everybody has. It has two more names, and Postgres refuses two of them
    /// where one is needed.
    pub(super) fn collate(
        &mut self,
        operand: &Node,
        collation: &[String],
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let name = collation.last().map(String::as_str).unwrap_or_default();
        let known = collation.len() == 1 || collation[0] == "pg_catalog";
        if !known || !matches!(name, "C" | "POSIX" | "ucs_basic") {
            let reason = format!("COLLATE {name} is not supported; COLLATE \"C\" is");
            return Err(WhereError::at(at, reason));
        }
        if *self.explicit.get_or_insert_with(|| name.to_owned()) != name {
            let reason = format!(
                "COLLATE {name} beside another one is not supported; use COLLATE \"C\" throughout"
            );
            return Err(WhereError::at(at, reason));
        }
        let item = self.item(operand)?;
        self.refuse_opaque(&item)?;
        // What has no type has none with a collation either: what it stands beside decides.
        if item.data_type.oid != Oid::UNKNOWN && !item.data_type.is_collatable() {
            let title = item.data_type.title();
            let reason = format!("collations are not supported by type {title}");
            return Err(WhereError::at(at, reason));
        }
        let data_type = item.data_type.clone();
        Ok(Scalar::new(Kind::Collate(Box::new(item)), data_type, at))
    }

    pub(super) fn derive(&self, item: &Scalar) -> Derived<'a> {
        if !item.data_type.is_collatable() {
            return Derived::Default;
        }
        match &item.kind {
            Kind::Column(index) => {
                let table = self.table;
                match &table.columns[*index].collation {
                    Some(collation) => Derived::Column(collation),
                    None => Derived::Conflict,
                }
            }
            Kind::Collate(_) => Derived::Explicit,
            Kind::Constant(_) | Kind::Unknown { .. } | Kind::Truth(_) => of_type(item),
            // Conditions and indexes have no part in the value's collation.
            Kind::Case { branches, otherwise } => {
                let values = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
                values.fold(Derived::Default, |found, value| found.with(self.derive(value)))
            }
            Kind::NullIf { value, other, .. } => self.derive(value).with(self.derive(other)),
            Kind::Subscript { operand, .. } => self.derive(operand),
            _ => {
                let (mut found, mut of_children) = (Derived::Default, false);
                item.for_each_child(&mut |child| {
                    found = found.with(self.derive(child));
                    of_children |= child.data_type.is_collatable();
                });
                if of_children { found } else { of_type(item) }
            }
        }
    }

    /// Whether a constant without a collation may stand for something of this one: it is never chosen
    /// over another, since no column has another, and what is of no column has the default.
    pub(super) fn may_forget(&self, derived: Derived<'a>) -> bool {
        let mut all = self.table.columns.iter().filter_map(|column| column.collation.as_ref());
        match derived {
            Derived::Default => true,
            Derived::Column(one) => one.is_default && all.all(|other| other == one),
            Derived::Explicit | Derived::Conflict => false,
        }
    }

    /// What has been computed of something of this collation, still of it.
    pub(super) fn computed(&self, derived: Derived<'a>, value: Scalar) -> Scalar {
        let loses = derived == Derived::Explicit && self.derive(&value) != derived;
        if !loses || !value.data_type.is_collatable() {
            return value;
        }
        let (data_type, at) = (value.data_type.clone(), value.at);
        Scalar::new(Kind::Collate(Box::new(value)), data_type, at)
    }

    /// The collation under which several items are compared and folded: the default by its columns, where there are
    /// some.
    pub(super) fn derive_used<'i>(
        &self,
        items: impl IntoIterator<Item = &'i Scalar>,
    ) -> Derived<'a> {
        match self.derive_all(items) {
            Derived::Default => self.default_collation().map_or(Derived::Default, Derived::Column),
            derived => derived,
        }
    }

    /// The collation that several items have together.
    pub(super) fn derive_all<'i>(
        &self,
        items: impl IntoIterator<Item = &'i Scalar>,
    ) -> Derived<'a> {
        items.into_iter().fold(Derived::Default, |found, item| found.with(self.derive(item)))
    }

    /// Refuses a call that its arguments' collation does not allow; gives it the case map.
    pub(super) fn check_collation(
        &self,
        call: &mut Call,
        items: &[Scalar],
        at: usize,
    ) -> Result<(), WhereError> {
        let purpose = call.text_use();
        let collation = self.check_text(items, purpose, at)?;
        if purpose == TextUse::Fold {
            let map = collation.and_then(|collation| collation.case_map);
            let missing = || {
                let reason = "upper case is not known under this collation".to_owned();
                WhereError::at(at, reason)
            };
            let usable = call.code == "lower" || call.name != "upper";
            call.fold = map.filter(|map| usable || map.has_upper());
            if call.fold.is_none() {
                return Err(missing());
            }
        }
        Ok(())
    }

    /// Refuses a use of text that its collation does not allow.
    pub(super) fn check_text(
        &self,
        items: &[Scalar],
        purpose: TextUse,
        at: usize,
    ) -> Result<Option<Collation>, WhereError> {
        if purpose == TextUse::None || !items.iter().any(|item| item.data_type.is_collatable()) {
            return Ok(None);
        }
        if purpose == TextUse::Order {
            self.refuse_bytes("ordering text", at)?;
        }
        match self.derive_used(items) {
            Derived::Explicit => Ok(Some(Collation::c())),
            Derived::Column(collation) => {
                allow(collation, purpose, at).map(|()| Some(collation.clone()))
            }
            Derived::Default if purpose == TextUse::Equality => Ok(None),
            Derived::Default => {
                let reason = "the order and case of this text is that of the database, which is not supported \
                              in a table without a column of it; COLLATE \"C\" is";
                Err(WhereError::at(at, reason))
            }
            Derived::Conflict => {
                let reason = "comparing columns of different collations is not supported";
                Err(WhereError::at(at, reason))
            }
        }
    }
}

/// What a value has that is of no column: of type `name` it is of the collation `C`, of any other type of the default.
fn of_type<'a>(item: &Scalar) -> Derived<'a> {
    static C: LazyLock<Collation> = LazyLock::new(Collation::c);
    if is_of_names(&item.data_type) { Derived::Column(&C) } else { Derived::Default }
}

/// Whether a type is `name` or an array of it.
pub(super) fn is_of_names(data_type: &DataType) -> bool {
    let element = data_type.element.as_deref();
    data_type.oid == Oid::NAME || element.is_some_and(|one| one.oid == Oid::NAME)
}

fn is_c(collation: &Collation) -> bool {
    collation.name == "C" && collation.is_ascii()
}

fn allow(collation: &Collation, purpose: TextUse, at: usize) -> Result<(), WhereError> {
    let refuse = |what: &str, offer: &str| {
        let name = &collation.name;
        let reason = format!(
            "{what} under the collation {name} is not supported; write COLLATE \"C\" after it {offer}"
        );
        Err(WhereError::at(at, reason))
    };
    match purpose {
        TextUse::None => Ok(()),
        _ if !collation.deterministic => refuse("comparing text", "to compare bytes"),
        TextUse::Equality => Ok(()),
        TextUse::Order if collation.order == TextOrder::Bytes => Ok(()),
        TextUse::Order => refuse("ordering text", "to order by bytes"),
        TextUse::Fold if collation.case_map.is_some() => Ok(()),
        TextUse::Fold => {
            refuse("folding case (ILIKE, lower, upper)", "to fold the letters of ASCII")
        }
    }
}
