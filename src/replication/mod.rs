//! Everything that talks to Postgres.
//!
//! *Enters*: a database URL. *Leaves*: the stream in slices ([`session`]), schemas ([`schema`]),
//! snapshots ([`snapshot`]), a database prepared for both ([`preflight`], [`publication`],
//! [`slot`]). *Invariant*: only positions that are durable are confirmed; every statement is built
//! from parsed names. *Must not know*: shapes' logs, HTTP.

pub mod assemble;
pub mod collations;
pub mod database;
mod gather;
pub mod glance;
pub mod layouts;
mod mathematics;
pub mod memberships;
pub mod partitions;
mod pool;
pub mod preflight;
pub mod publication;
pub mod rewrites;
pub mod schema;
pub mod session;
pub mod slot;
pub mod snapshot;
pub mod tls;
mod url;
pub mod ways;
mod zones;

pub use database::{Database, DatabaseError};
