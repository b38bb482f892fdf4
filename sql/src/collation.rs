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

/// A row of [`crate::statement::COLLATION`].
#[derive(Debug, Clone, Default)]
pub struct CollationFacts {
    /// Its schema.
    pub schema: String,
    /// Its name there.
    pub name: String,
    /// The database's default.
    pub is_default: bool,
    /// `c` for the C library, `i` for ICU, `b` for Postgres itself.
    pub provider: String,
    /// Whether equal means equal bytes.
    pub deterministic: bool,
    /// What the C library orders by.
    pub collate: String,
    /// What it takes for letters, and their case.
    pub ctype: String,
    /// The locale of the other providers.
    pub locale: String,
    /// The database's encoding.
    pub encoding: String,
}

/// Where the case map of a collation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// There is none: folding is not one character for one.
    Unknown,
    /// ASCII letters only.
    Ascii,
    /// [`crate::statement::case_map`].
    Server,
}

/// Locales in which glibc and Postgres compare text byte by byte.
fn by_bytes(locale: &str) -> bool {
    let plain = locale.to_ascii_lowercase().replace('-', "");
    matches!(plain.as_str(), "c" | "posix" | "c.utf8" | "ucs_basic")
}

impl CollationFacts {
    /// The collation, as yet without a case map, and where to take that from.
    #[must_use]
    pub fn collation(&self) -> (Collation, Folding) {
        let builtin = self.provider == "b";
        let utf8 = self.encoding == "UTF8";
        // The builtin provider keeps its locale apart; libc has one for order, one for characters.
        let (collate, ctype) =
            if builtin { (&self.locale, &self.locale) } else { (&self.collate, &self.ctype) };
        let known = (self.provider == "c" || builtin) && utf8;
        let bytes = known && (builtin || by_bytes(collate));
        // One character to one: libc always, builtin but for the full Unicode mapping, never ICU.
        let folding = match ctype.as_str() {
            _ if !known => Folding::Unknown,
            PG_UNICODE_FAST => Folding::Unknown,
            "C" | "POSIX" => Folding::Ascii,
            _ => Folding::Server,
        };
        // A name of its own tells it from others of the same locale, between which Postgres refuses to
        // choose. That of the default is its locale; nothing else may be called C.
        let name = match (self.is_default, self.provider.as_str()) {
            (false, _) if self.schema == "pg_catalog" => self.name.clone(),
            (false, _) => format!("{}.{}", self.schema, self.name),
            (true, "i") => format!("{} (ICU)", self.locale),
            (true, _) if collate == ctype => collate.clone(),
            (true, _) => format!("{collate} with the characters of {ctype}"),
        };
        let order = if bytes { TextOrder::Bytes } else { TextOrder::Locale };
        let (deterministic, is_default) = (self.deterministic, self.is_default);
        (Collation { name, order, deterministic, case_map: None, is_default }, folding)
    }
}

/// The builtin locale whose mappings and classes are those of all of Unicode.
const PG_UNICODE_FAST: &str = "PG_UNICODE_FAST";

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
    /// Whether it is the database's default, which is that of text without a collation of its own and gives way to
    /// any other.
    #[serde(default)]
    pub is_default: bool,
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
            is_default: false,
        }
    }

    /// Whether letters and digits are those of ASCII: what else is one only the C library knows.
    pub(crate) fn is_ascii(&self) -> bool {
        self.order == TextOrder::Bytes && matches!(self.name.as_str(), "C" | "POSIX")
    }

    /// Whether no other digits than those of ASCII are digits, as C demands of every locale.
    pub(crate) fn has_ascii_digits(&self) -> bool {
        self.order == TextOrder::Bytes && !self.name.ends_with(PG_UNICODE_FAST)
    }
}
