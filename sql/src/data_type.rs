//! Types of values: built in, enums of the database, arrays of either.

use std::sync::Arc;

use crate::catalog::catalog;
use crate::name::quote;
use crate::oid::Oid;
use crate::routine::Modifier;
use crate::{Column, ColumnDomain};

/// A type, with what is needed to read its values.
#[derive(Debug, Clone)]
pub(crate) struct DataType {
    pub(crate) oid: Oid,
    /// What an enum may hold.
    pub(crate) labels: Option<Arc<Labels>>,
    /// What an array holds.
    pub(crate) element: Option<Arc<DataType>>,
    /// The domain that it is: arrays of it are of another type than those of what it is made of.
    pub(crate) domain: Option<Arc<Domain>>,
}

/// A domain, which arrays of it are told apart by.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) oid: Oid,
    /// The schema and the name, quoted for SQL.
    pub(crate) name: String,
    /// What its constants are cut or rounded to.
    pub(crate) modifier: Option<Modifier>,
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
            (None, None) => self.oid == other.oid && self.domain_oid() == other.domain_oid(),
            _ => false,
        }
    }
}

impl From<Oid> for DataType {
    /// A built-in type.
    fn from(oid: Oid) -> DataType {
        let element = catalog().type_of(oid).and_then(|entry| entry.element);
        DataType { element: element.map(|oid| Arc::new(oid.into())), ..DataType::plain(oid) }
    }
}

impl DataType {
    /// The type of a column's values, domains being what they are made of; `None` where we cannot
    /// read them.
    pub(crate) fn of_column(column: &Column) -> Option<DataType> {
        let made_of = DataType::made_of(column)?;
        let Some(domain) = &column.domain else { return Some(made_of) };
        match made_of.element.as_deref().cloned() {
            Some(element) => {
                DataType { domain: Some(Arc::new(Domain::of(domain, element.oid)?)), ..element }
                    .array()
            }
            // Postgres has no operator for these, we take them for the enum.
            None if made_of.labels.is_some() => Some(made_of),
            // What is of no such array is not held to anything.
            None => {
                Some(DataType { domain: Domain::of(domain, made_of.oid).map(Arc::new), ..made_of })
            }
        }
    }

    /// The same, as if there were no domains.
    pub(crate) fn made_of(column: &Column) -> Option<DataType> {
        let oid = Oid(column.base_type_oid);
        if column.labels.is_empty() {
            return Some(DataType::from(oid)).filter(DataType::is_readable);
        }
        let name = format!("{}.{}", quote(&column.enum_schema), quote(&column.enum_name));
        let labels = column.labels.iter().map(|label| label.as_str().into()).collect();
        let labels = Arc::new(Labels { name, labels });
        Some(match column.element_type_oid {
            0 => DataType { labels: Some(labels), ..DataType::plain(oid) },
            element => {
                let element = DataType { labels: Some(labels), ..DataType::plain(Oid(element)) };
                DataType { element: Some(Arc::new(element)), ..DataType::plain(oid) }
            }
        })
    }

    /// The array over this type.
    pub(crate) fn array(&self) -> Option<DataType> {
        if self.element.is_some() {
            return None;
        }
        let oid = match (&self.domain, &self.labels) {
            // Its number is not known, and nothing asks for it.
            (Some(domain), _) => Oid(domain.oid.0 | 1 << 31),
            (None, Some(_)) => Oid(self.oid.0 | 1 << 31),
            (None, None) => catalog().type_of(self.oid)?.array?,
        };
        Some(DataType { element: Some(Arc::new(self.clone())), ..DataType::plain(oid) })
    }

    fn plain(oid: Oid) -> DataType {
        DataType { oid, labels: None, element: None, domain: None }
    }

    fn domain_oid(&self) -> Option<Oid> {
        self.domain.as_ref().map(|domain| domain.oid)
    }

    /// What a domain, or an array of one, is made of.
    pub(crate) fn base(&self) -> DataType {
        match &self.element {
            Some(element) if element.domain.is_some() => {
                element.base().array().unwrap_or_else(|| self.clone())
            }
            _ => DataType { domain: None, ..self.clone() },
        }
    }

    /// Whether it is a domain or an array of one.
    pub(crate) fn is_domain(&self) -> bool {
        let of = |one: &DataType| one.domain.is_some();
        of(self) || self.element.as_deref().is_some_and(of)
    }

    /// Whether it is an array of `citext`.
    pub(crate) fn holds_citext(&self) -> bool {
        self.element.as_ref().is_some_and(|element| element.oid == Oid::CITEXT)
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
        if let Some(domain) = &self.domain {
            return domain.name.replace('"', "");
        }
        match (&self.labels, &self.element) {
            (Some(labels), _) => labels.name.replace('"', ""),
            (None, Some(element)) => element.title() + "[]",
            (None, None) => title(self.oid).to_owned(),
        }
    }
}

impl Domain {
    /// Over values of a type; `None` where we do not cut or round constants as it does.
    fn of(domain: &ColumnDomain, oid: Oid) -> Option<Domain> {
        let name = format!("{}.{}", quote(&domain.schema), quote(&domain.name));
        let modifier = match domain.modifier {
            -1 => None,
            packed => Some(Modifier::unpacked(oid, packed)?),
        };
        Some(Domain { oid: Oid(domain.oid), name, modifier })
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
