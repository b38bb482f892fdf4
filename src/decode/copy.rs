//! Rows of `COPY … TO STDOUT` in its text format.

use brooklet_sql::{Row, RowBuilder};

/// A line that is not a row of the expected width.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a COPY row cannot be read: {0}")]
pub struct CopyError(&'static str);

/// Reads one row; `line` is one COPY message, its newline included or not. `scratch` is used for
/// values with escapes.
pub fn row(line: &[u8], columns: usize, scratch: &mut Vec<u8>) -> Result<Row, CopyError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let row = RowBuilder::with_room(columns, line.len());
    let mut row = row.map_err(|_| CopyError("too many columns"))?;
    // A row of no columns is an empty line; a row of one column may be one, too.
    if columns > 0 {
        for value in line.split(|byte| *byte == b'\t') {
            let value = match value {
                b"\\N" => None,
                plain if !plain.contains(&b'\\') => Some(plain),
                escaped => {
                    unescape(escaped, scratch)?;
                    Some(&scratch[..])
                }
            };
            row.push(value).map_err(|_| CopyError("too many values, or one is not UTF-8"))?;
        }
    }
    row.finish().map_err(|_| CopyError("too few values"))
}

/// A number that stands before a row, and the line of the row.
pub fn placed(line: &[u8]) -> Result<(usize, &[u8]), CopyError> {
    let end = line.iter().position(|byte| matches!(byte, b'\t' | b'\n')).unwrap_or(line.len());
    let number = std::str::from_utf8(&line[..end]).ok().and_then(|number| number.parse().ok());
    let number = number.ok_or(CopyError("no number stands before a row"))?;
    let rest = &line[end..];
    Ok((number, rest.strip_prefix(b"\t").unwrap_or(rest)))
}

/// Undoes what `COPY` escapes when it writes: control characters by letter, the backslash itself.
fn unescape(value: &[u8], out: &mut Vec<u8>) -> Result<(), CopyError> {
    out.clear();
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0B,
            Some(&other) => other,
            None => return Err(CopyError("a lone backslash ends a value")),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8], columns: usize) -> Result<Vec<Option<String>>, CopyError> {
        let row = row(line, columns, &mut Vec::new())?;
        Ok(row.iter().map(|value| value.map(str::to_owned)).collect())
    }

    #[test]
    fn reads_nulls_escapes_and_empty_values() {
        let some = |text: &str| Some(text.to_owned());
        let found = read(b"1\t\\N\t\ta\\tb\\\\c\\nd\\N\n", 4).unwrap();
        assert_eq!(found, [some("1"), None, some(""), some("a\tb\\c\ndN")]);
        assert_eq!(read(b"\n", 1).unwrap(), [some("")]);
        assert_eq!(read(b"\n", 0).unwrap(), []);
        assert!(read(b"a\tb\n", 1).is_err());
        assert!(read(b"a\n", 2).is_err());
        assert!(read(b"a\\", 1).is_err());
        assert!(read(b"\xff", 1).is_err());
    }

    #[test]
    fn reads_numbers_before_rows() {
        assert_eq!(placed(b"12\ta\tb\n").unwrap(), (12, &b"a\tb\n"[..]));
        assert_eq!(placed(b"0\t\n").unwrap(), (0, &b"\n"[..]));
        assert_eq!(placed(b"7\n").unwrap(), (7, &b"\n"[..]));
        assert!(placed(b"\ta\n").is_err());
        assert!(placed(b"x\ta\n").is_err());
    }
}
