//! Which texts of a row are read as dates, times and intervals.
//!
//! *Enters*: a column's text, or the syntax of a cast. *Leaves*: a datum; SQL for Postgres.
//! *Invariant*: Postgres reads more forms than are known here (zones by name, the clock), so what it is
//! given is held to ours: SQL puts words in front of any other text that make every input function
//! raise an error. One pattern serves both sides; it is made of what both dialects of regular
//! expressions read alike, and of ASCII, so that no locale takes part.

use std::sync::LazyLock;

use regex::Regex;

use crate::data_type::DataType;
use crate::datum::Datum;
use crate::name::literal;
use crate::oid::Oid;
use crate::sql_type::SqlType;
use crate::syntax::{Node, Syntax};
use crate::text_form;

/// The forms of one type.
#[derive(Debug)]
pub(crate) struct Forms {
    /// Without anchors.
    pattern: String,
    whole: Regex,
}

/// What is put before a text of another form. The clock's words and zones may follow it: a word that
/// is unknown comes first, and stays an error.
const MARK: &str = "unknown form: ";

static INSTANTS: LazyLock<Option<Forms>> = LazyLock::new(|| Forms::new(instants()));
static CLOCKS: LazyLock<Option<Forms>> = LazyLock::new(|| Forms::new(clock() + &offset()));
static INTERVALS: LazyLock<Option<Forms>> = LazyLock::new(|| Forms::new(intervals()));

impl Forms {
    /// The forms of a type; `None` where every form is known, or none.
    pub(crate) fn of(oid: Oid) -> Option<&'static Forms> {
        match oid {
            Oid::DATE | Oid::TIMESTAMP | Oid::TIMESTAMPTZ => INSTANTS.as_ref(),
            Oid::TIME | Oid::TIMETZ => CLOCKS.as_ref(),
            Oid::INTERVAL => INTERVALS.as_ref(),
            _ => None,
        }
    }

    fn new(pattern: String) -> Option<Forms> {
        let whole = Regex::new(&format!("^(?:{pattern})$")).ok()?;
        Some(Forms { pattern, whole })
    }

    /// Reads text of these forms; `None` for every other, and for a day or an hour that there is not.
    pub(super) fn read(&self, to: &DataType, text: &str) -> Option<Datum> {
        let usual =
            SqlType::from_oid(to.oid.0).and_then(|to| text_form::printed(to, text.as_bytes()));
        usual.or_else(|| self.whole.is_match(text).then(|| text_form::read(to, text)).flatten())
    }

    fn held_pattern(&self) -> String {
        format!("^(?!(?:{})$)", self.pattern)
    }

    /// Prints SQL that is the text which `operand` prints, if it is of these forms, and is no text of
    /// the type otherwise. The text is computed once, and matched by no collation of its own.
    pub(crate) fn hold(&self, sql: &mut String, operand: impl FnOnce(&mut String)) {
        *sql += "pg_catalog.regexp_replace((";
        operand(sql);
        *sql += " COLLATE \"C\"), ";
        *sql += &format!("{}, {})", literal(&self.held_pattern()), literal(MARK));
    }

    /// The operand of what `hold` has printed.
    pub(crate) fn held<'n>(&self, node: &'n Node) -> Option<&'n Node> {
        let Syntax::Call { name, arguments } = &node.syntax else { return None };
        let [schema, function] = name.as_slice() else { return None };
        let [text, pattern, mark] = arguments.as_slice() else { return None };
        let Syntax::Collate { operand, collation } = &text.syntax else { return None };
        let is = |node: &Node, wanted: &str| matches!(&node.syntax, Syntax::Text(text) if text == wanted);
        let ours = (schema == "pg_catalog" && function == "regexp_replace")
            && collation.as_slice() == ["C"]
            && is(mark, MARK)
            && is(pattern, &self.held_pattern());
        ours.then_some(operand)
    }
}

/// `2024-01-31`, `20240131`, with or without a time and its offset, and what Postgres prints.
fn instants() -> String {
    let (clock, offset) = (clock(), offset());
    let day = "[0-9]{4,7}-[0-9]{1,2}-[0-9]{1,2}";
    let compact = format!("[0-9]{{8}}(?:[Tt][0-9]{{6}}{offset})?");
    format!("{day}(?:[Tt ]{clock}{offset})?(?: BC)?|{compact}|-?[Ii]nfinity")
}

/// `10:30`, `10:30:15.25`.
fn clock() -> String {
    format!("[0-9]{{1,2}}:[0-9]{{2}}(?::[0-9]{{2}}{})?", fraction(9))
}

fn fraction(digits: usize) -> String {
    format!("(?:[.][0-9]{{1,{digits}}})?")
}

/// `Z`, `+02`, `+0200`, `+02:00`, ` UTC`, or nothing.
fn offset() -> String {
    let size = "[0-9]{2}(?:[0-9]{2}|:[0-9]{2}(?::[0-9]{2})?)?";
    format!("(?: ?(?:[Zz]|[+-]{size})| UTC| GMT)?")
}

/// `P1Y2M3DT4H5M6.5S`, `1 year 2 mons 3 days 04:05:06.5`, `1 week 2 hours 5 minutes`: each unit once and
/// in this order, so that no sum leaves its type. (Eight digits of weeks are days that fit.)
fn intervals() -> String {
    let fraction = fraction(6);
    let count = "[+-]?[0-9]{1,8}";
    let units = |names: &[&str]| -> String {
        names.iter().map(|name| format!("(?:{count} {name}s?(?: |$))?")).collect()
    };
    let days = units(&["year", "mon(?:th)?", "week", "day"]);
    let seconds = format!("(?:{count}{fraction} sec(?:ond)?s?)?");
    let hours = units(&["hour", "min(?:ute)?"]) + &seconds;
    let clock = format!("{count}:[0-9]{{2}}(?::[0-9]{{2}}{fraction})?");
    let words = format!("{days}(?:{clock}|{hours})");
    let part = |letter: &str| format!("(?:-?[0-9]{{1,8}}{letter})?");
    let letters = |names: &[&str]| -> String { names.iter().map(|name| part(name)).collect() };
    let seconds = format!("-?[0-9]{{1,8}}{fraction}S");
    let (days, minutes) = (letters(&["Y", "M", "W", "D"]), "-?[0-9]{1,8}M");
    let time =
        format!("-?[0-9]{{1,8}}H(?:{minutes})?(?:{seconds})?|{minutes}(?:{seconds})?|{seconds}");
    format!("P{days}(?:T(?:{time}))?|{words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(oid: Oid, text: &str) -> bool {
        Forms::of(oid).unwrap().read(&oid.into(), text).is_some()
    }

    #[test]
    fn the_forms_of_rows() {
        for text in [
            "2024-01-31",
            "2024-1-5",
            "20240131",
            "2024-01-31T10:30:15.123Z",
            "2024-01-31 10:30:15.123456789 +02:00",
            "2024-01-31 10:30 UTC",
            "20240131T103015-0500",
            "0044-03-15 10:00:00+00 BC",
            "12024-01-01",
            "-infinity",
            "2024-06-30 23:59:60",
            "2024-01-31 24:00",
        ] {
            assert!(reads(Oid::DATE, text) && reads(Oid::TIMESTAMPTZ, text), "{text}");
        }
        for text in [
            "",
            " 2024-01-31",
            "2024-01-31\n",
            "2024-01-31T10",
            "2024-02-30",
            "0000-01-01",
            "2024-01-31 24:01",
            "2024-01-31 10:00:61",
            "1/5/2024",
            "Jan 5 2024",
            "today",
            "2024-01-31 10:00 CET",
            "2024-01-31 10:00 Europe/Berlin",
            "\u{662}\u{660}24-01-31",
        ] {
            assert!(!reads(Oid::DATE, text) && !reads(Oid::TIMESTAMP, text), "{text}");
        }
        assert!(reads(Oid::TIME, "9:30") && reads(Oid::TIMETZ, "09:30:15.5+02"));
        assert!(!reads(Oid::TIME, "25:00") && !reads(Oid::TIME, "09:30 PM"));
    }

    #[test]
    fn the_forms_of_lengths() {
        for text in [
            "P1Y-2M3DT4H5M-6.7S",
            "P2W",
            "PT0S",
            "1 year 2 mons -3 days +04:05:06.7",
            "2 hours",
            "1 week 5 secs",
        ] {
            assert!(reads(Oid::INTERVAL, text), "{text}");
        }
        for text in
            ["", "P", "PT", "P1DT", "1", "1 day 1 day", "2 hours 1 day", "1 hour 02:00", "infinity"]
        {
            assert!(!reads(Oid::INTERVAL, text), "{text}");
        }
    }
}
