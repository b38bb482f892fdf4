//! The JSON of one shape's messages.
//!
//! Values are Postgres' own text, so encoding is escaping and copying. Member order is ours: no
//! client depends on it.

use brooklet_dataflows::{Change, Posting, Verdict};
use brooklet_sql::{Lsn, RelationName, Row, RowBuilder, RowError, TableSchema};

use super::Offset;
use super::block::Block;
use crate::shapes::definition::Replica;
use crate::shapes::visibility::Visibility;

/// How a shape's rows look to its clients.
#[derive(Debug, Clone)]
pub struct View {
    /// `{"relation":["public","issues"]` without the braces.
    relation: String,
    /// `"public"."issues"`, escaped as keys are.
    key_prefix: String,
    columns: Vec<ViewColumn>,
    /// Places in `columns`, in key order.
    key: Vec<usize>,
    replica: Replica,
}

#[derive(Debug, Clone)]
struct ViewColumn {
    /// Place in rows of the table; snapshot rows have the view's own places.
    at: usize,
    /// The name as a JSON string.
    name: String,
    in_key: bool,
}

/// Whose places a row has.
#[derive(Clone, Copy)]
enum Places {
    Table,
    View,
}

impl View {
    /// A view of the selected `columns`, rows identified by `key`, a part of them; both are places
    /// in `table.columns`. `replica` says how much of a row updates and deletes show.
    #[must_use]
    pub fn new(table: &TableSchema, columns: &[usize], key: &[usize], replica: Replica) -> View {
        let name = |at: usize| json_string(&table.columns[at].name);
        let column = |at: &usize| ViewColumn { at: *at, name: name(*at), in_key: key.contains(at) };
        let place = |at: &usize| columns.iter().position(|column| column == at);
        View {
            relation: relation(&table.name),
            key_prefix: key_prefix(&table.name),
            columns: columns.iter().map(column).collect(),
            key: key.iter().filter_map(place).collect(),
            replica,
        }
    }

    /// The key of a row that has the selected columns only.
    #[must_use]
    pub fn stored_key(&self, row: &Row) -> String {
        self.row_key(row, Places::View)
    }

    /// The key of a row of the table.
    #[must_use]
    pub fn table_key(&self, row: &Row) -> String {
        self.row_key(row, Places::Table)
    }

    /// The selected columns of a row of the table.
    pub fn select(&self, row: &Row) -> Result<Row, RowError> {
        let mut selected = RowBuilder::new(self.columns.len())?;
        for column in &self.columns {
            selected.push(row.get(column.at))?;
        }
        selected.finish()
    }

    /// A row of the snapshot, which has the selected columns only.
    pub fn snapshot_row(&self, row: &Row, out: &mut Vec<u8>) {
        self.present_row(row, None, out);
    }

    /// A row of a subset, which bears the subset's mark.
    pub fn subset_row(&self, row: &Row, mark: u32, out: &mut Vec<u8>) {
        self.present_row(row, Some(mark), out);
    }

    fn present_row(&self, row: &Row, mark: Option<u32>, out: &mut Vec<u8>) {
        self.open(row, Places::View, out);
        self.values(row, Places::View, |_| true, "value", out);
        out.extend_from_slice(b",\"headers\":{\"operation\":\"insert\",");
        out.extend_from_slice(self.relation.as_bytes());
        if let Some(mark) = mark {
            out.extend_from_slice(format!(",\"snapshot_mark\":{mark}").as_bytes());
        }
        out.extend_from_slice(b"}}");
    }

    /// The entries of a posting that lie after `after`: two for a key change, else one; each is
    /// given to `each`.
    pub fn entries(
        &self,
        block: &Block,
        posting: &Posting,
        change: &Change,
        after: Offset,
        mut each: impl FnMut(&[u8]),
    ) {
        let mut out = Vec::with_capacity(256);
        let at = |op| Offset { tx: block.lsn.0, op };
        let op = posting.op_position;
        if posting.verdict != Verdict::Rekey {
            let head = Head { lsn: block.lsn, xid: block.xid, op, last: posting.last };
            self.entry(posting.verdict, change, &head, &mut out);
            return each(&out);
        }
        let (Some(old), Some(new)) = (&change.old, &change.new) else { return };
        let head = Head { lsn: block.lsn, xid: block.xid, op, last: false };
        if at(op) > after {
            self.open(old, Places::Table, &mut out);
            self.values(old, Places::Table, |column| self.deleted(column), "value", &mut out);
            self.close(&head, "delete", Some(("key_change_to", new)), &mut out);
            each(&out);
        }
        out.clear();
        let head = Head { op: op + 1, last: posting.last, ..head };
        self.open(new, Places::Table, &mut out);
        self.values(new, Places::Table, |_| true, "value", &mut out);
        self.close(&head, "insert", Some(("key_change_from", old)), &mut out);
        each(&out);
    }

    fn entry(&self, verdict: Verdict, change: &Change, head: &Head, out: &mut Vec<u8>) {
        let (row, operation) = match verdict {
            Verdict::Insert => (&change.new, "insert"),
            Verdict::Update | Verdict::Rekey => (&change.new, "update"),
            Verdict::Delete => (&change.old, "delete"),
        };
        let Some(row) = row else { return };
        self.open(row, Places::Table, out);
        match (verdict, &change.old) {
            (Verdict::Update, Some(old)) => {
                let changed = |c: &ViewColumn| old.get(c.at) != row.get(c.at);
                let full = self.replica == Replica::Full;
                let shown = |c: &ViewColumn| full || c.in_key || changed(c);
                self.values(row, Places::Table, shown, "value", out);
                if full {
                    self.values(old, Places::Table, changed, "old_value", out);
                }
            }
            (Verdict::Delete, _) => {
                self.values(row, Places::Table, |c| self.deleted(c), "value", out);
            }
            _ => self.values(row, Places::Table, |_| true, "value", out),
        }
        self.close(head, operation, None, out);
    }

    /// Whether a delete shows a column.
    fn deleted(&self, column: &ViewColumn) -> bool {
        column.in_key || self.replica == Replica::Full
    }

    /// `{"key":…`
    fn open(&self, row: &Row, places: Places, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"key\":");
        write_json_string(&self.row_key(row, places), out);
    }

    /// `,"value":{…}` of the columns that are `shown`; `member` is `value` or `old_value`.
    fn values(
        &self,
        row: &Row,
        places: Places,
        shown: impl Fn(&ViewColumn) -> bool,
        member: &str,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(format!(",\"{member}\":{{").as_bytes());
        let mut first = true;
        for (place, column) in self.columns.iter().enumerate().filter(|(_, c)| shown(c)) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(column.name.as_bytes());
            out.push(b':');
            match row.text(places.of(place, column)) {
                Some(text) => write_json_string(text, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }

    /// `,"headers":{…}}`
    fn close(
        &self,
        head: &Head,
        operation: &str,
        other_key: Option<(&str, &Row)>,
        out: &mut Vec<u8>,
    ) {
        let Head { lsn, xid, op, last } = head;
        let last = if *last { "\"last\":true," } else { "" };
        out.extend_from_slice(b",\"headers\":{");
        let text = format!(
            "{last}\"operation\":\"{operation}\",{},\"txids\":[{xid}],\"lsn\":\"{}\",\"op_position\":{op}",
            self.relation, lsn.0
        );
        out.extend_from_slice(text.as_bytes());
        if let Some((member, row)) = other_key {
            out.extend_from_slice(format!(",\"{member}\":").as_bytes());
            write_json_string(&self.row_key(row, Places::Table), out);
        }
        out.extend_from_slice(b"}}");
    }

    fn row_key(&self, row: &Row, places: Places) -> String {
        let mut key = self.key_prefix.clone();
        for place in &self.key {
            match row.text(places.of(*place, &self.columns[*place])) {
                Some(text) if text.contains('/') => {
                    key.push_str("/\"");
                    key.push_str(&text.replace('/', "//"));
                    key.push('"');
                }
                Some(text) => {
                    key.push_str("/\"");
                    key.push_str(text);
                    key.push('"');
                }
                None => key.push_str("/_"),
            }
        }
        key
    }
}

impl Places {
    fn of(self, place: usize, column: &ViewColumn) -> usize {
        match self {
            Places::Table => column.at,
            Places::View => place,
        }
    }
}

struct Head {
    lsn: Lsn,
    xid: u32,
    op: u64,
    last: bool,
}

/// The last message of a snapshot.
#[must_use]
pub fn snapshot_end(visibility: &Visibility) -> String {
    let ids: Vec<String> = visibility.in_progress.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "{{\"headers\":{{\"control\":\"snapshot-end\",\"xmin\":\"{}\",\"xmax\":\"{}\",\"xip_list\":[{}]}}}}",
        visibility.xmin,
        visibility.xmax,
        ids.join(",")
    )
}

/// The last message of an answer that reaches the end of the log.
#[must_use]
pub fn up_to_date(lsn: Lsn) -> String {
    format!("{{\"headers\":{{\"control\":\"up-to-date\",\"global_last_seen_lsn\":\"{}\"}}}}", lsn.0)
}

/// The only message of a 409.
pub const MUST_REFETCH: &str = "[{\"headers\":{\"control\":\"must-refetch\"}}]";

fn relation(name: &RelationName) -> String {
    format!("\"relation\":[{},{}]", json_string(&name.schema), json_string(&name.table))
}

fn key_prefix(name: &RelationName) -> String {
    let escape = |text: &str| text.replace('/', "//").replace('.', "..");
    format!("\"{}\".\"{}\"", escape(&name.schema), escape(&name.table))
}

fn json_string(text: &str) -> String {
    let mut out = Vec::new();
    write_json_string(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_json_string(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests;
