//! The question that a client asks: table, filter, columns.
//!
//! Enters: the parts. Leaves: the query string of a request, and the same question as SQL for Postgres to answer.

use super::http::encode;

/// A shape as a client defines it.
#[derive(Clone, Debug)]
pub struct Shape {
    table: String,
    filter: Option<String>,
    parameters: Vec<String>,
    columns: Option<String>,
    more: String,
}

impl Shape {
    /// All rows and columns of a table, its name as in SQL.
    pub fn of(table: &str) -> Shape {
        let table = table.to_owned();
        Shape { table, filter: None, parameters: Vec::new(), columns: None, more: String::new() }
    }

    /// Only the rows that match.
    pub fn filter(mut self, filter: &str) -> Shape {
        self.filter = Some(filter.to_owned());
        self
    }

    /// The value of the next `$n`.
    pub fn parameter(mut self, value: &str) -> Shape {
        self.parameters.push(value.to_owned());
        self
    }

    /// Only these columns, comma separated, quoted as in SQL.
    pub fn columns(mut self, columns: &str) -> Shape {
        self.columns = Some(columns.to_owned());
        self
    }

    /// Further query parameters, already encoded: `&secret=x`.
    pub fn more(mut self, more: &str) -> Shape {
        self.more.push_str(more);
        self
    }

    /// The path and query of a request without its position.
    pub fn target(&self) -> String {
        let mut target = format!("/v1/shape?table={}", encode(&self.table));
        if let Some(filter) = &self.filter {
            target.push_str(&format!("&where={}", encode(filter)));
        }
        for (at, value) in self.parameters.iter().enumerate() {
            target.push_str(&format!("&params%5B{}%5D={}", at + 1, encode(value)));
        }
        if let Some(columns) = &self.columns {
            target.push_str(&format!("&columns={}", encode(columns)));
        }
        target + &self.more
    }

    /// The same question to Postgres; parameters are quoted literals, typed by their context.
    pub fn sql(&self) -> String {
        let columns = self.columns.as_deref().unwrap_or("*");
        let mut filter = self.filter.clone().unwrap_or_else(|| "true".to_owned());
        for (at, value) in self.parameters.iter().enumerate().rev() {
            filter = filter
                .replace(&format!("${}", at + 1), &format!("'{}'", value.replace('\'', "''")));
        }
        format!("SELECT {columns} FROM {} WHERE ({filter}) IS TRUE", self.table)
    }
}
