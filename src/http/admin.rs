//! `/v1/admin/engine`: how the shapes are found, for whoever runs the server.
//!
//! *Invariant*: behind the secret; never cached; without values of rows, or constants that filters look for.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::Http;
use crate::limits::ENGINE_VIEW_MAX;

/// Tables, templates and their counts as JSON. 503 while there is no engine, or where it is too busy
/// to answer.
pub(super) async fn engine(http: &Http) -> Response {
    let engine = http.core.borrow().as_ref().map(|core| core.registry.workshop().engine.clone());
    let Some(engine) = engine else {
        return super::plain(StatusCode::SERVICE_UNAVAILABLE, "The engine is not running");
    };
    let body = match tokio::time::timeout(ENGINE_VIEW_MAX, engine.view()).await {
        Ok(Ok(view)) => serde_json::to_string(&view).ok(),
        _ => None,
    };
    let Some(body) = body else {
        return super::plain(StatusCode::SERVICE_UNAVAILABLE, "The engine does not answer");
    };
    let mut response = Response::new(Body::from(body));
    super::set(response.headers_mut(), "content-type", "application/json; charset=utf-8");
    super::set(response.headers_mut(), "cache-control", "no-cache, no-store, must-revalidate");
    response
}
