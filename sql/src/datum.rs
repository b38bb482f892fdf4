//! Values of every type, owned: what expressions compute with.
//!
//! *Enters*: values made by `input`, results of routines.
//! *Leaves*: their order and equality as Postgres' comparison operators give them.
//! *Invariant*: two data of one type compare without knowing the type; NULL is no datum.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::interval::Interval;
use crate::json::Json;
use crate::network::Network;
use crate::numeric::Numeric;
use crate::range::{Multirange, Range};
use crate::{calendar, value};

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Datum {
    Bool(bool),
    /// `int2`, `int4`, `int8`, `oid`.
    Int(i64),
    /// `float4` is widened.
    Float(f64),
    Numeric(Numeric),
    /// `text`, `varchar`, `name`, `json`.
    Text(Arc<str>),
    /// `char(n)`: blanks at the end do not count.
    Padded(Arc<str>),
    Enum {
        /// Place among the labels.
        order: u32,
        label: Arc<str>,
    },
    Bytes(Arc<[u8]>),
    Uuid([u8; 16]),
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    TimeTz {
        time: i64,
        /// Seconds west of Greenwich, as Postgres keeps it.
        zone: i32,
    },
    /// `timestamp` and `timestamptz`.
    Timestamp(i64),
    Interval(Interval),
    Json(Arc<Json>),
    /// `inet`, `cidr`.
    Network(Network),
    Array(Arc<Array>),
    Range(Arc<Range>),
    Multirange(Arc<Multirange>),
}

/// An array: all elements in row-major order.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    /// Length and lower bound of each dimension; none of an empty array.
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) elements: Vec<Option<Datum>>,
}

/// One dimension of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) length: usize,
    pub(crate) lower: i32,
}

impl Array {
    /// One dimension, counted from 1.
    pub(crate) fn flat(elements: Vec<Option<Datum>>) -> Array {
        let dimensions = match elements.len() {
            0 => Vec::new(),
            length => vec![Dimension { length, lower: 1 }],
        };
        Array { dimensions, elements }
    }

    /// Elements first (NULL equals NULL and is above all), then the number of them, of dimensions,
    /// then the dimensions' bounds.
    fn compare(&self, other: &Array) -> Ordering {
        for (left, right) in self.elements.iter().zip(&other.elements) {
            let order = match (left, right) {
                (Some(left), Some(right)) => left.compare(right),
                (left, right) => left.is_none().cmp(&right.is_none()),
            };
            if order.is_ne() {
                return order;
            }
        }
        let bounds = |array: &Array| -> Vec<(usize, i32)> {
            array.dimensions.iter().map(|one| (one.length, one.lower)).collect()
        };
        let lengths = |array: &Array| -> Vec<usize> {
            array.dimensions.iter().map(|one| one.length).collect()
        };
        let lowers =
            |array: &Array| -> Vec<i32> { array.dimensions.iter().map(|one| one.lower).collect() };
        if bounds(self) == bounds(other) {
            return self.elements.len().cmp(&other.elements.len());
        }
        (self.elements.len().cmp(&other.elements.len()))
            .then(self.dimensions.len().cmp(&other.dimensions.len()))
            .then(lengths(self).cmp(&lengths(other)))
            .then(lowers(self).cmp(&lowers(other)))
    }
}

impl Datum {
    pub(crate) fn text(text: &str) -> Datum {
        Datum::Text(text.into())
    }

    /// The order under Postgres' default comparison; text by its bytes. Pairs of different kinds are
    /// those that operators exist for.
    pub(crate) fn compare(&self, other: &Datum) -> Ordering {
        match (self, other) {
            (Datum::Bool(left), Datum::Bool(right)) => left.cmp(right),
            (Datum::Int(left), Datum::Int(right)) => left.cmp(right),
            (Datum::Float(left), Datum::Float(right)) => value::compare_floats(*left, *right),
            (Datum::Numeric(left), Datum::Numeric(right)) => left.compare(right),
            (Datum::Text(left), Datum::Text(right)) => left.cmp(right),
            (Datum::Padded(left), Datum::Padded(right)) => {
                left.trim_end_matches(' ').cmp(right.trim_end_matches(' '))
            }
            (Datum::Enum { order: left, .. }, Datum::Enum { order: right, .. }) => left.cmp(right),
            (Datum::Bytes(left), Datum::Bytes(right)) => left.cmp(right),
            (Datum::Uuid(left), Datum::Uuid(right)) => left.cmp(right),
            (Datum::Date(left), Datum::Date(right)) => left.cmp(right),
            (Datum::Time(left), Datum::Time(right)) => left.cmp(right),
            (
                Datum::TimeTz { time: left, zone: left_zone },
                Datum::TimeTz { time: right, zone: right_zone },
            ) => {
                let instant = |time: &i64, zone: &i32| time + i64::from(*zone) * 1_000_000;
                (instant(left, left_zone).cmp(&instant(right, right_zone)))
                    .then(left_zone.cmp(right_zone))
            }
            (Datum::Timestamp(left), Datum::Timestamp(right)) => left.cmp(right),
            (Datum::Date(left), Datum::Timestamp(right)) => calendar::compare_date(*left, *right),
            (Datum::Timestamp(left), Datum::Date(right)) => {
                calendar::compare_date(*right, *left).reverse()
            }
            (Datum::Interval(left), Datum::Interval(right)) => left.span().cmp(&right.span()),
            (Datum::Json(left), Datum::Json(right)) => left.compare(right),
            (Datum::Network(left), Datum::Network(right)) => left.compare(right),
            (Datum::Array(left), Datum::Array(right)) => left.compare(right),
            (Datum::Range(left), Datum::Range(right)) => left.compare(right),
            (Datum::Multirange(left), Datum::Multirange(right)) => left.compare(right),
            // Resolution never pairs anything else.
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::Bool(_) => 0,
            Datum::Int(_) => 1,
            Datum::Float(_) => 2,
            Datum::Numeric(_) => 3,
            Datum::Text(_) => 4,
            Datum::Padded(_) => 5,
            Datum::Enum { .. } => 6,
            Datum::Bytes(_) => 7,
            Datum::Uuid(_) => 8,
            Datum::Date(_) => 9,
            Datum::Time(_) => 10,
            Datum::TimeTz { .. } => 11,
            Datum::Timestamp(_) => 12,
            Datum::Interval(_) => 13,
            Datum::Json(_) => 14,
            Datum::Array(_) => 15,
            Datum::Network(_) => 16,
            Datum::Range(_) => 17,
            Datum::Multirange(_) => 18,
        }
    }
}
