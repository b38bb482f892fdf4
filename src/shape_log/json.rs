//! Text as JSON strings.
//!
//! Own lines where `serde_json` writes the same bytes (a test compares them): most of what we send are values that
//! nothing has to be escaped in, and eight bytes at a time are looked at here instead of one. It takes bytes, too:
//! values were checked to be UTF-8 when their row was made, and `serde_json` would have them checked again.

/// Every byte of a word.
const EACH: u64 = u64::MAX / 255;

/// Writes a string in quotes.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Writes what stands between the quotes.
pub fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = special(text) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        let byte = rest[0];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
        }
        text = &rest[1..];
    }
    out.extend_from_slice(text);
}

/// Where the first byte is that has to be escaped.
fn special(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(8 * number + marks.trailing_zeros() as usize / 8);
        }
    }
    let needs = |byte: &u8| *byte < 0x20 || matches!(*byte, b'"' | b'\\');
    rest.iter().position(needs).map(|at| text.len() - rest.len() + at)
}

/// The highest bit of the first byte that has to be escaped, and perhaps of bytes after it. Subtraction borrows from
/// the byte above only where it finds one.
fn marks(word: u64) -> u64 {
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word;
    let equals = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    (below(word, 0x20) | equals(b'"') | equals(b'\\')) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_at_every_place_is_written_as_serde_json_does() {
        let others =
            ["", "a", "seven..", "eight888", "süß", "\u{1F600}", "\u{7f}\u{80}", "\"\\\n\u{1}"];
        let characters = (0..0x250).chain([0x2028, 0xFFFD, 0x10FFFF]).filter_map(char::from_u32);
        for character in characters {
            for before in 0..17 {
                for after in others {
                    let text = format!("{}{character}{after}", "x".repeat(before));
                    let mut ours = Vec::new();
                    string(text.as_bytes(), &mut ours);
                    assert_eq!(ours, serde_json::to_vec(&text).unwrap(), "{text:?}");
                }
            }
        }
    }
}
