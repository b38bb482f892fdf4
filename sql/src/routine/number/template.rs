//! Templates of `to_char` and `to_number` for numbers, as far as they depend on no locale.
//!
//! *Enters*: a constant. *Leaves*: what it asks for, or why it is refused.

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Nine,
    Zero,
    Point,
    Comma,
    Minus,
    Plus,
    Sign,
    Text(char),
}

/// What a template says as a whole.
#[derive(Debug, Default)]
pub(super) struct Template {
    pub(super) pieces: Vec<Piece>,
    /// Digits before and after the point.
    pub(super) whole: usize,
    pub(super) fraction: usize,
    /// Where the zeros begin, from 1, and end.
    pub(super) zero_start: usize,
    pub(super) zero_end: usize,
    /// `FM`: no blanks.
    pub(super) fill: bool,
    pub(super) point: bool,
    /// `PR`: brackets around what is negative.
    pub(super) brackets: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
}

impl Template {
    pub(super) fn zero(&self) -> bool {
        self.zero_start > 0
    }

    /// Reads a template; `Err` says what is not supported or is wrong in it.
    pub(super) fn read(text: &str) -> Result<Template, String> {
        let mut template = Template::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let two = rest.get(..2).unwrap_or_default();
            let piece = match two {
                "FM" | "fm" => {
                    template.fill = true;
                    rest = &rest[2..];
                    continue;
                }
                "PR" | "pr" => {
                    if template.plus || template.minus {
                        return Err("PR beside PL, MI or SG".to_owned());
                    }
                    template.brackets = true;
                    rest = &rest[2..];
                    continue;
                }
                "MI" | "mi" => Some(Piece::Minus),
                "PL" | "pl" => Some(Piece::Plus),
                "SG" | "sg" => Some(Piece::Sign),
                _ => None,
            };
            if let Some(piece) = piece {
                template.minus |= matches!(piece, Piece::Minus | Piece::Sign);
                template.plus |= matches!(piece, Piece::Plus | Piece::Sign);
                template.pieces.push(piece);
                rest = &rest[2..];
                continue;
            }
            if c == '"' {
                let quoted = rest[1..].split_once('"').filter(|(text, _)| !text.contains('\\'));
                let (text, after) = quoted.ok_or("a quote without an end, or a backslash")?;
                template.pieces.extend(text.chars().map(Piece::Text));
                rest = after;
                continue;
            }
            template.add(c)?;
            rest = &rest[c.len_utf8()..];
        }
        Ok(template)
    }

    fn add(&mut self, c: char) -> Result<(), String> {
        let piece = match c {
            '9' | '0' if self.brackets => return Err(format!("{c} after PR")),
            '9' => {
                *(if self.point { &mut self.fraction } else { &mut self.whole }) += 1;
                Piece::Nine
            }
            '0' => {
                if self.point {
                    self.fraction += 1;
                } else {
                    if self.zero_start == 0 {
                        self.zero_start = self.whole + 1;
                    }
                    self.whole += 1;
                }
                self.zero_end = self.whole + self.fraction;
                Piece::Zero
            }
            '.' if self.point => return Err("two points".to_owned()),
            '.' => {
                self.point = true;
                Piece::Point
            }
            ',' => Piece::Comma,
            'S' | 's' | 'D' | 'd' | 'G' | 'g' | 'L' | 'l' => {
                return Err(format!("{c}, which depends on the server's locale"));
            }
            c if c.is_ascii_alphabetic() => return Err(format!("{c} outside double quotes")),
            '\\' => return Err("a backslash".to_owned()),
            c => Piece::Text(c),
        };
        self.pieces.push(piece);
        Ok(())
    }
}
