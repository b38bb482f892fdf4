//! The question a shape answers.

use std::sync::Arc;

use brooklet_dataflows::{ShapeId, ShapePlan};
use brooklet_sql::{Predicate, RelationName, TableSchema, WhereError, compile, name};
use serde::{Deserialize, Serialize};

/// What makes two shapes the same: equal definitions share one handle, log and snapshot. Spelling,
/// spaces and parameters of the filter do not matter, its printed form does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Definition {
    /// The table's identity.
    pub table: u32,
    /// Its name; a renamed table is another question.
    pub name: RelationName,
    /// The filter as we print it.
    pub filter: Option<String>,
    /// The selected columns, as places in the table.
    pub columns: Vec<usize>,
    /// Whether the client listed them: such a shape may outlive an added column.
    pub listed: bool,
}

/// A filter as the client wrote it: what a restart compiles again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterSource {
    /// The clause.
    pub text: String,
    /// `$1` first.
    pub params: Vec<String>,
}

/// A definition together with what it was made of.
#[derive(Debug, Clone)]
pub struct Defined {
    /// The identity.
    pub definition: Definition,
    /// The table.
    pub table: Arc<TableSchema>,
    /// The filter.
    pub predicate: Option<Predicate>,
    /// The filter as it was written.
    pub source: Option<FilterSource>,
    /// The columns that identify a row.
    pub key: Arc<[usize]>,
}

/// Why a question cannot be answered, by the parameter at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The column list.
    #[error("{0}")]
    Columns(String),
    /// The filter.
    #[error("{0}")]
    Where(String),
}

impl Defined {
    /// Checks a question against the table.
    pub fn new(
        table: Arc<TableSchema>,
        source: Option<FilterSource>,
        columns: Option<&[String]>,
    ) -> Result<Defined, DefinitionError> {
        let key = key_columns(&table);
        let listed = columns.is_some();
        let columns = selected(&table, columns)?;
        let predicate = source.as_ref().map(|source| predicate(source, &table)).transpose()?;
        let filter = predicate.as_ref().map(|predicate| predicate.sql().to_owned());
        let (oid, name) = (table.oid, table.name.clone());
        let definition = Definition { table: oid, name, filter, columns, listed };
        Ok(Defined { definition, table, predicate, source, key: key.into() })
    }

    /// Reads a definition back that was checked before.
    pub fn restore(
        definition: Definition,
        source: Option<FilterSource>,
        table: Arc<TableSchema>,
    ) -> Result<Defined, DefinitionError> {
        let predicate = source.as_ref().map(|source| predicate(source, &table)).transpose()?;
        let key = key_columns(&table).into();
        Ok(Defined { definition, table, predicate, source, key })
    }

    /// The plan for the dataflow.
    #[must_use]
    pub fn plan(&self, id: ShapeId) -> ShapePlan {
        ShapePlan {
            id,
            table: Arc::clone(&self.table),
            predicate: self.predicate.clone(),
            columns: self.definition.columns.as_slice().into(),
            key: Arc::clone(&self.key),
        }
    }
}

/// The primary key in key order; without one, every column by name: the protocol's rule.
fn key_columns(table: &TableSchema) -> Vec<usize> {
    let key = table.primary_key();
    if !key.is_empty() {
        return key;
    }
    let replicated = |at: &usize| !table.columns[*at].generated;
    let mut all: Vec<usize> = (0..table.columns.len()).filter(replicated).collect();
    all.sort_by(|a, b| table.columns[*a].name.cmp(&table.columns[*b].name));
    all
}

fn selected(table: &TableSchema, listed: Option<&[String]>) -> Result<Vec<usize>, DefinitionError> {
    let refuse = |text: String| Err(DefinitionError::Columns(text));
    let Some(listed) = listed else {
        let generated = names(table, |at| table.columns[at].generated);
        if generated.is_empty() {
            return Ok((0..table.columns.len()).collect());
        }
        return refuse(format!(
            "The following columns are generated and cannot be included in the shape: {generated}. You can exclude them from the shape by explicitly listing which columns to fetch in the 'columns' query param"
        ));
    };
    let chosen = |at: usize| listed.contains(&table.columns[at].name);
    let key = key_columns(table);
    let missing = names(table, |at| key.contains(&at) && !chosen(at));
    if !missing.is_empty() {
        return refuse(format!(
            "The list of columns must include all primary key columns, missing: {missing}"
        ));
    }
    let unknown: Vec<&str> =
        listed.iter().filter(|name| table.column(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return refuse(format!("The following columns are not found on the table: {unknown}"));
    }
    let generated = names(table, |at| chosen(at) && table.columns[at].generated);
    if !generated.is_empty() {
        return refuse(format!(
            "The following columns are generated and cannot be included in the shape: {generated}"
        ));
    }
    if listed.is_empty() {
        return refuse("The list of columns must not be empty".to_owned());
    }
    Ok((0..table.columns.len()).filter(|at| chosen(*at)).collect())
}

fn names(table: &TableSchema, chosen: impl Fn(usize) -> bool) -> String {
    let chosen = (0..table.columns.len()).filter(|at| chosen(*at));
    let names: Vec<&str> = chosen.map(|at| table.columns[at].name.as_str()).collect();
    names.join(", ")
}

fn predicate(source: &FilterSource, table: &TableSchema) -> Result<Predicate, DefinitionError> {
    let predicate = compile(&source.text, &source.params, table)
        .map_err(|error: WhereError| DefinitionError::Where(error.to_string()))?;
    match predicate.columns().iter().find(|at| table.columns[**at].generated) {
        Some(at) => Err(DefinitionError::Where(format!(
            "column {} is generated: this Postgres does not replicate it, so it cannot be filtered on",
            name::quote(&table.columns[*at].name)
        ))),
        None => Ok(predicate),
    }
}
