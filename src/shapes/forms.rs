//! The filters of a template's shapes, and what they need of the world.
//!
//! *Invariant*: there is one form of each kind as long as a shape has it; what all of them need is known without a look
//! at any, since there may be one for each shape: what it says may be of one that is gone, never too little.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_dataflows::members::each_inner;
use brooklet_sql::mathematics::Functions;
use brooklet_sql::{Form, TableSchema, Zone};
use hashbrown::DefaultHashBuilder;

use brooklet_dataflows::pieces::Pieces;

/// So many more filters, and one piece of all is looked through for those that are gone.
const TIDIED_AFTER: usize = 256;

/// So much may be said of filters before it is asked whether it is of those that are gone.
const USES_KEPT: usize = 16;

/// A table, and columns of it.
type Inner = (u32, Box<[usize]>);

/// What filters need.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// The columns that each reads; some that read the same.
    pub reads: HashSet<Box<[usize]>>,
    /// What subqueries read, with each definition of the table that they know.
    pub inner: HashMap<Inner, Vec<Arc<TableSchema>>>,
    /// Time zones as they were.
    pub zones: Vec<(String, Arc<Zone>)>,
    /// What a C library computes.
    pub functions: Functions,
}

impl Uses {
    /// How much is said: each harmless ALTER of a subquery's table makes it one more.
    fn size(&self) -> usize {
        let inner: usize = self.inner.values().map(Vec::len).sum();
        self.reads.len() + inner + self.zones.len()
    }

    fn add(&mut self, form: &Form) {
        if !self.reads.contains(form.columns()) {
            self.reads.insert(form.columns().into());
        }
        each_inner(form.memberships(), &mut |membership| {
            let table = &membership.subquery.table;
            let read = (table.oid, membership.subquery.reads().into());
            let known = self.inner.entry(read).or_default();
            if !known.contains(table) {
                known.push(Arc::clone(table));
            }
        });
        for (name, zone) in form.zones() {
            if !self.zones.iter().any(|(known, of)| *known == name && *of == zone) {
                self.zones.push((name, zone));
            }
        }
        self.functions.add(form.mathematics());
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Forms {
    /// Held for a look-up, or a piece.
    state: Mutex<State>,
    /// Held by who counts again.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    known: Pieces<Arc<Form>>,
    hasher: DefaultHashBuilder,
    uses: Uses,
    /// The same of those that are there now, while they are counted again.
    counted: Option<Uses>,
    /// How much they were when they were counted the last time.
    size: usize,
    /// How many have come since the last tidying, and which piece is next.
    come: usize,
    next: usize,
}

impl Forms {
    /// The one form that is equal to this one.
    pub(super) fn share(&self, form: &Arc<Form>) -> Arc<Form> {
        let mut state = self.state();
        let hash = state.hasher.hash_one(form);
        if let Some(known) = state.known.find(hash, |known| known == form).map(Arc::clone) {
            // Nobody else had it: whoever counted meanwhile has left it out.
            if Arc::strong_count(&known) == 2 {
                state.note(&known);
            }
            return known;
        }
        state.come += 1;
        if state.come > TIDIED_AFTER {
            state.tidy();
        }
        let State { known, hasher, .. } = &mut *state;
        known.insert(hash, Arc::clone(form), |form| hasher.hash_one(form));
        state.note(form);
        Arc::clone(form)
    }

    /// What they need, and maybe what some needed that are gone.
    pub(super) fn uses(&self) -> Uses {
        self.state().uses.clone()
    }

    /// The same where what is said has become twice as much: so it stays in proportion to what is so.
    pub(super) fn recount_if_grown(&self) {
        let grown = {
            let state = self.state();
            state.uses.size() > USES_KEPT.max(2 * state.size)
        };
        if grown {
            self.recount();
        }
    }

    /// Looks at every one again, so that nothing is said of those that are gone.
    pub(super) fn recount(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().counted = Some(Uses::default());
        for piece in 0.. {
            // Others come in between, and are counted when they come.
            let mut state = self.state();
            let State { known, counted, uses, size, .. } = &mut *state;
            let Some(forms) = known.piece(piece) else {
                *uses = counted.take().unwrap_or_default();
                *size = uses.size();
                return;
            };
            let Some(counted) = counted else { return };
            forms.filter(|form| Arc::strong_count(form) > 1).for_each(|form| counted.add(form));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A form is used from now on.
    fn note(&mut self, form: &Form) {
        self.uses.add(form);
        self.counted.iter_mut().for_each(|counted| counted.add(form));
    }

    /// Forgets those of one piece that nobody else has any more.
    fn tidy(&mut self) {
        let used = |form: &Arc<Form>| Arc::strong_count(form) > 1;
        self.come = 0;
        self.next = if self.known.retain_in(self.next, used) { self.next + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use brooklet_sql::{Tables, compile, compile_with};

    use super::*;
    use crate::core::tests::postgres::schema;

    #[test]
    fn what_filters_need_is_known_of_all_that_there_are_and_no_longer_of_those_that_are_gone() {
        let (forms, table) = (Forms::default(), schema(0, 0));
        let form = |filter: &str| Arc::clone(compile(filter, &[], &table).unwrap().form());
        let kept: Vec<Arc<Form>> =
            (0..3_000).map(|n| forms.share(&form(&format!("id > {n}")))).collect();
        let gone = forms.share(&form("n > 1"));
        assert!(Arc::ptr_eq(&kept[7], &forms.share(&form("id > 7"))), "equal ones are one");
        let reads = |uses: Uses| {
            let mut reads: Vec<Vec<usize>> = uses.reads.iter().map(|read| read.to_vec()).collect();
            reads.sort();
            reads
        };
        assert_eq!(reads(forms.uses()), [vec![0], vec![1]]);
        forms.recount();
        assert_eq!(reads(forms.uses()), [vec![0], vec![1]]);
        drop(gone);
        assert_eq!(reads(forms.uses()), [vec![0], vec![1]], "too much, for now");
        forms.recount();
        assert_eq!(reads(forms.uses()), [vec![0]]);
        let _again = forms.share(&form("n > 1"));
        assert_eq!(reads(forms.uses()), [vec![0], vec![1]], "it is still known, and used again");
    }

    #[test]
    fn what_subqueries_read_is_known_with_each_definition_of_their_table() {
        let (forms, table) = (Forms::default(), schema(0, 0));
        let form = |filter: &str, added: usize| {
            let inner = schema(1, added);
            let tables = Tables::from([(inner.name.clone(), inner)]);
            Arc::clone(compile_with(filter, &[], &table, &tables).unwrap().form())
        };
        let of = |n: i64| format!("n IN (SELECT id FROM t1 WHERE n > {n})");
        let kept: Vec<Arc<Form>> = (0..300).map(|n| forms.share(&form(&of(n), 0))).collect();
        let later = forms.share(&form(&of(300), 1));
        const NESTED: &str = "n IN (SELECT n FROM t1 WHERE n IN (SELECT id FROM t1))";
        let nested = forms.share(&form(NESTED, 0));
        let known = || {
            let mut known: Vec<(Vec<usize>, usize)> = Vec::new();
            for ((oid, read), tables) in forms.uses().inner {
                assert!(tables.iter().all(|table| table.oid == oid));
                known.push((read.to_vec(), tables.len()));
            }
            known.sort();
            known
        };
        assert_eq!(known(), [(vec![0], 1), (vec![0, 1], 2), (vec![1], 1)]);
        drop((later, nested));
        forms.recount();
        assert_eq!(known(), [(vec![0, 1], 1)]);
        drop(kept);
        forms.recount();
        assert_eq!(known(), []);
    }

    #[test]
    fn filters_that_come_and_go_do_not_stay() {
        let (forms, table) = (Forms::default(), schema(0, 0));
        let form =
            |n: usize| Arc::clone(compile(&format!("id > {n}"), &[], &table).unwrap().form());
        let kept: Vec<Arc<Form>> = (0..100).map(|n| forms.share(&form(n))).collect();
        for n in 100..20_000 {
            forms.share(&form(n));
        }
        let known =
            (0..).map_while(|at| Some(forms.state().known.piece(at)?.count())).sum::<usize>();
        assert!(known < 3_000, "{known}");
        assert!(kept.iter().all(|form| Arc::ptr_eq(&forms.share(form), form)));
    }
}
