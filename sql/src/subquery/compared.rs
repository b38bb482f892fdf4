//! How the columns of a test are compared, and as which bytes.
//!
//! *Invariant*: two values are equal bytes exactly when SQL's `=` is true of them.

use crate::oid::Oid;
use crate::sql_type::SqlType;
use crate::value::Value;
use crate::{Column, key};

/// The type that both sides of a comparison are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Plain(SqlType),
    Other(Oid),
}

impl Compared {
    pub(super) fn write(self, text: &[u8], bytes: &mut Vec<u8>) -> bool {
        match self {
            Compared::Plain(sql_type) => match Value::read(sql_type, text) {
                Some(value) => {
                    key::write(value, bytes);
                    true
                }
                None => false,
            },
            Compared::Other(oid) => key::write_other(oid, text, bytes),
        }
    }

    /// How two columns are compared; `None` where Postgres has no `=` for them, or we none that is the
    /// same.
    pub(super) fn of(left: &Column, right: &Column) -> Option<Compared> {
        Compared::of_plain(left, right).or_else(|| Compared::of_other(left, right))
    }

    fn of_plain(left: &Column, right: &Column) -> Option<Compared> {
        if left.element_type_oid != 0 || right.element_type_oid != 0 {
            return None;
        }
        let deterministic =
            |column: &Column| column.collation.as_ref().is_none_or(|c| c.deterministic);
        let collated = left.collation.is_some() || right.collation.is_some();
        let one_collation = || match (&left.collation, &right.collation) {
            (Some(left), Some(right)) => left.name == right.name,
            // What is computed from no column's text has none to insist on.
            _ => true,
        };
        if collated && !(deterministic(left) && deterministic(right) && one_collation()) {
            return None;
        }
        use SqlType::{Enum, Float4, Float8, Int2, Int4, Int8, Numeric};
        let same = left.base_type_oid == right.base_type_oid;
        if same && left.base_type_oid == Oid::CITEXT.0 {
            // Their lower case is compared.
            return Some(Compared::Plain(SqlType::Text));
        }
        match (SqlType::of_column(left)?, SqlType::of_column(right)?) {
            (Enum, Enum) => same.then_some(Compared::Plain(Enum)),
            (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => Some(Compared::Plain(Int8)),
            (Int2 | Int4 | Int8 | Numeric, Int2 | Int4 | Int8 | Numeric) => {
                Some(Compared::Plain(Numeric))
            }
            (one, other) if one == other => Some(Compared::Plain(one)),
            // Postgres compares these as float8, too. A float4 has other text as a float8.
            (one, other) if [one, other].iter().all(|t| *t != Float4) => {
                let number = |t| matches!(t, Int2 | Int4 | Int8 | Numeric | Float8);
                (number(one) && number(other)).then_some(Compared::Plain(Float8))
            }
            _ => None,
        }
    }

    /// The same for types that are compared by computing.
    fn of_other(left: &Column, right: &Column) -> Option<Compared> {
        let plain = left.element_type_oid == 0 && right.element_type_oid == 0;
        let same = left.base_type_oid == right.base_type_oid && left.collation == right.collation;
        let deterministic = left.collation.as_ref().is_none_or(|c| c.deterministic);
        let known = [
            Oid::BPCHAR,
            Oid::BYTEA,
            Oid::TIME,
            Oid::INET,
            Oid::CIDR,
            Oid::OID,
            Oid::INTERVAL,
            Oid::MACADDR,
            Oid::MACADDR8,
            Oid::XID8,
            Oid::PG_LSN,
        ];
        let oid = Oid(left.base_type_oid);
        (plain && same && deterministic && known.contains(&oid)).then_some(Compared::Other(oid))
    }
}

/// Whether values of the second column that differ are no two of them equal to one of the first, as they are compared.
pub(crate) fn keeps_apart(outer: &Column, inner: &Column) -> bool {
    match Compared::of(outer, inner) {
        Some(Compared::Plain(compared)) => {
            SqlType::of_column(inner).is_none_or(|inner| compares_apart(inner, compared))
        }
        other => other.is_some(),
    }
}

/// The same of values of one type that are compared with a value of another.
pub(crate) fn compares_apart(column: SqlType, other: SqlType) -> bool {
    // Cast to a float they lose digits.
    let floats = matches!(other, SqlType::Float4 | SqlType::Float8);
    !(floats && matches!(column, SqlType::Int8 | SqlType::Numeric))
}
