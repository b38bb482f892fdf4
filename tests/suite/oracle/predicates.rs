//! Random predicates within what the server promises to evaluate.

use super::tables::{Column, Table, quote};
use crate::harness::{Locale, Rng};

const PATTERNS: &[&str] = &[
    "a%", "%b", "%", "_", "a_b", "%a%", "A%", "É", "é%", "", "a\\%b", "a\\_b", "a\\\\b", "%\n%",
    "__", "ä", "1%", "%_%",
];

/// A predicate, its parameters, and whether it surely is in the server's language.
pub struct Predicate {
    pub text: String,
    pub parameters: Vec<String>,
    pub surely: bool,
}

impl Predicate {
    /// A random one over a table's columns.
    pub fn random(table: &Table, locale: Locale, rng: &mut Rng) -> Predicate {
        let predicate = Predicate { text: String::new(), parameters: Vec::new(), surely: true };
        let mut writer = Writer { table, locale, rng, predicate };
        writer.predicate.text = writer.tree(3);
        writer.predicate
    }
}

struct Writer<'a> {
    table: &'a Table,
    locale: Locale,
    rng: &'a mut Rng,
    predicate: Predicate,
}

impl Writer<'_> {
    fn tree(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.percent(35) {
            return self.leaf();
        }
        match self.rng.below(5) {
            0 => format!("NOT ({})", self.tree(depth - 1)),
            1 | 2 => format!("({}) AND ({})", self.tree(depth - 1), self.tree(depth - 1)),
            3 => format!("({}) OR ({})", self.tree(depth - 1), self.tree(depth - 1)),
            // Without parentheses: precedence is Postgres'.
            _ => format!("{} OR {} AND NOT {}", self.leaf(), self.leaf(), self.leaf()),
        }
    }

    fn leaf(&mut self) -> String {
        let column = self.rng.pick(&self.table.columns).clone();
        let name = &column.name;
        match self.rng.below(12) {
            0 => format!("{name} IS NULL"),
            1 => format!("{name} IS NOT NULL"),
            2 if column.kind.name == "bool" => name.clone(),
            3 if column.kind.name == "bool" => format!("NOT {name}"),
            2 | 3 => self.membership(&column),
            4 | 5 if column.kind.is_text() => self.pattern(&column),
            4 if self.is_ordered(&column) => self.range(&column),
            5 => self.between_columns(&column),
            _ => self.comparison(&column),
        }
    }

    /// Whether `<` on the column is in the language: text has the order of its collation.
    fn is_ordered(&self, column: &Column) -> bool {
        !column.kind.is_text() || self.locale == Locale::CUtf8
    }

    fn operator(&mut self, column: &Column) -> &'static str {
        let operators: &[&str] = if self.is_ordered(column) {
            &["=", "<>", "!=", "<", "<=", ">", ">="]
        } else {
            &["=", "<>"]
        };
        self.rng.pick::<&str>(operators)
    }

    /// A constant beside the column: literal, bare number or parameter.
    fn constant(&mut self, column: &Column) -> String {
        if !column.kind.numbers.is_empty() && self.rng.percent(40) {
            return self.rng.pick(column.kind.numbers).to_string();
        }
        if column.kind.name == "bool" && self.rng.percent(50) {
            return self.rng.pick(&["true", "false", "TRUE"]).to_string();
        }
        let value = *self.rng.pick(column.kind.values);
        if self.rng.percent(30) {
            self.predicate.parameters.push(value.to_owned());
            return format!("${}", self.predicate.parameters.len());
        }
        quote(value)
    }

    fn comparison(&mut self, column: &Column) -> String {
        let (operator, constant) = (self.operator(column), self.constant(column));
        if self.rng.percent(15) {
            return format!("{constant} {operator} {}", column.name);
        }
        format!("{} {operator} {constant}", column.name)
    }

    fn membership(&mut self, column: &Column) -> String {
        let mut constants: Vec<String> =
            (0..self.rng.between(1, 4)).map(|_| self.constant(column)).collect();
        if self.rng.percent(15) {
            constants.push("NULL".to_owned());
        }
        let not = *self.rng.pick(&["", "NOT "]);
        format!("{} {not}IN ({})", column.name, constants.join(", "))
    }

    fn range(&mut self, column: &Column) -> String {
        let (low, high) = (self.constant(column), self.constant(column));
        let not = *self.rng.pick(&["", "NOT "]);
        format!("{} {not}BETWEEN {low} AND {high}", column.name)
    }

    fn pattern(&mut self, column: &Column) -> String {
        let operator = *self.rng.pick(&["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"]);
        // Case is folded by the collation; a server may refuse what it cannot fold alike.
        self.predicate.surely &= !operator.contains("ILIKE") || self.locale == Locale::CUtf8;
        let pattern = *self.rng.pick(PATTERNS);
        if self.rng.percent(25) {
            self.predicate.parameters.push(pattern.to_owned());
            return format!("{} {operator} ${}", column.name, self.predicate.parameters.len());
        }
        format!("{} {operator} {}", column.name, quote(pattern))
    }

    /// Two columns of one type, where there are two.
    fn between_columns(&mut self, column: &Column) -> String {
        let others: Vec<_> =
            self.table.columns.iter().filter(|other| other.kind == column.kind).cloned().collect();
        let other = self.rng.pick(&others).clone();
        self.predicate.surely = false;
        format!("{} {} {}", column.name, self.operator(column), other.name)
    }
}
