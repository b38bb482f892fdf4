//! Places in a shape's log, as clients name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place: `<transaction>_<operation>`. Transaction 0 is the snapshot, whose operations are chunk
/// numbers; operation `inf` is after all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset {
    /// Where the transaction's commit record begins; 0 for the snapshot.
    pub tx: u64,
    /// The operation; `u64::MAX` is `inf`.
    pub op: u64,
}

impl Offset {
    /// After the snapshot, before every transaction.
    pub const SNAPSHOT_END: Offset = Offset { tx: 0, op: u64::MAX };

    /// The end of snapshot chunk `number`.
    #[must_use]
    pub fn chunk(number: u32) -> Offset {
        Offset { tx: 0, op: u64::from(number) }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.op == u64::MAX {
            write!(f, "{}_inf", self.tx)
        } else {
            write!(f, "{}_{}", self.tx, self.op)
        }
    }
}

/// What a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOffset {
    /// `-1`: from the beginning.
    Before,
    /// `now`: from the end.
    Now,
    /// After a place.
    After(Offset),
}

impl fmt::Display for RequestOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestOffset::Before => f.write_str("-1"),
            RequestOffset::Now => f.write_str("now"),
            RequestOffset::After(offset) => offset.fmt(f),
        }
    }
}

/// Text that is not an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has invalid format")]
pub struct OffsetError;

impl FromStr for RequestOffset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<RequestOffset, OffsetError> {
        match text {
            "-1" => return Ok(RequestOffset::Before),
            "now" => return Ok(RequestOffset::Now),
            _ => {}
        }
        let (tx, op) = text.split_once('_').ok_or(OffsetError)?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse::<u64>().map_err(|_| OffsetError) } else { Err(OffsetError) }
        };
        let op = if op == "inf" { u64::MAX } else { number(op)? };
        Ok(RequestOffset::After(Offset { tx: number(tx)?, op }))
    }
}

/// A place in a log, with what must be known to go on from there as if nothing had come before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPoint {
    /// The place.
    pub offset: Offset,
    /// Bytes of the chunk that is being filled there.
    pub filled: u64,
    /// Bytes of all entries there ever were.
    pub weight: u64,
}

impl LogPoint {
    /// Before the first entry.
    pub const BEGIN: LogPoint = LogPoint { offset: Offset::SNAPSHOT_END, filled: 0, weight: 0 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_canonically() {
        for (text, canonical) in
            [("-1", "-1"), ("now", "now"), ("0_0", "0_0"), ("0_inf", "0_inf"), ("007_02", "7_2")]
        {
            assert_eq!(text.parse::<RequestOffset>().unwrap().to_string(), canonical);
        }
        let large = "18446744073709551615_3";
        assert_eq!(large.parse::<RequestOffset>().unwrap().to_string(), large);
        for text in ["", "abc", "1", "1_", "_1", "1_2_3", "-2_0", "1_-1", "1_+1", " 1_1", "1_INF"] {
            assert!(text.parse::<RequestOffset>().is_err(), "{text}");
        }
    }

    #[test]
    fn orders_snapshot_before_log_and_inf_last() {
        let at = |tx, op| Offset { tx, op };
        let ordered = [at(0, 0), at(0, 1), Offset::SNAPSHOT_END, at(1, 0), at(1, 5), at(2, 0)];
        assert!(ordered.is_sorted());
    }
}
