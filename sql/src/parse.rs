//! Tokens into a syntax tree, with Postgres' grammar of expressions.
//!
//! *Enters*: tokens. *Leaves*: a [`Node`], once every token has been used.
//! *Invariant*: precedence and associativity are those of Postgres' own grammar, which general SQL
//! parsers do not keep (`a < b < c` is no expression, reserved words are no columns). That is why
//! the climbing below is ours and only the tokens are `sqlparser`'s.

use crate::WhereError;
use crate::expr::Comparison;
use crate::limits::{IN_LIST_ELEMENTS_MAX, WHERE_NESTING_MAX};
use crate::syntax::{Node, Syntax};
use crate::token::{Lexeme, Token};

mod atom;
mod keyword;

/// Levels of Postgres' precedence table, weakest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARISON: u8 = 5;
/// BETWEEN, IN, LIKE, ILIKE.
const PATTERN: u8 = 6;
/// Arithmetic and every other operator, none of which is supported yet.
const OPERATOR: u8 = 7;

/// Parses a whole clause; `end` is its length in characters.
pub(crate) fn parse(lexemes: &[Lexeme], end: usize) -> Result<Node, WhereError> {
    let mut parser = Parser { lexemes, next: 0, end, depth: 0 };
    let node = parser.expression(OR)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    lexemes: &'a [Lexeme],
    next: usize,
    end: usize,
    depth: usize,
}

/// What may follow an operand.
enum Infix {
    And,
    Or,
    Is,
    NullTest { negated: bool },
    Compare(Comparison),
    In { negated: bool },
    Between { negated: bool },
    Like { fold: bool, negated: bool },
    Unsupported(String),
}

impl Infix {
    fn level(&self) -> u8 {
        match self {
            Infix::Or => OR,
            Infix::And => AND,
            Infix::Is | Infix::NullTest { .. } => IS,
            Infix::Compare(_) => COMPARISON,
            Infix::In { .. } | Infix::Between { .. } | Infix::Like { .. } => PATTERN,
            Infix::Unsupported(_) => OPERATOR,
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
            Some(Token::Text(text)) => format!("'{text}'"),
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
        let at = self.at();
        let mut left = if self.take_word("not") {
            let operand = self.expression(NOT)?;
            self.node(at, Syntax::Not(Box::new(operand)))?
        } else {
            self.signed()?
        };
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

    /// The operator that comes next and how many tokens it has.
    fn infix(&self) -> Option<(Infix, usize)> {
        let found = match self.peek()? {
            Token::Symbol(symbol) => match Comparison::from_symbol(symbol) {
                Some(comparison) => Infix::Compare(comparison),
                None if keyword::PUNCTUATION.contains(&symbol.as_str()) => return None,
                None => Infix::Unsupported(symbol.clone()),
            },
            Token::Word(word) => match word.as_str() {
                "and" => Infix::And,
                "or" => Infix::Or,
                "is" => Infix::Is,
                "isnull" => Infix::NullTest { negated: false },
                "notnull" => Infix::NullTest { negated: true },
                "collate" | "at" | "operator" | "overlaps" => {
                    Infix::Unsupported(word.to_uppercase())
                }
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
            "like" => Infix::Like { fold: false, negated },
            "ilike" => Infix::Like { fold: true, negated },
            "similar" => Infix::Unsupported("SIMILAR TO".to_owned()),
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
            Infix::Compare(comparison) => {
                closed = Some(COMPARISON);
                self.refuse_quantifier()?;
                let right = Box::new(self.expression(COMPARISON + 1)?);
                Syntax::Compare { comparison, left: Box::new(left), right }
            }
            Infix::In { negated } => {
                let list = self.list()?;
                Syntax::In { operand: Box::new(left), list, negated }
            }
            Infix::Between { negated } => {
                closed = Some(PATTERN);
                self.between(left, negated)?
            }
            Infix::Like { fold, negated } => {
                closed = Some(PATTERN);
                self.refuse_quantifier()?;
                let pattern = Box::new(self.expression(PATTERN + 1)?);
                let escape = if self.take_word("escape") {
                    Some(Box::new(self.expression(PATTERN + 1)?))
                } else {
                    None
                };
                Syntax::Like { operand: Box::new(left), pattern, escape, fold, negated }
            }
            Infix::Unsupported(operator) => {
                return Err(self.unsupported(at, &format!("the operator {operator} is")));
            }
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

    fn list(&mut self) -> Result<Vec<Node>, WhereError> {
        let at = self.at();
        self.expect_symbol("(")?;
        if ["select", "values", "with", "table"].iter().any(|word| self.is_word(0, word)) {
            return Err(self.unsupported(at, "subqueries are"));
        }
        let mut list = vec![self.expression(OR)?];
        while self.take_symbol(",") {
            if list.len() == IN_LIST_ELEMENTS_MAX {
                let reason = format!("IN lists of more than {IN_LIST_ELEMENTS_MAX} elements");
                return Err(self.unsupported(at, &format!("{reason} are")));
            }
            list.push(self.expression(OR)?);
        }
        self.expect_symbol(")")?;
        Ok(list)
    }

    fn refuse_quantifier(&self) -> Result<(), WhereError> {
        match self.peek() {
            Some(Token::Word(word)) if matches!(word.as_str(), "any" | "all" | "some") => {
                Err(self.unsupported(self.at(), &format!("{} is", word.to_uppercase())))
            }
            _ => Ok(()),
        }
    }
}

fn too_deep(at: usize) -> WhereError {
    WhereError::at(at, format!("nested deeper than {WHERE_NESTING_MAX} levels"))
}

#[cfg(test)]
mod tests;
