//! Rows in the posting log that came or went for another table's sake, as bytes.
//!
//! They lie in the file of the postings that refer to them, before these, so a file holds all that its postings
//! need and goes as a whole.

use brooklet_dataflows::Change;
use brooklet_sql::Row;
use bytes::{Buf, BufMut, Bytes};

/// Bytes before the rows: table, length of the old row, length of the new one, CRC-32 of what follows.
pub(super) const HEAD: usize = 16;

/// Appends one.
pub(super) fn encode(change: &Change, out: &mut Vec<u8>) {
    let bytes = |row: &Option<Row>| row.as_ref().map(|row| row.as_bytes().clone());
    let (old, new) = (bytes(&change.old), bytes(&change.new));
    // A row has two bytes at least, so 0 is none. Postgres' rows are far below 4 GiB.
    let length = |row: &Option<Bytes>| row.as_ref().map_or(0, |row| row.len() as u32);
    let mut crc = crc32fast::Hasher::new();
    old.iter().chain(&new).for_each(|row| crc.update(row));
    out.put_u32_le(change.table);
    out.put_u32_le(length(&old));
    out.put_u32_le(length(&new));
    out.put_u32_le(crc.finalize());
    old.iter().chain(&new).for_each(|row| out.extend_from_slice(row));
}

/// How many bytes follow a head.
pub(super) fn length(head: &[u8; HEAD]) -> usize {
    let mut head = &head[4..];
    head.get_u32_le() as usize + head.get_u32_le() as usize
}

/// The table, the old and the new row; `None` if these are not what was written.
pub(super) fn decode(head: &[u8; HEAD], bytes: Vec<u8>) -> Option<(u32, Option<Row>, Option<Row>)> {
    let mut head = &head[..];
    let (table, old, new) = (head.get_u32_le(), head.get_u32_le(), head.get_u32_le());
    if crc32fast::hash(&bytes) != head.get_u32_le() {
        return None;
    }
    let mut bytes = Bytes::from(bytes);
    let old_bytes = bytes.split_to((old as usize).min(bytes.len()));
    let read = |length: u32, bytes: Bytes| match length {
        0 => Some(None),
        _ => Row::from_bytes(bytes).ok().map(Some),
    };
    Some((table, read(old, old_bytes)?, read(new, bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_damage_is_found() {
        let row = |text: &str| Row::new([Some("7"), None, Some(text)]).unwrap();
        for (old, new) in
            [(None, Some(row("a"))), (Some(row("b")), None), (Some(row("")), Some(row("c")))]
        {
            let change = Change { seq: 1, op_position: 2, table: 9, old, new };
            let mut bytes = vec![1, 2, 3];
            encode(&change, &mut bytes);
            let head: [u8; HEAD] = bytes[3..3 + HEAD].try_into().unwrap();
            let mut rest = bytes[3 + HEAD..].to_vec();
            assert_eq!(length(&head), rest.len());
            let read = decode(&head, rest.clone()).unwrap();
            assert_eq!(read, (9, change.old, change.new));
            rest[0] ^= 1;
            assert_eq!(decode(&head, rest), None);
        }
    }
}
