//! A shape's name towards clients.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `<27 bits of the question>-<microseconds>`: twelve bytes, text only where it is asked for. Each
/// has one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Handle {
    question: u32,
    /// In halves, so that four bytes of padding are saved a million times.
    micros: [u32; 2],
}

/// Text that is no handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a handle: {0}")]
pub struct HandleError(String);

impl Handle {
    /// A handle of a question, which is not 0, made at a time.
    #[must_use]
    pub fn new(question: u32, micros: u64) -> Handle {
        Handle { question, micros: [(micros >> 32) as u32, micros as u32] }
    }

    /// A handle that no shape has. Clients take the handle that they are refused with for ended, so one whose shape lives on
    /// is sent on with this: it is refused again with it, wherever it begins, and takes only this one for ended then.
    #[must_use]
    pub fn nobodys(random: u64) -> Handle {
        Handle::new(0, random)
    }

    /// Whether a client names one of those.
    #[must_use]
    pub fn is_nobodys(text: &str) -> bool {
        text.parse().is_ok_and(|handle: Handle| handle.question == 0)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = u64::from(self.micros[0]) << 32 | u64::from(self.micros[1]);
        write!(f, "{}-{micros}", self.question)
    }
}

impl FromStr for Handle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Handle, HandleError> {
        let read = |text: &str| {
            let (question, micros) = text.split_once('-')?;
            Some(Handle::new(question.parse().ok()?, micros.parse().ok()?))
        };
        // Leading zeros and signs would be other spellings.
        let handle = read(text).filter(|handle| handle.to_string() == text);
        handle.ok_or_else(|| HandleError(text.to_owned()))
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> String {
        handle.to_string()
    }
}

impl TryFrom<String> for Handle {
    type Error = HandleError;

    fn try_from(text: String) -> Result<Handle, HandleError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_one_spelling() {
        for text in ["0-0", "134217727-1764120000000000", "4294967295-18446744073709551615"] {
            assert_eq!(text.parse::<Handle>().unwrap().to_string(), text);
        }
        for text in ["", "1", "-1", "1-", "01-2", "1-02", "+1-2", "1-+2", "1-2-3", "4294967296-1"] {
            assert!(text.parse::<Handle>().is_err(), "{text}");
        }
    }
}
