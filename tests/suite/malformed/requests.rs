//! What the random requests are made of.
//!
//! Enters: random numbers. Leaves: targets, headers and bodies, many of which nearly make sense.

use super::Client;
use crate::harness::{Rng, encode};

const NAMES: &[&str] = &[
    "table",
    "offset",
    "handle",
    "live",
    "live_sse",
    "experimental_live_sse",
    "cursor",
    "where",
    "params",
    "params[1]",
    "params[2]",
    "params[]",
    "params[",
    "params]",
    "params[1][2]",
    "params[-1]",
    "params[99999999999999999999]",
    "params[a]",
    "columns",
    "queryable_columns",
    "replica",
    "log",
    "secret",
    "api_secret",
    "experimental_compaction",
    "subset",
    "subset__",
    "subset__where",
    "subset__order_by",
    "subset__limit",
    "subset__offset",
    "subset__params",
    "subset__params[1]",
    "subset__params[x]",
    "subset__where_expr",
    "subset__nope",
    "subset[where]",
    "expired_handle",
    "cache-buster",
    "",
    "[",
    "]",
    "__",
    "where[0]",
    "table[]",
    "%",
    "a=b",
];

const VALUES: &[&str] = &[
    "",
    " ",
    "items",
    "\"items\"",
    "ITEMS",
    "wms.slots",
    "public.items",
    "a.b.c",
    "nope",
    "\"",
    "\"\"",
    "items\"",
    "-1",
    "now",
    "0_0",
    "0_inf",
    "1_0",
    "0_99999",
    "99999999999999999999_0",
    "18446744073709551615_18446744073709551615",
    "-1_0",
    "0_-1",
    "1_inf",
    "1_2_3",
    "9007199254740993_2",
    "true",
    "false",
    "1",
    "0",
    "full",
    "default",
    "changes_only",
    "FULL",
    "id",
    "id,name",
    "id,\"name\"",
    "name",
    "id,id,id",
    "id,nope",
    ",,,",
    "id = 1",
    "id = $1",
    "id = $1 AND name = $2",
    "name LIKE '%x%'",
    "id IN (1,2,3)",
    "mood = 'sad'",
    "mood = 'zzz'",
    "id = 1 OR",
    "1=1; DROP TABLE items",
    "id = 1) OR (1=1",
    "'",
    "''",
    "$$",
    "$1",
    "id IS NULL",
    "true",
    "NULL",
    "id = (SELECT 1)",
    "pg_sleep(10) IS NULL",
    "id = 1/0",
    "1/(id-id) = 1",
    "id DESC",
    "id ASC NULLS LAST, name",
    "lower(name)",
    "{\"1\":\"x\"}",
    "{\"1\":1}",
    "{",
    "[]",
    "[1]",
    "{}",
    "null",
    "{\"1\":{\"2\":3}}",
    "1e999",
    "NaN",
    "0x10",
    "1.5",
    "-5",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999",
    "\u{0}",
    "\u{1}\n\r\t",
    "ä\u{1F980}",
    "\u{202E}x",
    "\u{FFFD}",
    "%00",
    "%",
    "<script>",
    "../../etc/passwd",
    "{a,b}",
    "a\\",
    "--",
    "/*",
    "E'\\u12'",
    "id = ANY($1)",
    "ok",
];

impl Client {
    /// Path and query, and whether the query can be decoded.
    pub(super) fn target(&mut self) -> (String, bool) {
        let paths = [
            "/v1/shape/",
            "//v1/shape",
            "/v1/%73hape",
            "/v1/shape%00",
            "/v1/health",
            "/",
            "/openapi.json",
            "/v1",
            "/%",
            "/v1/shape/x",
            "/v1/../v1/shape",
            "/metrics",
            "*",
            "http://x/v1/shape",
            "/\u{7f}",
            "/v1/shape#x",
        ];
        let path = if self.rng.percent(85) { "/v1/shape" } else { *self.rng.pick(&paths) };
        let mut query = String::new();
        let mut is_text = true;
        if self.rng.percent(70) {
            query.push_str("&table=items&offset=");
            let offset = *self.rng.pick(&["-1", "now", "0_0", "0_inf", "0_5", "7_0"]);
            query.push_str(offset);
            query.push_str(&if self.rng.percent(80) {
                format!("&handle={}", self.handle)
            } else {
                String::new()
            });
        }
        for _ in 0..self.rng.below(6) {
            let (name, value) = (*self.rng.pick(NAMES), *self.rng.pick(VALUES));
            let value = if self.rng.percent(1) { value.repeat(500) } else { value.to_owned() };
            let name = if self.rng.percent(50) {
                encode(name)
            } else {
                name.replace(['%', '=', ' '], "_")
            };
            query.push_str(&format!("&{name}={}", encode(&value)));
        }
        if self.rng.percent(8) {
            let broken = [
                "&x=%",
                "&%zz=1",
                "&where=%c3%28",
                "&%ff",
                "&table=%f0%9f",
                "&=&&==&",
                "&where=%u0041",
            ];
            let broken = *self.rng.pick(&broken);
            query.push_str(broken);
            is_text = false;
        }
        (format!("{path}?{}", query.trim_start_matches('&')), is_text)
    }

    pub(super) fn headers(&mut self) -> String {
        let mut headers = String::new();
        for _ in 0..self.rng.below(3) {
            let long = "y".repeat(self.rng.below(3000));
            let odd = [
                "accept-encoding: gzip;q=x, br;;, *;q=9",
                "accept-encoding: gzip",
                "if-none-match: \"\", W/\"x\", ,,\"",
                "if-none-match: *",
                "origin: null",
                "origin: \"<x>\"",
                "content-type: \u{80}",
                "x-request-id: <>&\"",
                "traceparent: 00-zz",
                "accept: text/html;q=",
                "cookie: a=b; =;",
                "range: bytes=0-1",
                "upgrade: h2c",
                "expect: 100-continue",
                "content-encoding: gzip",
                "te: trailers",
                "x-empty:",
                "x-spaces:    \t ",
                "authorization: Basic ::",
                "host: other",
                "forwarded: for=\"",
                "electric-handle: 1",
            ];
            let header = if self.rng.percent(10) {
                format!("x-long: {long}")
            } else {
                (*self.rng.pick(&odd)).to_owned()
            };
            headers.push_str(&format!("{header}\r\n"));
        }
        headers
    }

    pub(super) fn body(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 => (0..self.rng.below(60)).map(|_| self.rng.below(256) as u8).collect(),
            1 => Vec::new(),
            2 => {
                let mut text = self.json(3).into_bytes();
                for _ in 0..self.rng.between(1, 3) {
                    mutate(&mut text, &mut self.rng);
                }
                text
            }
            3 => self.json(5).into_bytes(),
            _ => self.object(2).into_bytes(),
        }
    }

    pub(super) fn object(&mut self, depth: usize) -> String {
        let names = [
            "table",
            "offset",
            "handle",
            "live",
            "where",
            "order_by",
            "limit",
            "params",
            "columns",
            "replica",
            "log",
            "subset",
            "1",
            "2",
            "where_expr",
            "order_by_expr",
            "secret",
            "x",
            "",
            "queryable_columns",
            "live_sse",
            "cursor",
        ];
        let members = (0..self.rng.below(5)).map(|_| {
            let name = *self.rng.pick(&names);
            format!("{}:{}", serde_json::json!(name), self.json(depth))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    pub(super) fn json(&mut self, depth: usize) -> String {
        match self.rng.below(if depth == 0 { 5 } else { 8 }) {
            0..3 => serde_json::json!(*self.rng.pick(VALUES)).to_string(),
            3 => (*self.rng.pick(&["null", "true", "false", "{}", "[]"])).to_owned(),
            4 => (*self.rng.pick(&[
                "0",
                "-1",
                "1",
                "1.5",
                "1e400",
                "99999999999999999999",
                "-0",
                "1E-9",
            ]))
            .to_owned(),
            5 => {
                let items: Vec<_> = (0..self.rng.below(4)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => self.object(depth - 1),
        }
    }
}

/// Makes one place of it wrong.
pub(super) fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len());
    match rng.below(4) {
        0 => bytes[at] = rng.below(256) as u8,
        1 => _ = bytes.remove(at),
        2 => bytes.insert(at, *rng.pick(b"\r\n\0 :%{}[]\"'\\\xff")),
        _ => {
            let end = (at + rng.below(20)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}
