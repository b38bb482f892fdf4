//! The query string, decoded strictly.

use percent_encoding::percent_decode_str;

/// A query string that is not UTF-8 once decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUtf8;

/// Names and values in order; for a name that comes twice the last value counts.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes `a=b&c[1]=d`.
    pub fn parse(text: &str) -> Result<Query, NotUtf8> {
        let decode = |part: &str| -> Result<String, NotUtf8> {
            let spaces = part.replace('+', " ");
            let decoded = percent_decode_str(&spaces).decode_utf8().map_err(|_| NotUtf8)?;
            Ok(decoded.into_owned())
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Query { pairs: pairs.collect::<Result<_, _>>()? })
    }

    /// A value as it was sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Names and values in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Names whose values are never written down.
const SECRET: [&str; 6] = ["secret", "api_secret", "token", "access_token", "api_key", "password"];

/// A query string fit for logs.
#[must_use]
pub fn redacted(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=[redacted]"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn is_secret(name: &str) -> bool {
    // Judged as it will be read: percent-escapes do not hide a name.
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    SECRET.iter().any(|secret| decoded.trim().eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_names_and_values() {
        let query = Query::parse("a=1&params%5B1%5D=x%26y&params[2]=z+w&a=2&b&c=%C3%BC").unwrap();
        assert_eq!(query.get("a"), Some("2"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.get("c"), Some("ü"));
        assert_eq!(query.get("params[1]"), Some("x&y"));
        assert_eq!(query.pairs().nth(2), Some(("params[2]", "z w")));
        let shown = redacted("table=a&secret=x&%73ecret=y&api_secret=z&where=b");
        assert_eq!(
            shown,
            "table=a&secret=[redacted]&%73ecret=[redacted]&api_secret=[redacted]&where=b"
        );
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("").unwrap().get("").is_none());
    }
}
