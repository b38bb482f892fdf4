//! The JSON of one shape's messages.
//!
//! Values are Postgres' own text, so encoding is escaping and copying. Member order is ours: no
//! client depends on it.

use std::sync::atomic::{AtomicU64, Ordering};

use brooklet_dataflows::{Change, Posting, Verdict};
use brooklet_sql::{Lsn, RelationName, Row, RowBuilder, RowError, TableSchema};
use bytes::Bytes;

use super::block::Block;
use super::messages::Name;
use super::{Offset, json};
use crate::shapes::definition::Replica;
use crate::shapes::visibility::Visibility;

/// How a shape's rows look to its clients.
#[derive(Debug, Clone)]
pub struct View {
    /// Another one for each that was made, so that messages can be named by it.
    id: u64,
    /// `{"relation":["public","issues"]` without the braces.
    relation: String,
    /// `"public"."issues"`, escaped as keys are,
    key_prefix: String,
    /// and as it stands in a JSON string, which begins with it.
    key_open: String,
    columns: Vec<ViewColumn>,
    /// Places in `columns`, in key order.
    key: Vec<usize>,
    replica: Replica,
}

#[derive(Debug, Clone)]
struct ViewColumn {
    /// Place in rows of the table; snapshot rows have the view's own places.
    at: usize,
    /// `,"name":`
    member: String,
    in_key: bool,
}

/// Whose places a row has.
#[derive(Clone, Copy)]
pub(super) enum Places {
    /// The table's.
    Table,
    /// The view's own: snapshot rows.
    View,
}

impl View {
    /// A view of the selected `columns`, rows identified by `key`, a part of them; both are places
    /// in `table.columns`. `replica` says how much of a row updates and deletes show.
    #[must_use]
    pub fn new(table: &TableSchema, columns: &[usize], key: &[usize], replica: Replica) -> View {
        let member = |at: usize| format!(",{}:", json_string(&table.columns[at].name));
        let column =
            |at: &usize| ViewColumn { at: *at, member: member(*at), in_key: key.contains(at) };
        let place = |at: &usize| columns.iter().position(|column| column == at);
        let key_prefix = key_prefix(&table.name);
        static IDS: AtomicU64 = AtomicU64::new(0);
        View {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            relation: relation(&table.name),
            key_open: key_open(&key_prefix),
            key_prefix,
            columns: columns.iter().map(column).collect(),
            key: key.iter().filter_map(place).collect(),
            replica,
        }
    }

    /// How messages are named that are the same in all shapes with this view.
    #[must_use]
    pub fn name(&self, posting: &Posting) -> Name {
        let Posting { seq, verdict, last, .. } = *posting;
        Name { seq, view: self.id, verdict, last }
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
        self.stored_row(|place| row.get(place), out);
    }

    /// A row of the snapshot by its values at the view's places.
    pub fn stored_row<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a [u8]> + Copy,
        out: &mut Vec<u8>,
    ) {
        self.present_row(value, None, out);
    }

    /// A row of a subset, which bears the subset's mark.
    pub fn subset_row(&self, row: &Row, mark: u32, out: &mut Vec<u8>) {
        self.present_row(|place| row.get(place), Some(mark), out);
    }

    fn present_row<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a [u8]> + Copy,
        mark: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let value = |place: usize, _| value(place);
        self.open(value, out);
        self.values(value, |_| true, "value", out);
        out.extend_from_slice(b",\"headers\":{\"operation\":\"insert\",");
        out.extend_from_slice(self.relation.as_bytes());
        if let Some(mark) = mark {
            out.extend_from_slice(format!(",\"snapshot_mark\":{mark}").as_bytes());
        }
        out.extend_from_slice(b"}}");
    }

    /// The entries of a posting that lie after `after`, each given to `each`.
    pub fn entries(
        &self,
        block: &Block,
        posting: &Posting,
        change: &Change,
        after: Offset,
        mut each: impl FnMut(&[u8]),
    ) {
        let mut out = Vec::with_capacity(256);
        entries(block, posting, change, after, |entry| {
            out.clear();
            self.entry(entry, &mut out);
            each(&out);
        });
    }

    /// What a posting that is one entry becomes, wherever its log is read from.
    #[must_use]
    pub fn message(&self, block: &Block, posting: &Posting, change: &Change) -> Bytes {
        let mut message = Vec::with_capacity(256);
        self.entries(block, posting, change, Offset::SNAPSHOT_END, |entry| message.extend(entry));
        message.into_boxed_slice().into()
    }

    /// One entry of a log.
    pub fn entry(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let row = entry.row;
        let new = |_, at: usize| row.get(at);
        self.open(new, out);
        match (entry.operation, entry.old) {
            (Operation::Update, Some(old)) => {
                let changed = |c: &ViewColumn| old.get(c.at) != row.get(c.at);
                let full = self.replica == Replica::Full;
                let shown = |c: &ViewColumn| full || c.in_key || changed(c);
                self.values(new, shown, "value", out);
                if full {
                    self.values(|_, at| old.get(at), changed, "old_value", out);
                }
            }
            (Operation::Delete, _) => self.values(new, |c| self.deleted(c), "value", out),
            _ => self.values(new, |_| true, "value", out),
        }
        self.close(entry, out);
    }

    /// Whether a delete shows a column.
    fn deleted(&self, column: &ViewColumn) -> bool {
        column.in_key || self.replica == Replica::Full
    }

    /// `{"key":…`; `value` gives the value at a place of the view, which is `at` in the table.
    fn open<'a>(&self, value: impl Fn(usize, usize) -> Option<&'a [u8]> + Copy, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"key\":");
        self.json_key(value, out);
    }

    fn json_key<'a>(
        &self,
        value: impl Fn(usize, usize) -> Option<&'a [u8]> + Copy,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(self.key_open.as_bytes());
        self.key_parts(value, |part| json::escape(part, out));
        out.push(b'"');
    }

    /// `,"value":{…}` of the columns that are `shown`; `member` is `value` or `old_value`.
    fn values<'a>(
        &self,
        value: impl Fn(usize, usize) -> Option<&'a [u8]> + Copy,
        shown: impl Fn(&ViewColumn) -> bool,
        member: &str,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(member.as_bytes());
        out.extend_from_slice(b"\":{");
        let mut first = true;
        for (place, column) in self.columns.iter().enumerate().filter(|(_, c)| shown(c)) {
            let comma = usize::from(std::mem::take(&mut first));
            out.extend_from_slice(&column.member.as_bytes()[comma..]);
            match value(place, column.at) {
                Some(text) => json::string(text, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }

    /// `,"headers":{…}}`
    fn close(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let Entry { lsn, xid, op, .. } = entry;
        let last = if entry.last { "\"last\":true," } else { "" };
        out.extend_from_slice(b",\"headers\":{");
        let text = format!(
            "{last}\"operation\":\"{}\",{},\"txids\":[{xid}],\"lsn\":\"{}\",\"op_position\":{op}",
            entry.operation.name(),
            self.relation,
            lsn.0
        );
        out.extend_from_slice(text.as_bytes());
        if let Some((member, row)) = entry.other {
            out.extend_from_slice(format!(",\"{}\":", member.name()).as_bytes());
            self.json_key(|_, at| row.get(at), out);
        }
        out.extend_from_slice(b"}}");
    }

    /// What identifies a row.
    pub(super) fn row_key(&self, row: &Row, places: Places) -> String {
        let mut key = self.key_prefix.clone().into_bytes();
        self.key_parts(|place, at| row.get(places.of(place, at)), |part| key.extend(part));
        String::from_utf8(key).unwrap_or_default()
    }

    /// Gives the pieces of what identifies a row to `part`, but for the prefix.
    fn key_parts<'a>(
        &self,
        value: impl Fn(usize, usize) -> Option<&'a [u8]>,
        mut part: impl FnMut(&[u8]),
    ) {
        for place in &self.key {
            let Some(text) = value(*place, self.columns[*place].at) else {
                part(b"/_");
                continue;
            };
            part(b"/\"");
            for (number, piece) in text.split(|byte| *byte == b'/').enumerate() {
                if number > 0 {
                    part(b"//");
                }
                part(piece);
            }
            part(b"\"");
        }
    }
}

impl Places {
    /// Where in a row the column is that is at `place` in the view and `at` in the table.
    pub(super) fn of(self, place: usize, at: usize) -> usize {
        match self {
            Places::Table => at,
            Places::View => place,
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It came.
    Insert,
    /// It changed.
    Update,
    /// It went.
    Delete,
}

/// The other entry of a key change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// The one after this one, which is a delete.
    To,
    /// The one before this one, which is an insert.
    From,
}

/// One entry of a log, whatever it is written as.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What became
    pub operation: Operation,
    /// of this row; of an update the new one.
    pub row: &'a Row,
    /// The row before an update.
    pub old: Option<&'a Row>,
    /// The row under the other key.
    pub other: Option<(KeyChange, &'a Row)>,
    /// Its transaction's place,
    pub lsn: Lsn,
    /// and id.
    pub xid: u32,
    /// Its place there.
    pub op: u64,
    /// Whether it is the transaction's last one here.
    pub last: bool,
}

impl Operation {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

impl KeyChange {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyChange::To => "key_change_to",
            KeyChange::From => "key_change_from",
        }
    }
}

/// The entries of a posting that lie after `after`: two for a key change, else one; each is given to
/// `each`.
pub fn entries<'a>(
    block: &Block,
    posting: &Posting,
    change: &'a Change,
    after: Offset,
    mut each: impl FnMut(&Entry<'a>),
) {
    let (old, new) = (change.old.as_ref(), change.new.as_ref());
    let (operation, row) = match posting.verdict {
        Verdict::Insert => (Operation::Insert, new),
        Verdict::Update | Verdict::Rekey => (Operation::Update, new),
        Verdict::Delete => (Operation::Delete, old),
    };
    let Some(row) = row else { return };
    let (lsn, xid, op) = (block.lsn, block.xid, posting.op_position);
    let before = old.filter(|_| operation == Operation::Update);
    let entry =
        Entry { operation, row, old: before, other: None, lsn, xid, op, last: posting.last };
    if posting.verdict != Verdict::Rekey {
        return each(&entry);
    }
    let Some(old) = old else { return };
    if (Offset { tx: lsn.0, op }) > after {
        let other = Some((KeyChange::To, row));
        let (operation, last) = (Operation::Delete, false);
        each(&Entry { operation, row: old, old: None, other, last, ..entry });
    }
    let other = Some((KeyChange::From, old));
    each(&Entry { operation: Operation::Insert, old: None, other, op: op + 1, ..entry });
}

/// The last message of a snapshot.
#[must_use]
pub fn snapshot_end(visibility: &Visibility) -> String {
    let ids: Vec<String> = visibility.in_progress().iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        "{{\"headers\":{{\"control\":\"snapshot-end\",\"xmin\":\"{}\",\"xmax\":\"{}\",\"xip_list\":[{}]}}}}",
        visibility.xmin(),
        visibility.xmax(),
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

/// A JSON string that begins with the prefix, as far as that.
fn key_open(prefix: &str) -> String {
    let mut out = vec![b'"'];
    json::escape(prefix.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn json_string(text: &str) -> String {
    let mut out = Vec::new();
    json::string(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
