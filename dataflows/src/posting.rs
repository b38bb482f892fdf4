//! What a shape's log keeps of a change.

use brooklet_sql::Row;

use crate::change::Change;
use crate::plan::ShapePlan;
use crate::verdict::Verdict;

/// A shape's reference to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Posting {
    /// The change's place in the change log.
    pub seq: u64,
    /// Its place in the transaction.
    pub op_position: u64,
    /// What the shape's log gets.
    pub verdict: Verdict,
    /// The last of its transaction in this shape.
    pub last: bool,
    /// Bytes of the rows the entry shows: what chunk ends are computed from, so that they depend on
    /// stored data only.
    pub weight: u32,
    /// It shows no value where clients were told that there always is one: NOT NULL was dropped, or
    /// added later than the row. The shape cannot have this entry.
    pub breaks_promise: bool,
}

impl Posting {
    /// The posting of a verdict, not yet known to be the last.
    #[must_use]
    pub fn new(plan: &ShapePlan, change: &Change, verdict: Verdict) -> Posting {
        let bytes = |row: &Option<Row>| {
            row.as_ref().map_or(0, |row| u32::try_from(row.as_bytes().len()).unwrap_or(u32::MAX))
        };
        let weight = match verdict {
            Verdict::Insert | Verdict::Update => bytes(&change.new),
            Verdict::Delete => bytes(&change.old),
            Verdict::Rekey => bytes(&change.new).saturating_add(bytes(&change.old)),
        };
        let (seq, op_position) = (change.seq, change.op_position);
        let shown = change.new.as_ref().filter(|_| verdict != Verdict::Delete);
        let breaks_promise = shown.is_some_and(|row| plan.breaks_promise(row));
        Posting { seq, op_position, verdict, last: false, weight, breaks_promise }
    }
}
