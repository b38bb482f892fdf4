//! The table that filters are about, and its rows.

use std::sync::Arc;

use brooklet_sql::{Collation, Row, TableSchema};

use super::schema;

const COLUMNS: [(&str, u32); 8] = [
    ("id", 23),
    ("project_id", 23),
    ("n", 20),
    ("title", 25),
    ("status", 25),
    ("tags", 1009),
    ("meta", 3802),
    ("closed", 16),
];

/// The table.
pub fn table() -> Arc<TableSchema> {
    schema::table(1, "issues", &COLUMNS, Collation::c)
}

/// A row that belongs to shape `k` of every template, but for the last.
pub fn row(id: usize, k: usize) -> Row {
    let (id, project, n) = (id.to_string(), k.to_string(), (10 * k + 5).to_string());
    let title = format!("Issue {k:07}: a Word{k:07} in it").replacen('I', "i", 1);
    let tags = format!("{{common,tag{k}}}");
    let meta =
        format!("{{\"team\": {k}, \"points\": 3, \"labels\": [\"a\", \"b\"], \"key{k}\": \"x\"}}");
    let values: [&str; 8] = [&id, &project, &n, &title, "open", &tags, &meta, "f"];
    Row::new(values.map(Some)).unwrap()
}
