//! Subqueries: `[NOT] IN (SELECT …)`, `= ANY (SELECT …)`, `<> ALL (SELECT …)`, `EXISTS (SELECT …)`.
//!
//! *Invariant*: what is accepted selects columns of tables joined with one another, or constants; whatever would
//! change which values those are is refused by its name, never left out. What changes nothing (`DISTINCT`,
//! `ORDER BY`, whether it is `UNION ALL`, `LIMIT 1` where one row is all that is asked for) is checked and left out.

use super::{OR, Parser, too_deep};
use crate::WhereError;
use crate::limits::{IN_LIST_ELEMENTS_MAX, JOINED_TABLES_MAX, WHERE_NESTING_MAX};
use crate::syntax::{Branch, Node, Query, Select, Source, Syntax};
use crate::token::{Lexeme, Token};

/// How every subquery is refused where none may stand.
pub(crate) const SUBQUERY: &str = "subqueries are not supported here";

/// What may follow in SQL, and is not supported.
const CLAUSES: [(&str, &str); 14] = [
    ("right", "RIGHT JOIN, write LEFT JOIN; it is"),
    ("full", "FULL JOIN in subqueries is"),
    ("natural", "NATURAL JOIN, write USING (…); it is"),
    ("group", "GROUP BY in subqueries is"),
    ("having", "HAVING in subqueries is"),
    ("window", "WINDOW in subqueries is"),
    ("limit", "LIMIT in subqueries is"),
    ("offset", "OFFSET in subqueries is"),
    ("fetch", "FETCH in subqueries is"),
    ("for", "FOR UPDATE in subqueries is"),
    ("intersect", "INTERSECT, to which NULLs are equal, write AND with two INs; it is"),
    ("except", "EXCEPT, to which NULLs are equal, write AND with a NOT IN; it is"),
    ("tablesample", "TABLESAMPLE in subqueries is"),
    ("lateral", "LATERAL in subqueries is"),
];

/// What is selected, and what it is called.
type Items = (Vec<Node>, Vec<Option<String>>);

impl Parser<'_> {
    /// Whether a subquery begins here, behind an opening parenthesis; refuses what is none of ours.
    pub(super) fn begins_subquery(&self, at: usize) -> Result<bool, WhereError> {
        let (mut ahead, mut whole) = (0, true);
        while self.is_symbol(ahead, "(") {
            // Inside may be a subquery that is only the beginning of an expression or a list.
            whole = whole && self.ends_query(ahead);
            ahead += 1;
        }
        let known = ["select", "values", "with", "table"];
        match known.iter().find(|word| self.is_word(ahead, word)) {
            None => Ok(false),
            Some(_) if !self.subqueries => Err(WhereError::at(at, SUBQUERY)),
            Some(_) => Ok(whole),
        }
    }

    /// Whether what stands behind the parenthesis that closes this one can follow a subquery that is, or begins, a whole one.
    fn ends_query(&self, ahead: usize) -> bool {
        let words = ["union", "intersect", "except", "order", "limit", "offset", "fetch", "for"];
        let closing = self.closing.get(self.next + ahead).copied().unwrap_or_default();
        match self.lexemes.get(closing + 1).map(|lexeme| &lexeme.token) {
            None => true,
            Some(Token::Symbol(symbol)) => symbol == ")",
            Some(Token::Word(word)) => words.contains(&word.as_str()),
            Some(_) => false,
        }
    }

    /// A subquery with its closing parenthesis, behind its opening one.
    pub(super) fn query(&mut self) -> Result<Query, WhereError> {
        self.depth += 1;
        if self.depth > WHERE_NESTING_MAX {
            return Err(too_deep(self.at()));
        }
        let at = self.at();
        let (grouped, mut branches) = (self.is_symbol(0, "("), self.branch()?);
        // There it would be a second one, or of a name inside.
        if grouped && self.is_word(0, "order") {
            return Err(self.unsupported(self.at(), "ORDER BY behind parentheses is"));
        }
        while self.take_word("union") {
            // The same values, each once: membership does not count.
            _ = self.take_word("all") || self.take_word("distinct");
            branches.extend(self.branch()?);
        }
        self.order_by(&mut branches)?;
        let limit = self.limit();
        if !self.take_symbol(")") {
            return Err(self.clause("this is"));
        }
        self.depth -= 1;
        Ok(Query { branches, limit, at })
    }

    /// The same where a LIMIT would leave out rows.
    pub(super) fn query_of_all(&mut self) -> Result<Query, WhereError> {
        let query = self.query()?;
        match query.limit {
            Some(at) => Err(self.unsupported(at, "LIMIT in subqueries is")),
            None => Ok(query),
        }
    }

    /// `LIMIT 1` or more, and its place: whether there is a row, and the only one, it leaves.
    fn limit(&mut self) -> Option<usize> {
        let at = self.at();
        let some = match self.peek_at(1) {
            Some(Token::Number(number)) => number.parse().is_ok_and(|number: i64| number > 0),
            _ => false,
        };
        if !some || !self.take_word("limit") {
            return None;
        }
        self.next += 1;
        Some(at)
    }

    fn branch(&mut self) -> Result<Vec<Branch>, WhereError> {
        if self.take_symbol("(") {
            let inner = self.query_of_all()?;
            if self.is_symbol(0, ",") {
                let what = "a subquery as a value, write IN (SELECT …); it is";
                return Err(self.unsupported(inner.at, what));
            }
            return Ok(inner.branches);
        }
        let word = ["values", "with", "table"].iter().find(|word| self.is_word(0, word));
        match word {
            Some(&"values") => Ok(vec![self.values()?]),
            Some(word) => {
                let word = word.to_uppercase();
                let what = format!("{word} as a subquery, write SELECT; it is");
                Err(self.unsupported(self.at(), &what))
            }
            None => Ok(vec![self.select()?]),
        }
    }

    /// `VALUES (1, 2), …`.
    fn values(&mut self) -> Result<Branch, WhereError> {
        self.expect_word("values")?;
        let mut rows = Vec::new();
        loop {
            let at = self.at();
            if rows.len() == IN_LIST_ELEMENTS_MAX {
                let reason = format!("VALUES of more than {IN_LIST_ELEMENTS_MAX} rows are");
                return Err(self.unsupported(at, &reason));
            }
            self.expect_symbol("(")?;
            let fields = self.elements(")")?;
            // SELECT without FROM may have a set.
            if let Some(call) = fields.iter().find(|one| matches!(one.syntax, Syntax::Call { .. }))
            {
                return Err(self.unsupported(call.at, "functions in VALUES are"));
            }
            rows.push(self.value_row(fields, at)?);
            if !self.take_symbol(",") {
                return Ok(Branch::Values(rows));
            }
        }
    }

    fn value_row(&self, mut fields: Vec<Node>, at: usize) -> Result<Node, WhereError> {
        match (fields.len(), fields.pop()) {
            (_, None) => Err(self.unexpected()),
            (1, Some(field)) if !matches!(field.syntax, Syntax::Row(_)) => Ok(field),
            (1, Some(field)) => Err(self.unsupported(field.at, "rows as values are")),
            (_, Some(last)) => {
                fields.push(last);
                self.node(at, Syntax::Row(fields))
            }
        }
    }

    /// `SELECT … FROM … WHERE …`.
    fn select(&mut self) -> Result<Branch, WhereError> {
        let at = self.at();
        self.expect_word("select")?;
        // The same values, each once: membership does not count.
        let distinct = self.take_word("distinct");
        if !distinct {
            self.take_word("all");
        } else if self.is_word(0, "from") {
            return Err(self.unexpected());
        } else if self.is_word(0, "on") {
            return Err(self.unsupported(self.at(), "DISTINCT ON in subqueries is"));
        }
        let all_of = self.all_of();
        let (items, names) = self.select_items()?;
        if !self.take_word("from") {
            if items.is_empty() || self.is_word(0, "where") {
                return Err(self.clause("a subquery without FROM is"));
            }
            return Ok(Branch::Row(self.value_row(items, at)?));
        }
        let sources = self.sources()?;
        if let Some(name) = all_of {
            let named = |source: &Source| match &source.alias {
                Some(alias) => *alias == name,
                None => source.table.last() == Some(&name),
            };
            if !sources.iter().any(named) {
                let reason = format!("missing FROM-clause entry for table {name}");
                return Err(WhereError::at(at, reason));
            }
        }
        let filter = match self.take_word("where") {
            true => Some(self.expression(OR)?),
            false => None,
        };
        Ok(Branch::Select(Select {
            items,
            names,
            distinct,
            order: Vec::new(),
            sources,
            filter,
            at,
        }))
    }

    /// The table of `table.*`, up to the star.
    fn all_of(&mut self) -> Option<String> {
        let name = match self.peek() {
            Some(Token::Quoted(name)) => name,
            Some(Token::Word(word)) if !super::keyword::is_reserved(word) => word,
            _ => return None,
        };
        let is_all = self.is_symbol(1, ".") && self.is_symbol(2, "*") && self.is_word(3, "from");
        self.next += if is_all { 2 } else { 0 };
        is_all.then(|| name.clone())
    }

    /// None stands for `*` or nothing, which only EXISTS may have.
    fn select_items(&mut self) -> Result<Items, WhereError> {
        let (mut items, mut names) = (Vec::new(), Vec::new());
        if self.is_word(0, "from") {
            return Ok((items, names));
        }
        if self.is_symbol(0, "*") {
            self.next += 1;
            return Ok((items, names));
        }
        loop {
            let item = self.expression(OR)?;
            let labelled = self.take_word("as");
            let label = match self.peek() {
                Some(Token::Quoted(word)) => Some(word.clone()),
                Some(Token::Word(word)) if labelled || !super::keyword::is_reserved(word) => {
                    Some(word.clone())
                }
                _ if labelled => return Err(self.unexpected()),
                _ => None,
            };
            self.next += usize::from(label.is_some());
            names.push(label.or_else(|| match &item.syntax {
                Syntax::Column(path) => path.last().cloned(),
                _ => None,
            }));
            items.push(item);
            if !self.take_symbol(",") {
                return Ok((items, names));
            }
        }
    }

    /// What stands behind FROM.
    fn sources(&mut self) -> Result<Vec<Source>, WhereError> {
        let mut sources = Vec::new();
        loop {
            let first = sources.len();
            sources.push(self.source(first)?);
            while let Some((optional, conditional)) = self.join()? {
                if sources.len() == JOINED_TABLES_MAX {
                    return Err(self.too_many_tables());
                }
                let mut source = self.source(first)?;
                source.optional = optional;
                if conditional {
                    self.join_condition(&mut source)?;
                }
                sources.push(source);
            }
            if !self.take_symbol(",") {
                return Ok(sources);
            }
            if sources.len() == JOINED_TABLES_MAX {
                return Err(self.too_many_tables());
            }
        }
    }

    fn too_many_tables(&self) -> WhereError {
        let what = format!("joins of more than {JOINED_TABLES_MAX} tables are");
        self.unsupported(self.at(), &what)
    }

    /// Takes the words of a join: whether it keeps rows without a match, and whether it has a condition.
    fn join(&mut self) -> Result<Option<(bool, bool)>, WhereError> {
        let found = match self.peek() {
            Some(Token::Word(word)) => match word.as_str() {
                "join" => (false, true),
                "inner" => (false, true),
                "cross" => (false, false),
                "left" => (true, true),
                "right" | "full" | "natural" => return Err(self.clause("this is")),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        if !self.take_word("join") {
            self.next += 1;
            _ = found.0 && self.take_word("outer");
            self.expect_word("join")?;
        }
        Ok(Some(found))
    }

    fn join_condition(&mut self, source: &mut Source) -> Result<(), WhereError> {
        if self.take_word("on") {
            source.on = Some(self.expression(OR)?);
            return Ok(());
        }
        self.expect_word("using")?;
        self.expect_symbol("(")?;
        loop {
            let path = self.path()?;
            let [name] = path.as_slice() else { return Err(self.unexpected()) };
            source.using.push(name.clone());
            if !self.take_symbol(",") {
                return self.expect_symbol(")");
            }
        }
    }

    fn source(&mut self, first: usize) -> Result<Source, WhereError> {
        let at = self.at();
        if self.is_word(0, "only") {
            return Err(self.unsupported(at, "FROM ONLY is"));
        }
        if self.is_word(0, "lateral") {
            return Err(self.clause("this is"));
        }
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(at, "parentheses and subqueries in FROM are"));
        }
        let table = self.path()?;
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(at, "functions in FROM are"));
        }
        let alias = self.alias()?;
        let (optional, on, using) = (false, None, Vec::new());
        Ok(Source { table, at, alias, optional, first, on, using })
    }

    fn alias(&mut self) -> Result<Option<String>, WhereError> {
        let marked = self.take_word("as");
        let name = match self.peek() {
            Some(Token::Quoted(name)) => name.clone(),
            Some(Token::Word(word)) if !super::keyword::is_reserved(word) => word.clone(),
            _ if marked => return Err(self.unexpected()),
            _ => return Ok(None),
        };
        self.next += 1;
        if self.is_symbol(0, "(") {
            return Err(self.unsupported(self.at(), "names for the columns of a table are"));
        }
        Ok(Some(name))
    }

    /// `ORDER BY columns`, which has no effect where there is no LIMIT; so it may be nothing that could fail.
    fn order_by(&mut self, branches: &mut [Branch]) -> Result<(), WhereError> {
        if !self.take_word("order") {
            return Ok(());
        }
        self.expect_word("by")?;
        loop {
            let node = self.expression(OR)?;
            let fine = match &node.syntax {
                Syntax::Column(path) => self.ordered(path, &node, branches)?,
                Syntax::Number(place) => {
                    let width = branches.first().map_or(0, Branch::width);
                    place.parse().is_ok_and(|place: usize| (1..=width).contains(&place))
                }
                _ => false,
            };
            if !fine {
                let what = "in subqueries ORDER BY what is no column is";
                return Err(self.unsupported(node.at, what));
            }
            _ = self.take_word("asc") || self.take_word("desc");
            if self.take_word("nulls") && !self.take_word("first") {
                self.expect_word("last")?;
            }
            if !self.take_symbol(",") {
                return Ok(());
            }
        }
    }

    /// A name behind ORDER BY is that of an item first; only of one SELECT it may be a table's column.
    fn ordered(
        &self,
        path: &[String],
        node: &Node,
        branches: &mut [Branch],
    ) -> Result<bool, WhereError> {
        let single = branches.len() == 1;
        let Some(Branch::Select(select)) = branches.first_mut() else { return Ok(false) };
        let called = |name: &Option<String>| path.len() == 1 && name.as_ref() == path.first();
        let mut items = (0..select.items.len()).filter(|at| called(&select.names[*at]));
        match (items.next(), items.next()) {
            (Some(_), Some(_)) => {
                let reason = format!("ORDER BY {} is ambiguous", path.join("."));
                Err(WhereError::at(node.at, reason))
            }
            (Some(item), None) => {
                // What is computed is only known to be there: a copy of it would have copies of its own.
                let (at, item) = (node.at, &select.items[item]);
                let is_column = matches!(item.syntax, Syntax::Column(_));
                let marker = Node { syntax: Syntax::Null, at, height: 1 };
                select.order.push(if is_column { item.clone() } else { marker });
                Ok(true)
            }
            (None, _) => {
                select.order.push(node.clone());
                Ok(single)
            }
        }
    }

    /// Refuses what stands here, by its name where it has one.
    fn clause(&self, otherwise: &str) -> WhereError {
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
        let query = self.query()?;
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
        let query = Box::new(self.query_of_all()?);
        Ok(Syntax::Member { left: Box::new(left), query, negated })
    }
}

/// Of every opening parenthesis the place of the one that closes it; of the rest, and where there is none, the end.
pub(super) fn closing(lexemes: &[Lexeme]) -> Box<[usize]> {
    let mut closing = vec![lexemes.len(); lexemes.len()];
    let mut open = Vec::new();
    for (at, lexeme) in lexemes.iter().enumerate() {
        match &lexeme.token {
            Token::Symbol(symbol) if symbol == "(" => open.push(at),
            Token::Symbol(symbol) if symbol == ")" => {
                open.pop().into_iter().for_each(|opened: usize| closing[opened] = at);
            }
            _ => {}
        }
    }
    closing.into()
}
