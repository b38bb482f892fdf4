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
    lower: Pairs,
    /// `None` where it has not been asked for: `upper()` is refused then.
    #[serde(default)]
    upper: Option<Pairs>,
}

impl CaseMap {
    /// A map of `(character, lower-case form)` pairs; characters that are absent stay as they are.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (char, char)>) -> CaseMap {
        CaseMap { lower: pairs.into_iter().collect::<HashMap<_, _>>().into(), upper: None }
    }

    /// With `(character, upper-case form)` pairs too.
    #[must_use]
    pub fn with_upper(self, pairs: impl IntoIterator<Item = (char, char)>) -> CaseMap {
        CaseMap { upper: Some(pairs.into_iter().collect::<HashMap<_, _>>().into()), ..self }
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
        self.upper.as_ref().map_or(c, |upper| upper.get(c))
    }

    /// The lower-case form of one character.
    #[must_use]
    pub fn lower(&self, c: char) -> char {
        self.lower.get(c)
    }

    /// A number that maps with the same lower-case forms have in common.
    pub(crate) fn lower_fingerprint(&self) -> u64 {
        self.lower.fingerprint
    }

    /// What the ASCII characters become, if that is ASCII too.
    pub(crate) fn ascii_table(&self, upper: bool) -> Option<&[u8; 128]> {
        let pairs = if upper { self.upper.as_ref()? } else { &self.lower };
        pairs.ascii.as_ref()
    }
}

/// A map of characters, with what is asked of it most at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HashMap<char, char>", into = "HashMap<char, char>")]
struct Pairs {
    all: HashMap<char, char>,
    /// `None` where an ASCII character becomes another.
    ascii: Option<[u8; 128]>,
    /// The same for equal maps.
    fingerprint: u64,
}

impl Pairs {
    fn get(&self, c: char) -> char {
        match (&self.ascii, u8::try_from(c)) {
            (Some(ascii), Ok(byte)) if byte < 128 => char::from(ascii[usize::from(byte)]),
            _ => self.all.get(&c).copied().unwrap_or(c),
        }
    }
}

impl Default for Pairs {
    fn default() -> Pairs {
        HashMap::new().into()
    }
}

impl From<HashMap<char, char>> for Pairs {
    fn from(all: HashMap<char, char>) -> Pairs {
        let mut ascii = Some([0; 128]);
        for byte in 0..128 {
            let c = char::from(byte);
            let other = u8::try_from(all.get(&c).copied().unwrap_or(c));
            match (&mut ascii, other) {
                (Some(table), Ok(other)) if other < 128 => table[usize::from(byte)] = other,
                _ => ascii = None,
            }
        }
        // A sum, since a map has no order.
        let pair = |(from, to): (&char, &char)| {
            let mixed =
                (u64::from(*from) << 32 | u64::from(*to)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        let fingerprint = all.iter().map(pair).fold(0, u64::wrapping_add);
        Pairs { all, ascii, fingerprint }
    }
}

impl From<Pairs> for HashMap<char, char> {
    fn from(pairs: Pairs) -> HashMap<char, char> {
        pairs.all
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
