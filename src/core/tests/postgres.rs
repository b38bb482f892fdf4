//! A model of Postgres: tables, commits in the order of the log, snapshots, and a slot.
//!
//! Commit order is not id order; a commit is streamed before snapshots see it; what is not confirmed
//! is sent again, and sometimes what is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use brooklet_dataflows::{Change, Verdict};
use brooklet_sql::{
    Column, Lsn, Relation, RelationColumn, RelationName, ReplicaIdentity, Row, TableSchema,
};

use super::members::{State, Subquery};
use super::upkeep::reached;
use crate::ingest::Entry;
use crate::shape_log::Offset;
use crate::shapes::visibility::Visibility;
use crate::storage::tests::rng::Rng;

/// Bytes that a commit record takes.
const COMMIT: u64 = 48;

/// `id, n, body`, then what was added to the table since.
pub(super) type Values = Vec<Option<String>>;

pub(super) struct Postgres {
    rng: Rng,
    pub tables: [Table; 2],
    pub commits: Vec<Commit>,
    /// Ids of transactions that are at work.
    open: Vec<u32>,
    next_xid: u32,
    /// Where the log ends.
    pub wal: u64,
    /// What the slot was told is durable.
    pub confirmed: Lsn,
    /// How many of the last commits snapshots do not show; chance says it where nothing is said here.
    pub hidden: Option<usize>,
    /// Whether rows of snapshots break off in the middle; now and then they do.
    pub breaks: bool,
    /// Until this is true snapshots are taken, but their rows do not come.
    pub slow: Option<Arc<AtomicBool>>,
}

#[derive(Default)]
pub(super) struct Table {
    rows: BTreeMap<u32, Values>,
    /// Columns that were added.
    pub added: usize,
}

pub(super) struct Commit {
    pub lsn: Lsn,
    pub end_lsn: Lsn,
    xid: u32,
    pub operations: Vec<Operation>,
    /// Whether snapshots see it.
    pub visible: bool,
}

pub(super) enum Operation {
    Row { table: usize, added: usize, old: Option<Values>, new: Option<Values> },
    Truncate { table: usize },
}

/// Which rows a shape is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub table: usize,
    /// `n < below`
    pub below: Option<u32>,
    /// `id, n, body` and not what is added later.
    pub listed: bool,
    /// Instead of `below`: which rows of a table it asks for.
    pub subquery: Option<Subquery>,
}

/// What one change brings to a shape, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub offset: Offset,
    pub verdict: Verdict,
    pub old_key: Option<String>,
    pub new: Option<Values>,
}

/// What a snapshot sees.
pub(super) struct Taken {
    pub visibility: Visibility,
    pub until: Lsn,
    /// By commit, which it contains.
    pub contains: Vec<bool>,
    pub rows: Vec<Row>,
    /// After how many of them no more come.
    pub breaks_at: Option<usize>,
}

pub(super) fn oid(table: usize) -> u32 {
    table as u32 + 1
}

pub(super) fn row(values: &Values) -> Row {
    Row::new(values.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap()
}

fn names(added: usize) -> Vec<String> {
    let fixed = ["id", "n", "body"].map(str::to_owned).into_iter();
    fixed.chain((0..added).map(|number| format!("added{number}"))).collect()
}

fn type_oid(name: &str) -> u32 {
    if matches!(name, "id" | "n") { 23 } else { 25 }
}

fn table_name(table: usize) -> RelationName {
    RelationName { schema: "public".into(), table: format!("t{table}") }
}

pub(super) fn relation(table: usize, added: usize) -> Arc<Relation> {
    let column =
        |name: String| RelationColumn { type_oid: type_oid(&name), type_modifier: -1, name };
    Arc::new(Relation {
        oid: oid(table),
        name: table_name(table),
        identity: ReplicaIdentity::Full,
        columns: names(added).into_iter().map(column).collect(),
        order: Vec::new(),
    })
}

pub(crate) fn schema(table: usize, added: usize) -> Arc<TableSchema> {
    let column = |(number, name): (usize, String)| Column {
        type_oid: type_oid(&name),
        base_type_oid: type_oid(&name),
        type_name: if type_oid(&name) == 23 { "int4" } else { "text" }.into(),
        type_modifier: -1,
        dimensions: 0,
        not_null: name == "id",
        key_position: (name == "id").then_some(0),
        generated: false,
        collation: None,
        number: number as i16 + 1,
        dropped: false,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        name,
    };
    let columns = names(added).into_iter().enumerate().map(column).collect();
    Arc::new(TableSchema {
        oid: oid(table),
        name: table_name(table),
        columns,
        partitioned: false,
        unique: Vec::new(),
    })
}

impl Question {
    /// Every row of a table.
    pub fn all(table: usize) -> Question {
        Question { table, below: None, listed: true, subquery: None }
    }

    /// Whether its rows depend on those of a table.
    fn reads(self, table: usize) -> bool {
        self.table == table || self.subquery.is_some_and(|one| one.inner(self.table) == table)
    }

    /// But for what its subquery says.
    pub fn matches(self, values: &Values) -> bool {
        let n = values[1].as_deref().map(|n| n.parse::<u32>().unwrap());
        self.below.is_none_or(|below| n.is_some_and(|n| n < below))
    }
}

impl Postgres {
    pub fn new(rng: Rng) -> Postgres {
        let (tables, commits, open) = Default::default();
        let (confirmed, hidden, breaks, slow) = (Lsn::ZERO, None, false, None);
        let (next_xid, wal) = (700, 1000);
        Postgres { rng, tables, commits, open, next_xid, wal, confirmed, hidden, breaks, slow }
    }

    /// A transaction of random changes commits.
    pub fn commit(&mut self) {
        let mut operations = Vec::new();
        for _ in 0..1 + self.rng.below(5) {
            let table = self.rng.below(2);
            if self.rng.below(400) == 0 {
                self.tables[table].rows.clear();
                operations.push(Operation::Truncate { table });
            } else {
                let change = self.change(table);
                operations.push(change);
            }
        }
        self.commit_all(operations);
    }

    /// A table is emptied.
    pub fn truncate(&mut self, table: usize) {
        self.tables[table].rows.clear();
        self.commit_all(vec![Operation::Truncate { table }]);
    }

    fn commit_all(&mut self, operations: Vec<Operation>) {
        for _ in 0..self.rng.below(2) {
            self.open.push(self.next_xid);
            self.next_xid += 1;
        }
        let xid = if self.open.is_empty() || self.rng.percent(60) {
            self.next_xid += 1;
            self.next_xid - 1
        } else {
            let at = self.rng.below(self.open.len());
            self.open.swap_remove(at)
        };
        let lsn = self.wal + 8 * self.rng.below(3) as u64;
        self.wal = lsn + COMMIT;
        let (lsn, end_lsn) = (Lsn(lsn), Lsn(self.wal));
        self.commits.push(Commit { lsn, end_lsn, xid, operations, visible: false });
    }

    fn change(&mut self, table: usize) -> Operation {
        let (key, n) = (self.rng.below(12) as u32, self.rng.below(10).to_string());
        let rng = &mut self.rng;
        let Table { rows, added } = &mut self.tables[table];
        let (old, moves) = (rows.remove(&key), rng.percent(15));
        let mut new = old.clone().unwrap_or_else(|| vec![None; 3 + *added]);
        new.resize(3 + *added, None);
        new[0] = Some(key.to_string());
        new[1] = rng.percent(90).then_some(n);
        new[2] = rng.percent(80).then(|| "x".repeat(rng.below(90)));
        new.iter_mut().skip(3).for_each(|value| *value = rng.percent(50).then(|| "y".to_owned()));
        let free = (0..20).find(|key| !rows.contains_key(key)).unwrap_or(key);
        let key = if old.is_some() && moves { free } else { key };
        new[0] = Some(key.to_string());
        let gone = old.is_some() && !moves && rng.percent(30);
        if !gone {
            rows.insert(key, new.clone());
        }
        Operation::Row { table, added: *added, old, new: (!gone).then_some(new) }
    }

    /// A column is added. That waits for whoever works on the table.
    pub fn alter(&mut self) {
        self.commits.iter_mut().for_each(|commit| commit.visible = true);
        let table = &mut self.tables[self.rng.below(2)];
        table.added += 1;
        table.rows.values_mut().for_each(|row| row.push(None));
    }

    /// Other databases write.
    pub fn noise(&mut self) {
        self.wal += 8 * self.rng.below(30) as u64;
    }

    /// What is visible, and the last commit that is.
    pub fn look(&mut self) -> (Visibility, Lsn) {
        let taken = self.snapshot(Question::all(0));
        let seen = self.commits.iter().rfind(|commit| commit.visible);
        (taken.visibility, seen.map_or(Lsn::ZERO, |commit| commit.lsn))
    }

    /// Waits for the rows of a snapshot.
    pub fn rows_come(postgres: &Mutex<Postgres>) -> impl Future<Output = ()> + use<> {
        let mut postgres = postgres.lock().unwrap();
        let mut polls = if postgres.rng.percent(10) { postgres.rng.below(4) } else { 0 };
        let slow = postgres.slow.clone();
        reached(move || {
            polls = polls.saturating_sub(1);
            polls == 0 && slow.as_ref().is_none_or(|slow| slow.load(Ordering::SeqCst))
        })
    }

    /// Which commits a base contains that stands in the log after the entries of `lsn`.
    pub fn contained(&self, contains: &[bool], lsn: Lsn) -> Vec<bool> {
        let commits = self.commits.iter().enumerate();
        let contained =
            |(at, commit): (usize, &Commit)| commit.lsn <= lsn || contains.get(at) == Some(&true);
        commits.map(contained).collect()
    }

    /// What a shape finds. The last commits may not be visible yet.
    pub fn snapshot(&mut self, question: Question) -> Taken {
        let chance = if self.rng.percent(50) { self.rng.below(3) } else { 0 };
        let hidden = self.hidden.unwrap_or(chance);
        let seen = self.commits.len().saturating_sub(hidden);
        self.commits[..seen].iter_mut().for_each(|commit| commit.visible = true);
        let mut at = self.open.clone();
        at.extend(self.commits.iter().filter(|commit| !commit.visible).map(|commit| commit.xid));
        at.sort_unstable();
        let xmin = at.first().map_or(self.next_xid, |xid| *xid);
        let in_progress = at.into_iter().map(u64::from).collect();
        let visibility = Visibility::new(xmin.into(), self.next_xid.into(), in_progress);
        let contains: Vec<bool> = self.commits.iter().map(|commit| commit.visible).collect();
        let rows: Vec<Row> = self.rows(question, &contains).values().map(row).collect();
        let breaks_at = (self.breaks || self.rng.percent(5)).then_some(rows.len() / 2);
        Taken { visibility, until: Lsn(self.wal), contains, rows, breaks_at }
    }

    /// The rows that a question is about after the given commits.
    pub fn rows(&self, question: Question, contains: &[bool]) -> BTreeMap<String, Values> {
        let mut tables = State::default();
        let commits = self.commits.iter().zip(contains).filter(|(_, contained)| **contained);
        commits.for_each(|(commit, _)| tables.apply(commit));
        let mut rows = tables.rows(question);
        // A column that was added is empty in older rows.
        let columns = 3 + if question.listed { 0 } else { self.tables[question.table].added };
        rows.values_mut().for_each(|row| row.resize(columns, None));
        rows
    }

    /// What a shape's log holds in the end, by what its snapshot contains.
    pub fn log(&self, question: Question, contains: &[bool]) -> Vec<Seen> {
        let mut found = Vec::new();
        for (number, commit) in self.commits.iter().enumerate() {
            if contains.get(number) == Some(&true) {
                continue;
            }
            for (at, operation) in commit.operations.iter().enumerate() {
                let Operation::Row { table, old, new, .. } = operation else { continue };
                if *table != question.table {
                    continue;
                }
                let old = old.as_ref().filter(|row| question.matches(row));
                let new = new.as_ref().filter(|row| question.matches(row));
                let columns = if question.listed { 3 } else { usize::MAX };
                let shows = |row: &Values| row.iter().take(columns).cloned().collect::<Values>();
                let mut op = 2 * at as u64;
                let verdict = match (old, new) {
                    (None, None) => continue,
                    // An update that shows nothing new.
                    (Some(old), Some(new)) if shows(old) == shows(new) => continue,
                    (None, Some(_)) => Verdict::Insert,
                    (Some(_), None) => Verdict::Delete,
                    (Some(old), Some(new)) if old[0] == new[0] => Verdict::Update,
                    (Some(_), Some(_)) => {
                        op += 1;
                        Verdict::Rekey
                    }
                };
                let offset = Offset { tx: commit.lsn.0, op };
                let shown = |row: &Values| row.iter().take(3).cloned().collect();
                found.push(Seen {
                    offset,
                    verdict,
                    old_key: old.and_then(|old| old[0].clone()),
                    new: new.map(shown),
                });
            }
        }
        found
    }

    /// Whether the stream may end a shape that sees commits after `after`; `true` in the second place
    /// if it must.
    pub fn ends(&self, question: Question, added: usize, contains: &[bool]) -> (bool, bool) {
        let (mut may, mut must) =
            (self.tables[question.table].added > 0 && !question.listed, false);
        for (number, commit) in self.commits.iter().enumerate() {
            let unseen = contains.get(number) != Some(&true);
            for operation in &commit.operations {
                match operation {
                    Operation::Truncate { table } if question.reads(*table) => {
                        may = true;
                        must |= unseen;
                    }
                    Operation::Row { table, added: now, .. } if *table == question.table => {
                        must |= unseen && *now > added && !question.listed;
                    }
                    _ => {}
                }
            }
        }
        (may || must, must)
    }
}

/// A connection of the slot: what it sends next.
pub(super) struct Stream {
    next: usize,
    announced: HashMap<usize, usize>,
    entries: VecDeque<Entry>,
}

impl Stream {
    /// Begins where the slot or the client wants, whichever is later; now and then earlier, as far as
    /// what is confirmed.
    pub fn connect(postgres: &mut Postgres, start: Lsn) -> Stream {
        assert!(postgres.confirmed <= start, "confirmed {}, held {start}", postgres.confirmed);
        let from = if postgres.rng.percent(50) { postgres.confirmed } else { start };
        let next = postgres.commits.partition_point(|commit| commit.lsn < from);
        Stream { next, announced: HashMap::new(), entries: VecDeque::new() }
    }

    /// A slice of at most so many entries; nothing if all is sent.
    pub fn slice(&mut self, postgres: &mut Postgres, most: usize) -> Vec<Entry> {
        while self.entries.len() < most && self.next < postgres.commits.len() {
            let commit = &postgres.commits[self.next];
            self.send(commit, &mut postgres.rng);
            self.next += 1;
        }
        if self.entries.is_empty() && postgres.rng.percent(30) {
            self.entries.push_back(Entry::Idle(Lsn(postgres.wal)));
        }
        let most = most.min(self.entries.len());
        self.entries.drain(..most).collect()
    }

    /// Whether everything was sent.
    pub fn is_done(&self, postgres: &Postgres) -> bool {
        self.entries.is_empty() && self.next == postgres.commits.len()
    }

    fn send(&mut self, commit: &Commit, rng: &mut Rng) {
        self.entries.push_back(Entry::Begin { lsn: commit.lsn, xid: commit.xid });
        let mut changes: Vec<Change> = Vec::new();
        for (at, operation) in commit.operations.iter().enumerate() {
            let op_position = 2 * at as u64;
            let together = matches!(operation, Operation::Row { table, added, .. }
                if self.announced.get(table) == Some(added));
            if (!together || rng.percent(20)) && !changes.is_empty() {
                self.entries.push_back(Entry::Changes(std::mem::take(&mut changes)));
                // A position in the middle, behind what is not there yet: more than Postgres would say.
                if rng.percent(20) {
                    self.entries.push_back(Entry::Idle(commit.end_lsn));
                }
            }
            match operation {
                Operation::Truncate { table } => {
                    self.entries.push_back(Entry::Truncate(vec![oid(*table)]));
                }
                Operation::Row { table, added, old, new } => {
                    if self.announced.insert(*table, *added) != Some(*added) {
                        self.entries.push_back(Entry::Relation(relation(*table, *added)));
                    }
                    let (old, new) = (old.as_ref().map(row), new.as_ref().map(row));
                    changes.push(Change { seq: 0, op_position, table: oid(*table), old, new });
                }
            }
        }
        if !changes.is_empty() {
            self.entries.push_back(Entry::Changes(changes));
        }
        self.entries.push_back(Entry::Commit { end_lsn: commit.end_lsn, time: 0 });
    }
}
