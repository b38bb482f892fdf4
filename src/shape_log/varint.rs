//! Whole numbers in as few bytes as they need: seven bits a byte, lowest first, bit 7 where more
//! follow (LEB128). Own lines: the crates for it read through `io::Read` and bring errors of their
//! own, where here a slice either has the number or is damaged.

/// Bytes of the longest number.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends a number.
pub fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front; `None` where there is none, or one of more than 64 bits.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for at in 0..VARINT_BYTES_MAX {
        let byte = *bytes.get(at)?;
        let bits = u64::from(byte & 0x7f);
        if at == VARINT_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        number |= bits << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_cut_or_overlong_ones_are_refused() {
        let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for number in edges.chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!(take(&mut rest), Some(number));
            assert!(rest.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..cut]), None);
            }
        }
        assert_eq!(take(&mut &[0xff; 10][..]), None);
        assert_eq!(take(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2][..]), None);
    }
}
