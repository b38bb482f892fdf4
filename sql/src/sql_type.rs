//! The column types predicates can look into.
//!
//! *Enters*: type OIDs from the catalogue, type names from a clause.
//! *Leaves*: a [`SqlType`], its names, and Postgres' implicit casts between them.
//! *Invariant*: types whose comparison we do not reproduce exactly have no `SqlType`.

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
}

/// Postgres' type categories: comparison operators exist within one, never across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Boolean,
    Number,
    Text,
    Uuid,
    Calendar,
}

impl SqlType {
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

    /// By a name as a clause writes it: lower case, single blanks.
    pub(crate) fn from_name(name: &str) -> Option<SqlType> {
        Some(match name {
            "bool" | "boolean" => SqlType::Bool,
            "int2" | "smallint" => SqlType::Int2,
            "int4" | "int" | "integer" => SqlType::Int4,
            "int8" | "bigint" => SqlType::Int8,
            "float4" | "real" => SqlType::Float4,
            "float8" | "float" | "double precision" => SqlType::Float8,
            "numeric" | "decimal" | "dec" => SqlType::Numeric,
            "text" | "varchar" | "character varying" => SqlType::Text,
            "uuid" => SqlType::Uuid,
            "date" => SqlType::Date,
            "timestamp" | "timestamp without time zone" => SqlType::Timestamp,
            "timestamptz" | "timestamp with time zone" => SqlType::Timestamptz,
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
            SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz => Category::Calendar,
            _ => Category::Number,
        }
    }

    /// Place among the implicit casts of a category: each type casts to the later ones only.
    fn width(self) -> u8 {
        match self {
            SqlType::Int2 | SqlType::Date => 0,
            SqlType::Int4 | SqlType::Timestamp => 1,
            SqlType::Int8 | SqlType::Timestamptz => 2,
            SqlType::Numeric => 3,
            SqlType::Float4 => 4,
            SqlType::Float8 => 5,
            _ => 0,
        }
    }

    /// The type Postgres' `select_common_type` gives a list, starting from its first member; `None`
    /// where the categories differ. A type casts implicitly to every wider one of its category and
    /// to no narrower one, so the widest wins; the preferred types (`float8`, `timestamptz`) are the
    /// widest of theirs.
    pub(crate) fn common(types: impl IntoIterator<Item = SqlType>) -> Option<SqlType> {
        let mut types = types.into_iter();
        let mut common = types.next()?;
        for next in types {
            if next.category() != common.category() {
                return None;
            }
            if next.width() > common.width() {
                common = next;
            }
        }
        Some(common)
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
