//! Names of types, after `::`, after AS and before a literal.

use super::Parser;
use crate::WhereError;
use crate::syntax::{Node, Syntax, TypeName};
use crate::token::Token;

impl Parser<'_> {
    /// A type after `::` or AS.
    pub(super) fn type_name(&mut self) -> Result<TypeName, WhereError> {
        let mut target = self.simple_type_name()?;
        if target.path == ["interval"] {
            target.fields = self.interval_fields()?;
        }
        loop {
            if self.take_word("array") {
                target.dimensions = 1;
                if self.take_symbol("[") {
                    self.bounds()?;
                }
            } else if self.take_symbol("[") {
                self.bounds()?;
                target.dimensions += 1;
            } else {
                return Ok(target);
            }
        }
    }

    /// The inside of `[n]`, which Postgres ignores.
    fn bounds(&mut self) -> Result<(), WhereError> {
        if let Some(Token::Number(_)) = self.peek() {
            self.next += 1;
        }
        self.expect_symbol("]")
    }

    /// `date '2024-01-31'`, `interval '1' day`; nothing is taken where there is none.
    pub(super) fn typed_literal(&mut self) -> Result<Option<Node>, WhereError> {
        if !self.begins_type() {
            return Ok(None);
        }
        let (start, at) = (self.next, self.at());
        let Ok(mut target) = self.simple_type_name() else {
            self.next = start;
            return Ok(None);
        };
        let text_at = self.at();
        let Some(Token::Text(text)) = self.peek() else {
            self.next = start;
            return Ok(None);
        };
        self.next += 1;
        if target.path == ["interval"] {
            target.fields = self.interval_fields()?;
        }
        let operand = Box::new(self.node(text_at, Syntax::Text(text.clone()))?);
        self.node(at, Syntax::Cast { operand, target }).map(Some)
    }

    /// Name and modifiers.
    fn simple_type_name(&mut self) -> Result<TypeName, WhereError> {
        let at = self.at();
        let first = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Quoted(_)) => String::new(),
            _ => return Err(self.unexpected()),
        };
        if first.is_empty() || self.is_symbol(1, ".") {
            let path = self.path()?;
            let modifiers = self.modifiers()?;
            return Ok(TypeName { path, modifiers, dimensions: 0, fields: None, at });
        }
        self.next += 1;
        let mut name = match first.as_str() {
            "double" => {
                self.expect_word("precision")?;
                "float8"
            }
            "character" | "char" if self.take_word("varying") => "varchar",
            "bit" if self.take_word("varying") => "varbit",
            "national" => return Err(self.unsupported(at, "national strings are")),
            "setof" => return Err(self.unexpected()),
            word => without_synonyms(word),
        }
        .to_owned();
        let mut modifiers = self.modifiers()?;
        if name == "time" || name == "timestamp" {
            let zoned = self.take_word("with");
            if zoned || self.take_word("without") {
                self.expect_word("time")?;
                self.expect_word("zone")?;
            }
            if zoned {
                name += "tz";
            }
        }
        match (first.as_str(), modifiers.as_slice()) {
            ("float", []) => name = "float8".to_owned(),
            ("float", [bits]) => {
                name = if *bits <= 24 { "float4" } else { "float8" }.to_owned();
                modifiers.clear();
            }
            ("char" | "character", []) if name == "bpchar" => modifiers.push(1),
            ("bit", []) if name == "bit" => modifiers.push(1),
            _ => {}
        }
        Ok(TypeName { path: vec![name], modifiers, dimensions: 0, fields: None, at })
    }

    /// `(10, 2)`.
    fn modifiers(&mut self) -> Result<Vec<i32>, WhereError> {
        let mut modifiers = Vec::new();
        if !self.is_symbol(0, "(") || !matches!(self.peek_at(1), Some(Token::Number(_))) {
            return Ok(modifiers);
        }
        self.next += 1;
        loop {
            let negative = self.take_symbol("-");
            let modifier = match self.peek() {
                Some(Token::Number(digits)) => digits.parse::<i32>().ok(),
                _ => None,
            };
            let modifier = modifier.ok_or_else(|| self.unexpected())?;
            self.next += 1;
            modifiers.push(if negative { -modifier } else { modifier });
            if !self.take_symbol(",") {
                self.expect_symbol(")")?;
                return Ok(modifiers);
            }
        }
    }

    /// `day to second`.
    fn interval_fields(&mut self) -> Result<Option<String>, WhereError> {
        const FIELDS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];
        let one = |parser: &mut Self| FIELDS.into_iter().find(|field| parser.take_word(field));
        let Some(from) = one(self) else { return Ok(None) };
        let mut fields = from.to_owned();
        if self.take_word("to") {
            let to = one(self).ok_or_else(|| self.unexpected())?;
            fields = format!("{from} to {to}");
        }
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(self.at(), "the precision of an interval is"));
        }
        Ok(Some(fields))
    }
}

/// SQL's keywords for types as Postgres' own names.
fn without_synonyms(word: &str) -> &str {
    match word {
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "decimal" | "dec" => "numeric",
        "character" | "char" => "bpchar",
        other => other,
    }
}
