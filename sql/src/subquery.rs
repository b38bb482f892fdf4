//! Membership in what a subquery selects: `x IN (SELECT …)`, `EXISTS (SELECT …)`.
//!
//! *Enters*: a clause and the tables that its subqueries name. *Leaves*: for each test the columns on both
//! sides and [`MemberKey`]s that can be compared as bytes. *Invariant*: two keys of one test are equal bytes
//! exactly when SQL's `=` is true of all their columns; a key says where it is NULL.
//!
//! To the predicate around it a test is a boolean column behind the table's own, which whoever keeps the
//! sets fills in ([`crate::Predicate::matches_members`]). So the three truth values of AND, OR and NOT
//! need no second spelling.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access;
use crate::datum::Datum;
use crate::expr::Expr;
use crate::normalize;
use crate::oid::Oid;
use crate::routine::Conversion;
use crate::scalar::{Kind, Scalar};
use crate::{Column, Predicate, Row, TableSchema, Truth, WhereError};
use crate::{compute, print, text_form};

pub use names::named_tables;

mod compared;
mod names;

use compared::Compared;
pub(crate) use compared::{compares_apart, keeps_apart};

/// `SELECT columns FROM table WHERE predicate`.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// The one table.
    pub table: Arc<TableSchema>,
    /// What is selected; none for a bare EXISTS.
    pub columns: Box<[Side]>,
    /// Which rows.
    pub predicate: Option<Predicate>,
}

/// A test whether some columns of a row are among what a subquery selects.
#[derive(Debug, Clone)]
pub struct Membership {
    /// What of the row.
    pub left: Box<[Side]>,
    /// What is selected.
    pub subquery: Arc<Subquery>,
    /// How the columns are compared, one by one.
    compared: Box<[Compared]>,
}

/// One side of a comparison.
#[derive(Clone)]
pub enum Side {
    /// A column, as its place in the table.
    Column(usize),
    /// What is computed from the row.
    Computed(Arc<Computed>),
    /// The elements of an array that is computed from the row, each by itself; of a NULL there are none. Only one of
    /// what is selected is this.
    Elements(Arc<Computed>),
}

/// A value that is computed from a row.
pub struct Computed {
    scalar: Scalar,
    columns: Vec<usize>,
    /// A column that would have such values.
    like: Column,
}

/// The values of some columns under SQL's equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    bytes: Box<[u8]>,
    /// Whether one of them is NULL.
    pub has_null: bool,
}

/// A value's length in a key: one more than it, or 0 for NULL, in seven bits a byte.
fn length_bytes(length: Option<usize>) -> impl Iterator<Item = u8> {
    let mut rest = Some(length.map_or(0, |length| length + 1));
    std::iter::from_fn(move || {
        let now = rest?;
        rest = (now >= 0x80).then_some(now >> 7);
        Some((now & 0x7F) as u8 | if rest.is_some() { 0x80 } else { 0 })
    })
}

/// The length that bytes begin with, and what follows it.
fn read_length(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let end = 1 + bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let (length, after) = bytes.split_at_checked(end)?;
    let seven = length.iter().enumerate();
    let length = seven.fold(0_usize, |sum, (at, byte)| sum | usize::from(byte & 0x7F) << (7 * at));
    Some((length.checked_sub(1), after))
}

impl std::fmt::Debug for Side {
    /// Equal text, equal values of every row of one table.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Side::Column(at) => write!(f, "{at}"),
            Side::Computed(computed) => f.write_str(&access::identity(&computed.scalar)),
            Side::Elements(computed) => {
                write!(f, "unnest({})", access::identity(&computed.scalar))
            }
        }
    }
}

impl Computed {
    fn new(scalar: Scalar, like: Column) -> Arc<Computed> {
        let mut columns = Vec::new();
        scalar.columns(&mut columns);
        Arc::new(Computed { scalar, columns, like })
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    /// The elements of the row's array, in all its dimensions; none of a NULL, nor where it cannot be computed: such
    /// a row is not selected.
    fn elements(&self, row: &Row) -> Vec<Option<String>> {
        let (Ok(Some(Datum::Array(array))), Some(element)) =
            (compute::value(&self.scalar, row), &self.scalar.data_type.element)
        else {
            return Vec::new();
        };
        let text =
            |value: &Option<Datum>| value.as_ref().map(|one| text_form::output(element, one));
        array.elements.iter().map(text).collect()
    }
}

impl Side {
    /// What is computed; `like` is a column that would have such values.
    pub(crate) fn computed(scalar: Scalar, like: Column) -> Side {
        Side::Computed(Computed::new(scalar, like))
    }

    /// The elements of what is computed; `like` is a column that would have such elements.
    pub(crate) fn elements(scalar: Scalar, like: Column) -> Side {
        Side::Elements(Computed::new(scalar, like))
    }

    /// What is computed.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Side::Column(_) => None,
            Side::Computed(computed) | Side::Elements(computed) => Some(&computed.scalar),
        }
    }

    /// What is computed, where that can fail.
    pub(crate) fn fallible(&self) -> Option<&Scalar> {
        self.scalar().filter(|one| !never_fails(one))
    }

    /// The places of the columns that it reads.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        match self {
            Side::Column(at) => std::slice::from_ref(at),
            Side::Computed(computed) | Side::Elements(computed) => &computed.columns,
        }
    }

    /// A column that has such values, of this table or none.
    pub(crate) fn like<'t>(&'t self, table: &'t TableSchema) -> &'t Column {
        match self {
            Side::Column(at) => &table.columns[*at],
            Side::Computed(computed) | Side::Elements(computed) => &computed.like,
        }
    }

    /// SQL of it over a table's bare columns.
    #[must_use]
    pub fn sql(&self, table: &TableSchema) -> String {
        let name = |at: usize| table.columns.get(at).map_or_else(String::new, Column::sql);
        match self {
            Side::Column(at) => name(*at),
            Side::Computed(computed) => print::scalar_by_name(&computed.scalar, &name),
            Side::Elements(computed) => {
                format!("unnest({})", print::scalar_by_name(&computed.scalar, &name))
            }
        }
    }
}

impl MemberKey {
    /// Whether some column is NULL or equal, in each place: what makes IN unknown instead of false, for
    /// a key with a NULL against another.
    #[must_use]
    pub fn may_equal(&self, other: &MemberKey) -> bool {
        let pairs = self.parts().zip(other.parts());
        pairs.into_iter().all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        })
    }

    /// The values; equal bytes, equal keys.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that has these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> MemberKey {
        let key = MemberKey { bytes: bytes.into(), has_null: false };
        let has_null = key.parts().any(|part| part.is_none());
        MemberKey { has_null, ..key }
    }

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is of no column at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn parts(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let (length, after) = read_length(rest)?;
            let (part, after) = match length {
                None => (None, after),
                Some(length) => {
                    let (part, after) = after.split_at_checked(length)?;
                    (Some(part), after)
                }
            };
            rest = after;
            Some(part)
        })
    }
}

impl Subquery {
    /// SQL of it, from the parsed tree.
    #[must_use]
    pub fn sql(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|one| one.sql(&self.table)).collect();
        let names = if names.is_empty() { "1".to_owned() } else { names.join(", ") };
        let filter = self.predicate.as_ref().map(|p| format!(" WHERE {}", p.sql()));
        format!("SELECT {names} FROM {}{}", self.table.name.quoted(), filter.unwrap_or_default())
    }

    /// With another condition, which has no subqueries.
    pub(crate) fn and(self, condition: Expr) -> Subquery {
        let (mut parts, mut memberships) = (vec![condition], Vec::new());
        if let Some(predicate) = &self.predicate {
            parts.push(predicate.expr());
            memberships.extend(predicate.memberships().iter().cloned());
        }
        let predicate = match normalize::all(parts) {
            Expr::Constant(Some(true)) => None,
            // What it asked makes no difference.
            none @ Expr::Constant(_) => Some(Predicate::new(none, &self.table, Vec::new())),
            expr => Some(Predicate::new(expr, &self.table, memberships)),
        };
        Subquery { predicate, ..self }
    }

    /// What its text does not say: which table it is, which columns of it these are, and what is computed of them.
    /// One that was renamed, and another one added under its name, is not the same.
    pub(crate) fn identity(&self) -> String {
        let mut text = self.table.identity(&self.reads());
        let nested = self.predicate.iter().flat_map(Predicate::memberships);
        nested.for_each(|one| text += &one.identity());
        let mut unsaid = unsaid(&self.columns);
        let filter = self.predicate.iter().map(|predicate| predicate.form());
        filter.for_each(|form| form.unsaid(&mut unsaid));
        text.extend(unsaid);
        text
    }

    /// The columns of its table that it reads, sorted.
    #[must_use]
    pub fn reads(&self) -> Vec<usize> {
        let filtered = self.predicate.as_ref().map_or(&[][..], Predicate::columns);
        let selected = self.columns.iter().flat_map(Side::columns);
        let mut reads: Vec<usize> = selected.chain(filtered).copied().collect();
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    /// Every table that it, and what stands in it, names.
    pub fn tables(&self, into: &mut Vec<Arc<TableSchema>>) {
        into.push(Arc::clone(&self.table));
        for membership in self.predicate.iter().flat_map(Predicate::memberships) {
            membership.subquery.tables(into);
        }
    }
}

impl Membership {
    /// SQL of it over a table's bare columns.
    pub(crate) fn sql(&self, table: &TableSchema) -> String {
        let names: Vec<String> = self.left.iter().map(|one| one.sql(table)).collect();
        let query = self.subquery.sql();
        match names.as_slice() {
            [] => format!("(EXISTS ({query}))"),
            [one] => format!("({one} IN ({query}))"),
            names => format!("(({}) IN ({query}))", names.join(", ")),
        }
    }

    /// What its text does not say, but for which columns of the row stand on the left.
    pub(crate) fn identity(&self) -> String {
        let mut text = self.subquery.identity();
        text.extend(unsaid(&self.left));
        text
    }

    /// What tells the set of its keys from others: equal text, equal keys, whatever became of the tables.
    #[must_use]
    pub fn set_name(&self) -> String {
        format!("{:?} {}{}", self.compared, self.subquery.sql(), self.subquery.identity())
    }

    /// What sets have in common whose keys are the same columns, compared the same way.
    #[must_use]
    pub fn family_name(&self) -> String {
        let Subquery { table, columns, .. } = &*self.subquery;
        let places: Vec<usize> = columns.iter().flat_map(Side::columns).copied().collect();
        format!("{:?} {columns:?}{}", self.compared, table.identity(&places))
    }

    /// The key of a row that is tested.
    #[must_use]
    pub fn outer_key(&self, row: &Row) -> MemberKey {
        self.key(&self.left, row, None)
    }

    /// The keys of a row that is selected: one, but where elements are.
    pub fn inner_keys(&self, row: &Row) -> impl Iterator<Item = MemberKey> {
        let sides = &self.subquery.columns;
        let arrays = sides.iter().filter_map(|side| match side {
            Side::Elements(computed) => Some(computed.elements(row)),
            Side::Column(_) | Side::Computed(_) => None,
        });
        let elements: Option<Vec<Option<String>>> = arrays.fold(None, |_, one| Some(one));
        let one = elements.is_none().then(|| self.key(sides, row, None));
        let keys = elements.into_iter().flatten();
        let keys = keys.map(|element| self.key(sides, row, element.as_deref()));
        one.into_iter().chain(keys.collect::<Vec<_>>())
    }

    /// Which columns are compared how: keys of equal ones can be compared, among the rows of one definition.
    #[must_use]
    pub fn link_name(&self) -> String {
        format!("{:?} {:?}", self.compared, self.left)
    }

    /// Of a row for which something cannot be computed it is all NULL.
    fn key(&self, sides: &[Side], row: &Row, element: Option<&str>) -> MemberKey {
        let (mut bytes, mut has_null) = (Vec::with_capacity(12 * sides.len()), false);
        let mut failed = false;
        for (side, compared) in sides.iter().zip(&self.compared) {
            let begin = bytes.len();
            // Text that is no value of its type cannot come from Postgres; equal to nothing, then.
            let written = match side {
                Side::Column(at) => {
                    row.get(*at).is_some_and(|text| compared.write(text, &mut bytes))
                }
                Side::Computed(computed) => {
                    let value = compute::value(&computed.scalar, row);
                    failed |= value.is_err();
                    let text = value.ok().flatten();
                    let text =
                        text.map(|value| text_form::output(&computed.scalar.data_type, &value));
                    text.is_some_and(|text| compared.write(text.as_bytes(), &mut bytes))
                }
                Side::Elements(_) => {
                    element.is_some_and(|text| compared.write(text.as_bytes(), &mut bytes))
                }
            };
            if !written {
                bytes.truncate(begin);
            }
            has_null |= !written;
            let length = written.then(|| bytes.len() - begin);
            bytes.splice(begin..begin, length_bytes(length));
        }
        if failed {
            bytes = vec![0; sides.len()];
        }
        MemberKey { bytes: bytes.into(), has_null }
    }
}

/// A test of these columns of two tables.
pub(crate) fn membership(
    table: &TableSchema,
    left: Vec<Side>,
    subquery: Subquery,
    at: usize,
) -> Result<Membership, WhereError> {
    let mut compared = Vec::with_capacity(left.len());
    for (one, other) in left.iter().zip(&subquery.columns) {
        let (one, other) = (one.like(table), other.like(&subquery.table));
        compared.push(Compared::of(one, other).ok_or_else(|| {
            let reason = format!(
                "{} cannot be compared exactly with {} of the subquery{}",
                titled(one),
                titled(other),
                way_out(one, other)
            );
            WhereError::at(at, reason)
        })?);
    }
    let (left, compared) = (left.into(), compared.into());
    Ok(Membership { left, subquery: Arc::new(subquery), compared })
}

/// What the text of some sides does not say, each once.
fn unsaid(sides: &[Side]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for scalar in sides.iter().filter_map(Side::scalar) {
        access::for_each_unsaid(scalar, &mut |part| _ = found.insert(part));
    }
    found
}

/// Whether this is known to have a value for every row; of what is most often compared it is.
fn never_fails(scalar: &Scalar) -> bool {
    let fine = match &scalar.kind {
        Kind::Column(_) | Kind::Constant(_) | Kind::Collate(_) | Kind::Coalesce(_) => true,
        Kind::Cast { conversion: Conversion::Relabel, modifier: None, .. } => true,
        Kind::Call(call, _) => matches!(
            call.code,
            "lower"
                | "upper"
                | "btrim1"
                | "textlen"
                | "jsonb_object_field"
                | "jsonb_object_field_text"
                | "jsonb_array_element_text"
        ),
        _ => false,
    };
    let mut all = fine;
    scalar.for_each_child(&mut |child| all = all && never_fails(child));
    all
}

fn titled(column: &Column) -> String {
    let named = format!("column {}", column.name);
    let name = if column.name.is_empty() { "a value" } else { &named };
    let collation = column.collation.as_ref().map(|one| format!(" and collation {}", one.name));
    format!("{name} of type {}{}", column.type_name, collation.unwrap_or_default())
}

/// What to write where it is only about how text is compared.
fn way_out(one: &Column, other: &Column) -> &'static str {
    let is = |oid: Oid| [one, other].iter().any(|column| column.base_type_oid == oid.0);
    let text = [one, other].iter().all(|column| column.collation.is_some());
    match text {
        true if is(Oid::CITEXT) => ": write ::text or lower(…) on both sides",
        true if !is(Oid::BPCHAR) => ": write … COLLATE \"C\" on both sides",
        _ => "",
    }
}

/// The answer of a test, from what is known of the set: whether it has any row, whether it has the
/// key, and whether a key with a NULL in it or in the row may equal.
#[must_use]
pub fn membership_truth(has_rows: bool, has_key: bool, may_equal: impl FnOnce() -> bool) -> Truth {
    match (has_rows, has_key) {
        (false, _) => Truth::False,
        (true, true) => Truth::True,
        (true, false) if may_equal() => Truth::Null,
        (true, false) => Truth::False,
    }
}

#[cfg(test)]
mod tests;
