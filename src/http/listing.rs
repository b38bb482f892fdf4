//! `/v1/admin/shapes`: which shapes there are, for whoever runs the server.
//!
//! *Invariant*: behind the secret; never cached; a page at a time, since there may be a million.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::Http;
use super::query::Query;
use crate::limits::LISTED_SHAPES_MAX;
use crate::shapes::listing::Listed;

/// The finished shapes with a number above `after`, in order, as JSON. 503 while none can be told.
pub(super) fn shapes(http: &Http, query: &Query) -> Response {
    let Some(core) = http.core.borrow().clone() else {
        return super::plain(StatusCode::SERVICE_UNAVAILABLE, "The shapes are not known yet");
    };
    let after = query.get("after").unwrap_or("0");
    let Ok(after) = after.parse::<u64>() else {
        return super::plain(StatusCode::BAD_REQUEST, "after is the number of a shape");
    };
    let shapes = core.registry.page(after, LISTED_SHAPES_MAX);
    let listed: Vec<Listed> = shapes.iter().map(|shape| Listed::new(shape)).collect();
    // Structs of strings and numbers always have a JSON form.
    let body = serde_json::to_string(&listed).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    super::set(response.headers_mut(), "content-type", "application/json; charset=utf-8");
    super::set(response.headers_mut(), "cache-control", "no-cache, no-store, must-revalidate");
    response
}
