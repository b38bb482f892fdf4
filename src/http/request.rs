//! A shape request, checked as far as that goes without the database.
//!
//! The protocol checks in stages: errors of one stage are reported together, later stages run only
//! without any. Which error wins is what clients and their tests see.

use std::collections::BTreeMap;

use brooklet_sql::RelationName;
use brooklet_sql::name::parse_list;
use serde_json::{Map, Value, json};

use super::parameters::{Field, NotText, Parameters, filled, flag, text};
use super::refusal::Refusal;
use crate::shape_log::RequestOffset;
use crate::shapes::definition::{FilterSource, LogMode, Question, Replica};
use crate::shapes::handle::Handle;

/// What a client asks for.
#[derive(Debug)]
pub struct ShapeRequest {
    /// Of which shape.
    pub question: Question,
    /// From where on.
    pub offset: RequestOffset,
    /// By which name; `None` for the offsets that need none.
    pub handle: Option<String>,
    /// Whether and how to wait for news.
    pub live: Option<Live>,
    /// The cursor of the last answer.
    pub cursor: Option<u64>,
    /// A part of the shape's rows, not yet checked.
    pub subset: Option<Map<String, Value>>,
}

/// How a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// For one answer.
    Poll,
    /// For a stream of events.
    Events,
}

/// Which shape is meant by a DELETE.
#[derive(Debug)]
pub struct DeleteRequest {
    /// By question,
    pub question: Option<Question>,
    /// by name, or by both.
    pub handle: Option<String>,
}

/// Errors by parameter.
#[derive(Default)]
pub struct Errors(Map<String, Value>);

impl Errors {
    /// One more.
    pub fn add(&mut self, field: &str, text: impl Into<String>) {
        let texts = self.0.entry(field).or_insert_with(|| json!([]));
        if let Value::Array(texts) = texts {
            texts.push(Value::String(text.into()));
        }
    }

    /// Errors of one stage are reported together; later stages run only without any.
    pub fn stage(&mut self) -> Result<(), Refusal> {
        match self.take() {
            None => Ok(()),
            Some(errors) => Err(Refusal::Invalid(errors)),
        }
    }

    /// What there is, if anything.
    pub fn take(&mut self) -> Option<Value> {
        (!self.0.is_empty()).then(|| Value::Object(std::mem::take(&mut self.0)))
    }

    /// A value, or an error of the first stage.
    pub fn cast<T>(&mut self, field: &str, value: Result<T, NotText>) -> Option<T> {
        value.map_err(|NotText| self.add(field, "is invalid")).ok()
    }
}

/// What the first stage makes of the parameters.
struct Cast {
    offset: Option<String>,
    handle: Option<String>,
    table: Option<String>,
    filter: Option<String>,
    columns: Option<Vec<String>>,
    queryable: Option<Vec<String>>,
    replica: Replica,
    log: LogMode,
    events: bool,
    subset: Option<Map<String, Value>>,
}

impl ShapeRequest {
    /// Checks the parameters in the protocol's stages.
    pub fn parse(parameters: &Parameters) -> Result<ShapeRequest, Refusal> {
        let mut errors = Errors::default();
        let cast = Cast::new(parameters, &mut errors)?;
        let offset = offset(cast.offset.as_deref(), &mut errors)?;
        let needs_handle = matches!(offset, RequestOffset::After(_));
        // Elsewhere it does not matter, but for one that we have sent a client on with.
        let matters = |handle: &String| needs_handle || Handle::is_nobodys(handle);
        let handle = cast.handle.clone().filter(matters);
        if needs_handle && handle.is_none() {
            errors.add("handle", "can't be blank when offset != -1");
        }
        errors.stage()?;
        let live = flag(&parameters.live);
        match offset {
            RequestOffset::Before if live => {
                errors.add("live", "can't be true when offset == -1");
            }
            RequestOffset::Now if live => errors.add("live", "can't be true when offset is 'now'"),
            _ => {}
        }
        errors.stage()?;
        if cast.events && !live {
            errors.add("live_sse", "can't be true unless live is also true");
        }
        errors.stage()?;
        let live = live.then_some(if cast.events { Live::Events } else { Live::Poll });
        let cursor = text(&parameters.cursor).unwrap_or_default();
        let cursor = cursor.map(|cursor| cursor.parse().unwrap_or(0));
        let subset = cast.subset.clone();
        let question = cast.question(&parameters.params, &mut errors)?;
        Ok(ShapeRequest { question, offset, handle, live, cursor, subset })
    }
}

impl DeleteRequest {
    /// Checks the parameters.
    pub fn parse(parameters: &Parameters) -> Result<DeleteRequest, Refusal> {
        let mut errors = Errors::default();
        let cast = Cast::new(parameters, &mut errors)?;
        let handle = cast.handle.clone();
        if cast.table.is_none() {
            if handle.is_none() {
                errors.add("handle", "can't be blank when shape definition is missing");
            }
            errors.stage()?;
            return Ok(DeleteRequest { question: None, handle });
        }
        let question = cast.question(&parameters.params, &mut errors)?;
        Ok(DeleteRequest { question: Some(question), handle })
    }
}

impl Cast {
    fn new(parameters: &Parameters, errors: &mut Errors) -> Result<Cast, Refusal> {
        let mut word = |name: &str, field: &Field| errors.cast(name, filled(field)).flatten();
        let offset = word("offset", &parameters.offset);
        let handle = word("handle", &parameters.handle);
        let table = word("table", &parameters.table);
        let filter = word("where", &parameters.filter);
        let (replica, log) = (word("replica", &parameters.replica), word("log", &parameters.log));
        let compaction = word("experimental_compaction", &parameters.experimental_compaction);
        let columns = columns("columns", &parameters.columns, errors);
        let queryable = columns_of_queryable(parameters, errors);
        if !matches!(&parameters.params, None | Some(Value::Null | Value::Object(_))) {
            errors.add("params", "is invalid");
        }
        let replica = match replica.as_deref() {
            None | Some("default") => Replica::Default,
            Some("full") => Replica::Full,
            Some(_) => invalid("replica", errors),
        };
        let log = match log.as_deref() {
            None | Some("full") => LogMode::Full,
            Some("changes_only") => LogMode::ChangesOnly,
            Some(_) => invalid("log", errors),
        };
        if compaction.is_some_and(|compaction| strict_flag(&compaction).is_none()) {
            errors.add("experimental_compaction", "is invalid");
        }
        let events = events(parameters, errors);
        let subset = match &parameters.subset {
            None | Some(Value::Null) => None,
            Some(Value::Object(subset)) => Some(subset.clone()),
            Some(_) => invalid("subset", errors),
        };
        errors.stage()?;
        Ok(Cast { offset, handle, table, filter, columns, queryable, replica, log, events, subset })
    }

    /// The last stages before the database is needed.
    fn question(self, params: &Field, errors: &mut Errors) -> Result<Question, Refusal> {
        let Some(table) = &self.table else {
            errors.add("table", "can't be blank");
            return Err(Refusal::Invalid(errors.take().unwrap_or_default()));
        };
        let table = RelationName::parse(table);
        if let Err(error) = &table {
            errors.add("table", error.to_string());
        }
        let params = match params {
            Some(Value::Object(params)) => numbered(params, errors),
            _ => Vec::new(),
        };
        errors.stage()?;
        let table = table.map_err(|error| Refusal::field("table", error.to_string()))?;
        let filter = self.filter.map(|text| FilterSource { text, params });
        let Cast { columns, queryable, replica, log, .. } = self;
        Ok(Question { table, filter, columns, queryable, replica, log })
    }
}

fn offset(text: Option<&str>, errors: &mut Errors) -> Result<RequestOffset, Refusal> {
    let Some(text) = text else {
        errors.add("offset", "can't be blank");
        return Err(Refusal::Invalid(errors.take().unwrap_or_default()));
    };
    text.parse::<RequestOffset>().map_err(|error| Refusal::field("offset", error.to_string()))
}

fn invalid<T: Default>(field: &str, errors: &mut Errors) -> T {
    errors.add(field, "is invalid");
    T::default()
}

fn columns(name: &str, field: &Field, errors: &mut Errors) -> Option<Vec<String>> {
    let listed = errors.cast(name, filled(field)).flatten()?;
    parse_list(&listed).map_err(|error| errors.add(name, error.to_string())).ok()
}

fn columns_of_queryable(parameters: &Parameters, errors: &mut Errors) -> Option<Vec<String>> {
    columns("queryable_columns", &parameters.queryable_columns, errors)
}

/// `live_sse`; its former name counts where it is absent, and is stricter.
fn events(parameters: &Parameters, errors: &mut Errors) -> bool {
    if !matches!(parameters.live_sse, None | Some(Value::Null)) {
        return flag(&parameters.live_sse);
    }
    match filled(&parameters.experimental_live_sse) {
        Ok(None) => false,
        Ok(Some(text)) => match strict_flag(&text) {
            Some(flag) => flag,
            None => invalid("experimental_live_sse", errors),
        },
        Err(NotText) => invalid("experimental_live_sse", errors),
    }
}

fn strict_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The values of `{"1": a, "2": b}`, in the order of their numbers.
pub fn numbered(params: &Map<String, Value>, errors: &mut Errors) -> Vec<String> {
    let mut found = BTreeMap::new();
    for (key, value) in params {
        let Ok(number) = key.parse::<usize>() else {
            errors.add("params", "Parameters can only use numbers as keys");
            return Vec::new();
        };
        match text(&Some(value.clone())) {
            Ok(Some(value)) => _ = found.insert(number, value),
            Ok(None) => {
                errors.add("params", "Parameters cannot be null; use IS NULL");
                return Vec::new();
            }
            Err(NotText) => {
                errors.add("params", "Parameters must be text; write a list as '{a,b}'");
                return Vec::new();
            }
        }
    }
    if found.keys().copied().ne(1..=found.len()) {
        errors.add("params", "Parameters must be numbered sequentially, starting from 1");
        return Vec::new();
    }
    found.into_values().collect()
}
