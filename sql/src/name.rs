//! Names of tables and columns, as users write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Postgres' limit for identifiers, in bytes (`NAMEDATALEN` − 1).
pub const NAME_BYTES_MAX: usize = 63;

/// Columns of a table at most (Postgres' `MaxHeapAttributeNumber`).
pub const COLUMNS_MAX: usize = 1_600;

/// A schema-qualified name; both parts unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema, `public` where none was written.
    pub schema: String,
    /// The table.
    pub table: String,
}

/// Text that is not an identifier. The words are those of the shape protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// `""`.
    #[error("Invalid zero-length delimited identifier")]
    Empty,
    /// A character that needs quotes.
    #[error("Invalid unquoted identifier contains special characters: {0}")]
    Special(String),
    /// A quote inside quotes that is not doubled.
    #[error("Invalid identifier with unescaped quote: {0}")]
    Quote(String),
    /// Over 63 bytes.
    #[error("Identifier is too long (max length is 63)")]
    Long,
    /// More names than a table can have columns.
    #[error("The list of columns is too long (max length is {COLUMNS_MAX})")]
    Many,
    /// More than `schema.table`.
    #[error("Invalid relation identifier, too many delimiters: {0}")]
    Delimiters(String),
}

impl RelationName {
    /// Reads `table`, `schema.table`, with or without quotes. Unquoted parts are folded to lower case.
    pub fn parse(text: &str) -> Result<RelationName, NameError> {
        let parts = split(text, '.');
        match parts.as_slice() {
            [table] => Ok(RelationName { schema: "public".into(), table: identifier(table)? }),
            [schema, table] => {
                Ok(RelationName { schema: identifier(schema)?, table: identifier(table)? })
            }
            _ => Err(NameError::Delimiters(text.to_owned())),
        }
    }

    /// `"schema"."table"`, for SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.table))
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\".\"{}\"", self.schema, self.table)
    }
}

/// Reads a comma-separated list of column names.
pub fn parse_list(text: &str) -> Result<Vec<String>, NameError> {
    let parts = split(text, ',');
    if parts.len() > COLUMNS_MAX {
        return Err(NameError::Many);
    }
    parts.into_iter().map(|part| identifier(part.trim())).collect()
}

/// A name in double quotes, for SQL.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant, for SQL; safe whatever `standard_conforming_strings` says.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Splits at a delimiter that stands outside quotes.
fn split(text: &str, delimiter: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == delimiter && !quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

fn identifier(text: &str) -> Result<String, NameError> {
    let name = match text.strip_prefix('"') {
        Some(rest) => delimited(text, rest)?,
        None => unquoted(text)?,
    };
    if name.len() > NAME_BYTES_MAX { Err(NameError::Long) } else { Ok(name) }
}

fn delimited(whole: &str, rest: &str) -> Result<String, NameError> {
    let inner = rest.strip_suffix('"').ok_or_else(|| NameError::Quote(whole.to_owned()))?;
    if inner.is_empty() {
        return Err(NameError::Empty);
    }
    // No name has it, and it stands for a quote below.
    if inner.contains('\u{0}') {
        return Err(NameError::Special(whole.replace('\u{0}', "\\0")));
    }
    let name = inner.replace("\"\"", "\u{0}");
    if name.contains('"') {
        return Err(NameError::Quote(whole.to_owned()));
    }
    Ok(name.replace('\u{0}', "\""))
}

fn unquoted(text: &str) -> Result<String, NameError> {
    let mut chars = text.chars();
    let first = chars.next().ok_or(NameError::Empty)?;
    let starts = first.is_alphabetic() || first == '_';
    let rest = chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$' || is_mark(c));
    if !starts || !rest {
        return Err(NameError::Special(text.to_owned()));
    }
    Ok(text.to_ascii_lowercase())
}

/// Combining marks, which follow a letter in decomposed text.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{20D0}'..='\u{20FF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_as_postgres_does() {
        let name = RelationName::parse("Wms.\"Slots.x\"").unwrap();
        assert_eq!((name.schema.as_str(), name.table.as_str()), ("wms", "Slots.x"));
        assert_eq!(RelationName::parse("issues").unwrap().schema, "public");
        assert_eq!(RelationName::parse("\"a\"\"b\"").unwrap().quoted(), "\"public\".\"a\"\"b\"");
        assert!(matches!(RelationName::parse("a.b.c"), Err(NameError::Delimiters(_))));
        assert!(matches!(RelationName::parse("a b"), Err(NameError::Special(_))));
        assert!(matches!(RelationName::parse("\"\""), Err(NameError::Empty)));
        assert!(matches!(RelationName::parse("\"a"), Err(NameError::Quote(_))));
        assert!(matches!(RelationName::parse(&"x".repeat(64)), Err(NameError::Long)));
        assert_eq!(parse_list("id,\"a,b\", C").unwrap(), ["id", "a,b", "c"]);
    }
}
