//! Function calls, and the forms of SQL that are calls in disguise.

use super::{Infix, OPERATOR, OR, PATTERN, Parser, keyword};
use crate::WhereError;
use crate::limits::IN_LIST_ELEMENTS_MAX;
use crate::syntax::{Node, Syntax};
use crate::token::Token;

impl Parser<'_> {
    /// `OPERATOR(+)`, also with the one schema whose operators we have.
    pub(super) fn named_operator(&self) -> (Infix, usize) {
        let schema = self.is_word(2, "pg_catalog") && self.is_symbol(3, ".");
        let at = if schema { 4 } else { 2 };
        match self.peek_at(at) {
            Some(Token::Symbol(symbol))
                if self.is_symbol(1, "(")
                    && self.is_symbol(at + 1, ")")
                    && !keyword::PUNCTUATION.contains(&symbol.as_str()) =>
            {
                (Infix::Named(symbol.clone()), at + 2)
            }
            _ => (Infix::Unsupported("this OPERATOR is"), 1),
        }
    }

    /// The arguments of a call whose opening parenthesis has been taken.
    pub(super) fn call(&mut self, name: Vec<String>, at: usize) -> Result<Node, WhereError> {
        self.call_after(name, at, Vec::new())
    }

    /// The same, where the first ones have been parsed.
    fn call_after(
        &mut self,
        name: Vec<String>,
        at: usize,
        first: Vec<Node>,
    ) -> Result<Node, WhereError> {
        if self.is_symbol(0, "*") {
            return Err(WhereError::at(
                at,
                format!("aggregate {}(*) is not supported", name.join(".")),
            ));
        }
        for word in ["distinct", "all", "variadic"] {
            if self.is_word(0, word) {
                let what = format!("{} in a call is", word.to_uppercase());
                return Err(self.unsupported(self.at(), &what));
            }
        }
        let arguments = self.arguments(first)?;
        for word in ["over", "filter", "within"] {
            if self.is_word(0, word) {
                let what = format!("aggregation ({}) is", word.to_uppercase());
                return Err(self.unsupported(self.at(), &what));
            }
        }
        self.node(at, Syntax::Call { name, arguments })
    }

    /// Arguments up to the closing parenthesis; those with names come last.
    fn arguments(&mut self, first: Vec<Node>) -> Result<Vec<Node>, WhereError> {
        let mut list = first;
        if self.take_symbol(")") {
            return Ok(list);
        }
        if !list.is_empty() {
            self.expect_symbol(",")?;
        }
        loop {
            let at = self.at();
            if list.len() == IN_LIST_ELEMENTS_MAX {
                let reason = format!("lists of more than {IN_LIST_ELEMENTS_MAX} elements are");
                return Err(self.unsupported(at, &reason));
            }
            match self.argument_name() {
                Some(name) => {
                    self.next += 2;
                    let value = Box::new(self.expression(OR)?);
                    list.push(self.node(at, Syntax::Named { name, value })?);
                }
                None if list.last().is_some_and(is_named) => {
                    let reason = "positional argument cannot follow named argument";
                    return Err(WhereError::at(at, reason));
                }
                None => list.push(self.expression(OR)?),
            }
            if !self.take_symbol(",") {
                self.expect_symbol(")")?;
                return Ok(list);
            }
        }
    }

    fn argument_name(&self) -> Option<String> {
        let named = self.is_symbol(1, "=>") || self.is_symbol(1, ":=");
        match self.peek() {
            Some(Token::Quoted(name)) if named => Some(name.clone()),
            Some(Token::Word(name)) if named && !keyword::is_reserved(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Takes OVERLAPS and the row after it, if the row before is followed by them.
    pub(super) fn overlaps(&mut self, left: Node) -> Result<Node, WhereError> {
        if !self.take_word("overlaps") {
            return Ok(left);
        }
        let right = match self.is_word(0, "row") {
            true => self.plain_row()?,
            false => self.plain_parentheses()?,
        };
        let mut arguments = Vec::new();
        for (side, node) in [("left", left.clone()), ("right", right)] {
            match node.syntax {
                Syntax::Row(fields) if fields.len() == 2 => arguments.extend(fields),
                Syntax::Row(_) => {
                    let reason =
                        format!("wrong number of parameters on {side} side of OVERLAPS expression");
                    return Err(WhereError::at(node.at, reason));
                }
                _ => return Err(WhereError::at(node.at, "OVERLAPS needs a row on either side")),
            }
        }
        let name = vec!["pg_catalog".to_owned(), "overlaps".to_owned()];
        self.node(left.at, Syntax::Call { name, arguments })
    }

    fn function(&self, at: usize, name: &str, arguments: Vec<Node>) -> Result<Node, WhereError> {
        self.node(at, Syntax::Call { name: vec![name.to_owned()], arguments })
    }

    /// `EXTRACT(… FROM …)` and its kin, also in the ordinary form; `None` where there is no other.
    pub(super) fn special_call(&mut self, word: &str) -> Result<Option<Node>, WhereError> {
        let at = self.at();
        let parse = match word {
            "extract" => Parser::extract,
            "position" => Parser::position,
            "trim" => Parser::trim,
            "substring" => Parser::substring,
            "overlay" => Parser::overlay,
            _ => return Ok(None),
        };
        self.next += 2;
        parse(self, at).map(Some)
    }

    /// The ordinary form of a call that might have been another one. Its first argument is not parsed anew: that would
    /// double with every level.
    fn ordinary(&mut self, name: &str, at: usize, first: Vec<Node>) -> Result<Node, WhereError> {
        self.call_after(vec![name.to_owned()], at, first)
    }

    /// Whether the arguments begin as no expression does.
    fn begins_ordinarily(&self) -> bool {
        let words = ["distinct", "all", "variadic"];
        self.is_symbol(0, ")")
            || self.is_symbol(0, "*")
            || self.argument_name().is_some()
            || words.iter().any(|word| self.is_word(0, word))
    }

    fn extract(&mut self, at: usize) -> Result<Node, WhereError> {
        let field_at = self.at();
        let field = match self.peek() {
            Some(Token::Word(field) | Token::Quoted(field) | Token::Text(field)) => field.clone(),
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        self.expect_word("from")?;
        let field = self.node(field_at, Syntax::Text(field))?;
        let source = self.expression(OR)?;
        self.expect_symbol(")")?;
        self.function(at, "extract", vec![field, source])
    }

    fn position(&mut self, at: usize) -> Result<Node, WhereError> {
        // The grammar's b_expr: IN must not be taken as an operator.
        let part = self.expression(PATTERN + 1)?;
        self.expect_word("in")?;
        let whole = self.expression(OPERATOR)?;
        self.expect_symbol(")")?;
        self.function(at, "position", vec![whole, part])
    }

    fn trim(&mut self, at: usize) -> Result<Node, WhereError> {
        let name = if self.take_word("leading") {
            "ltrim"
        } else if self.take_word("trailing") {
            "rtrim"
        } else {
            self.take_word("both");
            "btrim"
        };
        let mut arguments = Vec::new();
        if !self.is_word(0, "from") {
            arguments.push(self.expression(OR)?);
        }
        if self.take_word("from") {
            let text = self.expression(OR)?;
            arguments.insert(0, text);
        }
        while self.take_symbol(",") {
            arguments.push(self.expression(OR)?);
        }
        self.expect_symbol(")")?;
        self.function(at, name, arguments)
    }

    fn substring(&mut self, at: usize) -> Result<Node, WhereError> {
        if self.begins_ordinarily() {
            return self.ordinary("substring", at, Vec::new());
        }
        let text = self.expression(OR)?;
        if self.is_word(0, "similar") {
            return Err(self.unsupported(self.at(), "SUBSTRING … SIMILAR is"));
        }
        let (mut from, mut length) = (None, None);
        loop {
            if from.is_none() && self.take_word("from") {
                from = Some(self.expression(OR)?);
            } else if length.is_none() && self.take_word("for") {
                length = Some(self.expression(OR)?);
            } else {
                break;
            }
        }
        let mut arguments = vec![text];
        match (from, length) {
            (None, None) => return self.ordinary("substring", at, arguments),
            (Some(from), length) => arguments.extend(std::iter::once(from).chain(length)),
            (None, Some(length)) => {
                let one = self.node(at, Syntax::Number("1".to_owned()))?;
                arguments.extend([one, length]);
            }
        }
        self.expect_symbol(")")?;
        self.function(at, "substring", arguments)
    }

    fn overlay(&mut self, at: usize) -> Result<Node, WhereError> {
        if self.begins_ordinarily() {
            return self.ordinary("overlay", at, Vec::new());
        }
        let text = self.expression(OR)?;
        if !self.take_word("placing") {
            return self.ordinary("overlay", at, vec![text]);
        }
        let new = self.expression(OR)?;
        self.expect_word("from")?;
        let mut arguments = vec![text, new, self.expression(OR)?];
        if self.take_word("for") {
            arguments.push(self.expression(OR)?);
        }
        self.expect_symbol(")")?;
        self.function(at, "overlay", arguments)
    }

    /// Whether the words that begin here could be a type's name.
    pub(super) fn begins_type(&self) -> bool {
        match self.peek() {
            Some(Token::Quoted(_)) => true,
            Some(Token::Word(word)) => !keyword::is_reserved(word),
            _ => false,
        }
    }
}

fn is_named(node: &Node) -> bool {
    matches!(node.syntax, Syntax::Named { .. })
}
