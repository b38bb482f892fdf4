//! Candidates asked, and counted.
//!
//! *Enters*: a change and its candidates. *Leaves*: those that it concerns.
//! *Invariant*: as if every candidate's filter were asked by itself. What candidates share, the part
//! of their filters without constants of their own, is asked once for each row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_sql::{Form, Predicate, Row, Truth};

use super::timed::Timed;
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
        let mut counted: Option<(KindKey, Asked)> = None;
        let mut matches = 0;
        let begun = self.begun.take();
        let mut count = |counted: Option<(KindKey, Asked)>| {
            if let Some((key, asked)) = counted
                && let Some(kind) = table.kinds.get_mut(key)
            {
                kind.note(&asked);
            }
        };
        for plan in candidates {
            let asking = begun.map(|_| Instant::now());
            let verdict = verdict_by(plan, change, &mut |predicate, row, is_new| {
                known.truth(predicate, row, is_new)
            });
            let key = kind_key(plan);
            if counted.as_ref().is_none_or(|(same, _)| *same != key) {
                count(counted.replace((key, Asked::default())));
            }
            if let Some((_, asked)) = &mut counted {
                asked.candidates += 1;
                asked.matches += u64::from(verdict.is_some());
                asking.into_iter().for_each(|asking| asked.timed.add(asking.elapsed()));
            }
            if let Some(verdict) = verdict {
                matches += 1;
                concerned(plan, verdict);
            }
        }
        count(counted);
        begun.into_iter().for_each(|begun| table.timed.add(begun.elapsed()));
        count_asked(candidates.len() as u64, matches);
    }
}

/// Candidates of one kind, one after the other.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) candidates: u64,
    pub(crate) matches: u64,
    pub(super) timed: Timed,
}

impl Asked {
    /// So many of them, all together, were asked for so long.
    pub(crate) fn took(&mut self, shapes: usize, time: Duration) {
        self.timed.add_all(shapes as u64, time);
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
