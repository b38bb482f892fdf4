//! Which rows can satisfy a predicate at all.
//!
//! *Enters*: a typed expression. *Leaves*: an [`Access`].
//! *Invariant*: a row for which the predicate is true fits, for every alternative, at least one of
//! its probes. Probes may name too many rows, never too few.
//!
//! AND offers the alternatives of all its parts, and its equalities together as one. OR unites one
//! alternative of every part; a part without any spoils it.

use std::collections::{BTreeMap, HashSet};

use crate::expr::Expr;
use crate::key::{Key, Reader};
use crate::limits::{ALTERNATIVES_MAX, PAIRS_MAX, PROBES_MAX};
use crate::{Row, TableSchema};

mod bounds;
mod document;
mod leaf;
mod member;
mod member_of;
mod pattern;
mod source;

pub use member::MemberWay;
pub(crate) use member::{of_row, ways};
pub use source::{Found, Reading, Source};
pub(crate) use source::{for_each_unsaid, identity};

/// How to find the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// No row ever matches.
    Nothing,
    /// Every row is a candidate.
    All,
    /// Each of these is enough; the one that usually names fewest comes first.
    Any(Vec<Alternative>),
}

/// Probes of which a matching row fits at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// At least one.
    pub probes: Vec<Probe>,
    /// How little it usually filters: the smaller, the better.
    pub rank: u32,
}

/// What is read of a row, and what must be found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is read.
    pub source: Source,
    /// What fits.
    pub want: Want,
}

/// What must be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want {
    /// One of the keys is this.
    Equal(Key),
    /// The key lies here, bounds included; `None` is no bound.
    Between(Option<Key>, Option<Key>),
    /// The key begins with this.
    Prefix(Key),
    /// This is somewhere in the key.
    Fragment(Key),
    /// All keys are among these, and none is NULL. Sorted.
    Within(Box<[Key]>),
    /// There are keys, and the first is none of these. Sorted.
    Except(Box<[Key]>),
    /// There is nothing.
    Null,
    /// There is something.
    NotNull,
}

impl Access {
    /// Whether a row may match, by the probes alone: what an index finds, but one row at a time.
    #[must_use]
    pub fn admits(&self, row: &Row) -> bool {
        match self {
            Access::Nothing => false,
            Access::All => true,
            Access::Any(list) => {
                list.iter().all(|one| one.probes.iter().any(|probe| probe.admits(row)))
            }
        }
    }
}

impl Probe {
    /// Whether a row fits.
    #[must_use]
    pub fn admits(&self, row: &Row) -> bool {
        let mut reading = Reading::default();
        self.source.read(row, &mut reading);
        let mut keys = reading.keys();
        match (reading.found, &self.want) {
            (Found::Unknown, _) => true,
            (Found::Error, _) => false,
            (Found::Null, want) => *want == Want::Null,
            (Found::Keys, want) => match want {
                Want::Equal(wanted) => keys.any(|key| key == wanted.as_bytes()),
                Want::Between(low, high) => keys.any(|key| {
                    low.as_ref().is_none_or(|low| low.as_bytes() <= key)
                        && high.as_ref().is_none_or(|high| key <= high.as_bytes())
                }),
                Want::Prefix(wanted) => keys.any(|key| key.starts_with(wanted.as_bytes())),
                Want::Fragment(wanted) => keys.any(|key| {
                    key.windows(wanted.as_bytes().len()).any(|part| part == wanted.as_bytes())
                }),
                Want::Within(list) => !reading.null_element && keys.all(|key| has(list, key)),
                Want::Except(list) => keys.next().is_none_or(|key| !has(list, key)),
                Want::Null => false,
                Want::NotNull => true,
            },
        }
    }

    /// In words, for people.
    #[must_use]
    pub fn describe(&self, table: &TableSchema) -> String {
        format!("{} {}", self.want.word(), self.source.describe(table))
    }
}

fn has(list: &[Key], key: &[u8]) -> bool {
    list.binary_search_by(|one| one.as_bytes().cmp(key)).is_ok()
}

impl Want {
    /// What kind of look-up finds it, as `docs/where.md` names it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Want::Equal(_) => "equality",
            Want::Between(..) => "range",
            Want::Prefix(_) => "prefix",
            Want::Fragment(_) => "fragment",
            Want::Within(_) => "within",
            Want::Except(_) => "exception",
            Want::Null | Want::NotNull => "null",
        }
    }

    /// How little it usually filters.
    fn rank(&self) -> u32 {
        match self {
            Want::Equal(_) => 10,
            Want::Between(Some(_), Some(_)) => 20,
            Want::Prefix(text) => 30 - text.as_bytes().len().min(9) as u32,
            Want::Fragment(text) => 40 - 3 * text.as_bytes().len().min(6) as u32,
            Want::Within(_) => 40,
            Want::Null => 50,
            Want::Between(..) => 60,
            Want::Except(_) => 80,
            Want::NotNull => 90,
        }
    }
}

impl Alternative {
    fn new(probes: Vec<Probe>) -> Alternative {
        // The worst decides.
        let rank = probes.iter().map(|probe| probe.want.rank()).max().unwrap_or(0);
        Alternative { probes, rank }
    }

    /// In words, for people: each kind of look-up once.
    #[must_use]
    pub fn describe(&self, table: &TableSchema) -> String {
        let mut words: Vec<String> = Vec::new();
        for probe in &self.probes {
            let word = probe.describe(table);
            if words.last() != Some(&word) && !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(" or ")
    }
}

/// The canonical bytes that columns must have.
type Values = BTreeMap<usize, (Reader, Vec<u8>)>;

/// What an expression says about the rows for which it is true.
#[derive(Default)]
struct Says {
    /// One of these holds; none of them ever if there are none; `None` says nothing.
    equal: Option<Vec<Values>>,
    /// Of each of these, one probe fits.
    others: Vec<Vec<Probe>>,
}

impl Says {
    fn nothing_matches() -> Says {
        Says { equal: Some(Vec::new()), others: Vec::new() }
    }

    fn one_of(probes: Vec<Probe>) -> Says {
        let probes = unite(probes);
        match probes.len() {
            0 => Says::nothing_matches(),
            1..=PROBES_MAX => Says { equal: None, others: vec![probes] },
            _ => Says::default(),
        }
    }

    fn is_never(&self) -> bool {
        self.equal.as_ref().is_some_and(Vec::is_empty)
    }

    /// The probes that usually name fewest.
    fn best(self) -> Option<Vec<Probe>> {
        let equal = self.equal.map(probes);
        let all = equal.into_iter().chain(self.others).map(Alternative::new);
        all.min_by_key(|one| one.rank).map(|one| one.probes)
    }
}

/// Derives the access of an expression.
pub(crate) fn access(expr: &Expr) -> Access {
    access_of(find(expr, &mut PAIRS_MAX.clone()))
}

fn access_of(says: Says) -> Access {
    if says.is_never() {
        return Access::Nothing;
    }
    let equal = says.equal.map(probes);
    let mut list: Vec<Alternative> =
        equal.into_iter().chain(says.others).map(Alternative::new).collect();
    list.sort_by_key(|one| one.rank);
    list.truncate(ALTERNATIVES_MAX);
    if list.is_empty() { Access::All } else { Access::Any(list) }
}

fn probes(list: Vec<Values>) -> Vec<Probe> {
    let mut last: Option<(Vec<usize>, Source)> = None;
    let mut found = Vec::with_capacity(list.len());
    for values in list {
        let columns: Vec<usize> = values.keys().copied().collect();
        let source = match &last {
            Some((same, source)) if *same == columns => source.clone(),
            _ => {
                let readers: Vec<(usize, Reader)> =
                    values.iter().map(|(column, (reader, _))| (*column, *reader)).collect();
                Source::columns(&readers)
            }
        };
        last = Some((columns, source.clone()));
        let key = Key::new(values.into_values().flat_map(|(_, bytes)| bytes).collect());
        found.push(Probe { source, want: Want::Equal(key) });
    }
    found
}

/// `pairs` is how many pairs of values may still be made.
fn find(expr: &Expr, pairs: &mut usize) -> Says {
    match expr {
        Expr::And(list) => {
            let sides = list.iter().map(|one| find(one, pairs)).collect();
            both(sides, pairs)
        }
        Expr::Or(list) => either(list.iter().map(|one| find(one, pairs)).collect()),
        leaf => leaf::find(leaf, pairs),
    }
}

/// AND: all equalities together, unless that makes too many probes or pairs, and everything else.
fn both(sides: Vec<Says>, pairs: &mut usize) -> Says {
    if sides.iter().any(Says::is_never) {
        return Says::nothing_matches();
    }
    let (mut equal, mut others) = (Vec::new(), Vec::new());
    for side in sides {
        equal.extend(side.equal);
        others.extend(side.others);
    }
    // Starts with the side that has the fewest, which is then always kept.
    equal.sort_by_key(Vec::len);
    let mut lists = equal.into_iter();
    let product = lists.next().map(|first| {
        lists.fold(first, |product, list| {
            let count = product.len().saturating_mul(list.len());
            match pairs.checked_sub(count).filter(|_| count <= PROBES_MAX) {
                Some(left) => {
                    *pairs = left;
                    multiply(&product, &list)
                }
                None => product,
            }
        })
    });
    let Some(others) = narrow(others) else { return Says::nothing_matches() };
    Says { equal: product, others }
}

/// Who wants one of two exceptions made wants only those made that are in both: an index keeps one
/// list of exceptions for each predicate and source.
fn unite(probes: Vec<Probe>) -> Vec<Probe> {
    let mut kept: Vec<Probe> = Vec::with_capacity(probes.len());
    for probe in probes {
        if let Want::Except(keys) = &probe.want {
            let same = kept.iter_mut().find(|one| {
                one.source == probe.source && matches!(one.want, Want::Except(_) | Want::NotNull)
            });
            match same.map(|one| &mut one.want) {
                Some(Want::Except(earlier)) => {
                    let common: Vec<Key> =
                        earlier.iter().filter(|key| keys.contains(key)).cloned().collect();
                    *earlier = common.into();
                    continue;
                }
                Some(_) => continue,
                None => {}
            }
        }
        kept.push(probe);
    }
    kept
}

/// Makes one range of all that one source must lie in, and one list of all that it must not be; `None`
/// where ranges exclude one another.
fn narrow(others: Vec<Vec<Probe>>) -> Option<Vec<Vec<Probe>>> {
    let mut kept: Vec<Vec<Probe>> = Vec::with_capacity(others.len());
    for probes in others {
        if let [Probe { source, want: Want::Except(keys) }] = probes.as_slice() {
            let earlier = kept.iter_mut().find_map(|probes| match probes.as_mut_slice() {
                [Probe { source: same, want: Want::Except(earlier) }] if same == source => {
                    Some(earlier)
                }
                _ => None,
            });
            let Some(earlier) = earlier else {
                kept.push(probes);
                continue;
            };
            let mut all: Vec<Key> = earlier.iter().chain(keys).cloned().collect();
            all.sort_unstable();
            all.dedup();
            *earlier = all.into();
            continue;
        }
        let [Probe { source, want: Want::Between(low, high) }] = probes.as_slice() else {
            kept.push(probes);
            continue;
        };
        let earlier = kept.iter_mut().find_map(|probes| match probes.as_mut_slice() {
            [Probe { source: same, want: Want::Between(low, high) }] if same == source => {
                Some((low, high))
            }
            _ => None,
        });
        let Some((kept_low, kept_high)) = earlier else {
            kept.push(probes);
            continue;
        };
        if low > kept_low {
            kept_low.clone_from(low);
        }
        if kept_high.is_none() || high.is_some() && high < kept_high {
            kept_high.clone_from(high);
        }
        if kept_low.is_some() && kept_high.is_some() && *kept_low > *kept_high {
            return None;
        }
    }
    Some(kept)
}

/// Every pair of one value each; pairs that want two values of one column match nothing.
fn multiply(left: &[Values], right: &[Values]) -> Vec<Values> {
    let mut seen = HashSet::new();
    let mut product = Vec::new();
    for one in left {
        for other in right {
            let agrees = |(column, value)| one.get(column).is_none_or(|found| found == value);
            if other.iter().all(agrees) {
                let mut values = one.clone();
                values.extend(other.clone());
                if seen.insert(values.clone()) {
                    product.push(values);
                }
            }
        }
    }
    product
}

/// OR: the equalities of all sides, if every side has some; or else what is best of each.
fn either(sides: Vec<Says>) -> Says {
    let sides: Vec<Says> = sides.into_iter().filter(|side| !side.is_never()).collect();
    if sides.iter().all(|side| side.equal.is_some()) {
        let mut seen = HashSet::new();
        let all = sides.into_iter().filter_map(|side| side.equal).flatten();
        let union: Vec<Values> = all.filter(|values| seen.insert(values.clone())).collect();
        let equal = (union.len() <= PROBES_MAX).then_some(union);
        return Says { equal, others: Vec::new() };
    }
    let mut seen = HashSet::new();
    let mut union = Vec::new();
    for side in sides {
        let Some(probes) = side.best() else { return Says::default() };
        let is_new =
            |probe: &Probe| seen.insert((probe.source.name().to_owned(), probe.want.clone()));
        union.extend(probes.into_iter().filter(is_new));
    }
    Says::one_of(union)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, RelationName, Truth, compile};

    #[test]
    fn what_may_not_be_paired_is_looked_for_by_the_shortest_list() {
        let column = |name: &str| Column {
            name: name.into(),
            type_oid: 23,
            base_type_oid: 23,
            type_name: "int4".into(),
            dropped: false,
            ..Column::gone()
        };
        let columns = ["a", "b"].map(column).into();
        let name = RelationName { schema: "public".into(), table: "t".into() };
        let table = TableSchema { oid: 1, name, columns, partitioned: false, unique: Vec::new() };
        let clause = "a IN (1, 2) AND b IN (1, 2, 3) OR a IN (3, 4) AND b IN (5, 6, 7)";
        let predicate = compile(clause, &[], &table).unwrap();
        for (pairs, left, probes) in [
            (0, 0, 4),
            (5, 5, 4),
            (6, 0, 8),
            (11, 5, 8),
            (12, 0, 12),
            (PAIRS_MAX, PAIRS_MAX - 12, 12),
        ] {
            let mut may = pairs;
            let says = find(&predicate.expr(), &mut may);
            assert_eq!((may, says.equal.as_ref().map(Vec::len)), (left, Some(probes)), "{pairs}");
            let access = access_of(says);
            for (a, b) in (0..8).flat_map(|a| (0..8).map(move |b| (a.to_string(), b.to_string()))) {
                let row = Row::new([Some(&*a), Some(&*b)]).unwrap();
                let matches = predicate.matches(&row) == Truth::True;
                assert!(access.admits(&row) || !matches, "{pairs}: {a} {b}");
            }
        }
    }
}
