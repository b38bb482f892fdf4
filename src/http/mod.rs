//! The HTTP side: requests in, answers out.
//!
//! *Enters*: bytes from anybody. *Leaves*: answers of the shape protocol. *Invariant*: whoever is not
//! allowed learns nothing, decided on the route a path resolves to and not on its spelling; outside
//! input is parsed into types before anything else looks at it; no answer claims more than what was
//! read. *Must not know*: the dataflow, Postgres, Arrow.

mod accept;
mod admin;
mod admission;
mod answer;
mod body;
mod events;
mod listen;
mod listing;
mod openapi;
mod parameters;
mod query;
mod reading;
mod refusal;
mod request;
mod scrape;
mod shape;
mod subset;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::config::Settings;
use crate::core::Core;
use admission::Admission;
pub use listen::serve;
use query::Query;
use refusal::Refusal;

/// The page for people, one file, nothing from elsewhere.
const PAGE: &str = include_str!("page.html");
/// What the page may do, should a value ever be taken for markup: talk to this server.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'self'";

const EXPOSED: &str = "electric-cursor,electric-handle,electric-has-data,electric-offset,electric-schema,electric-up-to-date,electric-internal-known-error,retry-after";
const SHAPE_METHODS: &str = "GET, POST, HEAD, DELETE, OPTIONS";
/// What browsers ask leave for: conditional requests, bodies of subset requests, proxies' tokens.
const ALLOWED_HEADERS: &str = "authorization, content-type, if-none-match, traceparent, tracestate";

/// What every request is handled with.
struct Http {
    settings: Arc<Settings>,
    admission: Admission,
    core: watch::Receiver<Option<Arc<Core>>>,
    stopped: watch::Receiver<bool>,
}

/// What a path resolves to, whatever its spelling.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Root,
    Shape,
    Health,
    Description,
    /// What the engine looks like.
    Engine,
    /// Which shapes there are.
    Shapes,
    Unknown,
}

async fn dispatch(http: Arc<Http>, request: Box<Request>) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let route = route(request.uri().path());
    let told = Told::of(&request);
    let serves = route == Route::Shape && SHAPE_METHODS.contains(request.method().as_str());
    let held_open = serves && !asks_to_close(request.headers());
    let (mut response, cors) = answer(&http, route, request).await;
    told.answered(route, &response, begun);
    let headers = response.headers_mut();
    set(headers, "electric-server", concat!("Brooklet/", env!("CARGO_PKG_VERSION")));
    headers.insert("x-request-id", id);
    let preflight = headers.contains_key("access-control-max-age");
    let events = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if held_open && (preflight || events) {
        // As Electric says it, although it is the rule.
        set(headers, "connection", "keep-alive");
    }
    if !preflight && !headers.contains_key(CACHE_CONTROL) {
        set(headers, "cache-control", "max-age=0, private, must-revalidate");
    }
    if cors {
        // Never the one origin that asks: a cache would give its answer to others.
        set(headers, "access-control-allow-origin", "*");
        set(headers, "access-control-expose-headers", EXPOSED);
        let methods = if serves { SHAPE_METHODS } else { "GET, HEAD" };
        set(headers, "access-control-allow-methods", methods);
    }
    response
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    let said = headers.get("connection").and_then(|said| said.to_str().ok());
    said.is_some_and(|said| said.to_ascii_lowercase().contains("close"))
}

/// What is told of a request: to the log, without secrets, and to the metrics.
struct Told {
    method: Method,
    target: Option<String>,
}

impl Told {
    fn of(request: &Request) -> Told {
        let uri = request.uri();
        let target = tracing::enabled!(tracing::Level::DEBUG).then(|| match uri.query() {
            None => uri.path().to_owned(),
            Some(query) => format!("{}?{}", uri.path(), query::redacted(query)),
        });
        Told { method: request.method().clone(), target }
    }

    fn answered(self, route: Route, response: &Response, begun: Instant) {
        let status = response.status().as_u16();
        if route == Route::Shape {
            let status = status.to_string();
            metrics::counter!("electric_plug_serve_shape_requests_count", "status" => status)
                .increment(1);
            metrics::histogram!("electric_plug_serve_shape_duration_seconds")
                .record(begun.elapsed());
        }
        if let Some(target) = self.target {
            tracing::debug!(method = %self.method, target, status, elapsed = ?begun.elapsed(), "answered");
        }
    }
}

/// The answer, and whether a browser of another origin may read it: a 401 says nothing at all.
async fn answer(http: &Http, route: Route, request: Box<Request>) -> (Response, bool) {
    let method = request.method().clone();
    let reads = method == Method::GET || method == Method::HEAD;
    match route {
        Route::Root if reads => (root(request.headers()), true),
        Route::Health if reads => (health(http), true),
        Route::Description if reads => (openapi::answer(), true),
        Route::Engine | Route::Shapes if reads => {
            let query = Query::parse(request.uri().query().unwrap_or_default()).ok();
            let Some(query) = query.filter(|query| authorized(&http.settings, query)) else {
                return (Refusal::Unauthorized.response(&method), false);
            };
            // No page of another origin has any business here.
            match route {
                Route::Engine => (Box::pin(admin::engine(http)).await, false),
                _ => (listing::shapes(http, &query), false),
            }
        }
        Route::Shape if method == Method::OPTIONS => (preflight(), true),
        Route::Shape if reads || method == Method::POST || method == Method::DELETE => {
            let query = match Query::parse(request.uri().query().unwrap_or_default()) {
                Ok(query) => query,
                Err(_) => return (plain(StatusCode::BAD_REQUEST, ""), true),
            };
            if !authorized(&http.settings, &query) {
                return (Refusal::Unauthorized.response(&method), false);
            }
            // Of its own size only while it lasts: thousands wait in it.
            (Box::pin(shape::answer(http, &query, request)).await, true)
        }
        _ => (plain(StatusCode::NOT_FOUND, "Not found"), true),
    }
}

/// Empty and doubled slashes and percent-escapes do not make another route.
fn route(path: &str) -> Route {
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return Route::Unknown };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Route::Root,
        ["v1", "shape"] => Route::Shape,
        ["v1", "health"] => Route::Health,
        ["v1", "admin", "engine"] => Route::Engine,
        ["v1", "admin", "shapes"] => Route::Shapes,
        ["openapi.json"] => Route::Description,
        _ => Route::Unknown,
    }
}

fn authorized(settings: &Settings, query: &Query) -> bool {
    let Some(secret) = &settings.secret else { return true };
    let sent = query.get("secret").or_else(|| query.get("api_secret")).unwrap_or_default();
    secret.as_bytes().ct_eq(sent.as_bytes()).into()
}

fn root(headers: &HeaderMap) -> Response {
    let wanted = headers.get("accept").and_then(|accept| accept.to_str().ok());
    if !wanted.is_some_and(|accept| accept.contains("text/html")) {
        return plain(StatusCode::OK, "");
    }
    let mut response = Response::new(Body::from(PAGE));
    set(response.headers_mut(), "content-type", "text/html; charset=utf-8");
    set(response.headers_mut(), "content-security-policy", PAGE_POLICY);
    set(response.headers_mut(), "vary", "accept");
    response
}

fn health(http: &Http) -> Response {
    let core = http.core.borrow();
    let active = core.as_ref().is_some_and(|core| *core.connected.borrow());
    let (status, text) = if active {
        (StatusCode::OK, "{\"status\":\"active\"}")
    } else {
        (StatusCode::ACCEPTED, "{\"status\":\"starting\"}")
    };
    let mut response = plain(status, text);
    set(response.headers_mut(), "content-type", "application/json; charset=utf-8");
    set(response.headers_mut(), "cache-control", "no-cache, no-store, must-revalidate");
    response
}

fn preflight() -> Response {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    set(response.headers_mut(), "access-control-max-age", "86400");
    set(response.headers_mut(), "access-control-allow-headers", ALLOWED_HEADERS);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

/// The client's own if it is of a sensible length.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get("x-request-id").filter(|id| (20..=200).contains(&id.len()));
    // A copy: a header is a part of what the connection has read, and keeps all of it.
    own.and_then(|own| HeaderValue::from_bytes(own.as_bytes()).ok()).unwrap_or_else(|| {
        let text = format!("{:016x}{:016x}", fresh(), fresh());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// A number nobody can foresee, from the hasher that std seeds by the system's randomness.
fn fresh() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
