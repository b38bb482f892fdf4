//! Refusals: the one place where reasons become status codes and bodies.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::put;
use crate::replication::schema::SchemaError;
use crate::shape_log::encode::MUST_REFETCH;
use crate::shape_log::{LogEnded, SliceError};
use crate::shapes::{CreateError, DefinitionError};

/// Why a request gets no data.
#[derive(Debug)]
pub enum Refusal {
    /// Parameters, by name.
    Invalid(Value),
    /// The secret.
    Unauthorized,
    /// The client must fetch anew; the handle to do it with, if known.
    MustRefetch(Option<String>),
    /// DELETE is off.
    DeletionOff,
    /// DELETE of what is not there.
    NoShape,
    /// DELETE of two different shapes.
    Mismatch,
    /// It may work later: why, and after how many seconds to come again.
    Unavailable(String, u32),
    /// Too many requests at once, of a kind; its limit, and after how many seconds to come again.
    Overloaded(&'static str, usize, u32),
    /// What is asked for exists as JSON only: why.
    NotAcceptable(&'static str),
    /// A body that cannot be used: what it is, and what exactly is wrong.
    Body(StatusCode, &'static str, Option<String>),
    /// A bug or a broken disk.
    Internal(String),
}

impl Refusal {
    /// One parameter, one reason.
    #[must_use]
    pub fn field(name: &str, reason: impl Into<String>) -> Refusal {
        Refusal::Invalid(json!({ name: [reason.into()] }))
    }

    /// The replication slot is lost: nobody can say whether there is more.
    #[must_use]
    pub fn lost(live: bool) -> Refusal {
        let reason = "The replication slot was lost: what was written since is not known yet";
        Refusal::Unavailable(reason.to_owned(), if live { 10 } else { 5 })
    }

    /// The answer.
    #[must_use]
    pub fn response(self, method: &Method) -> Response {
        let cached = *method == Method::GET || *method == Method::HEAD;
        let (status, body) = self.status_and_body();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if !matches!(self, Refusal::Unauthorized) {
            put(headers, "content-type", "application/json; charset=utf-8");
        }
        match &self {
            // The default stands: it says nothing of shapes.
            Refusal::Unauthorized | Refusal::Body(..) => {}
            Refusal::MustRefetch(handle) if cached => {
                let age = if handle.is_some() { 60 } else { 1 };
                put(headers, "cache-control", &format!("public, max-age={age}, must-revalidate"));
            }
            _ if cached => {
                put(headers, "cache-control", "no-store");
                put(headers, "surrogate-control", "no-store");
            }
            _ => put(headers, "cache-control", "no-cache"),
        }
        match self {
            Refusal::MustRefetch(Some(handle)) => {
                put(headers, "etag", &format!("\"{handle}::\""));
                put(headers, "electric-handle", &handle);
            }
            Refusal::Unavailable(_, seconds) | Refusal::Overloaded(_, _, seconds) => {
                put(headers, "retry-after", &seconds.to_string());
                put(headers, "electric-internal-known-error", "true");
            }
            _ => {}
        }
        response
    }

    fn status_and_body(&self) -> (StatusCode, String) {
        let message = |text: &str| json!({ "message": text }).to_string();
        match self {
            Refusal::Invalid(errors) => {
                let body = json!({ "message": "Invalid request", "errors": errors });
                (StatusCode::BAD_REQUEST, body.to_string())
            }
            Refusal::Unauthorized => {
                (StatusCode::UNAUTHORIZED, message("Unauthorized - Invalid API secret"))
            }
            Refusal::MustRefetch(_) => (StatusCode::CONFLICT, MUST_REFETCH.to_owned()),
            Refusal::DeletionOff => (StatusCode::METHOD_NOT_ALLOWED, message("DELETE not allowed")),
            Refusal::NoShape => (StatusCode::NOT_FOUND, message("No existing shape found")),
            Refusal::Mismatch => (
                StatusCode::BAD_REQUEST,
                message("the definition and the handle are those of different shapes"),
            ),
            Refusal::Unavailable(reason, _) => (StatusCode::SERVICE_UNAVAILABLE, message(reason)),
            Refusal::Overloaded(kind, limit, _) => {
                let reason = format!(
                    "Concurrent {kind} request limit exceeded (limit: {limit}), please retry"
                );
                let code = "concurrent_request_limit_exceeded";
                let body = json!({ "code": code, "message": reason });
                (StatusCode::SERVICE_UNAVAILABLE, body.to_string())
            }
            Refusal::NotAcceptable(reason) => (StatusCode::NOT_ACCEPTABLE, message(reason)),
            Refusal::Body(status, error, details) => {
                let mut body = json!({ "error": error });
                details.iter().for_each(|details| body["details"] = json!(details));
                (*status, body.to_string())
            }
            Refusal::Internal(reason) => (StatusCode::INTERNAL_SERVER_ERROR, message(reason)),
        }
    }
}

impl From<LogEnded> for Refusal {
    fn from(_: LogEnded) -> Refusal {
        Refusal::MustRefetch(None)
    }
}

impl From<SliceError> for Refusal {
    fn from(_: SliceError) -> Refusal {
        Refusal::MustRefetch(None)
    }
}

impl From<CreateError> for Refusal {
    fn from(error: CreateError) -> Refusal {
        match error {
            CreateError::Refused(reason) => Refusal::field("where", reason),
            CreateError::Ended => Refusal::MustRefetch(None),
            CreateError::Unavailable { reason, retry_after } => {
                Refusal::Unavailable(reason, retry_after)
            }
            CreateError::Internal(_) => Refusal::Internal(error.to_string()),
        }
    }
}

impl From<SchemaError> for Refusal {
    fn from(error: SchemaError) -> Refusal {
        match error {
            SchemaError::Missing(_) | SchemaError::Unservable { .. } => {
                Refusal::field("table", error.to_string())
            }
            SchemaError::Database(error) => Refusal::Unavailable(
                format!("Cannot reach the database to verify the shape: {error}"),
                1,
            ),
        }
    }
}

impl From<DefinitionError> for Refusal {
    fn from(error: DefinitionError) -> Refusal {
        let field = match &error {
            DefinitionError::Columns(_) => "columns",
            DefinitionError::QueryableColumns(_) => "queryable_columns",
            DefinitionError::Where(_) => "where",
        };
        Refusal::field(field, error.to_string())
    }
}
