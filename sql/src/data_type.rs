//! Types of values: built in, enums of the database, arrays of either.

use std::sync::Arc;

use crate::Column;
use crate::catalog::catalog;
use crate::name::quote;
use crate::oid::Oid;

/// A type, with what is needed to read its values.
#[derive(Debug, Clone)]
pub(crate) struct DataType {
    pub(crate) oid: Oid,
    /// What an enum may hold.
    pub(crate) labels: Option<Arc<Labels>>,
    /// What an array holds.
    pub(crate) element: Option<Arc<DataType>>,
}

/// An enum's labels.
#[derive(Debug)]
pub(crate) struct Labels {
    /// The type's name, quoted for SQL.
    pub(crate) name: String,
    /// In declared order.
    pub(crate) labels: Vec<Arc<str>>,
}

impl PartialEq for DataType {
    fn eq(&self, other: &DataType) -> bool {
        match (&self.element, &other.element) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.oid == other.oid,
            _ => false,
        }
    }
}

impl From<Oid> for DataType {
    /// A built-in type.
    fn from(oid: Oid) -> DataType {
        let element = catalog().type_of(oid).and_then(|entry| entry.element);
        DataType { oid, labels: None, element: element.map(|oid| Arc::new(oid.into())) }
    }
}

impl DataType {
    /// The type of a column's values, domains being what they are made of; `None` where we cannot
    /// read them.
    pub(crate) fn of_column(column: &Column) -> Option<DataType> {
        let oid = Oid(column.base_type_oid);
        if column.labels.is_empty() {
            return Some(DataType::from(oid)).filter(DataType::is_readable);
        }
        let name = format!("{}.{}", quote(&column.enum_schema), quote(&column.enum_name));
        let labels = column.labels.iter().map(|label| label.as_str().into()).collect();
        let labels = Arc::new(Labels { name, labels });
        Some(match column.element_type_oid {
            0 => DataType { oid, labels: Some(labels), element: None },
            element => {
                let element = DataType { oid: Oid(element), labels: Some(labels), element: None };
                DataType { oid, labels: None, element: Some(Arc::new(element)) }
            }
        })
    }

    /// The array over this type.
    pub(crate) fn array(&self) -> Option<DataType> {
        if self.element.is_some() {
            return None;
        }
        let oid = match &self.labels {
            // Its number is not known, and nothing asks for it.
            Some(_) => Oid(self.oid.0 | 1 << 31),
            None => catalog().type_of(self.oid)?.array?,
        };
        Some(DataType { oid, labels: None, element: Some(Arc::new(self.clone())) })
    }

    /// Whether values can be read, printed and compared.
    pub(crate) fn is_readable(&self) -> bool {
        match &self.element {
            Some(element) => element.is_readable(),
            None => {
                self.labels.is_some() || READABLE.contains(&self.oid) || self.bounds().is_some()
            }
        }
    }

    /// What the bounds of a range's or multirange's values are.
    pub(crate) fn bounds(&self) -> Option<Oid> {
        let entry = catalog().range(self.oid).or_else(|| catalog().multirange(self.oid))?;
        Some(entry.element)
    }

    /// Whether our text of values is that of Postgres. Networks have a form of their own there.
    pub(crate) fn is_printable(&self) -> bool {
        match &self.element {
            Some(element) => element.is_printable(),
            None => self.is_readable(),
        }
    }

    /// `pg_type.typcategory`.
    pub(crate) fn category(&self) -> char {
        if self.labels.is_some() {
            'E'
        } else if self.element.is_some() {
            'A'
        } else {
            category(self.oid)
        }
    }

    /// Whether values are text, or arrays of it.
    pub(crate) fn is_collatable(&self) -> bool {
        let own =
            |oid| matches!(oid, Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME | Oid::CITEXT);
        own(self.oid) || self.element.as_ref().is_some_and(|element| own(element.oid))
    }

    /// The name for SQL we write. That of an extension's type would need its schema.
    pub(crate) fn sql(&self) -> String {
        match (&self.labels, &self.element) {
            (Some(labels), _) => labels.name.clone(),
            (None, Some(element)) => element.sql() + "[]",
            (None, None) if self.oid == Oid::CITEXT => "text".to_owned(),
            // Without quotes it is a single bit.
            (None, None) if self.oid == Oid::BIT => "\"bit\"".to_owned(),
            (None, None) => {
                catalog().type_of(self.oid).map_or("unknown", |entry| entry.name).to_owned()
            }
        }
    }

    /// The name in Postgres' messages.
    pub(crate) fn title(&self) -> String {
        match (&self.labels, &self.element) {
            (Some(labels), _) => labels.name.replace('"', ""),
            (None, Some(element)) => element.title() + "[]",
            (None, None) => title(self.oid).to_owned(),
        }
    }
}

/// The category of a built-in type.
pub(crate) fn category(oid: Oid) -> char {
    catalog().type_of(oid).map_or('X', |entry| entry.category)
}

/// The name of a built-in type in Postgres' messages.
pub(crate) fn title(oid: Oid) -> &'static str {
    match oid {
        Oid::BOOL => "boolean",
        Oid::INT2 => "smallint",
        Oid::INT4 => "integer",
        Oid::INT8 => "bigint",
        Oid::FLOAT4 => "real",
        Oid::FLOAT8 => "double precision",
        Oid::BPCHAR => "character",
        Oid::VARCHAR => "character varying",
        Oid::VARBIT => "bit varying",
        Oid::TIME => "time without time zone",
        Oid::TIMETZ => "time with time zone",
        Oid::TIMESTAMP => "timestamp without time zone",
        Oid::TIMESTAMPTZ => "timestamp with time zone",
        other => catalog().type_of(other).map_or("unknown", |entry| entry.name),
    }
}

/// The types that values are read of.
const READABLE: [Oid; 31] = [
    Oid::CITEXT,
    Oid::MACADDR,
    Oid::MACADDR8,
    Oid::XID8,
    Oid::PG_LSN,
    Oid::BIT,
    Oid::VARBIT,
    Oid::JSON,
    Oid::INET,
    Oid::CIDR,
    Oid::BOOL,
    Oid::INT2,
    Oid::INT4,
    Oid::INT8,
    Oid::OID,
    Oid::FLOAT4,
    Oid::FLOAT8,
    Oid::NUMERIC,
    Oid::TEXT,
    Oid::VARCHAR,
    Oid::BPCHAR,
    Oid::NAME,
    Oid::UUID,
    Oid::BYTEA,
    Oid::DATE,
    Oid::TIME,
    Oid::TIMETZ,
    Oid::TIMESTAMP,
    Oid::TIMESTAMPTZ,
    Oid::INTERVAL,
    Oid::JSONB,
];
