//! Operands: constants, columns, casts, parentheses, CASE, ARRAY, ROW.

use super::{OR, Parser, keyword, too_deep};
use crate::WhereError;
use crate::limits::WHERE_NESTING_MAX;
use crate::syntax::{Node, Subscript, Syntax, TypeName};
use crate::token::Token;

impl Parser<'_> {
    /// Signs, which bind tighter than every operator but `::` and `[]`.
    pub(super) fn signed(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        let negative = match self.peek() {
            Some(Token::Symbol(symbol)) if symbol == "-" => true,
            Some(Token::Symbol(symbol)) if symbol == "+" => false,
            _ => return self.postfixed(),
        };
        self.next += 1;
        self.depth += 1;
        if self.depth > WHERE_NESTING_MAX {
            return Err(too_deep(at));
        }
        let node = self.signed()?;
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
            _ => {
                let operator = if negative { "-" } else { "+" }.to_owned();
                self.node(at, Syntax::Unary { operator, operand: Box::new(node) })
            }
        }
    }

    /// An atom with its casts and subscripts.
    fn postfixed(&mut self) -> Result<Node, WhereError> {
        let mut node = self.atom()?;
        loop {
            let from = node.at;
            if self.take_symbol("::") {
                let target = self.type_name()?;
                node = self.node(from, Syntax::Cast { operand: Box::new(node), target })?;
            } else if self.is_symbol(0, "[") {
                let mut subscripts = Vec::new();
                while self.take_symbol("[") {
                    subscripts.push(self.subscript()?);
                }
                let operand = Box::new(node);
                node = self.node(from, Syntax::Subscript { operand, subscripts })?;
            } else if self.is_symbol(0, ".") {
                return Err(self.unexpected());
            } else {
                return Ok(node);
            }
        }
    }

    fn subscript(&mut self) -> Result<Subscript, WhereError> {
        let low = match self.is_symbol(0, ":") {
            true => None,
            false => Some(self.expression(OR)?),
        };
        if self.take_symbol(":") {
            let high = match self.is_symbol(0, "]") {
                true => None,
                false => Some(self.expression(OR)?),
            };
            self.expect_symbol("]")?;
            return Ok(Subscript::Slice(low, high));
        }
        self.expect_symbol("]")?;
        low.map(Subscript::Index).ok_or_else(|| self.unexpected())
    }

    fn atom(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        let syntax = match self.peek() {
            None => return Err(self.unexpected()),
            Some(Token::Number(digits)) => Syntax::Number(digits.clone()),
            Some(Token::Text(text)) => Syntax::Text(text.clone()),
            Some(Token::Bits(digits)) => self.bits(digits.clone(), at)?,
            Some(Token::Parameter(number)) => Syntax::Parameter(*number),
            Some(Token::Symbol(symbol)) if symbol == "(" => return self.parentheses(),
            Some(Token::Symbol(_)) => return Err(self.unexpected()),
            Some(Token::Quoted(_)) => return self.name_or_literal(),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Syntax::Bool(true),
                "false" => Syntax::Bool(false),
                "null" => Syntax::Null,
                "cast" => return self.cast_call(),
                "case" => return self.case(),
                "array" => return self.array(),
                "row" if self.is_symbol(1, "(") => return self.row(),
                "exists" if self.is_symbol(1, "(") => return self.exists(at),
                "current_date" | "current_time" | "current_timestamp" | "localtime"
                | "localtimestamp" => Syntax::Moment(word.clone()),
                _ => return self.word(word),
            },
        };
        self.next += 1;
        self.node(at, syntax)
    }

    /// A string of so many bits: the type's full name has no length of its own.
    fn bits(&mut self, digits: String, at: usize) -> Result<Syntax, WhereError> {
        let path = vec!["pg_catalog".to_owned(), "bit".to_owned()];
        let target = TypeName { path, modifiers: Vec::new(), dimensions: 0, fields: None, at };
        let operand = Box::new(self.node(at, Syntax::Text(digits))?);
        Ok(Syntax::Cast { operand, target })
    }

    fn parentheses(&mut self) -> Result<Node, WhereError> {
        let node = self.plain_parentheses()?;
        self.overlaps(node)
    }

    /// `(a)`, `(a, b)`.
    pub(super) fn plain_parentheses(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.expect_symbol("(")?;
        if self.begins_subquery(at)? {
            let query = Box::new(self.query()?);
            return self.node(at, Syntax::Single(query));
        }
        let node = self.expression(OR)?;
        if self.take_symbol(",") {
            let mut fields = vec![node];
            let rest = self.elements(")")?;
            if rest.is_empty() {
                return Err(self.unexpected());
            }
            fields.extend(rest);
            return self.node(at, Syntax::Row(fields));
        }
        self.expect_symbol(")")?;
        Ok(node)
    }

    fn row(&mut self) -> Result<Node, WhereError> {
        let node = self.plain_row()?;
        self.overlaps(node)
    }

    /// `ROW(a, b)`.
    pub(super) fn plain_row(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.next += 2;
        let fields = self.elements(")")?;
        if fields.is_empty() {
            self.expect_symbol(")")?;
        }
        self.node(at, Syntax::Row(fields))
    }

    fn cast_call(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.next += 1;
        self.expect_symbol("(")?;
        let operand = Box::new(self.expression(OR)?);
        self.expect_word("as")?;
        let target = self.type_name()?;
        self.expect_symbol(")")?;
        self.node(at, Syntax::Cast { operand, target })
    }

    fn case(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.next += 1;
        let operand = match self.is_word(0, "when") {
            true => None,
            false => Some(Box::new(self.expression(OR)?)),
        };
        let mut branches = Vec::new();
        while self.take_word("when") {
            let when = self.expression(OR)?;
            self.expect_word("then")?;
            branches.push((when, self.expression(OR)?));
        }
        if branches.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = match self.take_word("else") {
            true => Some(Box::new(self.expression(OR)?)),
            false => None,
        };
        self.expect_word("end")?;
        self.node(at, Syntax::Case { operand, branches, otherwise })
    }

    fn array(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        self.next += 1;
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(at, "a subquery as an array is"));
        }
        self.expect_symbol("[")?;
        self.array_elements(at)
    }

    /// The inside of `ARRAY[…]`, in which `[…]` is an array too.
    fn array_elements(&mut self, at: usize) -> Result<Node, WhereError> {
        self.depth += 1;
        if self.depth > WHERE_NESTING_MAX {
            return Err(too_deep(at));
        }
        let mut list = Vec::new();
        if self.is_symbol(0, "[") {
            loop {
                let inner_at = self.at();
                self.expect_symbol("[")?;
                list.push(self.array_elements(inner_at)?);
                if !self.take_symbol(",") {
                    self.expect_symbol("]")?;
                    break;
                }
            }
        } else {
            list = self.elements("]")?;
            if list.is_empty() {
                self.expect_symbol("]")?;
            }
        }
        self.depth -= 1;
        self.node(at, Syntax::Array(list))
    }

    /// A typed literal (`date '2024-01-31'`), a call or a name.
    fn word(&mut self, word: &str) -> Result<Node, WhereError> {
        let at = self.at();
        if let Some(what) = keyword::construct(word) {
            return Err(self.unsupported(at, what));
        }
        let call = self.is_symbol(1, "(");
        if call && let Some(node) = self.special_call(word)? {
            return Ok(node);
        }
        if keyword::is_reserved(word) && !(call && keyword::is_function(word)) {
            return Err(self.unexpected());
        }
        self.name_or_literal()
    }

    fn name_or_literal(&mut self) -> Result<Node, WhereError> {
        if let Some(node) = self.typed_literal()? {
            return Ok(node);
        }
        let at = self.at();
        let path = self.path()?;
        if self.take_symbol("(") {
            return self.call(path, at);
        }
        self.node(at, Syntax::Column(path))
    }

    /// Names with dots between them.
    pub(super) fn path(&mut self) -> Result<Vec<String>, WhereError> {
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
                return Ok(parts);
            }
        }
    }
}
