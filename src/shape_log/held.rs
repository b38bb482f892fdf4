//! The rows that a shape holds: its base with the entries of its log applied.
//!
//! *Enters*: where the rows and the entries are. *Leaves*: each row once, in no order.
//! *Invariant*: what leaves is what a client has that followed the log up to the same place: per key
//! the last entry counts. Of a table without a key, whose equal rows have one key together, as many are left as came
//! and did not go. Memory is bounded: a log with many entries, or with long keys, is gone through several
//! times, each time for a part of the keys.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::sync::Arc;

use brooklet_dataflows::{Change, Verdict};
use brooklet_sql::Row;

use super::block::{PostingFile, change, last_op};
use super::postings::Posting;
use super::{BatchPlace, Block, Offset, PackStore, View};
use crate::change_log::ChangeLog;
use crate::limits::{HELD_BYTES_MAX, HELD_KEY_BYTES, HELD_KEYS_MAX};

/// Where a shape's rows are.
pub struct Held<'a> {
    /// Holds changes.
    pub changes: &'a ChangeLog,
    /// Holds rows of bases.
    pub packs: &'a PackStore,
    /// How the shape's rows look.
    pub view: &'a View,
    /// The table's number.
    pub table: u32,
    /// Whether the table has no key, so that there may be equal rows.
    pub keyless: bool,
}

/// What became of keys since the base.
type Touched = HashMap<String, Fate>;

/// What became of one key.
#[derive(Default)]
struct Fate {
    /// Its last row, if it has one; of a table without a key the last that came.
    last: Option<Place>,
    /// How many more came than went: counted only of a table without a key.
    copies: i64,
}

/// Where a row is: the seq of its change, and the file of the posting.
type Place = (u64, Arc<PostingFile>);

impl Held<'_> {
    /// Gives every row to `each`, with the selected columns only: those of the base's batches, which `batch` finds
    /// when they are about to be read, changed by the entries in `blocks` after `after` and up to `end`.
    pub fn rows<E: From<io::Error>>(
        &self,
        (batches, batch): (usize, impl Fn(usize) -> Option<BatchPlace>),
        blocks: &[Block],
        (after, end): (Offset, Offset),
        mut each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries: usize = blocks.iter().map(|block| block.count as usize).sum();
        let mut parts = entries.div_ceil(HELD_KEYS_MAX).max(1) as u64;
        // The same at any time: so is what is read, and in which order.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let is_in =
            |parts: u64, part: u64, key: &str| parts == 1 || hasher.hash_one(key) % parts == part;
        // How long keys are is known once they are read: of a table without a key they are whole rows.
        let mut first = loop {
            let most = if parts < entries as u64 { HELD_BYTES_MAX } else { usize::MAX };
            let mine = |key: &str| is_in(parts, 0, key);
            match self.touched(blocks, (after, end), most, &mine)? {
                Some(touched) => break Some(touched),
                None => parts *= 2,
            }
        };
        for part in 0..parts {
            let mine = |key: &str| is_in(parts, part, key);
            let all = || self.touched(blocks, (after, end), usize::MAX, &mine);
            let touched = if part == 0 { Ok(first.take()) } else { all() };
            let mut touched = touched?.unwrap_or_default();
            for number in 0..batches {
                let given_up = || io::Error::other("its rows were given up");
                let place = batch(number).ok_or_else(given_up)?;
                for row in self.packs.read(&place).map_err(io::Error::other)? {
                    let key = self.view.stored_key(&row);
                    if mine(&key) && self.is_left(touched.get_mut(&key)) {
                        each(row)?;
                    }
                }
            }
            let came = |fate: Fate| {
                let count = if self.keyless { fate.copies.max(0) } else { 1 };
                fate.last.map(|place| (place, count))
            };
            let mut last: Vec<(Place, i64)> = touched.into_values().filter_map(came).collect();
            last.sort_unstable_by_key(|((seq, file), _)| (*seq, Arc::as_ptr(file)));
            for ((seq, file), count) in last.into_iter().filter(|(_, count)| *count > 0) {
                let change = change(seq, 0, &file, self.changes, self.table)?;
                let row = change.new.ok_or_else(|| io::Error::other("no new row"))?;
                let row = self.view.select(&row).map_err(io::Error::other)?;
                (0..count).try_for_each(|_| each(row.clone()))?;
            }
        }
        Ok(())
    }

    /// Whether a row of the base is still there.
    fn is_left(&self, fate: Option<&mut Fate>) -> bool {
        let Some(fate) = fate else { return true };
        // One of several that went: which does not matter.
        let gone = fate.copies < 0;
        fate.copies += i64::from(gone);
        self.keyless && !gone
    }

    /// What became of the keys that are `mine`; `None` if they take more than `most` bytes.
    fn touched(
        &self,
        blocks: &[Block],
        (after, end): (Offset, Offset),
        most: usize,
        mine: &impl Fn(&str) -> bool,
    ) -> io::Result<Option<Touched>> {
        let (mut touched, bytes) = (Touched::new(), Cell::new(0));
        let mut note = |row: &Row, place: Option<Place>| {
            let key = self.view.table_key(row);
            if !mine(&key) {
                return;
            }
            let length = key.len();
            let fate: &mut Fate = touched.entry(key).or_insert_with(|| {
                bytes.set(bytes.get() + length + HELD_KEY_BYTES);
                Fate::default()
            });
            fate.copies += if place.is_some() { 1 } else { -1 };
            if place.is_some() || !self.keyless {
                fate.last = place;
            }
        };
        for block in blocks {
            for posting in block.read()? {
                let at = Offset { tx: block.lsn.0, op: last_op(&posting) };
                if after < at && at <= end {
                    self.entry(block, &posting, &mut note)?;
                }
                if bytes.get() > most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(touched))
    }

    fn entry(
        &self,
        block: &Block,
        posting: &Posting,
        note: &mut impl FnMut(&Row, Option<Place>),
    ) -> io::Result<()> {
        if self.keyless && posting.verdict == Verdict::Update {
            // Nothing of the row is another: all of it is its key.
            return Ok(());
        }
        let Change { old, new, .. } = block.change(posting, self.changes, self.table)?;
        let gone = matches!(posting.verdict, Verdict::Delete | Verdict::Rekey);
        old.filter(|_| gone).iter().for_each(|row| note(row, None));
        let stays = posting.verdict != Verdict::Delete;
        new.filter(|_| stays)
            .iter()
            .for_each(|row| note(row, Some((posting.seq, Arc::clone(&block.file)))));
        Ok(())
    }
}
