//! The rows of a table, the columns that somebody needs of them, in memory.
//!
//! *Invariant*: it is a multiset of rows, each with only the columns that are kept; an index finds every row
//! whose key is not NULL by that key, and may find others.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use brooklet_sql::{MemberKey, Membership, Row, RowBuilder, Source, TableSchema};

use super::bag::Counted;
use super::counts::{Counts, Frozen};
use super::indexes::{By, Indexes};

/// Fewer empty places than these are kept for what comes next.
const ROOM_KEPT: usize = if cfg!(test) { 4 } else { 1_024 };

/// Whether so many places are too many for what is in them. Then they are made anew, which costs as much as there is,
/// and three times as many have gone since.
pub(super) fn mostly_empty(places: usize, used: usize) -> bool {
    places > ROOM_KEPT && 4 * used < places
}

/// Which rows: of which table, which columns of them (sorted). A table that has changed since is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeptName {
    /// `pg_class.oid`.
    pub table: u32,
    /// Places in the table.
    pub columns: Box<[usize]>,
    /// What these columns are: see [`TableSchema::identity`].
    identity: Box<str>,
    /// Those of them whose values are likely to be had by many rows.
    pub(super) recurring: Recurring,
}

/// Columns, as a matter of how rows are kept: names are not told apart by them.
#[derive(Debug, Clone, Default)]
pub(super) struct Recurring(Box<[usize]>);

impl Recurring {
    pub(super) fn contains(&self, column: usize) -> bool {
        self.0.contains(&column)
    }
}

impl PartialEq for Recurring {
    fn eq(&self, _: &Recurring) -> bool {
        true
    }
}

impl Eq for Recurring {}

impl PartialOrd for Recurring {
    fn partial_cmp(&self, other: &Recurring) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Recurring {
    fn cmp(&self, _: &Recurring) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Recurring {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl KeptName {
    /// These columns of a table.
    #[must_use]
    pub fn new(table: &TableSchema, columns: Box<[usize]>) -> KeptName {
        let identity = table.identity(&columns).into();
        KeptName { table: table.oid, columns, identity, recurring: Recurring::default() }
    }

    /// Whose values are likely to be had by many rows in these columns: such values are kept once.
    #[must_use]
    pub(super) fn recurring(self, columns: impl IntoIterator<Item = usize>) -> KeptName {
        KeptName { recurring: Recurring(columns.into_iter().collect()), ..self }
    }

    /// What these columns are: see [`TableSchema::identity`].
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// One that comes before all others of a table.
    pub(super) fn first(table: u32) -> KeptName {
        let recurring = Recurring::default();
        KeptName { table, columns: [].into(), identity: "".into(), recurring }
    }

    /// A row with these columns only; the others are left empty, so that places stay.
    #[must_use]
    pub fn project(&self, row: &Row) -> Option<Row> {
        self.build(|place, _| row.get(place))
    }

    /// A row whose values are these columns' and no others.
    #[must_use]
    pub fn place(&self, values: &Row) -> Option<Row> {
        self.build(|_, number| values.get(number))
    }

    fn build<'a>(&self, value: impl Fn(usize, usize) -> Option<&'a [u8]>) -> Option<Row> {
        let width = self.columns.last().map_or(0, |last| last + 1);
        let mut row = RowBuilder::new(width).ok()?;
        let mut number = 0;
        for place in 0..width {
            let kept = self.columns.get(number) == Some(&place);
            row.push(if kept { value(place, number) } else { None }).ok()?;
            number += usize::from(kept);
        }
        row.finish().ok()
    }
}

/// The rows.
pub(super) struct Kept {
    rows: Counts,
    indexes: Indexes,
}

/// More rows were taken away than there are, or there are more than can be numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing;

impl Kept {
    /// Rows of this name, none yet.
    pub(super) fn new(name: &KeptName) -> Kept {
        Kept { rows: Counts::new(name), indexes: Indexes::default() }
    }

    /// These rows.
    pub(super) fn of(rows: Counts) -> Result<Kept, Missing> {
        let indexes = Indexes::default();
        if rows.is_whole() { Ok(Kept { rows, indexes }) } else { Err(Missing) }
    }

    /// Adds or takes copies of a row, which has no other columns than those that are kept. After an error nothing
    /// here is right any more.
    pub(super) fn change(&mut self, row: &Row, delta: i64) -> Result<(), Missing> {
        let Counted { id, before, after } = self.rows.change(row, delta).ok_or(Missing)?;
        match (before, after) {
            (0, 0) => {}
            (0, _) => self.indexes.insert(id, row),
            (_, 0) => self.indexes.remove(id, row),
            _ => {}
        }
        u32::try_from(after).map(|_| ()).map_err(|_| Missing)
    }

    /// Gives back the room of rows that are gone, if they were most of all. Numbers of rows change.
    pub(super) fn give_back(&mut self) {
        if self.rows.give_back() {
            self.indexes.clear();
            for (id, row, _) in self.rows.numbered() {
                self.indexes.insert(id, &row);
            }
        }
    }

    /// Every row with how often it is there.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Row, u32)> {
        self.rows.rows().map(|(row, count)| (row, times(count)))
    }

    /// One of them.
    pub(super) fn row(&self, id: u32) -> Option<(Row, u32)> {
        self.rows.row(id).map(|(row, count)| (row, times(count)))
    }

    /// The rows as they are now, see [`Counts::freeze`].
    pub(super) fn freeze(&self) -> Frozen {
        self.rows.freeze()
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + self.indexes.bytes()
    }

    /// From now on rows are found by what this tests; told by which number. Whoever asks lets go of it
    /// again.
    pub(super) fn add_link(&mut self, membership: &Membership) -> u32 {
        let (index, is_new) = self.indexes.add(By::Link(Box::new(membership.clone())));
        self.fill(index, is_new);
        index
    }

    /// The same by what a row has of a source.
    pub(super) fn add_source(&mut self, source: &Source) -> u32 {
        let (index, is_new) = self.indexes.add(By::Source(source.clone()));
        self.fill(index, is_new);
        index
    }

    fn fill(&mut self, index: u32, is_new: bool) {
        if is_new {
            for (id, row, _) in self.rows.numbered() {
                self.indexes.insert_into(index, id, &row);
            }
        }
    }

    /// One user less of an index.
    pub(super) fn release(&mut self, index: u32) {
        self.indexes.release(index);
    }

    /// The rows that may have this key; with `partial` also those of which one of several columns is
    /// NULL.
    pub(super) fn find(
        &self,
        index: u32,
        key: &MemberKey,
        partial: bool,
        into: &mut BTreeSet<u32>,
    ) {
        self.indexes.find(index, key, partial, into);
    }

    /// The rows that may have this of a source.
    pub(super) fn find_value(&self, index: u32, key: &[u8], into: &mut BTreeSet<u32>) {
        self.indexes.find(index, key, true, into);
    }

    /// How many rows these find.
    pub(super) fn count<K: std::hash::Hash + ?Sized>(&self, index: u32, key: &K) -> usize {
        self.indexes.count(index, key)
    }
}

/// No count is less than zero, or more than that; see [`Kept::change`].
fn times(count: i64) -> u32 {
    u32::try_from(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{key, membership, row};

    #[test]
    fn room_of_rows_that_are_gone_is_given_back_and_the_others_are_found() {
        let row = |number: i64| row(&[Some(number), Some(number)]);
        let name = KeptName { columns: [0, 1].into(), ..KeptName::first(2) };
        let mut kept = Kept::new(&name);
        let index = kept.add_link(&membership("parent_id IN (SELECT id FROM parent)"));
        (0..3_000).for_each(|number| kept.change(&row(number), 2).unwrap());
        (0..3_000).filter(|n| n % 1_000 != 7).for_each(|n| kept.change(&row(n), -2).unwrap());
        kept.give_back();
        assert_eq!(kept.len(), 3);
        assert!(kept.bytes() < 2_000, "{}", kept.bytes());
        for number in 0..3_000 {
            let mut found = BTreeSet::new();
            kept.find(index, &key(Some(number)), false, &mut found);
            // Those of other keys with its hash, too.
            let rows: Vec<_> = found.iter().map(|id| kept.row(*id).unwrap()).collect();
            let there = number % 1_000 == 7;
            assert_eq!(rows.contains(&(row(number), 2)), there, "{number}");
            assert!(rows.len() <= 3, "some that are gone");
        }
        kept.change(&row(7), -2).unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept.change(&row(7), -1), Err(Missing));
    }
}
