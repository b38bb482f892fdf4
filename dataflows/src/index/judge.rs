//! Candidates asked, and counted.
//!
//! *Enters*: a change and its candidates. *Leaves*: those that it concerns.
//! *Invariant*: as if every candidate's filter were asked by itself. What candidates share, the part
//! of their filters without constants of their own, is asked once for each row.

use std::sync::Arc;

use brooklet_sql::{Form, Predicate, Row, Truth};

use super::{KindKey, ShapeIndex, kind_key};
use crate::change::Change;
use crate::plan::ShapePlan;
use crate::verdict::{Verdict, count_asked, verdict_by};

/// So few candidates are asked sooner than it is looked up what they share.
const SHARED_MIN: usize = 4;

impl ShapeIndex {
    /// What a change means for its candidates, for each that it concerns.
    pub fn judge<'a>(
        &mut self,
        change: &Change,
        candidates: &'a [Arc<ShapePlan>],
        mut concerned: impl FnMut(&'a ShapePlan, Verdict),
    ) {
        self.steps += candidates.len() as u64;
        let Some(table) = self.tables.get_mut(&change.table) else { return };
        let mut known = Known { shares: candidates.len() >= SHARED_MIN, ..Known::default() };
        let mut counted: Option<(KindKey, u64, u64)> = None;
        let mut matches = 0;
        let mut count = |counted: Option<(KindKey, u64, u64)>| {
            if let Some((key, candidates, matches)) = counted
                && let Some(kind) = table.kinds.get_mut(&key)
            {
                kind.candidates += candidates;
                kind.matches += matches;
            }
        };
        for plan in candidates {
            let verdict = verdict_by(plan, change, &mut |predicate, row, is_new| {
                known.truth(predicate, row, is_new)
            });
            let key = kind_key(plan);
            match &mut counted {
                Some((same, candidates, matches)) if *same == key => {
                    *candidates += 1;
                    *matches += u64::from(verdict.is_some());
                }
                other => count(other.replace((key, 1, u64::from(verdict.is_some())))),
            }
            if let Some(verdict) = verdict {
                matches += 1;
                concerned(plan, verdict);
            }
        }
        count(counted);
        count_asked(candidates.len(), matches);
    }
}

/// What has been found out about this change's rows.
#[derive(Default)]
struct Known {
    shares: bool,
    /// By the form's place in memory: the truth of what its predicates share, for the old row and for
    /// the new one.
    rest: hashbrown::HashMap<*const Form, [Option<Truth>; 2]>,
}

impl Known {
    fn truth(&mut self, predicate: &Predicate, row: &Row, is_new: bool) -> Truth {
        if !self.shares {
            return predicate.matches(row);
        }
        let own = predicate.own_truth(row);
        if own == Truth::False {
            return own;
        }
        let rest = self.rest.entry(Arc::as_ptr(predicate.form())).or_default();
        let rest =
            rest[usize::from(is_new)].get_or_insert_with(|| predicate.form().rest_truth(row));
        Truth::all([own, *rest])
    }
}
