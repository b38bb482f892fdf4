//! Where in the log a repair stands.
//!
//! *Enters*: what a shape lacks. *Leaves*: the same as complete transactions that end right before the new slot.

use brooklet_dataflows::Posting;
use brooklet_sql::Lsn;

use crate::limits::{REPAIR_POSTINGS_MAX, REPAIR_TRANSACTIONS_MAX};

/// Where a repair stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Where the new slot begins.
    pub begin: Lsn,
    /// Where what was streamed before ends.
    pub end: Lsn,
    /// A transaction of our own.
    pub xid: u32,
}

impl Place {
    pub(super) fn at(self) -> Lsn {
        Lsn(self.begin.0.saturating_sub(1))
    }
}

/// The first place that a repair at `at` may take.
#[must_use]
pub fn first_place(at: Lsn) -> Lsn {
    Lsn(at.0.saturating_sub(REPAIR_TRANSACTIONS_MAX - 1))
}

/// Cuts what a shape is brought into transactions, the last one at `at`. Each is complete, so that
/// one that is there after a crash, without those after it, looks like any other.
pub(super) fn pieces(mut postings: Vec<Posting>, at: Lsn, places: u64) -> Vec<(Lsn, Vec<Posting>)> {
    let most = usize::try_from(places.clamp(1, REPAIR_TRANSACTIONS_MAX)).unwrap_or(1);
    let size = REPAIR_POSTINGS_MAX.max(postings.len().div_ceil(most));
    let mut pieces = Vec::new();
    while !postings.is_empty() {
        let rest = postings.split_off(size.min(postings.len()));
        postings.last_mut().into_iter().for_each(|last| last.last = true);
        pieces.push(std::mem::replace(&mut postings, rest));
    }
    let count = pieces.len() as u64;
    let place = |number: usize| Lsn(at.0 - (count - 1 - number as u64));
    pieces.into_iter().enumerate().map(|(number, piece)| (place(number), piece)).collect()
}

#[cfg(test)]
mod tests {
    use brooklet_dataflows::Verdict;

    use super::*;

    fn postings(count: usize) -> Vec<Posting> {
        let posting = |seq| Posting {
            seq,
            op_position: 2 * seq,
            verdict: Verdict::Insert,
            last: false,
            weight: 1,
            breaks_promise: false,
        };
        (0..count as u64).map(posting).collect()
    }

    #[test]
    fn what_a_shape_lacks_is_cut_into_complete_transactions_that_end_before_the_slot() {
        assert!(pieces(Vec::new(), Lsn(100), 9).is_empty());
        for (count, places, expected) in [
            (1, 1, 1),
            (REPAIR_POSTINGS_MAX, 9, 1),
            (REPAIR_POSTINGS_MAX + 1, 9, 2),
            (REPAIR_POSTINGS_MAX * 3, 2, 2),
            (REPAIR_POSTINGS_MAX * 40, 1000, 32),
        ] {
            let at = Lsn(1000);
            let pieces = pieces(postings(count), at, places);
            assert_eq!(pieces.len(), expected, "{count} in {places}");
            assert_eq!(pieces.last().unwrap().0, at);
            assert!(pieces[0].0 >= first_place(at) && pieces[0].0.0 + places > at.0);
            assert!(pieces.is_sorted_by(|a, b| a.0 < b.0));
            let lasts = pieces.iter().flat_map(|(_, p)| p.iter().filter(|p| p.last)).count();
            assert!(lasts == expected && pieces.iter().all(|(_, p)| p.last().unwrap().last));
            let seqs = pieces.iter().flat_map(|(_, p)| p.iter().map(|p| p.seq));
            assert!(seqs.eq(0..count as u64));
        }
    }
}
