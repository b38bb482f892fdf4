//! What we know of a table: its identity, columns and key.

use serde::{Deserialize, Serialize};

use crate::data_type::DataType;
use crate::name::quote;
use crate::statement::CITEXT;
use crate::{Collation, RelationName};

/// A column, as the catalogue describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// `pg_type.oid` as declared.
    pub type_oid: u32,
    /// `pg_type.oid` with domains resolved to what they are made of, those of elements too.
    pub base_type_oid: u32,
    /// `pg_type.typname`, of the element for arrays with declared dimensions.
    pub type_name: String,
    /// `atttypmod`, −1 where there is none.
    pub type_modifier: i32,
    /// Declared array dimensions, 0 for everything else.
    pub dimensions: i32,
    /// Declared NOT NULL.
    pub not_null: bool,
    /// Place in the primary key, from 0.
    pub key_position: Option<usize>,
    /// A generated column: Postgres before 18 does not replicate it.
    pub generated: bool,
    /// The collation of a text column, `None` for types without one.
    pub collation: Option<Collation>,
    /// `attnum`: a column that was dropped and added again has another one.
    #[serde(default)]
    pub number: i16,
    /// No column any more: its place stays, empty in every row, so that the others keep theirs.
    #[serde(default)]
    pub dropped: bool,
    /// The labels of an enum, or of the enum an array holds, in declared order; none for other types.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `pg_type.oid` of an array's elements, 0 for other types.
    #[serde(default)]
    pub element_type_oid: u32,
    /// The schema of that enum, empty where there are no labels.
    #[serde(default)]
    pub enum_schema: String,
    /// Its name there, which is not the column's `type_name` under a domain.
    #[serde(default)]
    pub enum_name: String,
    /// The domain that values are of, or an array's elements. None of a domain over arrays.
    #[serde(default)]
    pub domain: Option<ColumnDomain>,
    /// What the text of values depends on inside the type: enums with their labels, the fields of composite
    /// types; each with its number in front. None for built-in types.
    #[serde(default)]
    pub parts: Vec<String>,
    /// How often all rows are known to have got another value of it that the stream did not tell, by an ALTER
    /// TABLE: values from before are of another column.
    #[serde(default)]
    pub rewritten: u32,
}

/// A domain that values are of, or the elements of an array: to Postgres such an array is of a type of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDomain {
    /// Its `pg_type.oid`.
    pub oid: u32,
    /// `typtypmod` of the domain that is made of no other one, −1 where there is none.
    pub modifier: i32,
    /// Its schema.
    pub schema: String,
    /// Its name there.
    pub name: String,
}

/// A table, as the catalogue describes it. Column indices everywhere are places in `columns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// `pg_class.oid`: the identity; names may be reused.
    pub oid: u32,
    /// Schema and name.
    pub name: RelationName,
    /// Columns in attribute order, generated ones last; see [`Column::dropped`].
    pub columns: Vec<Column>,
    /// Partitioned: its rows are those of its partitions.
    #[serde(default)]
    pub partitioned: bool,
    /// The keys of which no two rows have one value, but for NULLs: each the places of its columns, sorted.
    #[serde(default)]
    pub unique: Vec<Vec<usize>>,
}

impl Column {
    /// The place of a column that was dropped.
    #[must_use]
    pub fn gone() -> Column {
        Column {
            name: String::new(),
            type_oid: 0,
            base_type_oid: 0,
            type_name: String::new(),
            type_modifier: -1,
            dimensions: 0,
            not_null: false,
            key_position: None,
            generated: false,
            collation: None,
            number: 0,
            dropped: true,
            labels: Vec::new(),
            element_type_oid: 0,
            enum_schema: String::new(),
            enum_name: String::new(),
            domain: None,
            parts: Vec::new(),
            rewritten: 0,
        }
    }
}

impl Column {
    /// How many fields each of its values has, of a composite type; `None` of every other type.
    pub(crate) fn fields(&self) -> Option<usize> {
        let own = format!("fields {} ", self.base_type_oid);
        let fields = self.parts.iter().find_map(|part| part.strip_prefix(&own))?;
        Some(fields.split_whitespace().count())
    }

    /// SQL of the bare column. A domain is cast to what it is made of: to Postgres it is nothing that enums'
    /// operators take, and an array of it is of another type. So are arrays of `citext`, to those of text.
    pub(crate) fn sql(&self) -> String {
        let name = quote(&self.name);
        let is_made_of = self.base_type_oid == self.type_oid || self.base_type_oid == CITEXT;
        match DataType::of_column(self) {
            Some(_) if is_made_of => name,
            Some(data_type) => format!("({name}::{})", data_type.sql()),
            None => name,
        }
    }
}

impl TableSchema {
    /// The place of a column by its unquoted name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| !column.dropped && column.name == name)
    }

    /// Which table it is and what these columns of it are, whatever their names: equal text of two definitions,
    /// equal meaning of the columns' values. One that was dropped and added again is not the same.
    #[must_use]
    pub fn identity(&self, columns: &[usize]) -> String {
        let mut text = format!(" #{}", self.oid);
        for at in columns {
            let Some(column) = self.columns.get(*at) else { continue };
            let Column { number, type_oid, type_modifier, labels, .. } = column;
            text += &format!(" {at}:{number}:{type_oid}:{type_modifier}:{}", labels.join(","));
            text += column.collation.as_ref().map_or("", |collation| &collation.name);
            if labels.is_empty() {
                column.parts.iter().for_each(|part| text += &format!(":{part}"));
            }
            if column.rewritten > 0 {
                text += &format!(":r{}", column.rewritten);
            }
        }
        text
    }

    /// The places of the columns that exist.
    pub fn live(&self) -> impl Iterator<Item = usize> {
        let live = self.columns.iter().enumerate().filter(|(_, column)| !column.dropped);
        live.map(|(at, _)| at)
    }

    /// The primary key's columns in key order; empty where the table has none.
    #[must_use]
    pub fn primary_key(&self) -> Vec<usize> {
        let mut key: Vec<(usize, usize)> = (self.columns.iter().enumerate())
            .filter_map(|(at, column)| column.key_position.map(|position| (position, at)))
            .collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }
}
