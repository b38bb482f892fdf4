//! What one change means for one shape.

use std::sync::atomic::{AtomicU64, Ordering};

use brooklet_sql::{Predicate, Row, Truth};

use crate::change::Change;
use crate::plan::ShapePlan;

/// The operation a shape's log gets. The rows are the change's own: an insert shows the new row, a
/// delete the old one, whatever the operation in Postgres was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The row enters.
    Insert = 0,
    /// The row stays; selected columns changed.
    Update = 1,
    /// The row leaves.
    Delete = 2,
    /// The row stays under another key: a delete of the old one, then an insert of the new one.
    Rekey = 3,
}

impl Verdict {
    /// The verdict a stored number stands for.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Verdict> {
        [Verdict::Insert, Verdict::Update, Verdict::Delete, Verdict::Rekey]
            .into_iter()
            .find(|verdict| *verdict as u8 == number)
    }
}

/// Decides from (old row in?, new row in?) and the selected columns; `None` where the shape's log
/// gets nothing.
#[must_use]
pub fn verdict(plan: &ShapePlan, change: &Change) -> Option<Verdict> {
    verdict_by(plan, change, &mut |predicate, row, _| predicate.matches(row))
}

/// The same with somebody else to say whether the old or (`true`) the new row satisfies a predicate.
pub(crate) fn verdict_by(
    plan: &ShapePlan,
    change: &Change,
    matches: &mut impl FnMut(&Predicate, &Row, bool) -> Truth,
) -> Option<Verdict> {
    let mut holds = |row: &Option<Row>, is_new| {
        let Some(row) = row else { return false };
        let Some(predicate) = &plan.predicate else { return true };
        is_true(matches(predicate, row, is_new))
    };
    let (old_in, new_in) = (holds(&change.old, false), holds(&change.new, true));
    judge(plan, change, old_in, new_in)
}

/// The same where it is known already whether each row is in.
#[must_use]
pub fn judge(plan: &ShapePlan, change: &Change, old_in: bool, new_in: bool) -> Option<Verdict> {
    match (old_in, new_in) {
        (false, false) => None,
        (false, true) => Some(Verdict::Insert),
        (true, false) => Some(Verdict::Delete),
        (true, true) => {
            let (old, new) = (change.old.as_ref()?, change.new.as_ref()?);
            let differs = |columns: &[usize]| columns.iter().any(|&c| old.get(c) != new.get(c));
            if differs(&plan.selection.key) {
                Some(Verdict::Rekey)
            } else if differs(&plan.selection.columns) {
                Some(Verdict::Update)
            } else {
                None
            }
        }
    }
}

static CANDIDATES: AtomicU64 = AtomicU64::new(0);
static MATCHES: AtomicU64 = AtomicU64::new(0);

/// Counts the candidates of a change and those that it concerned.
pub(crate) fn count_asked(candidates: u64, matches: u64) {
    CANDIDATES.fetch_add(candidates, Ordering::Relaxed);
    MATCHES.fetch_add(matches, Ordering::Relaxed);
}

/// How often a shape was asked about a change, and how often it was concerned. Of all shapes, since
/// the process began.
#[must_use]
pub fn asked() -> (u64, u64) {
    (CANDIDATES.load(Ordering::Relaxed), MATCHES.load(Ordering::Relaxed))
}

/// Whether a filter lets a row in; counts where it could not be evaluated.
pub(crate) fn is_true(truth: Truth) -> bool {
    if truth == Truth::Error {
        ERRORS.fetch_add(1, Ordering::Relaxed);
    }
    truth == Truth::True
}

static ERRORS: AtomicU64 = AtomicU64::new(0);

/// Notes that what many shapes are found by cannot be computed for a row: none of them matches.
pub(crate) fn note_error() {
    ERRORS.fetch_add(1, Ordering::Relaxed);
}

/// How often a filter could not be evaluated for a row (an overflow, a division by zero): the row does
/// not match then. Once for all shapes that are found by the same computation. Since the process began.
#[must_use]
pub fn evaluation_errors() -> u64 {
    ERRORS.load(Ordering::Relaxed)
}
