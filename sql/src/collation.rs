//! How a column compares and folds text, as far as we can do it exactly like Postgres.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What the order of text is under a collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextOrder {
    /// Byte by byte: `C`, `POSIX`, `C.UTF-8`, `ucs_basic`.
    Bytes,
    /// By rules of a locale we cannot reproduce: `<`, `>`, BETWEEN are refused.
    Locale,
}

/// The lower-case form of every character that has one, as the server's own `lower()` gives it.
///
/// Postgres folds with the C library of the machine it runs on, whose tables differ between
/// versions. So the pairs are asked from the server once per collation, never guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaseMap {
    lower: HashMap<char, char>,
    /// `None` where it has not been asked for: `upper()` is refused then.
    #[serde(default)]
    upper: Option<HashMap<char, char>>,
}

impl CaseMap {
    /// A map of `(character, lower-case form)` pairs; characters that are absent stay as they are.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (char, char)>) -> CaseMap {
        CaseMap { lower: pairs.into_iter().collect(), upper: None }
    }

    /// With `(character, upper-case form)` pairs too.
    #[must_use]
    pub fn with_upper(self, pairs: impl IntoIterator<Item = (char, char)>) -> CaseMap {
        CaseMap { upper: Some(pairs.into_iter().collect()), ..self }
    }

    /// ASCII letters only: the rule of the `C` collation.
    #[must_use]
    pub fn ascii() -> CaseMap {
        CaseMap::new(('A'..='Z').map(|c| (c, c.to_ascii_lowercase())))
            .with_upper(('a'..='z').map(|c| (c, c.to_ascii_uppercase())))
    }

    /// Whether upper-case forms are known.
    #[must_use]
    pub fn has_upper(&self) -> bool {
        self.upper.is_some()
    }

    /// The upper-case form of one character.
    #[must_use]
    pub fn upper(&self, c: char) -> char {
        self.upper.as_ref().and_then(|upper| upper.get(&c).copied()).unwrap_or(c)
    }

    /// The lower-case form of one character.
    #[must_use]
    pub fn lower(&self, c: char) -> char {
        self.lower.get(&c).copied().unwrap_or(c)
    }
}

/// The collation of a text column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collation {
    /// Its name for messages, `en_US.utf8` for example.
    pub name: String,
    /// How it orders.
    pub order: TextOrder,
    /// Whether equal means equal bytes. Where it does not, even `=` is refused.
    pub deterministic: bool,
    /// How it folds case, or `None` where folding is not one character for one (ICU): ILIKE is
    /// refused there.
    pub case_map: Option<Arc<CaseMap>>,
}

impl Collation {
    /// The `C` collation.
    #[must_use]
    pub fn c() -> Collation {
        Collation {
            name: "C".to_owned(),
            order: TextOrder::Bytes,
            deterministic: true,
            case_map: Some(Arc::new(CaseMap::ascii())),
        }
    }
}
