//! Black-box tests: the `brooklet` binary over real Postgres clusters, looked at through HTTP only.
//!
//! Run them with `./tests/run`. A run that finds no Postgres fails. Every random test prints its seed.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, missing_docs)]

mod bad_input;
mod durability;
mod edges;
mod engine;
mod evaluation;
mod folding;
mod harness;
mod lifecycle;
mod malformed;
mod mathematics;
mod missed;
mod npm;
mod oracle;
mod page;
mod partitions;
mod preflight;
mod protocol;
mod repair;
mod resources;
mod restored;
mod retention;
mod rewritten;
mod rush;
mod schema_change;
mod secrets;
mod slot;
mod snapshot;
mod strict;
mod subqueries;
mod sustained;
mod tampering;
mod verify;
mod versions;
