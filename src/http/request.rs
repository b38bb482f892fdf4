//! A shape request, checked as far as that goes without the database.

use std::collections::BTreeMap;

use brooklet_sql::RelationName;
use brooklet_sql::name::parse_list;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::query::Query;
use crate::shape_log::RequestOffset;
use crate::shapes::definition::FilterSource;

/// What a client asks for.
#[derive(Debug)]
pub struct ShapeRequest {
    /// Which table.
    pub table: RelationName,
    /// Which rows.
    pub filter: Option<FilterSource>,
    /// Which columns.
    pub columns: Option<Vec<String>>,
    /// From where on.
    pub offset: RequestOffset,
    /// Of which shape; `None` for the offsets that need none.
    pub handle: Option<String>,
    /// Whether to wait for news.
    pub live: bool,
    /// The cursor of the last answer.
    pub cursor: Option<u64>,
}

/// Which shape is meant by a DELETE.
#[derive(Debug)]
pub struct DeleteRequest {
    /// By question,
    pub definition: Option<(RelationName, Option<FilterSource>, Option<Vec<String>>)>,
    /// by name, or by both.
    pub handle: Option<String>,
}

/// Errors by parameter.
#[derive(Default)]
struct Errors(Map<String, Value>);

impl Errors {
    fn add(&mut self, field: &str, text: impl Into<String>) {
        let texts = self.0.entry(field).or_insert_with(|| json!([]));
        if let Value::Array(texts) = texts {
            texts.push(Value::String(text.into()));
        }
    }

    /// Errors of one stage are reported together; later stages run only without any.
    fn stage(&mut self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Invalid(Value::Object(std::mem::take(&mut self.0))))
        }
    }
}

impl ShapeRequest {
    /// Checks the parameters in the protocol's stages.
    pub fn parse(query: &Query) -> Result<ShapeRequest, Refusal> {
        let mut errors = Errors::default();
        let columns = check_values(query, &mut errors);
        errors.stage()?;
        let offset = query.filled("offset");
        if offset.is_none() {
            errors.add("offset", "can't be blank");
        }
        errors.stage()?;
        let offset = offset.unwrap_or_default().parse::<RequestOffset>();
        if let Err(error) = &offset {
            errors.add("offset", error.to_string());
        }
        errors.stage()?;
        let offset = offset.unwrap_or(RequestOffset::Before);
        let needs_handle = matches!(offset, RequestOffset::After(_));
        let handle = query.filled("handle").filter(|_| needs_handle);
        if needs_handle && handle.is_none() {
            errors.add("handle", "can't be blank when offset != -1");
        }
        errors.stage()?;
        let live = query.flag("live");
        match offset {
            RequestOffset::Before if live => {
                errors.add("live", "can't be true when offset == -1");
            }
            RequestOffset::Now if live => errors.add("live", "can't be true when offset is 'now'"),
            _ => {}
        }
        errors.stage()?;
        check_server_sent_events(query, live, &mut errors);
        errors.stage()?;
        let table = table(query, &mut errors)?;
        let filter = filter(query, &mut errors)?;
        let handle = handle.map(str::to_owned);
        let cursor = query.get("cursor").map(|cursor| cursor.parse().unwrap_or(0));
        Ok(ShapeRequest { table, filter, columns, offset, handle, live, cursor })
    }
}

impl DeleteRequest {
    /// Checks the parameters.
    pub fn parse(query: &Query) -> Result<DeleteRequest, Refusal> {
        let mut errors = Errors::default();
        let columns = check_values(query, &mut errors);
        errors.stage()?;
        let handle = query.filled("handle").map(str::to_owned);
        if query.filled("table").is_none() {
            if handle.is_none() {
                errors.add("handle", "can't be blank when shape definition is missing");
            }
            errors.stage()?;
            return Ok(DeleteRequest { definition: None, handle });
        }
        let table = table(query, &mut errors)?;
        let filter = filter(query, &mut errors)?;
        Ok(DeleteRequest { definition: Some((table, filter, columns)), handle })
    }
}

/// Values that are not of their parameter's kind, and what is not served yet.
fn check_values(query: &Query, errors: &mut Errors) -> Option<Vec<String>> {
    if query.get("params").is_some() {
        errors.add("params", "is invalid");
    }
    match query.filled("replica") {
        None | Some("default") => {}
        Some("full") => errors.add("replica", "'full' is not supported yet; use 'default'"),
        Some(_) => errors.add("replica", "is invalid"),
    }
    match query.filled("log") {
        None | Some("full") => {}
        Some("changes_only") => {
            errors.add("log", "'changes_only' is not supported yet; use 'full'")
        }
        Some(_) => errors.add("log", "is invalid"),
    }
    if query.any_prefixed("subset__") {
        errors.add("subset", "subset requests are not supported yet; use where");
    }
    if query.filled("queryable_columns").is_some() {
        errors.add("queryable_columns", "is not supported yet; use columns");
    }
    let columns = query.filled("columns").map(parse_list)?;
    columns.map_err(|error| errors.add("columns", error.to_string())).ok()
}

fn check_server_sent_events(query: &Query, live: bool, errors: &mut Errors) {
    let aliased =
        if query.get("live_sse").is_some() { "live_sse" } else { "experimental_live_sse" };
    match (query.flag(aliased), live) {
        (false, _) => {}
        (true, false) => errors.add("live_sse", "can't be true unless live is also true"),
        (true, true) => errors.add("live_sse", "is not supported yet; leave it out to poll"),
    }
}

fn table(query: &Query, errors: &mut Errors) -> Result<RelationName, Refusal> {
    let Some(text) = query.filled("table") else {
        errors.add("table", "can't be blank");
        return Err(Refusal::Invalid(Value::Object(std::mem::take(&mut errors.0))));
    };
    RelationName::parse(text).map_err(|error| Refusal::field("table", error.to_string()))
}

fn filter(query: &Query, errors: &mut Errors) -> Result<Option<FilterSource>, Refusal> {
    let params = params(query, errors);
    errors.stage()?;
    Ok(query.filled("where").map(|text| FilterSource { text: text.to_owned(), params }))
}

/// `params[1]=a&params[2]=b`, in the order of their numbers.
fn params(query: &Query, errors: &mut Errors) -> Vec<String> {
    let mut numbered = BTreeMap::new();
    for (key, value) in query.map("params") {
        match key.parse::<usize>() {
            Ok(number) => _ = numbered.insert(number, value.to_owned()),
            Err(_) => {
                errors.add("params", "Parameters can only use numbers as keys");
                return Vec::new();
            }
        }
    }
    if numbered.keys().copied().ne(1..=numbered.len()) {
        errors.add("params", "Parameters must be numbered sequentially, starting from 1");
        return Vec::new();
    }
    numbered.into_values().collect()
}
