//! Subqueries: `[NOT] IN (SELECT …)`, `= ANY (SELECT …)`, `<> ALL (SELECT …)`, `EXISTS (SELECT …)`.
//!
//! *Invariant*: what is accepted selects columns of one table; whatever would change which values those are
//! is refused by its name, never left out.

use super::{OR, Parser};
use crate::WhereError;
use crate::syntax::{Node, Select, Syntax};
use crate::token::Token;

/// How every subquery is refused where none may stand.
pub(crate) const SUBQUERY: &str = "subqueries are not supported here";

/// What may follow a table in SQL, and is not supported.
const CLAUSES: [(&str, &str); 19] = [
    ("join", "joins in subqueries are"),
    ("inner", "joins in subqueries are"),
    ("cross", "joins in subqueries are"),
    ("left", "joins in subqueries are"),
    ("right", "joins in subqueries are"),
    ("full", "joins in subqueries are"),
    ("natural", "joins in subqueries are"),
    ("group", "GROUP BY in subqueries is"),
    ("having", "HAVING in subqueries is"),
    ("window", "WINDOW in subqueries is"),
    ("order", "ORDER BY in subqueries is"),
    ("limit", "LIMIT in subqueries is"),
    ("offset", "OFFSET in subqueries is"),
    ("fetch", "FETCH in subqueries is"),
    ("for", "FOR UPDATE in subqueries is"),
    ("union", "UNION in subqueries is"),
    ("intersect", "INTERSECT in subqueries is"),
    ("except", "EXCEPT in subqueries is"),
    ("tablesample", "TABLESAMPLE in subqueries is"),
];

impl Parser<'_> {
    /// Whether a subquery begins here, behind an opening parenthesis; refuses what is none of ours.
    pub(super) fn begins_subquery(&self, at: usize) -> Result<bool, WhereError> {
        let word = ["select", "values", "with", "table"].iter().find(|word| self.is_word(0, word));
        match word {
            None => Ok(false),
            Some(&"select") if self.subqueries => Ok(true),
            Some(_) if !self.subqueries => Err(WhereError::at(at, SUBQUERY)),
            Some(word) => {
                let word = word.to_uppercase();
                Err(self
                    .unsupported(self.at(), &format!("{word} as a subquery, write SELECT; it is")))
            }
        }
    }

    /// `SELECT … FROM … )`, behind its opening parenthesis.
    pub(super) fn select(&mut self) -> Result<Select, WhereError> {
        let at = self.at();
        self.expect_word("select")?;
        // The same values, each once: membership does not count.
        if !self.take_word("distinct") {
            self.take_word("all");
        } else if self.is_word(0, "on") {
            return Err(self.unsupported(self.at(), "DISTINCT ON in subqueries is"));
        }
        let items = self.select_items()?;
        if !self.take_word("from") {
            return Err(self.clause("a subquery without FROM is"));
        }
        let table_at = self.at();
        if self.is_word(0, "only") {
            return Err(self.unsupported(table_at, "FROM ONLY is"));
        }
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(table_at, "subqueries in FROM are"));
        }
        let table = self.path()?;
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(table_at, "functions in FROM are"));
        }
        let alias = self.alias()?;
        let filter = match self.take_word("where") {
            true => Some(self.expression(OR)?),
            false => None,
        };
        if !self.take_symbol(")") {
            return Err(self.clause("this is"));
        }
        Ok(Select { items, table, table_at, alias, filter, at })
    }

    /// None stands for `*` or nothing, which only EXISTS may have.
    fn select_items(&mut self) -> Result<Vec<Node>, WhereError> {
        if self.is_word(0, "from") {
            return Ok(Vec::new());
        }
        if self.is_symbol(0, "*") {
            self.next += 1;
            return Ok(Vec::new());
        }
        let mut items = Vec::new();
        loop {
            items.push(self.expression(OR)?);
            if self.take_word("as") {
                self.next += 1;
            }
            if !self.take_symbol(",") {
                return Ok(items);
            }
        }
    }

    fn alias(&mut self) -> Result<Option<String>, WhereError> {
        let marked = self.take_word("as");
        let name = match self.peek() {
            Some(Token::Quoted(name)) => name.clone(),
            Some(Token::Word(word)) if !super::keyword::is_reserved(word) => {
                if let Some((_, what)) = CLAUSES.iter().find(|(known, _)| known == word) {
                    return Err(self.unsupported(self.at(), what));
                }
                word.clone()
            }
            _ if marked => return Err(self.unexpected()),
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(name))
    }

    /// Refuses what stands here, by its name where it has one.
    fn clause(&self, otherwise: &str) -> WhereError {
        if self.is_symbol(0, ",") {
            return self.unsupported(self.at(), "more than one table in a subquery is");
        }
        let known = CLAUSES.iter().find(|(word, _)| self.is_word(0, word));
        match known {
            Some((_, what)) => self.unsupported(self.at(), what),
            None if self.peek().is_none() || otherwise == "this is" => self.unexpected(),
            None => self.unsupported(self.at(), otherwise),
        }
    }

    /// `EXISTS (`, taken up to there.
    pub(super) fn exists(&mut self, at: usize) -> Result<Node, WhereError> {
        self.next += 2;
        if !self.begins_subquery(at)? {
            return Err(self.unexpected());
        }
        let query = self.select()?;
        self.node(at, Syntax::Exists(Box::new(query)))
    }

    /// `left operator ANY|ALL (SELECT`, taken up to there.
    pub(super) fn quantified_subquery(
        &mut self,
        left: Node,
        operator: &str,
        all: bool,
        at: usize,
    ) -> Result<Syntax, WhereError> {
        let negated = match (operator, all) {
            ("=", false) => false,
            ("<>", true) => true,
            _ => {
                let what = "subqueries with ANY and ALL, but for = ANY and <> ALL, are";
                return Err(self.unsupported(at, what));
            }
        };
        let query = Box::new(self.select()?);
        Ok(Syntax::Member { left: Box::new(left), query, negated })
    }
}
