//! `/v1/admin/engine`: how the shapes are found, for whoever runs the server.
//!
//! *Invariant*: behind the secret; never cached; without values of rows, or constants that filters look for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::Http;
use crate::limits::ENGINE_VIEW_MAX;

/// Tables, templates and their counts as JSON. 503 while there is no engine, or where it is too busy
/// to answer.
pub(super) async fn engine(http: &Http) -> Response {
    let shop = http.core.borrow().as_ref().map(|core| Arc::clone(core.registry.workshop()));
    let Some(shop) = shop else {
        return super::plain(StatusCode::SERVICE_UNAVAILABLE, "The engine is not running");
    };
    let views = async { tokio::join!(shop.engine.view(), shop.members.view()) };
    let body = match tokio::time::timeout(ENGINE_VIEW_MAX, views).await {
        Ok((Ok(view), of_subqueries)) => serde_json::to_string(&view.with(of_subqueries)).ok(),
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
