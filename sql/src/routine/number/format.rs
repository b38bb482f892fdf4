//! `to_char` of numbers and `to_number`.
//!
//! *Invariant*: character for character what Postgres writes and reads, also where its template and
//! the number do not fit together; so the steps are Postgres' own.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::template::{Piece, Template};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::numeric::Numeric;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "numeric_to_char" | "int4_to_char" | "int8_to_char" | "float4_to_char"
        | "float8_to_char" => to_char,
        "numeric_to_number" => to_number,
        _ => return None,
    })
}

/// Refuses what is not understood exactly.
pub(in super::super) fn check(template: Option<&str>) -> Result<(), String> {
    let template = template.ok_or("a format that is no constant is not supported")?;
    Template::read(template).map(|_| ()).map_err(|what| {
        format!(
            "the format \"{template}\" is not supported: {what}; made of 9 0 . , FM MI PL SG PR and \
             text in double quotes it would be"
        )
    })
}

fn to_char(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let mut template = Template::read(arguments.text(1)?).map_err(|_| UNEXPECTED)?;
    if arguments.text(1)?.is_empty() {
        return some(Datum::text(""));
    }
    let text = match arguments.any(0)? {
        Datum::Int(int) => match template.fraction {
            0 => int.to_string(),
            digits => format!("{int}.{}", "0".repeat(digits)),
        },
        Datum::Numeric(number) => {
            let scale = i64::try_from(template.fraction).map_err(|_| UNEXPECTED)?;
            number.with_scale(scale, true).to_string()
        }
        Datum::Float(float) => {
            float_text(*float, call.code == "float4_to_char", &mut template.fraction)
        }
        _ => return Err(UNEXPECTED),
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    let before = digits.find('.').unwrap_or(digits.len());
    let blanks = template.whole.saturating_sub(before);
    let digits = if before > template.whole {
        // It does not fit.
        format!("{}.{}", "#".repeat(template.whole), "#".repeat(template.fraction))
    } else {
        digits.to_owned()
    };
    let written = Writer::new(&template, digits.as_bytes(), blanks, negative).write();
    some(Datum::text(&written))
}

/// A float with as many digits as it has; `fraction` becomes fewer where there are no more.
fn float_text(float: f64, narrow: bool, fraction: &mut usize) -> String {
    let known = if narrow { 6 } else { 15 };
    let shown = |float: f64, digits: usize| match float {
        _ if float.is_nan() => "NaN".to_owned(),
        _ if float.is_infinite() => if float < 0.0 { "-Infinity" } else { "Infinity" }.to_owned(),
        _ => format!("{float:.digits$}"),
    };
    let whole = shown(float.abs(), 0).len();
    *fraction = (*fraction).min(known.max(whole) - whole);
    shown(float, *fraction)
}

struct Writer<'t> {
    template: &'t Template,
    digits: &'t [u8],
    /// Blanks before the first digit.
    blanks: usize,
    negative: bool,
    brackets: bool,
    sign_written: bool,
    /// Positions of the template that digits have.
    count: isize,
    /// The last digit of the fraction that is worth writing.
    relevant: Option<usize>,
    next: usize,
    position: usize,
    /// Whether the last position held a digit.
    in_number: bool,
    out: String,
}

impl<'t> Writer<'t> {
    fn new(template: &'t Template, digits: &'t [u8], blanks: usize, negative: bool) -> Writer<'t> {
        let signs = template.plus || template.minus;
        let mut writer = Writer {
            template,
            digits,
            blanks,
            negative,
            brackets: template.brackets && (signs || negative || !template.fill),
            sign_written: if signs { template.minus } else { !negative && template.fill },
            count: (template.fraction + template.whole) as isize - 1,
            relevant: None,
            next: 0,
            position: 0,
            in_number: false,
            out: String::new(),
        };
        if template.fill && template.point {
            writer.relevant = writer.last_relevant();
        }
        if !writer.sign_written && blanks == 0 {
            writer.count += 1;
        }
        writer
    }

    fn last_relevant(&self) -> Option<usize> {
        let point = self.digits.iter().position(|digit| *digit == b'.')?;
        let nonzero = self.digits.iter().rposition(|digit| *digit != b'0').unwrap_or(point);
        let relevant = nonzero.max(point);
        if self.template.zero_end > self.blanks {
            let zero = (self.template.zero_end - self.blanks).min(self.digits.len() - 1);
            return Some(relevant.max(zero));
        }
        Some(relevant)
    }

    fn write(mut self) -> String {
        for piece in &self.template.pieces {
            match *piece {
                Piece::Nine | Piece::Zero | Piece::Point => self.digit(*piece == Piece::Zero),
                Piece::Comma if self.in_number => self.out.push(','),
                Piece::Minus if self.negative => self.out.push('-'),
                Piece::Plus if !self.negative => self.out.push('+'),
                Piece::Comma | Piece::Minus | Piece::Plus => self.blank(),
                Piece::Sign => self.out.push(if self.negative { '-' } else { '+' }),
                Piece::Text(c) => self.out.push(c),
            }
        }
        // C's strings end there.
        match self.out.find('\0') {
            Some(end) => self.out[..end].to_owned(),
            None => self.out,
        }
    }

    fn blank(&mut self) {
        if !self.template.fill {
            self.out.push(' ');
        }
    }

    fn digit_at(&self, at: usize) -> u8 {
        self.digits.get(at).copied().unwrap_or(0)
    }

    /// Whether only the point is worth writing of the fraction.
    fn ends_in_point(&self) -> bool {
        self.relevant.is_some_and(|at| self.digit_at(at) == b'.')
    }

    /// The zero of `0.1`, which `9.9` does not show.
    fn is_bare_zero(&self) -> bool {
        !self.template.zero()
            && self.next == 0
            && self.digit_at(0) == b'0'
            && self.template.fraction != 0
    }

    fn digit(&mut self, zero: bool) {
        self.in_number = false;
        let zeros_from = self.template.zero_start.saturating_sub(1);
        let begins =
            self.position >= self.blanks || (self.template.zero() && zeros_from == self.position);
        if !self.sign_written && begins && (!self.is_bare_zero() || self.ends_in_point()) {
            self.sign();
        }
        let in_zeros = self.template.zero() && zeros_from <= self.position;
        if self.position < self.blanks && !in_zeros {
            self.blank();
        } else if self.position < self.blanks {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.number(zero);
        }
        // Templates are far shorter than an isize.
        let position = self.position as isize;
        let mut end = self.count + isize::from(self.blanks > 0) + isize::from(self.template.point);
        if self.relevant == Some(self.next) {
            end = position;
        }
        if position + 1 == end && self.sign_written && self.brackets {
            self.out.push(if self.negative { '>' } else { ' ' });
        }
        self.position += 1;
    }

    fn sign(&mut self) {
        match (self.brackets, self.negative) {
            (true, true) => self.out.push('<'),
            (true, false) => self.out.push(' '),
            (false, true) => self.out.push('-'),
            (false, false) => self.blank(),
        }
        self.sign_written = true;
    }

    fn number(&mut self, zero: bool) {
        match self.digit_at(self.next) {
            b'.' if !self.ends_in_point() || self.template.fill => self.out.push('.'),
            b'.' => {}
            _ if self.relevant.is_some_and(|at| self.next > at) && !zero => {}
            _ if self.is_bare_zero() => {
                if !self.template.fill {
                    self.out.push(' ');
                } else if self.ends_in_point() {
                    self.out.push('0');
                }
            }
            digit => {
                self.out.push(char::from(digit));
                self.in_number = true;
            }
        }
        if self.next < self.digits.len() {
            self.next += 1;
        }
    }
}

fn to_number(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (text, template) = (arguments.text(0)?, arguments.text(1)?);
    if template.is_empty() {
        return Ok(None);
    }
    let template = Template::read(template).map_err(|_| UNEXPECTED)?;
    let mut reader = Reader {
        template: &template,
        text: text.as_bytes(),
        at: 0,
        sign: ' ',
        digits: String::new(),
        whole: 0,
        fraction: 0,
        point: false,
    };
    reader.read();
    let fraction = i64::try_from(reader.fraction).map_err(|_| UNEXPECTED)?;
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let number = Numeric::read(&format!("{}{digits}", reader.sign));
    let number = number.map_err(|_| EvaluationError::Invalid("numeric"))?;
    let number = number.with_scale(fraction, true);
    if number.exceeds(i32::try_from(template.whole).unwrap_or(i32::MAX)) {
        return Err(EvaluationError::OutOfRange("numeric field overflow"));
    }
    some(Datum::Numeric(number))
}

struct Reader<'t> {
    template: &'t Template,
    text: &'t [u8],
    at: usize,
    /// A blank as long as none has been read.
    sign: char,
    digits: String,
    whole: usize,
    fraction: usize,
    point: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn read(&mut self) {
        for piece in &self.template.pieces {
            let Some(next) = self.peek() else { return };
            match *piece {
                Piece::Nine | Piece::Zero => self.digit(true),
                Piece::Point => self.digit(false),
                Piece::Comma => {
                    // `FM` skips none.
                    if !self.template.fill && next == b',' {
                        self.at += 1;
                    }
                    continue;
                }
                Piece::Minus | Piece::Plus | Piece::Sign => {
                    let wanted = match next {
                        b'-' => *piece != Piece::Plus,
                        b'+' => *piece != Piece::Minus,
                        _ => false,
                    };
                    if !wanted {
                        if !b"0123456789.,+-".contains(&next) {
                            self.at += width(next);
                        }
                        continue;
                    }
                    self.sign = char::from(next);
                }
                Piece::Text(_) => {
                    self.at += width(next);
                    continue;
                }
            }
            self.at += 1;
        }
    }

    /// Reads a sign, a digit or the point; the caller steps over what has been read.
    fn digit(&mut self, may_be_sign: bool) {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        if self.sign == ' ' && may_be_sign && self.whole + self.fraction == 0 {
            match self.peek() {
                Some(b'-') => self.sign = '-',
                Some(b'<') if self.template.brackets => self.sign = '-',
                Some(b'+') => self.sign = '+',
                _ => {}
            }
            self.at += usize::from(self.sign != ' ');
        }
        let Some(next) = self.peek() else { return };
        let mut found = false;
        if next.is_ascii_digit() {
            if self.point && self.fraction == self.template.fraction {
                return;
            }
            self.digits.push(char::from(next));
            *(if self.point { &mut self.fraction } else { &mut self.whole }) += 1;
            found = true;
        } else if self.template.point && !self.point && next == b'.' {
            self.digits.push('.');
            self.point = true;
            found = true;
        }
        let signs = self.template.plus || self.template.minus;
        let behind = self.sign == ' ' && self.whole + self.fraction > 0 && !found && signs;
        if behind && matches!(next, b'-' | b'+') {
            self.sign = char::from(next);
        }
    }
}

/// Bytes of the character that begins so.
fn width(first: u8) -> usize {
    match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    }
}
