//! A position in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A log sequence number: a byte position in Postgres' write-ahead log.
///
/// `Display` prints Postgres' own form (`16/B374D848`); clients of the shape protocol see the same
/// number in decimal.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before everything.
    pub const ZERO: Lsn = Lsn(0);

    /// An insert position as the end of the record before it. Where that ends with a page, Postgres says the place behind
    /// the next page's header (24 bytes, 40 at the beginning of a file), though nothing stands there yet; and the stream
    /// of a database where nobody writes never says that it has come so far. No record ends right behind a header.
    #[must_use]
    pub fn end_of_record(self) -> Lsn {
        let in_page = self.0 % WAL_PAGE_BYTES;
        Lsn(if WAL_PAGE_HEADERS.contains(&in_page) { self.0 - in_page } else { self.0 })
    }
}

/// Postgres' XLOG_BLCKSZ; one that was built with larger pages has those that begin here, too.
const WAL_PAGE_BYTES: u64 = 8192;

/// SizeOfXLogShortPHD and SizeOfXLogLongPHD.
const WAL_PAGE_HEADERS: [u64; 2] = [24, 40];

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// Text that is not `X/Y` with two hexadecimal numbers of at most 32 bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log sequence number: {0}")]
pub struct LsnError(String);

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        let refuse = || LsnError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(refuse)?;
        let high = u32::from_str_radix(high, 16).map_err(|_| refuse())?;
        let low = u32::from_str_radix(low, 16).map_err(|_| refuse())?;
        Ok(Lsn((u64::from(high) << 32) | u64::from(low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_has_only_its_header_has_not_begun() {
        for (said, end) in [
            ("0/98DB8018", "0/98DB8000"),
            ("1/4000028", "1/4000000"),
            ("0/98DB8000", "0/98DB8000"),
            ("0/98DB8020", "0/98DB8020"),
            ("0/98DB7FF8", "0/98DB7FF8"),
        ] {
            let said: Lsn = said.parse().unwrap();
            assert_eq!(said.end_of_record(), end.parse().unwrap());
        }
    }

    #[test]
    fn prints_and_parses_postgres_form() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn, Lsn(0x16_B374_D848));
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert!("16".parse::<Lsn>().is_err());
        assert!("x/1".parse::<Lsn>().is_err());
        assert!("1/100000000".parse::<Lsn>().is_err());
    }
}
