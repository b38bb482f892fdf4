//! The payloads of change log frames.

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Row};
use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

/// Frame kinds of change log files.
pub(super) mod kind {
    pub const RELATION: u8 = 1;
    pub const ROWS: u8 = 2;
    pub const TRUNCATE: u8 = 3;
    pub const COMMIT: u8 = 4;
    pub const POSITION: u8 = 5;
    pub const KNOWN_RELATION: u8 = 6;
}

const OLD: u8 = 1;
const NEW: u8 = 2;
/// Bytes of a change before its rows.
const CHANGE_HEAD: usize = 4 + 8 + 1 + 4 + 4;
/// Bytes of a rows frame before its first change.
pub(super) const ROWS_HEAD: usize = 8 + 4 + 8 + 4;

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCommit {
    /// Where the commit record begins: the transaction's place in the stream and in offsets.
    pub lsn: Lsn,
    /// Where it ends: the position to confirm and to start from again.
    pub end_lsn: Lsn,
    /// Its 32-bit transaction id.
    pub xid: u32,
    /// When, in microseconds since 2000-01-01.
    pub time: i64,
    /// The seq of its first change.
    pub first_seq: u64,
    /// The seq after its last change.
    pub next_seq: u64,
    /// Whether it emptied a table, which no change says.
    pub truncates: bool,
}

impl StoredCommit {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(45);
        out.put_u64_le(self.lsn.0);
        out.put_u64_le(self.end_lsn.0);
        out.put_u32_le(self.xid);
        out.put_i64_le(self.time);
        out.put_u64_le(self.first_seq);
        out.put_u64_le(self.next_seq);
        out.put_u8(u8::from(self.truncates));
        out
    }

    pub(super) fn decode(mut payload: &[u8]) -> Option<StoredCommit> {
        let payload = &mut payload;
        Some(StoredCommit {
            lsn: Lsn(payload.try_get_u64_le().ok()?),
            end_lsn: Lsn(payload.try_get_u64_le().ok()?),
            xid: payload.try_get_u32_le().ok()?,
            time: payload.try_get_i64_le().ok()?,
            first_seq: payload.try_get_u64_le().ok()?,
            next_seq: payload.try_get_u64_le().ok()?,
            truncates: payload.try_get_u8().ok()? != 0,
        })
    }
}

/// What a rows frame says before its changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsHead {
    pub lsn: Lsn,
    pub xid: u32,
    pub first_seq: u64,
    pub count: u32,
}

impl RowsHead {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ROWS_HEAD);
        out.put_u64_le(self.lsn.0);
        out.put_u32_le(self.xid);
        out.put_u64_le(self.first_seq);
        out.put_u32_le(self.count);
        out
    }

    pub fn decode(mut payload: &[u8]) -> Option<RowsHead> {
        let payload = &mut payload;
        Some(RowsHead {
            lsn: Lsn(payload.try_get_u64_le().ok()?),
            xid: payload.try_get_u32_le().ok()?,
            first_seq: payload.try_get_u64_le().ok()?,
            count: payload.try_get_u32_le().ok()?,
        })
    }
}

/// Appends a change's stored form; returns its length.
pub(super) fn encode_change(change: &Change, out: &mut Vec<u8>) -> u32 {
    let begin = out.len();
    let length = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.as_bytes().len() as u32);
    let flag = |row: &Option<Row>, flag: u8| if row.is_some() { flag } else { 0 };
    out.put_u32_le(change.table);
    out.put_u64_le(change.op_position);
    out.put_u8(flag(&change.old, OLD) | flag(&change.new, NEW));
    out.put_u32_le(length(&change.old));
    out.put_u32_le(length(&change.new));
    for row in [&change.old, &change.new].into_iter().flatten() {
        out.put_slice(row.as_bytes());
    }
    (out.len() - begin) as u32
}

/// The stored length of the change at the front of `bytes`.
pub(super) fn change_length(bytes: &[u8]) -> Option<usize> {
    let mut lengths = bytes.get(CHANGE_HEAD - 8..CHANGE_HEAD)?;
    let (old, new) = (lengths.get_u32_le() as usize, lengths.get_u32_le() as usize);
    CHANGE_HEAD.checked_add(old)?.checked_add(new)
}

/// Reads a change from the front of `bytes`; the rows share its memory. Also its stored length.
pub(super) fn decode_change(seq: u64, bytes: &Bytes) -> Option<(Change, usize)> {
    let mut head = bytes.get(..CHANGE_HEAD)?;
    let table = head.get_u32_le();
    let op_position = head.get_u64_le();
    let flags = head.get_u8();
    let old_end = CHANGE_HEAD.checked_add(head.get_u32_le() as usize)?;
    let new_end = old_end.checked_add(head.get_u32_le() as usize)?;
    if new_end > bytes.len() {
        return None;
    }
    let row = |flag: u8, range: std::ops::Range<usize>| -> Option<Option<Row>> {
        if flags & flag == 0 {
            return Some(None);
        }
        Row::from_bytes(bytes.slice(range)).ok().map(Some)
    };
    let old = row(OLD, CHANGE_HEAD..old_end)?;
    let new = row(NEW, old_end..new_end)?;
    Some((Change { seq, op_position, table, old, new }, new_end))
}

/// Table numbers of a truncate frame.
pub(super) fn encode_tables(tables: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 4 * tables.len());
    out.put_u32_le(tables.len() as u32);
    tables.iter().for_each(|table| out.put_u32_le(*table));
    out
}

/// The reverse of [`encode_tables`].
pub(super) fn decode_tables(mut payload: &[u8]) -> Option<Vec<u32>> {
    let payload = &mut payload;
    let count = payload.try_get_u32_le().ok()?;
    (0..count).map(|_| payload.try_get_u32_le().ok()).collect()
}
