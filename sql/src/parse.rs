//! Tokens into a syntax tree, with Postgres' grammar of expressions.
//!
//! *Enters*: tokens. *Leaves*: a [`Node`], once every token has been used.
//! *Invariant*: precedence and associativity are those of Postgres' own grammar, which general SQL
//! parsers do not keep (`a < b < c` is no expression, reserved words are no columns). That is why
//! the climbing below is ours and only the tokens are `sqlparser`'s.

use crate::WhereError;
use crate::limits::{IN_LIST_ELEMENTS_MAX, WHERE_NESTING_MAX};
use crate::syntax::{Node, PatternForm, Syntax};
use crate::token::{Lexeme, Token};

mod atom;
mod call;
mod keyword;
mod subquery;
mod type_name;

pub(crate) use subquery::SUBQUERY;

/// Levels of Postgres' precedence table, weakest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARISON: u8 = 5;
/// BETWEEN, IN, LIKE, ILIKE, SIMILAR TO.
const PATTERN: u8 = 6;
/// Every operator without a level of its own.
const OPERATOR: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const POWER: u8 = 10;
const AT_ZONE: u8 = 11;
const COLLATE: u8 = 12;

/// Parses a whole clause; `end` is its length in characters. `subqueries` may be refused.
pub(crate) fn parse(lexemes: &[Lexeme], end: usize, subqueries: bool) -> Result<Node, WhereError> {
    let closing = subquery::closing(lexemes);
    let mut parser = Parser { lexemes, closing, next: 0, end, depth: 0, subqueries };
    let node = parser.expression(OR)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected()),
    }
}

/// One item of an ORDER BY list.
pub(crate) struct OrderItem {
    pub(crate) node: Node,
    pub(crate) descending: bool,
    /// NULLS FIRST, where it was said.
    pub(crate) nulls_first: Option<bool>,
}

/// Parses `expression [ASC|DESC] [NULLS FIRST|LAST], …`.
pub(crate) fn parse_order(lexemes: &[Lexeme], end: usize) -> Result<Vec<OrderItem>, WhereError> {
    let closing = Box::default();
    let mut parser = Parser { lexemes, closing, next: 0, end, depth: 0, subqueries: false };
    let mut items = Vec::new();
    loop {
        let node = parser.expression(OR)?;
        let descending = parser.take_word("desc");
        if !descending {
            parser.take_word("asc");
        }
        let mut nulls_first = None;
        if parser.take_word("nulls") {
            nulls_first = Some(parser.take_word("first"));
            if nulls_first == Some(false) {
                parser.expect_word("last")?;
            }
        }
        items.push(OrderItem { node, descending, nulls_first });
        if !parser.take_symbol(",") {
            break;
        }
    }
    match parser.peek() {
        None => Ok(items),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    lexemes: &'a [Lexeme],
    /// Where parentheses are closed.
    closing: Box<[usize]>,
    next: usize,
    end: usize,
    depth: usize,
    subqueries: bool,
}

/// What may follow an operand.
enum Infix {
    And,
    Or,
    Is,
    NullTest {
        negated: bool,
    },
    In {
        negated: bool,
    },
    Between {
        negated: bool,
    },
    Like {
        form: PatternForm,
        negated: bool,
    },
    Operator(String),
    /// `OPERATOR(pg_catalog.+)`, which binds like any other operator whatever it is.
    Named(String),
    AtZone,
    Collate,
    Unsupported(&'static str),
}

impl Infix {
    fn level(&self) -> u8 {
        match self {
            Infix::Or => OR,
            Infix::And => AND,
            Infix::Is | Infix::NullTest { .. } => IS,
            Infix::In { .. } | Infix::Between { .. } | Infix::Like { .. } => PATTERN,
            Infix::Operator(symbol) => match symbol.as_str() {
                "=" | "<>" | "<" | "<=" | ">" | ">=" => COMPARISON,
                "+" | "-" => SUM,
                "*" | "/" | "%" => PRODUCT,
                "^" => POWER,
                _ => OPERATOR,
            },
            Infix::Named(_) | Infix::Unsupported(_) => OPERATOR,
            Infix::AtZone => AT_ZONE,
            Infix::Collate => COLLATE,
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.lexemes.get(self.next + ahead).map(|lexeme| &lexeme.token)
    }

    fn at(&self) -> usize {
        self.lexemes.get(self.next).map_or(self.end, |lexeme| lexeme.at)
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found)) if found == word)
    }

    fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Symbol(found)) if found == symbol)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.next += usize::from(found);
        found
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(0, symbol);
        self.next += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), WhereError> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), WhereError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> WhereError {
        let near = match self.peek() {
            None => return WhereError::at(self.end, "syntax error at end of input"),
            Some(Token::Word(text) | Token::Number(text) | Token::Symbol(text)) => text.clone(),
            Some(Token::Quoted(text)) => text.clone(),
            Some(Token::Text(text) | Token::Bits(text)) => format!("'{text}'"),
            Some(Token::Parameter(number)) => format!("${number}"),
        };
        WhereError::at(self.at(), format!("syntax error at or near \"{near}\""))
    }

    fn unsupported(&self, at: usize, what: &str) -> WhereError {
        WhereError::at(at, format!("{what} not supported"))
    }

    /// Makes a node, refusing trees that are too high to walk.
    fn node(&self, at: usize, syntax: Syntax) -> Result<Node, WhereError> {
        let below = syntax.children().iter().map(|child| child.height).max().unwrap_or(0);
        let height = below + 1;
        if height > WHERE_NESTING_MAX { Err(too_deep(at)) } else { Ok(Node { syntax, at, height }) }
    }

    /// Everything that binds at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Node, WhereError> {
        self.depth += 1;
        if self.depth > WHERE_NESTING_MAX {
            return Err(too_deep(self.at()));
        }
        let result = self.climb(least);
        self.depth -= 1;
        result
    }

    fn climb(&mut self, least: u8) -> Result<Node, WhereError> {
        let mut left = self.prefixed()?;
        // The level of the operator just built where it is not associative.
        let mut closed = None;
        while let Some((infix, tokens)) = self.infix() {
            let level = infix.level();
            if level < least {
                break;
            }
            if closed == Some(level) {
                return Err(self.unexpected());
            }
            let at = self.at();
            self.next += tokens;
            (left, closed) = self.extend(left, infix, at)?;
        }
        Ok(left)
    }

    /// NOT, a prefix operator or a bare operand.
    fn prefixed(&mut self) -> Result<Node, WhereError> {
        let at = self.at();
        if self.take_word("not") {
            let operand = self.expression(NOT)?;
            return self.node(at, Syntax::Not(Box::new(operand)));
        }
        match self.peek() {
            Some(Token::Symbol(symbol)) if symbol != "-" && symbol != "+" => {
                let symbol = symbol.as_str();
                if keyword::PUNCTUATION.contains(&symbol) || "<>=".contains(symbol) {
                    return self.signed();
                }
                self.next += 1;
                let operand = Box::new(self.expression(OPERATOR + 1)?);
                self.node(at, Syntax::Unary { operator: symbol.to_owned(), operand })
            }
            _ => self.signed(),
        }
    }

    /// The operator that comes next and how many tokens it has.
    fn infix(&self) -> Option<(Infix, usize)> {
        let found = match self.peek()? {
            Token::Symbol(symbol) if keyword::PUNCTUATION.contains(&symbol.as_str()) => {
                return None;
            }
            Token::Symbol(symbol) => Infix::Operator(symbol.clone()),
            Token::Word(word) => match word.as_str() {
                "and" => Infix::And,
                "or" => Infix::Or,
                "is" => Infix::Is,
                "isnull" => Infix::NullTest { negated: false },
                "notnull" => Infix::NullTest { negated: true },
                "collate" => Infix::Collate,
                "at" if self.is_word(1, "time") && self.is_word(2, "zone") => {
                    return Some((Infix::AtZone, 3));
                }
                "operator" => return Some(self.named_operator()),
                "not" => return Some((self.pattern(1, true)?, 2)),
                _ => self.pattern(0, false)?,
            },
            _ => return None,
        };
        Some((found, 1))
    }

    fn pattern(&self, ahead: usize, negated: bool) -> Option<Infix> {
        let Some(Token::Word(word)) = self.peek_at(ahead) else { return None };
        Some(match word.as_str() {
            "in" => Infix::In { negated },
            "between" => Infix::Between { negated },
            "like" => Infix::Like { form: PatternForm::Like, negated },
            "ilike" => Infix::Like { form: PatternForm::Ilike, negated },
            "similar" => Infix::Like { form: PatternForm::Similar, negated },
            _ => return None,
        })
    }

    /// Builds the node of an operator whose tokens have been taken.
    fn extend(
        &mut self,
        left: Node,
        infix: Infix,
        at: usize,
    ) -> Result<(Node, Option<u8>), WhereError> {
        let mut closed = None;
        let level = infix.level();
        let syntax = match infix {
            Infix::And => {
                let right = self.expression(AND + 1)?;
                return Ok((self.chain(left, right, Syntax::And)?, None));
            }
            Infix::Or => {
                let right = self.expression(OR + 1)?;
                return Ok((self.chain(left, right, Syntax::Or)?, None));
            }
            Infix::Is => self.is_test(left, &mut closed)?,
            Infix::NullTest { negated } => Syntax::IsNull { operand: Box::new(left), negated },
            Infix::Operator(operator) | Infix::Named(operator) => match self.quantifier() {
                Some(all) => self.quantified(left, operator, all)?,
                None => {
                    closed = (level == COMPARISON).then_some(COMPARISON);
                    let right = Box::new(self.expression(level + 1)?);
                    Syntax::Binary { operator, left: Box::new(left), right }
                }
            },
            Infix::In { negated } => self.is_in(left, negated)?,
            Infix::Between { negated } => {
                closed = Some(PATTERN);
                self.between(left, negated)?
            }
            Infix::Like { form, negated } => self.like(left, form, negated, &mut closed)?,
            Infix::AtZone => {
                let zone = self.expression(AT_ZONE + 1)?;
                Syntax::Call { name: vec!["timezone".to_owned()], arguments: vec![zone, left] }
            }
            Infix::Collate => {
                let collation = self.path()?;
                Syntax::Collate { operand: Box::new(left), collation }
            }
            Infix::Unsupported(what) => return Err(self.unsupported(at, what)),
        };
        Ok((self.node(at, syntax)?, closed))
    }

    /// Adds an operand to an AND or OR; chains stay flat however long they are.
    fn chain(
        &self,
        mut left: Node,
        right: Node,
        make: fn(Vec<Node>) -> Syntax,
    ) -> Result<Node, WhereError> {
        let height = right.height + 1;
        let mut probe = make(Vec::new());
        match (&mut left.syntax, &mut probe) {
            (Syntax::And(list), Syntax::And(_)) | (Syntax::Or(list), Syntax::Or(_)) => {
                list.push(right);
                left.height = left.height.max(height);
                if left.height > WHERE_NESTING_MAX { Err(too_deep(left.at)) } else { Ok(left) }
            }
            _ => self.node(left.at, make(vec![left, right])),
        }
    }

    /// What follows IS, after which `closed` is set where the rest binds no further IS.
    fn is_test(&mut self, left: Node, closed: &mut Option<u8>) -> Result<Syntax, WhereError> {
        let negated = self.take_word("not");
        let operand = Box::new(left);
        let expected = match self.peek() {
            Some(Token::Word(word)) => match word.as_str() {
                "null" => {
                    self.next += 1;
                    return Ok(Syntax::IsNull { operand, negated });
                }
                "distinct" => {
                    self.next += 1;
                    self.expect_word("from")?;
                    *closed = Some(IS);
                    let right = Box::new(self.expression(IS + 1)?);
                    // IS DISTINCT is the negative of IS NOT DISTINCT, which is an equality.
                    return Ok(Syntax::Distinct { left: operand, right, negated });
                }
                "true" => Some(true),
                "false" => Some(false),
                "unknown" => None,
                "document" | "normalized" | "json" | "of" => {
                    let what = format!("IS {} is", word.to_uppercase());
                    return Err(self.unsupported(self.at(), &what));
                }
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(Syntax::Test { operand, expected, negated })
    }

    fn between(&mut self, left: Node, negated: bool) -> Result<Syntax, WhereError> {
        let symmetric = self.take_word("symmetric");
        if !symmetric {
            self.take_word("asymmetric");
        }
        let low = Box::new(self.expression(PATTERN + 1)?);
        self.expect_word("and")?;
        let high = Box::new(self.expression(PATTERN + 1)?);
        Ok(Syntax::Between { operand: Box::new(left), low, high, symmetric, negated })
    }

    fn like(
        &mut self,
        left: Node,
        form: PatternForm,
        negated: bool,
        closed: &mut Option<u8>,
    ) -> Result<Syntax, WhereError> {
        if form == PatternForm::Similar {
            self.expect_word("to")?;
        } else if let Some(all) = self.quantifier() {
            let not = if negated { "!" } else { "" };
            let fold = if form == PatternForm::Ilike { "*" } else { "" };
            return self.quantified(left, format!("{not}~~{fold}"), all);
        }
        *closed = Some(PATTERN);
        let pattern = Box::new(self.expression(PATTERN + 1)?);
        let escape = match self.take_word("escape") {
            true => Some(Box::new(self.expression(PATTERN + 1)?)),
            false => None,
        };
        Ok(Syntax::Like { operand: Box::new(left), pattern, escape, form, negated })
    }

    fn is_in(&mut self, left: Node, negated: bool) -> Result<Syntax, WhereError> {
        let (at, operand) = (self.at(), Box::new(left));
        self.expect_symbol("(")?;
        if self.begins_subquery(at)? {
            let query = Box::new(self.query_of_all()?);
            return Ok(Syntax::Member { left: operand, query, negated });
        }
        let list = self.elements(")")?;
        if list.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Syntax::In { operand, list, negated })
    }

    /// Expressions up to a closing bracket, which is taken if there was at least one of them.
    fn elements(&mut self, close: &str) -> Result<Vec<Node>, WhereError> {
        let mut list = Vec::new();
        if self.is_symbol(0, close) {
            return Ok(list);
        }
        loop {
            if list.len() == IN_LIST_ELEMENTS_MAX {
                let reason = format!("lists of more than {IN_LIST_ELEMENTS_MAX} elements are");
                return Err(self.unsupported(self.at(), &reason));
            }
            list.push(self.expression(OR)?);
            if !self.take_symbol(",") {
                self.expect_symbol(close)?;
                return Ok(list);
            }
        }
    }

    /// Whether ANY (false) or ALL (true) comes next.
    fn quantifier(&self) -> Option<bool> {
        match self.peek() {
            Some(Token::Word(word)) if word == "any" || word == "some" => Some(false),
            Some(Token::Word(word)) if word == "all" => Some(true),
            _ => None,
        }
    }

    fn quantified(
        &mut self,
        left: Node,
        operator: String,
        all: bool,
    ) -> Result<Syntax, WhereError> {
        let at = self.at();
        self.next += 1;
        self.expect_symbol("(")?;
        if self.begins_subquery(at)? {
            return self.quantified_subquery(left, &operator, all, at);
        }
        let array = Box::new(self.expression(OR)?);
        self.expect_symbol(")")?;
        Ok(Syntax::Quantified { operator, left: Box::new(left), array, all })
    }
}

fn too_deep(at: usize) -> WhereError {
    WhereError::at(at, format!("nested deeper than {WHERE_NESTING_MAX} levels"))
}

#[cfg(test)]
mod tests;
