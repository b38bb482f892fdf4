//! The question a shape answers.

use std::sync::Arc;

use brooklet_dataflows::{ShapeId, ShapePlan};
use brooklet_sql::{Predicate, RelationName, TableSchema, Tables, WhereError, compile_with, name};
use serde::{Deserialize, Serialize};

use super::maps::Asked;
use super::template::Template;

/// What makes two shapes the same, but for the filter: shapes of equal definitions and filters share
/// one handle, log and snapshot. Spelling, spaces and parameters of the filter do not matter, its
/// printed form does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Definition {
    /// The table's identity.
    pub table: u32,
    /// Its name; a renamed table is another question.
    pub name: RelationName,
    /// The selected columns, as places in the table.
    pub columns: Vec<usize>,
    /// Whether the client listed them: such a shape may outlive an added column.
    pub listed: bool,
    /// How much of a row updates and deletes show.
    #[serde(default)]
    pub replica: Replica,
    /// What the log begins with.
    #[serde(default)]
    pub log: LogMode,
}

/// How much of a row updates and deletes show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replica {
    /// The key, and of an update what changed.
    #[default]
    Default,
    /// Every selected column, and of an update also what changed columns held before.
    Full,
}

/// What a shape's log begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// Every row there is.
    #[default]
    Full,
    /// No rows: changes only, from the moment the shape was made.
    ChangesOnly,
}

/// What a client asks, not yet checked against the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which table.
    pub table: RelationName,
    /// Which rows.
    pub filter: Option<FilterSource>,
    /// Which columns; `None` for all.
    pub columns: Option<Vec<String>>,
    /// Which columns may be asked for and searched at all; `None` for all.
    pub queryable: Option<Vec<String>>,
    /// See [`Definition`].
    pub replica: Replica,
    /// See [`Definition`].
    pub log: LogMode,
}

impl Question {
    /// Every column of the rows that a filter lets in.
    #[must_use]
    pub fn all(table: RelationName, filter: Option<FilterSource>) -> Question {
        let (replica, log) = (Replica::Default, LogMode::Full);
        Question { table, filter, columns: None, queryable: None, replica, log }
    }
}

/// A filter as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterSource {
    /// The clause.
    pub text: String,
    /// `$1` first.
    pub params: Vec<String>,
}

/// A question that has been checked against the table.
#[derive(Clone)]
pub struct Defined {
    /// What is shown of the table.
    pub template: Arc<Template>,
    /// The filter.
    pub predicate: Option<Predicate>,
    /// The columns that a subset request may name; `None` for all. Not a part of the identity.
    pub visible: Option<Vec<usize>>,
}

/// Why a question cannot be answered, by the parameter at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The column list.
    #[error("{0}")]
    Columns(String),
    /// The list of columns that may be searched.
    #[error("{0}")]
    QueryableColumns(String),
    /// The filter.
    #[error("{0}")]
    Where(String),
}

impl Defined {
    /// Checks a question against the table.
    pub fn new(
        table: Arc<TableSchema>,
        tables: &Tables,
        question: Question,
    ) -> Result<Defined, DefinitionError> {
        let Question { filter: source, columns, queryable, replica, log, .. } = question;
        let key = key_columns(&table);
        let visible =
            queryable.as_ref().map(|listed| queryable_columns(&table, listed)).transpose()?;
        let columns = columns.or(queryable);
        // Without a key every column is a part of it, so none may come or go.
        let listed = columns.is_some() && !table.primary_key().is_empty();
        let columns = selected(&table, columns.as_deref(), visible.as_deref())?;
        let predicate =
            source.as_ref().map(|source| predicate(source, &table, tables)).transpose()?;
        let (oid, name) = (table.oid, table.name.clone());
        let definition = Definition { table: oid, name, columns, listed, replica, log };
        let template = Arc::new(Template::new(definition, table, key.into()));
        Ok(Defined { template, predicate, visible })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<TableSchema> {
        self.template.table()
    }

    /// The identity: what is asked.
    #[must_use]
    pub(super) fn asked_for(&self) -> Asked<'_> {
        (&self.template.definition, self.predicate.as_ref())
    }

    /// The plan for the dataflow.
    #[must_use]
    pub fn plan(self, id: ShapeId) -> ShapePlan {
        ShapePlan { id, selection: Arc::clone(&self.template.selection), predicate: self.predicate }
    }
}

/// The primary key in key order; without one, every column by name: the protocol's rule.
pub(super) fn key_columns(table: &TableSchema) -> Vec<usize> {
    let key = table.primary_key();
    if !key.is_empty() {
        return key;
    }
    let replicated = |at: &usize| !table.columns[*at].generated;
    let mut all: Vec<usize> = table.live().filter(replicated).collect();
    all.sort_by(|a, b| table.columns[*a].name.cmp(&table.columns[*b].name));
    all
}

/// Checks the list of columns that may be asked for.
fn queryable_columns(
    table: &TableSchema,
    listed: &[String],
) -> Result<Vec<usize>, DefinitionError> {
    let refuse = |text: String| Err(DefinitionError::QueryableColumns(text));
    if let Some(missing) = missing_key(table, listed) {
        return refuse(format!(
            "The list of queryable columns must include all primary key columns, missing: {missing}"
        ));
    }
    if let Some(unknown) = unknown(table, listed, None) {
        return refuse(format!(
            "The following queryable columns are not found on the table: {unknown}"
        ));
    }
    Ok(table.live().filter(|at| listed.contains(&table.columns[*at].name)).collect())
}

fn selected(
    table: &TableSchema,
    listed: Option<&[String]>,
    visible: Option<&[usize]>,
) -> Result<Vec<usize>, DefinitionError> {
    let refuse = |text: String| Err(DefinitionError::Columns(text));
    let Some(listed) = listed else {
        let generated = names(table, |at| table.columns[at].generated);
        if generated.is_empty() {
            return Ok(table.live().collect());
        }
        return refuse(format!(
            "The following columns are generated and cannot be included in the shape: {generated}. You can exclude them from the shape by explicitly listing which columns to fetch in the 'columns' query param"
        ));
    };
    let chosen = |at: usize| listed.contains(&table.columns[at].name);
    if let Some(missing) = missing_key(table, listed) {
        return refuse(format!(
            "The list of columns must include all primary key columns, missing: {missing}"
        ));
    }
    if let Some(unknown) = unknown(table, listed, visible) {
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
    Ok(table.live().filter(|at| chosen(*at)).collect())
}

/// The key columns that a list lacks.
fn missing_key(table: &TableSchema, listed: &[String]) -> Option<String> {
    let key = key_columns(table);
    let missing = names(table, |at| key.contains(&at) && !listed.contains(&table.columns[at].name));
    (!missing.is_empty()).then_some(missing)
}

/// The listed names that are no columns, or none that may be asked for.
fn unknown(table: &TableSchema, listed: &[String], visible: Option<&[usize]>) -> Option<String> {
    let known = |name: &String| {
        let found = table.column(name);
        found.is_some_and(|at| visible.is_none_or(|visible| visible.contains(&at)))
    };
    let unknown: Vec<&str> =
        listed.iter().filter(|name| !known(name)).map(String::as_str).collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

fn names(table: &TableSchema, chosen: impl Fn(usize) -> bool) -> String {
    let chosen = table.live().filter(|at| chosen(*at));
    let names: Vec<&str> = chosen.map(|at| table.columns[at].name.as_str()).collect();
    names.join(", ")
}

/// Checks a filter against its table.
pub fn predicate(
    source: &FilterSource,
    table: &TableSchema,
    tables: &Tables,
) -> Result<Predicate, DefinitionError> {
    let predicate = compile_with(&source.text, &source.params, table, tables)
        .map_err(|error: WhereError| DefinitionError::Where(error.to_string()))?;
    let inner = predicate.subquery_tables();
    let outer = (!inner.is_empty()).then_some(table);
    let mut all = inner.iter().map(|table| &**table).chain(outer);
    if let Some(table) = all.find(|table| table.partitioned) {
        return Err(DefinitionError::Where(format!(
            "table {} is partitioned: filters with subqueries are not supported there yet",
            table.name
        )));
    }
    match predicate.columns().iter().find(|at| table.columns[**at].generated) {
        Some(at) => Err(DefinitionError::Where(format!(
            "column {} is generated: this Postgres does not replicate it, so it cannot be filtered on",
            name::quote(&table.columns[*at].name)
        ))),
        None => Ok(predicate),
    }
}
