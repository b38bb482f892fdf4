//! Everything that is SQL text, both ways, and the vocabulary of tables.
//!
//! *Enters*: clauses users write ([`compile`]), names ([`RelationName`]), column values as Postgres
//! prints them ([`Row`]).
//! *Leaves*: typed predicates that answer exactly as Postgres would ([`Predicate`]), SQL text rebuilt
//! from a parsed tree, never from what a user sent.
//! *Invariant*: whatever cannot be evaluated exactly like Postgres is refused when the clause is
//! compiled; nothing is approximated.
//! *Must not know*: that workers, sockets, files or Arrow exist.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The generators of the tests in `tests/` see the crate from outside.
#[cfg(test)]
extern crate self as brooklet_sql;

mod access;
mod c_library;
mod calendar;
mod catalog;
pub mod collation;
mod compute;
mod data_type;
mod datum;
mod decimal;
mod evaluate;
mod evaluation_error;
mod expr;
mod form;
mod interval;
mod json;
mod key;
mod like;
pub mod limits;
mod literal;
pub mod lsn;
pub mod mathematics;
pub mod name;
mod network;
mod normalize;
mod numeric;
mod oid;
mod parse;
mod plan;
mod predicate;
mod print;
pub mod printed;
mod range;
pub mod relation;
mod resolve;
mod routine;
pub mod row;
mod scalar;
pub mod schema;
mod server;
mod sort_key;
mod sql_type;
pub mod statement;
pub mod subquery;
mod syntax;
mod tables;
mod text_form;
mod token;
mod truth;
mod value;
mod where_error;
pub mod zone;

pub use access::{Access, Alternative, Found, MemberWay, Probe, Reading, Source, Want};
pub use collation::{CaseMap, Collation, CollationFacts, Folding, TextOrder};
pub use evaluation_error::EvaluationError;
pub use form::Form;
pub use key::{Key, RowKey, row_key};
pub use lsn::Lsn;
pub use name::{NameError, RelationName};
pub use predicate::{Predicate, compile, compile_printed, compile_with};
pub use printed::Kind;
pub use relation::{Difference, Relation, RelationColumn, ReplicaIdentity};
pub use row::{Row, RowBuilder, RowError};
pub use schema::{Column, ColumnDomain, TableSchema};
pub use server::{OrderBy, ServerFilter, compile_for_server, compile_order};
pub use subquery::{MemberKey, Membership, Side, Subquery};
pub use tables::Tables;
pub use truth::Truth;
pub use where_error::WhereError;
pub use zone::{Zone, Zones};
