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
use crate::expr::Expr;
use crate::name::quote;
use crate::normalize;
use crate::oid::Oid;
use crate::parse;
use crate::resolve;
use crate::scalar::{Kind, Scalar};
use crate::sql_type::SqlType;
use crate::syntax::{Node, Syntax};
use crate::value::Value;
use crate::{Column, Predicate, RelationName, Row, TableSchema, Truth, WhereError, key, token};
use crate::{compute, print, text_form};

/// A NULL in place of a length.
const NULL: u32 = u32::MAX;

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
}

/// A value that is computed from a row.
pub struct Computed {
    scalar: Scalar,
    columns: Vec<usize>,
    /// A column that would have such values.
    like: Column,
}

/// The type that both sides of a comparison are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Plain(SqlType),
    Other(Oid),
}

/// The values of some columns under SQL's equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    bytes: Box<[u8]>,
    /// Whether one of them is NULL.
    pub has_null: bool,
}

impl std::fmt::Debug for Side {
    /// Equal text, equal values of every row of one table.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Side::Column(at) => write!(f, "{at}"),
            Side::Computed(computed) => f.write_str(&access::identity(&computed.scalar)),
        }
    }
}

impl Side {
    /// What is computed; `like` is a column that would have such values.
    pub(crate) fn computed(scalar: Scalar, like: Column) -> Side {
        let mut columns = Vec::new();
        scalar.columns(&mut columns);
        Side::Computed(Arc::new(Computed { scalar, columns, like }))
    }

    /// What is computed.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Side::Column(_) => None,
            Side::Computed(computed) => Some(&computed.scalar),
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
            Side::Computed(computed) => &computed.columns,
        }
    }

    /// A column that has such values, of this table or none.
    pub(crate) fn like<'t>(&'t self, table: &'t TableSchema) -> &'t Column {
        match self {
            Side::Column(at) => &table.columns[*at],
            Side::Computed(computed) => &computed.like,
        }
    }

    /// SQL of it over a table's bare columns.
    #[must_use]
    pub fn sql(&self, table: &TableSchema) -> String {
        let name = |at: usize| table.columns.get(at).map_or_else(String::new, |c| quote(&c.name));
        match self {
            Side::Column(at) => name(*at),
            Side::Computed(computed) => print::scalar_by_name(&computed.scalar, &name),
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
            let (length, after) = rest.split_first_chunk()?;
            let length = u32::from_be_bytes(*length);
            let (part, after) = match length {
                NULL => (None, after),
                length => {
                    let (part, after) = after.split_at_checked(length as usize)?;
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
        let predicate = Predicate::new(normalize::all(parts), &self.table, memberships);
        Subquery { predicate: Some(predicate), ..self }
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
        self.key(&self.left, row)
    }

    /// The key of a row that is selected.
    #[must_use]
    pub fn inner_key(&self, row: &Row) -> MemberKey {
        self.key(&self.subquery.columns, row)
    }

    /// Which columns are compared how: keys of equal ones can be compared, among the rows of one definition.
    #[must_use]
    pub fn link_name(&self) -> String {
        format!("{:?} {:?}", self.compared, self.left)
    }

    /// Of a row for which something cannot be computed it is all NULL.
    fn key(&self, sides: &[Side], row: &Row) -> MemberKey {
        let (mut bytes, mut has_null) = (Vec::with_capacity(12 * sides.len()), false);
        let mut failed = false;
        for (side, compared) in sides.iter().zip(&self.compared) {
            let begin = bytes.len();
            bytes.extend([0; 4]);
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
            };
            let length = match written {
                true => u32::try_from(bytes.len() - begin - 4).unwrap_or(NULL),
                false => NULL,
            };
            if length == NULL {
                bytes.truncate(begin + 4);
                has_null = true;
            }
            bytes[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
        }
        if failed {
            bytes = NULL.to_be_bytes().repeat(sides.len());
        }
        MemberKey { bytes: bytes.into(), has_null }
    }
}

impl Compared {
    fn write(self, text: &[u8], bytes: &mut Vec<u8>) -> bool {
        match self {
            Compared::Plain(sql_type) => match Value::read(sql_type, text) {
                Some(value) => {
                    key::write(value, bytes);
                    true
                }
                None => false,
            },
            Compared::Other(oid) => key::write_other(oid, text, bytes),
        }
    }

    /// How two columns are compared; `None` where Postgres has no `=` for them, or we none that is the
    /// same.
    fn of(left: &Column, right: &Column) -> Option<Compared> {
        if left.element_type_oid != 0 || right.element_type_oid != 0 {
            return None;
        }
        let deterministic =
            |column: &Column| column.collation.as_ref().is_none_or(|c| c.deterministic);
        let collated = left.collation.is_some() || right.collation.is_some();
        let one_collation = || match (&left.collation, &right.collation) {
            (Some(left), Some(right)) => left.name == right.name,
            // What is computed from no column's text has none to insist on.
            _ => true,
        };
        if collated && !(deterministic(left) && deterministic(right) && one_collation()) {
            return None;
        }
        use SqlType::{Enum, Float4, Float8, Int2, Int4, Int8, Numeric};
        let same = left.base_type_oid == right.base_type_oid;
        match (SqlType::of_column(left)?, SqlType::of_column(right)?) {
            (Enum, Enum) => same.then_some(Compared::Plain(Enum)),
            (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => Some(Compared::Plain(Int8)),
            (Int2 | Int4 | Int8 | Numeric, Int2 | Int4 | Int8 | Numeric) => {
                Some(Compared::Plain(Numeric))
            }
            (one, other) if one == other => Some(Compared::Plain(one)),
            // Postgres compares these as float8, too. A float4 has other text as a float8.
            (one, other) if [one, other].iter().all(|t| *t != Float4) => {
                let number = |t| matches!(t, Int2 | Int4 | Int8 | Numeric | Float8);
                (number(one) && number(other)).then_some(Compared::Plain(Float8))
            }
            _ => None,
        }
    }

    /// The same for types that are compared by computing.
    fn of_other(left: &Column, right: &Column) -> Option<Compared> {
        let plain = left.element_type_oid == 0 && right.element_type_oid == 0;
        let same = left.base_type_oid == right.base_type_oid && left.collation == right.collation;
        let deterministic = left.collation.as_ref().is_none_or(|c| c.deterministic);
        let known =
            [Oid::BPCHAR, Oid::BYTEA, Oid::TIME, Oid::INET, Oid::CIDR, Oid::OID, Oid::INTERVAL];
        let oid = Oid(left.base_type_oid);
        (plain && same && deterministic && known.contains(&oid)).then_some(Compared::Other(oid))
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
        let found = Compared::of(one, other).or_else(|| Compared::of_other(one, other));
        compared.push(found.ok_or_else(|| {
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

/// The tables that the subqueries of a clause name: what [`crate::compile_with`] has to be given. None
/// if the clause cannot be parsed, which compiling it says better.
#[must_use]
pub fn named_tables(text: &str) -> Vec<RelationName> {
    let mut found = Vec::new();
    let parsed = token::tokenize(text)
        .and_then(|lexemes| parse::parse(&lexemes, text.chars().count(), true));
    if let Ok(node) = parsed {
        walk(&node, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn walk(node: &Node, found: &mut Vec<RelationName>) {
    if let Syntax::Member { query, .. } | Syntax::Exists(query) = &node.syntax {
        let sources = query.selects().flat_map(|select| &select.sources);
        found.extend(sources.filter_map(|source| resolve::relation_name(&source.table)));
    }
    node.syntax.children().into_iter().for_each(|child| walk(child, found));
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
