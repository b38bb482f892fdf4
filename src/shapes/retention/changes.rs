//! Giving back the disk of changes that no shape refers to any more.
//!
//! *Enters*: sealed files that nobody reads but finished shapes. *Leaves*: fewer and smaller ones.
//! *Invariant*: a change goes only once the catalogue on disk refers to it no more either, and what fails for one file keeps
//! no other from going.

use std::collections::HashMap;
use std::io;

use brooklet_sql::Lsn;

use super::super::create::Workshop;
use crate::change_log::SealedSize;
use crate::limits::SEGMENT_BYTES_MAX;
use crate::shape_log::{Block, Logs};

/// Deletes those of the sealed files that hold nothing needed; writes those again that hold little. Says whether there is
/// more to be done.
pub(super) fn clean(shop: &Workshop, sealed: &[SealedSize]) -> io::Result<bool> {
    let needed = needed(sealed, shop);
    if !settled(shop) {
        return Ok(true);
    }
    let is_needed = |file: &SealedSize| needed.get(&file.first_seq).is_some_and(|some| *some > 0);
    let (files, dead): (Vec<SealedSize>, Vec<SealedSize>) =
        sealed.iter().partition(|file| is_needed(file));
    let mut all = Ok(false);
    // First: that takes no room, and makes some for what is written.
    for file in dead {
        let deleted = shop.change_log.delete(file.first_seq).map_err(io::Error::other);
        tracing::debug!(first_seq = file.first_seq, bytes = file.bytes, "changes deleted");
        all = both(all, deleted.map(|()| true));
    }
    for run in runs(files, &needed) {
        all = both(all, rewrite(shop, &run, &needed));
    }
    all
}

/// What was done, or the first error.
fn both(all: io::Result<bool>, more: io::Result<bool>) -> io::Result<bool> {
    match (all, more) {
        (Ok(all), Ok(more)) => Ok(all || more),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Files that follow each other and may become one.
fn runs(files: Vec<SealedSize>, needed: &HashMap<u64, u64>) -> Vec<Vec<SealedSize>> {
    let (mut runs, mut run, mut run_bytes) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let entries = needed.get(&file.first_seq).copied().unwrap_or_default();
        let left = file.bytes / file.changes.max(1) * entries.min(file.changes);
        let worth = 2 * entries <= file.changes || 4 * file.bytes < SEGMENT_BYTES_MAX;
        if !worth || run_bytes + left > SEGMENT_BYTES_MAX {
            runs.push(std::mem::take(&mut run));
            run_bytes = 0;
        }
        if worth {
            run.push(file);
            run_bytes += left;
        }
    }
    runs.push(run);
    runs
}

/// Whether the catalogue knows of all that have ended, to be asked once it was looked at what logs refer to: else a restart
/// brings shapes back without it.
fn settled(shop: &Workshop) -> bool {
    shop.both_logs().iter().all(|logs| logs.ends_settled() >= logs.ends_told())
}

/// The number of entries that refer to each file.
fn needed(sealed: &[SealedSize], shop: &Workshop) -> HashMap<u64, u64> {
    let mut needed = HashMap::new();
    let mut count = |block: &Block| {
        let at = sealed.partition_point(|file| file.last_lsn < block.lsn);
        if let Some(file) = sealed.get(at) {
            *needed.entry(file.first_seq).or_default() += u64::from(block.count);
        }
    };
    for logs in shop.both_logs() {
        logs.each(&mut |log| log.each_block(&mut count));
    }
    needed
}

/// Writes files that follow each other again, if that makes them fewer or much smaller; says whether it did, or will.
fn rewrite(shop: &Workshop, run: &[SealedSize], needed: &HashMap<u64, u64>) -> io::Result<bool> {
    let entries: u64 = run.iter().filter_map(|file| needed.get(&file.first_seq)).sum();
    let changes: u64 = run.iter().map(|file| file.changes).sum();
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(false) };
    if run.len() == 1 && 2 * entries > changes {
        return Ok(false);
    }
    let files = shop.change_log.sealed();
    let before = files.iter().rfind(|file| file.last_lsn < first.last_lsn);
    let after = before.map_or(Lsn::ZERO, |file| file.last_lsn);
    let live = live(shop, (after, last.last_lsn))?;
    if !settled(shop) {
        return Ok(true);
    }
    let names: Vec<u64> = run.iter().map(|file| file.first_seq).collect();
    shop.change_log.rewrite(&names, &live).map_err(io::Error::other)?;
    tracing::debug!(files = names.len(), changes, kept = live.len(), "changes written again");
    Ok(true)
}

/// The changes that logs refer to, of transactions behind the first of these places and up to the second, sorted.
fn live(shop: &Workshop, (after, last): (Lsn, Lsn)) -> io::Result<Vec<u64>> {
    let (mut live, mut all, mut blocks) = (Distinct::default(), Ok(()), Vec::new());
    for logs in shop.both_logs() {
        logs.each(&mut |log| {
            // Not read where the log is held.
            log.each_block(|block| {
                if after < block.lsn && block.lsn <= last {
                    blocks.push(block.clone());
                }
            });
            for block in blocks.drain(..) {
                let found = if all.is_ok() { block.read() } else { Ok(Vec::new()) };
                let found = found.unwrap_or_else(|error| {
                    all = Err(error);
                    Vec::new()
                });
                // The others are places of rows in posting files.
                let seqs = found.iter().map(|posting| posting.seq).filter(|seq| seq >> 63 == 0);
                seqs.for_each(|seq| live.add(seq));
            }
        });
    }
    all.map(|()| live.sorted())
}

/// Numbers, each kept once: thousands of shapes may refer to the same change.
#[derive(Default)]
struct Distinct {
    all: Vec<u64>,
    /// Those up to here are sorted, and each is there once.
    sorted: usize,
}

/// Fewer are not worth sorting.
const DISTINCT_MIN: usize = 4096;

impl Distinct {
    fn add(&mut self, number: u64) {
        if self.all.len() >= 2 * self.sorted.max(DISTINCT_MIN) {
            self.sort();
        }
        self.all.push(number);
    }

    fn sort(&mut self) {
        self.all.sort_unstable();
        self.all.dedup();
        self.sorted = self.all.len();
    }

    fn sorted(mut self) -> Vec<u64> {
        self.sort();
        self.all
    }
}

#[cfg(test)]
mod tests;
