//! What the fields of a date or a time mean: Postgres' rules under `DateStyle = 'ISO, MDY'`.
//!
//! *Enters*: fields. *Leaves*: a day, a time, an offset.
//! *Invariant*: a field that could mean more to Postgres than is known here (names of zones, unit
//! letters, the clock) is refused.

use super::digits::{date_parts, float, fraction, fraction_at_start, int, offset, wrapped};
use super::field::{Field, FieldKind, fields};
use super::word::{Word, is_utc, word};
use super::{CalendarError, DAY_MICROS, Fields, SECOND_MICROS, civil, day_number, month_days};

/// Bytes that Postgres has room for in the text of an instant, and of everything else.
const ROOM_INSTANT: usize = 128 + 25;
const ROOM: usize = 128 + 1;

// What has been seen. A field that has been seen already makes the text wrong.
const YEAR: u32 = 1;
const MONTH: u32 = 1 << 1;
const DAY: u32 = 1 << 2;
const DATE: u32 = YEAR | MONTH | DAY;
const TIME: u32 = 1 << 3;
const OFFSET: u32 = 1 << 4;
const DAY_OF_YEAR: u32 = 1 << 5;
const HALF: u32 = 1 << 6;
const WEEKDAY: u32 = 1 << 7;
const ERA: u32 = 1 << 8;

/// What the next field is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Time,
    Julian,
}

/// What text says.
pub(super) enum Decoded {
    Fields(Fields),
    Infinity,
    NegativeInfinity,
    Epoch,
}

/// Reads a date with or without a time; `instant` as `timestamp`s are read.
pub(super) fn date_time(text: &str, instant: bool) -> Result<Decoded, CalendarError> {
    let list = fields(text, if instant { ROOM_INSTANT } else { ROOM })?;
    if let [one] = list.as_slice()
        && matches!(one.kind, FieldKind::Word | FieldKind::SignedWord)
    {
        match word(&one.text) {
            Some(Word::Infinity) => return Ok(Decoded::Infinity),
            Some(Word::NegativeInfinity) => return Ok(Decoded::NegativeInfinity),
            Some(Word::Epoch) => return Ok(Decoded::Epoch),
            _ => {}
        }
    }
    let mut decoder = Decoder { only_time: false, ..Decoder::default() };
    decoder.read(&list)?;
    decoder.finish_date()?;
    decoder.finish_half()?;
    if decoder.seen & DATE != DATE {
        return Err(CalendarError::Syntax);
    }
    decoder.fields().map(Decoded::Fields)
}

/// Reads a time of day with or without an offset.
pub(super) fn time(text: &str) -> Result<Fields, CalendarError> {
    let list = fields(text, ROOM)?;
    let mut decoder = Decoder { only_time: true, ..Decoder::default() };
    decoder.read(&list)?;
    decoder.finish_date()?;
    decoder.finish_half()?;
    if decoder.overflows() {
        return Err(CalendarError::Field);
    }
    let partly = decoder.seen & DATE != 0 && decoder.seen & DATE != DATE;
    if decoder.seen & TIME == 0 || (partly && decoder.seen & OFFSET == 0) {
        return Err(CalendarError::Syntax);
    }
    decoder.fields()
}

#[derive(Default)]
struct Decoder {
    only_time: bool,
    seen: u32,
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Seconds east of Greenwich.
    offset: i64,
    month_by_name: bool,
    /// The year has one or two digits.
    short_year: bool,
    julian: bool,
    before_christ: bool,
    half: Option<bool>,
    announced: Option<Announced>,
}

type Seen = Result<u32, CalendarError>;

impl Decoder {
    fn read(&mut self, list: &[Field]) -> Result<(), CalendarError> {
        for at in 0..list.len() {
            let text = &list[at].text;
            let found = match list[at].kind {
                FieldKind::Date => self.date_field(list, at)?,
                FieldKind::Time => {
                    if !self.only_time && self.announced.take() == Some(Announced::Julian) {
                        return Err(CalendarError::Syntax);
                    }
                    let found = self.clock(text)?;
                    if !self.only_time && self.overflows() {
                        return Err(CalendarError::Field);
                    }
                    found
                }
                FieldKind::Offset => {
                    self.offset = offset(text)?;
                    OFFSET
                }
                FieldKind::Number if self.announced.is_some() => self.announced_number(text)?,
                FieldKind::Number if self.only_time => self.number_of_time(list, at)?,
                FieldKind::Number => self.number_of_date(text)?,
                FieldKind::Word | FieldKind::SignedWord => match self.word_field(list, at)? {
                    Some(found) => found,
                    None => continue,
                },
            };
            if found & self.seen != 0 {
                return Err(CalendarError::Syntax);
            }
            self.seen |= found;
        }
        Ok(())
    }

    fn date_field(&mut self, list: &[Field], at: usize) -> Seen {
        let text = &list[at].text;
        if self.only_time {
            let last = list.len() - 1;
            let begins = at == 0
                && last > 0
                && (list[last].kind == FieldKind::Date || list[1].kind == FieldKind::Time);
            if begins {
                return self.date(text);
            }
            if !text.starts_with(|c: char| c.is_ascii_digit()) {
                return zone(text);
            }
            return self.time_and_offset(text, self.seen | DATE);
        }
        match self.announced.take() {
            Some(Announced::Julian) => {
                let (day, rest) = int(text)?;
                self.set_julian(day);
                self.offset = offset(rest)?;
                Ok(DATE | TIME | OFFSET)
            }
            Some(Announced::Time) => self.time_and_offset(text, self.seen),
            None if self.seen & (MONTH | DAY) == MONTH | DAY => {
                if text.starts_with(|c: char| c.is_ascii_digit()) {
                    self.time_and_offset(text, self.seen)
                } else {
                    zone(text)
                }
            }
            None => self.date(text),
        }
    }

    /// `hhmmss-zz`.
    fn time_and_offset(&mut self, text: &str, seen: u32) -> Seen {
        if self.seen & TIME != 0 {
            return Err(CalendarError::Syntax);
        }
        let at = text.find('-').ok_or(CalendarError::Syntax)?;
        self.offset = offset(&text[at..])?;
        Ok(self.run_together(&text[..at], seen)? | OFFSET)
    }

    fn announced_number(&mut self, text: &str) -> Seen {
        let announced = self.announced.take();
        let (value, rest) = int(text)?;
        if !rest.is_empty() && !rest.starts_with('.') {
            return Err(CalendarError::Syntax);
        }
        if announced == Some(Announced::Time) {
            let found = self.run_together(text, self.seen | DATE)?;
            return if found == TIME { Ok(found) } else { Err(CalendarError::Syntax) };
        }
        self.set_julian(value);
        if rest.is_empty() {
            return Ok(DATE);
        }
        // Cut, not rounded.
        let time = (float(rest)? * DAY_MICROS as f64) as i64;
        let seconds = time / SECOND_MICROS;
        (self.hour, self.minute, self.second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.micros = time % SECOND_MICROS;
        Ok(DATE | TIME)
    }

    fn set_julian(&mut self, day: i64) {
        (self.year, self.month, self.day) = civil(day - 2_451_545);
        self.julian = true;
    }

    fn number_of_date(&mut self, text: &str) -> Seen {
        let point = text.find('.');
        if point.is_some() && self.seen & DATE == 0 {
            return self.date(text);
        }
        let whole = self.seen & DATE != 0 && self.seen & TIME != 0;
        if point.is_some_and(|at| at > 2) || (text.len() >= 6 && !whole) {
            return self.run_together(text, self.seen);
        }
        self.number(text, self.month_by_name, self.seen)
    }

    fn number_of_time(&mut self, list: &[Field], at: usize) -> Seen {
        let text = &list[at].text;
        let last = list.len() - 1;
        match text.find('.') {
            Some(_) if at == 0 && last > 0 && list[last].kind == FieldKind::Date => self.date(text),
            Some(point) if point > 2 => self.run_together(text, self.seen | DATE),
            Some(_) => Err(CalendarError::Syntax),
            None if text.len() > 4 => self.run_together(text, self.seen | DATE),
            None => self.number(text, false, self.seen | DATE),
        }
    }

    /// `None` for a word that means nothing.
    fn word_field(&mut self, list: &[Field], at: usize) -> Result<Option<u32>, CalendarError> {
        let text = &list[at].text;
        if is_utc(text) {
            self.offset = 0;
            return Ok(Some(OFFSET));
        }
        let found = match word(text) {
            Some(Word::Filler) => return Ok(None),
            Some(Word::Clock) => return Err(CalendarError::Clock),
            Some(Word::Midnight) => {
                (self.hour, self.minute, self.second, self.offset) = (0, 0, 0, 0);
                TIME | OFFSET
            }
            Some(Word::Month(month)) if !self.only_time => {
                let mut found = MONTH;
                // A number that was taken for the month is the day.
                let number = self.seen & MONTH != 0 && self.seen & DAY == 0;
                if number && !self.month_by_name && (1..=31).contains(&self.month) {
                    self.day = self.month;
                    found = DAY;
                }
                self.month_by_name = true;
                self.month = month;
                found
            }
            Some(Word::Half(afternoon)) => {
                self.half = Some(afternoon);
                HALF
            }
            Some(Word::Era(before_christ)) => {
                self.before_christ = before_christ;
                ERA
            }
            Some(Word::Weekday) if !self.only_time => WEEKDAY,
            Some(Word::JulianFollows) => {
                self.announced = Some(Announced::Julian);
                0
            }
            Some(Word::TimeFollows) => {
                let next = list.get(at + 1).map(|field| field.kind);
                let fits =
                    matches!(next, Some(FieldKind::Number | FieldKind::Time | FieldKind::Date));
                if !fits || (!self.only_time && self.seen & DATE != DATE) {
                    return Err(CalendarError::Syntax);
                }
                self.announced = Some(Announced::Time);
                0
            }
            Some(_) => return Err(CalendarError::Syntax),
            None => return zone(text).map(Some),
        };
        Ok(Some(found))
    }

    /// Digits and month names with delimiters between them.
    fn date(&mut self, text: &str) -> Seen {
        let parts = date_parts(text)?;
        let (mut seen, mut found) = (self.seen, 0);
        let mut by_name = false;
        // A fraction of a part changes nothing.
        let micros = self.micros;
        for part in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            match word(part) {
                Some(Word::Filler) => return Err(CalendarError::Syntax),
                Some(Word::Month(month)) if seen & MONTH == 0 => {
                    self.month = month;
                    by_name = true;
                    seen |= MONTH;
                    found |= MONTH;
                }
                _ => return Err(CalendarError::Syntax),
            }
        }
        for part in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_digit())) {
            let mask = self.number(part, by_name, seen)?;
            if seen & mask != 0 {
                return Err(CalendarError::Syntax);
            }
            seen |= mask;
            found |= mask;
        }
        self.micros = micros;
        if seen & !(DAY_OF_YEAR | OFFSET) == DATE { Ok(found) } else { Err(CalendarError::Syntax) }
    }

    /// A number alone, whose meaning depends on what has been seen.
    fn number(&mut self, text: &str, by_name: bool, seen: u32) -> Seen {
        let (value, rest) = int(text)?;
        if rest.len() == text.len() {
            return Err(CalendarError::Syntax);
        }
        if rest.starts_with('.') {
            if text.len() - rest.len() > 2 {
                return self.run_together(text, seen | DATE);
            }
            self.micros = fraction(rest)?;
        } else if !rest.is_empty() {
            return Err(CalendarError::Syntax);
        }
        let long = text.len() >= 3;
        if text.len() == 3 && seen & DATE == YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(DAY_OF_YEAR | MONTH | DAY);
        }
        let found = match seen & DATE {
            0 if long => YEAR,
            0 => MONTH,
            YEAR => MONTH,
            MONTH if by_name && long => YEAR,
            MONTH => DAY,
            // The first number was the day, not the year.
            both if both == YEAR | MONTH && by_name && long && self.short_year => {
                self.day = self.year;
                self.year = value;
                self.short_year = false;
                return Ok(DAY);
            }
            both if both == YEAR | MONTH => DAY,
            DAY => MONTH,
            both if both == MONTH | DAY => YEAR,
            DATE => return self.run_together(text, seen),
            _ => return Err(CalendarError::Syntax),
        };
        match found {
            YEAR => (self.year, self.short_year) = (value, text.len() <= 2),
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(found)
    }

    /// `YYYYMMDD`, or with fewer digits of the year; `hhmmss` and `hhmm` once there is a date.
    fn run_together(&mut self, text: &str, seen: u32) -> Seen {
        let digits = match text.find('.') {
            Some(point) => {
                self.micros = fraction_at_start(&text[point..])?;
                &text[..point]
            }
            None if seen & DATE != DATE && text.len() >= 6 => {
                let (rest, day) = text.split_at(text.len() - 2);
                let (year, month) = rest.split_at(rest.len() - 2);
                (self.year, self.month, self.day) = (wrapped(year), wrapped(month), wrapped(day));
                self.short_year |= year.len() == 2;
                return Ok(DATE);
            }
            None => text,
        };
        if seen & TIME != 0 || !digits.is_ascii() {
            return Err(CalendarError::Syntax);
        }
        self.second = match digits.len() {
            6 => wrapped(&digits[4..]),
            4 => 0,
            _ => return Err(CalendarError::Syntax),
        };
        (self.hour, self.minute) = (wrapped(&digits[..2]), wrapped(&digits[2..4]));
        Ok(TIME)
    }

    /// `HH:MM`, `HH:MM:SS`, `MM:SS.f`.
    fn clock(&mut self, text: &str) -> Seen {
        let (first, rest) = int(text)?;
        let rest = rest.strip_prefix(':').ok_or(CalendarError::Syntax)?;
        let (second, rest) = int(rest)?;
        (self.hour, self.minute, self.second, self.micros) = (first, second, 0, 0);
        if rest.starts_with('.') {
            self.micros = fraction(rest)?;
            (self.hour, self.minute, self.second) = (0, first, second);
        } else if let Some(seconds) = rest.strip_prefix(':') {
            let (seconds, rest) = int(seconds)?;
            self.second = seconds;
            if rest.starts_with('.') {
                self.micros = fraction(rest)?;
            } else if !rest.is_empty() {
                return Err(CalendarError::Syntax);
            }
        } else if !rest.is_empty() {
            return Err(CalendarError::Syntax);
        }
        if self.minute > 59 || self.second > 60 || self.micros > SECOND_MICROS {
            return Err(CalendarError::Field);
        }
        Ok(TIME)
    }

    fn finish_date(&mut self) -> Result<(), CalendarError> {
        if self.seen & YEAR != 0 && !self.julian {
            if self.before_christ && self.year > 0 {
                self.year = 1 - self.year;
            } else if self.before_christ {
                return Err(CalendarError::Field);
            } else if self.short_year {
                self.year += match self.year {
                    0..70 => 2000,
                    70..100 => 1900,
                    _ => 0,
                };
            } else if self.year <= 0 {
                return Err(CalendarError::Field);
            }
        }
        if self.seen & DAY_OF_YEAR != 0 {
            let first = day_number(self.year, 1, 1);
            (self.year, self.month, self.day) = civil(first + self.day_of_year - 1);
        }
        let wrong = (self.seen & MONTH != 0 && !(1..=12).contains(&self.month))
            || (self.seen & DAY != 0 && !(1..=31).contains(&self.day));
        if wrong {
            return Err(CalendarError::Field);
        }
        if self.seen & DATE == DATE && self.day > month_days(self.year, self.month) {
            return Err(CalendarError::Field);
        }
        Ok(())
    }

    fn finish_half(&mut self) -> Result<(), CalendarError> {
        match self.half {
            Some(_) if self.hour > 12 => return Err(CalendarError::Field),
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(true) if self.hour != 12 => self.hour += 12,
            _ => {}
        }
        Ok(())
    }

    fn overflows(&self) -> bool {
        let time = (self.hour * 60 + self.minute) * 60 + self.second;
        self.hour > 24
            || self.minute > 59
            || self.second > 60
            || self.micros > SECOND_MICROS
            || time * SECOND_MICROS + self.micros > DAY_MICROS
    }

    fn fields(&self) -> Result<Fields, CalendarError> {
        let day = match self.seen & DATE {
            DATE => day_number(self.year, self.month, self.day),
            _ => 0,
        };
        // Two digits each, or checked: far inside an i64.
        let time = (self.hour * 60 + self.minute) * 60 + self.second;
        let time = time * SECOND_MICROS + self.micros;
        Ok(Fields { day, time, zone: self.offset * SECOND_MICROS })
    }
}

/// A name that Postgres may look up among its zones. Those of UTC are the same everywhere.
fn zone(text: &str) -> Seen {
    if text == "etc/utc" { Ok(OFFSET) } else { Err(CalendarError::Zone) }
}
