//! Rows of `COPY … TO STDOUT` in its text format.

use brooklet_sql::{Row, RowBuilder};
use memchr::{memchr, memchr_iter};

/// A line that is not a row of the expected width.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a COPY row cannot be read: {0}")]
pub struct CopyError(&'static str);

/// Reads rows of so many columns, one after the other.
pub struct Reader {
    columns: usize,
    places: Vec<Place>,
    unescaped: Vec<u8>,
}

/// A number that stands before a row, and the line of the row.
pub fn placed(line: &[u8]) -> Result<(usize, &[u8]), CopyError> {
    let end = line.iter().position(|byte| matches!(byte, b'\t' | b'\n')).unwrap_or(line.len());
    let number = std::str::from_utf8(&line[..end]).ok().and_then(|number| number.parse().ok());
    let number = number.ok_or(CopyError("no number stands before a row"))?;
    let rest = &line[end..];
    Ok((number, rest.strip_prefix(b"\t").unwrap_or(rest)))
}

/// Where a value is.
enum Place {
    Null,
    /// From here to there in the line.
    Line(usize, usize),
    /// The same among those that had to be unescaped.
    Unescaped(usize, usize),
}

/// The values of one row, whose text may be anything.
pub struct Values<'a> {
    line: &'a [u8],
    reader: &'a Reader,
}

impl Reader {
    /// For rows of so many columns.
    #[must_use]
    pub fn new(columns: usize) -> Reader {
        Reader { columns, places: Vec::with_capacity(columns), unescaped: Vec::new() }
    }

    /// Reads one row; `line` is one COPY message, its newline included or not.
    ///
    /// # Errors
    /// It has more or fewer values, or ends amid an escape.
    pub fn read<'a>(&'a mut self, line: &'a [u8]) -> Result<Values<'a>, CopyError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.places.clear();
        self.unescaped.clear();
        // A row of no columns is an empty line; a row of one column may be one, too.
        if self.columns > 0 {
            let escapes = memchr(b'\\', line).is_some();
            let mut begin = 0;
            for end in memchr_iter(b'\t', line) {
                self.value(line, begin, end, escapes)?;
                begin = end + 1;
            }
            self.value(line, begin, line.len(), escapes)?;
        }
        if self.places.len() < self.columns {
            return Err(CopyError("too few values"));
        }
        Ok(Values { line, reader: self })
    }

    fn value(
        &mut self,
        line: &[u8],
        begin: usize,
        end: usize,
        escapes: bool,
    ) -> Result<(), CopyError> {
        if self.places.len() == self.columns {
            return Err(CopyError("too many values"));
        }
        let value = &line[begin..end];
        self.places.push(if !escapes || !value.contains(&b'\\') {
            Place::Line(begin, end)
        } else if value == b"\\N" {
            Place::Null
        } else {
            let begin = self.unescaped.len();
            unescape(value, &mut self.unescaped)?;
            Place::Unescaped(begin, self.unescaped.len())
        });
        Ok(())
    }
}

impl<'a> Values<'a> {
    /// The value of a column; `None` for SQL NULL and for what there is not.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<&'a [u8]> {
        match self.reader.places.get(column)? {
            Place::Null => None,
            Place::Line(begin, end) => self.line.get(*begin..*end),
            Place::Unescaped(begin, end) => self.reader.unescaped.get(*begin..*end),
        }
    }

    /// The row.
    ///
    /// # Errors
    /// It has more columns than a row can have, or a value is not UTF-8.
    pub fn row(&self) -> Result<Row, CopyError> {
        let columns = self.reader.columns;
        let row = RowBuilder::with_room(columns, self.line.len());
        let mut row = row.map_err(|_| CopyError("too many columns"))?;
        for column in 0..columns {
            row.push(self.get(column)).map_err(|_| CopyError("a value is not UTF-8"))?;
        }
        row.finish().map_err(|_| CopyError("too few values"))
    }
}

/// Appends a value without what `COPY` escapes when it writes: control characters by letter, the backslash itself.
fn unescape(value: &[u8], out: &mut Vec<u8>) -> Result<(), CopyError> {
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
        let row = Reader::new(columns).read(line)?.row()?;
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
