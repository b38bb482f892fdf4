//! `/openapi.json`: a description of what is served, derived from the structs that read requests.

use std::sync::OnceLock;

use axum::body::Body;
use axum::response::Response;
use utoipa::OpenApi;

use super::parameters::{Parameters, Subset};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Brooklet",
        description = "Postgres tables as live shapes over HTTP. The protocol is Electric's."
    ),
    paths(read, part, delete, shapes, health, engine),
    components(schemas(Parameters, Subset))
)]
struct Description;

/// The rows of a shape and what became of them: a chunk of its log, or, with `live`, the next change.
#[utoipa::path(
    get,
    path = "/v1/shape",
    params(Parameters, Subset),
    responses(
        (status = 200, description = "Messages after `offset`: a JSON array, or with `live_sse` an event each. With `subset__…` an object of `metadata` and `data`. With `Accept: application/vnd.apache.arrow.stream` the messages as an Arrow stream.",
            headers(
                ("electric-handle" = String, description = "The shape's name, for the next request"),
                ("electric-offset" = String, description = "Where this answer ends, for the next request"),
                ("electric-schema" = String, description = "Columns and their types as JSON; not with `live`"),
                ("electric-cursor" = u64, description = "For the next live request; with `live` only"),
                ("electric-up-to-date" = String, description = "Present if this is the end of the log"),
                ("electric-has-data" = bool, description = "Whether there is more than that"),
                ("electric-snapshot" = bool, description = "Present in answers to subset requests")
            )),
        (status = 304, description = "The answer named by `If-None-Match` is still right"),
        (status = 400, description = "Parameters that cannot be used, by name"),
        (status = 401, description = "The secret is wrong or missing"),
        (status = 406, description = "`Accept` asks for an Arrow stream of what exists as JSON only: events, subsets"),
        (status = 409, description = "The shape is gone: fetch anew, with the handle given"),
        (status = 503, description = "Not now: come again after `Retry-After` seconds")
    )
)]
#[allow(dead_code)]
fn read() {}

/// The same with parameters in a body, which override those of the query string. Its members `where`,
/// `order_by`, `limit`, `offset` and `params` belong to the subset unless it has a member `subset`. Of a subset each
/// member is overridden by itself.
#[utoipa::path(
    post,
    path = "/v1/shape",
    params(Parameters),
    request_body(content = Parameters, content_type = "application/json"),
    responses(
        (status = 200, description = "As for GET; never cached"),
        (status = 400, description = "Parameters or a body that cannot be used"),
        (status = 413, description = "The body is too large")
    )
)]
#[allow(dead_code)]
fn part() {}

/// Drops a shape; its clients fetch anew. Off unless the server was started with
/// `--enable-integration-testing`.
#[utoipa::path(
    delete,
    path = "/v1/shape",
    params(Parameters),
    responses(
        (status = 202, description = "Dropped"),
        (status = 404, description = "There is none"),
        (status = 405, description = "Deletion is off")
    )
)]
#[allow(dead_code)]
fn delete() {}

/// Which shapes there are, by what a client sends to get them: for whoever runs the server.
#[utoipa::path(
    get,
    path = "/v1/admin/shapes",
    params(
        ("after" = Option<u64>, Query, description = "The last shape's `id` of the page before"),
        ("secret" = Option<String>, Query, description = "The server's secret")
    ),
    responses(
        (status = 200, description = "A JSON array of at most 1000 shapes, in the order of `id`"),
        (status = 401, description = "The secret is wrong or missing"),
        (status = 503, description = "The server is starting")
    )
)]
#[allow(dead_code)]
fn shapes() {}

/// Whether replication is running.
#[utoipa::path(
    get,
    path = "/v1/health",
    responses(
        (status = 200, description = "It is: `{\"status\":\"active\"}`"),
        (status = 202, description = "Not yet, or not now: `{\"status\":\"starting\"}`")
    )
)]
#[allow(dead_code)]
fn health() {}

/// How shapes are found: per table and template of filters the access path, how many shapes there are,
/// how often they were asked and how often concerned.
#[utoipa::path(
    get,
    path = "/v1/admin/engine",
    params(("secret" = Option<String>, Query, description = "The server's secret")),
    responses(
        (status = 200, description = "`{\"tables\": [{\"table\", \"shapes\", \"changes\", \"change_ns\", \"transaction_ns\", \"templates\": [{\"filter\", \"path\", \"paths\": [{\"path\", \"shapes\"}], \"paths_left_out\", \"shapes\", \"candidates\", \"matches\", \"candidate_ns\"}], \"templates_left_out\", \"forms_left_out\"}]}`"),
        (status = 401, description = "The secret is wrong or missing"),
        (status = 503, description = "The engine is not running, or too busy")
    )
)]
#[allow(dead_code)]
fn engine() {}

/// The description.
pub fn answer() -> Response {
    static JSON: OnceLock<String> = OnceLock::new();
    // Derived from constants: it always has a JSON form.
    let json = JSON.get_or_init(|| Description::openapi().to_json().unwrap_or_default());
    let mut response = Response::new(Body::from(json.as_str()));
    super::set(response.headers_mut(), "content-type", "application/json");
    response
}
