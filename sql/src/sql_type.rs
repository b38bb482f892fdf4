//! The types that predicates compare in place, without computing anything.
//!
//! *Enters*: types as the catalogue numbers them.
//! *Leaves*: a [`SqlType`] and its names.
//! *Invariant*: types whose comparison we do not reproduce exactly have no `SqlType`.

use crate::data_type::DataType;

/// A type that can be compared. `varchar` is `Text`: the two differ only in their length limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SqlType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    /// Looked at for equality only, which is that of its labels.
    Enum,
}

/// Postgres' type categories: comparison operators exist within one, never across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Boolean,
    Number,
    Text,
    Uuid,
    Calendar,
    Enum,
}

impl SqlType {
    /// Of a type's values.
    pub(crate) fn of(data_type: &DataType) -> Option<SqlType> {
        match data_type.labels {
            Some(_) => Some(SqlType::Enum),
            None => SqlType::from_oid(data_type.oid.0),
        }
    }

    /// Of a column's values.
    pub(crate) fn of_column(column: &crate::Column) -> Option<SqlType> {
        match (column.labels.is_empty(), column.element_type_oid) {
            (false, 0) => Some(SqlType::Enum),
            _ => SqlType::from_oid(column.base_type_oid),
        }
    }

    /// By `pg_type.oid` of the base type.
    pub(crate) fn from_oid(oid: u32) -> Option<SqlType> {
        Some(match oid {
            16 => SqlType::Bool,
            20 => SqlType::Int8,
            21 => SqlType::Int2,
            23 => SqlType::Int4,
            25 | 1043 => SqlType::Text,
            700 => SqlType::Float4,
            701 => SqlType::Float8,
            1082 => SqlType::Date,
            1114 => SqlType::Timestamp,
            1184 => SqlType::Timestamptz,
            1700 => SqlType::Numeric,
            2950 => SqlType::Uuid,
            _ => return None,
        })
    }

    /// The short name, for SQL we write.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SqlType::Bool => "bool",
            SqlType::Int2 => "int2",
            SqlType::Int4 => "int4",
            SqlType::Int8 => "int8",
            SqlType::Float4 => "float4",
            SqlType::Float8 => "float8",
            SqlType::Numeric => "numeric",
            SqlType::Text => "text",
            SqlType::Uuid => "uuid",
            SqlType::Date => "date",
            SqlType::Timestamp => "timestamp",
            SqlType::Timestamptz => "timestamptz",
            SqlType::Enum => "enum",
        }
    }

    /// The name in Postgres' messages.
    pub(crate) fn title(self) -> &'static str {
        match self {
            SqlType::Bool => "boolean",
            SqlType::Int2 => "smallint",
            SqlType::Int4 => "integer",
            SqlType::Int8 => "bigint",
            SqlType::Float4 => "real",
            SqlType::Float8 => "double precision",
            SqlType::Timestamp => "timestamp without time zone",
            SqlType::Timestamptz => "timestamp with time zone",
            other => other.name(),
        }
    }

    pub(crate) fn category(self) -> Category {
        match self {
            SqlType::Bool => Category::Boolean,
            SqlType::Text => Category::Text,
            SqlType::Uuid => Category::Uuid,
            SqlType::Enum => Category::Enum,
            SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz => Category::Calendar,
            _ => Category::Number,
        }
    }

    /// The values of an integer type.
    pub(crate) fn integer_range(self) -> std::ops::RangeInclusive<i64> {
        match self {
            SqlType::Int2 => i64::from(i16::MIN)..=i64::from(i16::MAX),
            SqlType::Int4 => i64::from(i32::MIN)..=i64::from(i32::MAX),
            _ => i64::MIN..=i64::MAX,
        }
    }
}
