//! Operands: constants, columns, casts, parentheses.

use crate::WhereError;
use crate::parse::{OR, Parser, keyword};
use crate::sql_type::SqlType;
use crate::syntax::{Node, Syntax};
use crate::token::Token;

impl Parser<'_> {
    /// Signs, which bind tighter than every operator but `::`.
    pub(super) fn signed(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        let negative = match self.peek() {
            Some(Token::Symbol(symbol)) if symbol == "-" => true,
            Some(Token::Symbol(symbol)) if symbol == "+" => false,
            _ => return self.cast(),
        };
        self.next += 1;
        self.depth += 1;
        let node = if self.depth > crate::limits::WHERE_NESTING_MAX {
            return Err(super::too_deep(at));
        } else {
            self.signed()?
        };
        self.depth -= 1;
        // Postgres' grammar folds a minus into a number, so that −2147483648 is an `int4`.
        match node.syntax {
            Syntax::Number(digits) if negative => {
                let flipped = match digits.strip_prefix('-') {
                    Some(positive) => positive.to_owned(),
                    None => format!("-{digits}"),
                };
                self.node(at, Syntax::Number(flipped))
            }
            _ => self.node(at, Syntax::Sign { negative, operand: Box::new(node) }),
        }
    }

    fn cast(&mut self) -> Result<Node, WhereError> {
        let mut node = self.atom()?;
        loop {
            let at = self.at();
            if self.take_symbol("::") {
                let type_at = self.at();
                let type_name = self.type_name()?;
                let from = node.at;
                node =
                    self.node(from, Syntax::Cast { operand: Box::new(node), type_name, type_at })?;
            } else if self.is_symbol(0, "[") {
                return Err(self.unsupported(at, "subscripts are"));
            } else if self.is_symbol(0, ".") {
                return Err(self.unexpected());
            } else {
                return Ok(node);
            }
        }
    }

    fn atom(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        let syntax = match self.peek() {
            None => return Err(self.unexpected()),
            Some(Token::Number(digits)) => Syntax::Number(digits.clone()),
            Some(Token::Text(text)) => Syntax::Text(text.clone()),
            Some(Token::Parameter(number)) => Syntax::Parameter(*number),
            Some(Token::Symbol(symbol)) => {
                return if symbol == "(" { self.parentheses() } else { Err(self.prefix(symbol)) };
            }
            Some(Token::Quoted(_)) => return self.name(),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Syntax::Bool(true),
                "false" => Syntax::Bool(false),
                "null" => Syntax::Null,
                "cast" => return self.cast_call(),
                "exists" | "row" if self.is_symbol(1, "(") => {
                    return Err(self.unsupported(at, &format!("{} is", word.to_uppercase())));
                }
                _ => return self.word(word),
            },
        };
        self.next += 1;
        self.node(at, syntax)
    }

    fn prefix(&self, symbol: &str) -> WhereError {
        if keyword::PUNCTUATION.contains(&symbol) || "<>=".contains(symbol) || symbol == "::" {
            return self.unexpected();
        }
        self.unsupported(self.at(), &format!("the operator {symbol} is"))
    }

    fn parentheses(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.expect_symbol("(")?;
        if ["select", "values", "with", "table"].iter().any(|word| self.is_word(0, word)) {
            return Err(self.unsupported(at, "subqueries are"));
        }
        let node = self.expression(OR)?;
        if self.is_symbol(0, ",") {
            return Err(self.unsupported(at, "row values are"));
        }
        self.expect_symbol(")")?;
        Ok(node)
    }

    fn cast_call(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.next += 1;
        self.expect_symbol("(")?;
        let operand = Box::new(self.expression(OR)?);
        self.expect_word("as")?;
        let type_at = self.at();
        let type_name = self.type_name()?;
        self.expect_symbol(")")?;
        self.node(at, Syntax::Cast { operand, type_name, type_at })
    }

    /// A typed literal (`date '2024-01-31'`) or a name.
    fn word(&mut self, word: &str) -> Result<Node, WhereError> {
        let at = self.at();
        if let Some(what) = keyword::construct(word) {
            return Err(self.unsupported(at, what));
        }
        if keyword::is_reserved(word) {
            return Err(self.unexpected());
        }
        let (type_name, tokens) = self.type_words();
        let Some(Token::Text(text)) = self.peek_at(tokens) else { return self.name() };
        if SqlType::from_name(&type_name).is_none() {
            return Err(self.unsupported(at, &format!("type {type_name} is")));
        }
        let text_at = self.lexemes[self.next + tokens].at;
        self.next += tokens + 1;
        let operand = Box::new(self.node(text_at, Syntax::Text(text.clone()))?);
        self.node(at, Syntax::Cast { operand, type_name, type_at: at })
    }

    fn name(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                // After a dot, reserved words are names too.
                Some(Token::Word(name) | Token::Quoted(name)) => parts.push(name.clone()),
                Some(Token::Symbol(star)) if star == "*" => {
                    return Err(self.unsupported(self.at(), "* is"));
                }
                _ => return Err(self.unexpected()),
            }
            self.next += 1;
            if !self.take_symbol(".") {
                break;
            }
        }
        if self.is_symbol(0, "(") {
            let name = parts.join(".");
            let count = self.arguments();
            let reason = format!("unknown or unsupported function {name}/{count}");
            return Err(WhereError::at(at, reason));
        }
        self.node(at, Syntax::Column(parts))
    }

    /// How many arguments the call that begins here has.
    fn arguments(&self) -> usize {
        let mut depth = 0_usize;
        let mut count = 0;
        for ahead in 0.. {
            match self.peek_at(ahead) {
                None => break,
                Some(Token::Symbol(symbol)) if symbol == "(" || symbol == "[" => depth += 1,
                Some(Token::Symbol(symbol)) if symbol == ")" || symbol == "]" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                Some(Token::Symbol(symbol)) if symbol == "," && depth == 1 => count += 1,
                Some(_) => count = count.max(1),
            }
        }
        count
    }

    /// A type after `::` or AS.
    fn type_name(&mut self) -> Result<String, WhereError> {
        let at = self.at();
        let Some(Token::Word(_)) = self.peek() else {
            return Err(match self.peek() {
                Some(Token::Quoted(_)) => self.unsupported(at, "quoted type names are"),
                _ => self.unexpected(),
            });
        };
        let (name, tokens) = self.type_words();
        if self.is_symbol(tokens, "(") {
            return Err(self.unsupported(at, "type modifiers are"));
        }
        if self.is_symbol(tokens, "[") || self.is_word(tokens, "array") {
            return Err(self.unsupported(at, "arrays are"));
        }
        if self.is_symbol(tokens, ".") {
            return Err(self.unsupported(at, "qualified type names are"));
        }
        self.next += tokens;
        Ok(name)
    }

    /// The type name that would begin here and its number of tokens.
    fn type_words(&self) -> (String, usize) {
        let word = |ahead: usize| match self.peek_at(ahead) {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        let count = match (word(0), word(1), word(2), word(3)) {
            ("double", "precision", _, _) | ("character", "varying", _, _) => 2,
            ("timestamp" | "time", "with" | "without", "time", "zone") => 4,
            _ => 1,
        };
        ((0..count).map(word).collect::<Vec<_>>().join(" "), count)
    }
}
