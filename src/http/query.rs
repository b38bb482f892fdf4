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

    /// A value unless it is empty or blank.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// Present means true, unless it says `false`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    /// `name[key]=value` pairs.
    pub fn map<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs.iter().filter_map(move |(found, value)| {
            let key = found.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((key, value.as_str()))
        })
    }

    /// Whether any name begins so.
    #[must_use]
    pub fn any_prefixed(&self, prefix: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name.len() > prefix.len() && name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_names_values_and_maps() {
        let query = Query::parse("a=1&params%5B1%5D=x%26y&params[2]=z+w&a=2&b&c=%C3%BC").unwrap();
        assert_eq!(query.get("a"), Some("2"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.filled("b"), None);
        assert_eq!(query.get("c"), Some("ü"));
        assert_eq!(query.map("params").collect::<Vec<_>>(), [("1", "x&y"), ("2", "z w")]);
        assert!(query.flag("b") && query.flag("a") && !query.flag("d"));
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("").unwrap().get("").is_none());
    }
}
