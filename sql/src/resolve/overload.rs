//! Which overload a call means.
//!
//! *Enters*: the overloads of a name, the types given. *Leaves*: one of them, or none.
//! *Invariant*: the order of the rules is that of Postgres' manual (chapters 10.2 and 10.3).

use super::polymorphic;
use crate::catalog::{CastContext, Routine, catalog};
use crate::data_type::{DataType, category};
use crate::oid::Oid;

/// An overload with one declared type for each argument given.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'c> {
    pub(super) routine: &'c Routine,
    pub(super) declared: Vec<Oid>,
}

/// The overloads that take so many arguments.
pub(super) fn candidates(routines: &[Routine], count: usize) -> Vec<Candidate<'_>> {
    let of = |routine| -> Option<Candidate<'_>> {
        let routine: &Routine = routine;
        let mut declared = routine.arguments.clone();
        match routine.variadic {
            None if declared.len() == count => {}
            Some(element) if declared.len() <= count => {
                declared.pop();
                declared.resize(count, element);
            }
            _ => return None,
        }
        Some(Candidate { routine, declared })
    };
    routines.iter().filter_map(of).collect()
}

fn is_unknown(data_type: &DataType) -> bool {
    data_type.oid == Oid::UNKNOWN
}

/// Whether Postgres casts without being asked, whether or not we have the cast.
pub(super) fn casts_implicitly(from: &DataType, to: Oid) -> bool {
    if from.oid == to || is_unknown(from) || to == Oid::ANY || polymorphic::is(to) {
        return true;
    }
    if let Some(cast) = catalog().cast(from.oid, to) {
        return cast.context == CastContext::Implicit;
    }
    let element = catalog().type_of(to).and_then(|entry| entry.element);
    match (&from.element, element) {
        (Some(from), Some(to)) => casts_implicitly(from, to),
        _ => false,
    }
}

/// The candidate that the types given select; `None` where none or several would do.
pub(super) fn choose<'c>(
    candidates: Vec<Candidate<'c>>,
    given: &[DataType],
) -> Option<Candidate<'c>> {
    let fits = |declared: &[Oid], given: &[DataType]| {
        given.iter().zip(declared).all(|(given, declared)| casts_implicitly(given, *declared))
            && polymorphic::is_consistent(declared, given)
    };
    let exact = |candidate: &&Candidate<'c>| {
        given.iter().zip(&candidate.declared).all(|(given, declared)| given.oid == *declared)
    };
    if let Some(found) = candidates.iter().find(exact) {
        return Some(found.clone());
    }
    let mut left: Vec<Candidate<'c>> =
        candidates.into_iter().filter(|one| fits(&one.declared, given)).collect();
    // The most exact matches; then, with preferred types counting too.
    keep_best(&mut left, |one| count(one, given, |given, declared| given.oid == declared));
    keep_best(&mut left, |one| {
        count(one, given, |given, declared| {
            given.oid == declared || (is_preferred(declared) && same_category(given, declared))
        })
    });
    if left.len() <= 1 {
        return left.pop();
    }
    if !given.iter().any(is_unknown) {
        return None;
    }
    keep_unknown_categories(&mut left, given);
    if left.len() <= 1 {
        return left.pop();
    }
    // All known arguments of one type: the unknown ones may be of it too.
    let mut known = given.iter().filter(|one| !is_unknown(one));
    let assumed = known.next()?;
    if known.any(|other| other != assumed) {
        return None;
    }
    let assumed = vec![assumed.clone(); given.len()];
    left.retain(|one| fits(&one.declared, &assumed));
    if left.len() == 1 { left.pop() } else { None }
}

fn count(
    candidate: &Candidate<'_>,
    given: &[DataType],
    matches: fn(&DataType, Oid) -> bool,
) -> usize {
    let pairs = given.iter().zip(&candidate.declared);
    pairs.filter(|(given, declared)| !is_unknown(given) && matches(given, **declared)).count()
}

fn keep_best(candidates: &mut Vec<Candidate<'_>>, score: impl Fn(&Candidate<'_>) -> usize) {
    if candidates.len() > 1 {
        let best = candidates.iter().map(&score).max().unwrap_or(0);
        candidates.retain(|one| score(one) == best);
    }
}

fn is_preferred(oid: Oid) -> bool {
    catalog().type_of(oid).is_some_and(|entry| entry.preferred)
}

fn same_category(given: &DataType, declared: Oid) -> bool {
    given.category() == category(declared)
}

/// For untyped constants: text if any candidate takes it, else the category all agree on; and of
/// that category the preferred type, if any takes it.
fn keep_unknown_categories(candidates: &mut Vec<Candidate<'_>>, given: &[DataType]) {
    let mut wanted: Vec<(usize, char, bool)> = Vec::new();
    for (at, _) in given.iter().enumerate().filter(|(_, given)| is_unknown(given)) {
        let categories: Vec<char> =
            candidates.iter().map(|one| category(one.declared[at])).collect();
        let chosen = if categories.contains(&'S') {
            'S'
        } else if categories.iter().all(|one| *one == categories[0]) {
            categories[0]
        } else {
            return;
        };
        let preferred = candidates
            .iter()
            .any(|one| category(one.declared[at]) == chosen && is_preferred(one.declared[at]));
        wanted.push((at, chosen, preferred));
    }
    let keeps = |one: &Candidate<'_>| {
        wanted.iter().all(|(at, chosen, preferred)| {
            let declared = one.declared[*at];
            category(declared) == *chosen && (!preferred || is_preferred(declared))
        })
    };
    if candidates.iter().any(keeps) {
        candidates.retain(keeps);
    }
}

/// Whether Postgres casts without being asked, also to an array that only this database has.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    match (&from.element, &to.element) {
        (Some(from), Some(to)) => widens(from, to),
        _ => casts_implicitly(from, to.oid),
    }
}

/// A type in the sight of others: alone a domain stays what it is.
fn among(one: &DataType, alone: bool) -> DataType {
    if alone || one.element.is_some() { one.clone() } else { one.base() }
}

/// The type that values of several types have in common (chapter 10.5).
pub(super) fn common_type<'t>(types: impl IntoIterator<Item = &'t DataType>) -> Option<DataType> {
    let types: Vec<&DataType> = types.into_iter().collect();
    let alone = types.windows(2).all(|pair| pair[0] == pair[1]);
    let mut common = DataType::from(Oid::UNKNOWN);
    for next in types {
        let next = among(next, alone);
        if is_unknown(&next) || next == common {
            continue;
        }
        if is_unknown(&common) {
            common = next;
            continue;
        }
        if next.category() != common.category() {
            return None;
        }
        if !is_preferred(common.oid) && widens(&common, &next) && !widens(&next, &common) {
            common = next;
        }
    }
    if is_unknown(&common) { Some(Oid::TEXT.into()) } else { Some(common) }
}
