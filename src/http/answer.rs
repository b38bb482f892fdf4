//! The headers of answers with data: the one place where facts become headers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::accept::Accepted;
use super::request::Live;
use crate::config::Settings;
use crate::limits::EVENTS_MAX;
use crate::shape_log::{Form, Offset, RequestOffset};

/// What an answer with data says about itself.
pub struct Answer<'a> {
    /// How its body is written.
    pub form: Form,
    /// The shape's handle.
    pub handle: &'a str,
    /// The shape's schema header.
    pub schema: &'a str,
    /// What was asked for.
    pub requested: RequestOffset,
    /// The last entry that is covered.
    pub offset: Offset,
    /// Whether that is the end of the log, and the body says so.
    pub up_to_date: bool,
    /// Whether there is anything but that.
    pub has_data: bool,
    /// Whether and how the request could wait.
    pub live: Option<Live>,
    /// The cursor that was sent.
    pub cursor: Option<u64>,
    /// Whether a cache may keep it: not if it answers a POST.
    pub cacheable: bool,
}

impl Answer<'_> {
    /// The entity tag, quotes included. An answer without data gets one of its own each time, so
    /// that no cache ever revalidates it.
    #[must_use]
    pub fn etag(&self) -> String {
        static EMPTY_ANSWERS: AtomicI64 = AtomicI64::new(0);
        let (handle, requested, offset) = (self.handle, self.requested, self.offset);
        let form = match self.form {
            Form::Json => "",
            Form::Arrow => ":a",
        };
        if self.has_data {
            format!("\"{handle}:{requested}:{offset}{form}\"")
        } else {
            let started = since_epoch().as_micros() as i64;
            let number = started.wrapping_add(EMPTY_ANSWERS.fetch_add(1, Ordering::Relaxed));
            format!("\"{handle}:{requested}:{offset}:{number}{form}\"")
        }
    }

    /// Whether the client has this answer already: one of the tags it sent is ours.
    #[must_use]
    pub fn is_known(&self, accepted: &Accepted) -> bool {
        self.has_data && accepted.has(&self.etag())
    }

    /// The response around a body.
    #[must_use]
    pub fn response(&self, settings: &Settings, status: StatusCode, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let events = self.live == Some(Live::Events) && status == StatusCode::OK;
        let kind = match self.form {
            _ if events => "text/event-stream",
            Form::Json => "application/json; charset=utf-8",
            Form::Arrow => Form::Arrow.media_type(),
        };
        put(headers, "content-type", kind);
        // A cache must not give one form to those who want the other.
        put(headers, "vary", "accept, accept-encoding");
        if events {
            // Proxies of nginx's kind hold answers back otherwise.
            put(headers, "x-accel-buffering", "no");
        }
        put(headers, "cache-control", &self.cache_control(settings));
        put(headers, "etag", &self.etag());
        put(headers, "electric-handle", self.handle);
        put(headers, "electric-offset", &self.offset.to_string());
        put(headers, "electric-has-data", if self.has_data { "true" } else { "false" });
        if self.up_to_date {
            put(headers, "electric-up-to-date", "");
        }
        if self.live.is_some() {
            let cursor = next_cursor(settings.long_poll, self.cursor, since_cursor_epoch());
            put(headers, "electric-cursor", &cursor.to_string());
        } else if status == StatusCode::OK {
            put(headers, "electric-schema", self.schema);
        }
        response
    }

    fn cache_control(&self, settings: &Settings) -> String {
        match self.requested {
            RequestOffset::Before if !self.cacheable => "no-cache".to_owned(),
            // A week for the beginning of a log: it never changes under its handle.
            RequestOffset::Before => {
                "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746".to_owned()
            }
            _ if !self.cacheable => "no-cache".to_owned(),
            // Caches collapse streams that are still running, never one that has ended.
            _ if self.live == Some(Live::Events) => {
                format!("public, max-age={}", EVENTS_MAX.as_secs().saturating_sub(1).max(1))
            }
            _ if self.live.is_some() => "public, max-age=5, stale-while-revalidate=5".to_owned(),
            _ => format!(
                "public, max-age={}, stale-while-revalidate={}",
                settings.cache_max_age, settings.cache_stale_age
            ),
        }
    }
}

/// Live URLs carry a cursor that changes once per long poll, so that caches collapse the requests of
/// one interval and never serve those of the last.
fn next_cursor(long_poll: Duration, sent: Option<u64>, since_epoch: Duration) -> u64 {
    let interval = long_poll.as_secs();
    if interval == 0 {
        return 0;
    }
    let cursor = since_epoch.as_secs_f64().ceil() as u64;
    let cursor = cursor.div_ceil(interval) * interval;
    match sent {
        // A cursor that cannot be surpassed is none of ours: any other one will do.
        Some(sent) if cursor <= sent => {
            sent.checked_add(1 + super::fresh() % 3600).unwrap_or(cursor)
        }
        _ => cursor,
    }
}

/// Cursors count from 2024-10-09.
fn since_cursor_epoch() -> Duration {
    since_epoch().saturating_sub(Duration::from_secs(1_728_432_000))
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Sets a header.
pub fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Names of columns may be any UTF-8, which header values can carry as bytes; control characters
    // cannot occur, JSON escapes them.
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_that_of_the_protocols_example() {
        let at = Duration::from_secs(57_405_607);
        let interval = Duration::from_secs(20);
        assert_eq!(next_cursor(interval, None, at), 57_405_620);
        assert_eq!(next_cursor(interval, Some(57_405_600), at), 57_405_620);
        assert!(next_cursor(interval, Some(57_405_620), at) > 57_405_620);
        assert_eq!(next_cursor(Duration::from_millis(500), None, at), 0);
    }
}
