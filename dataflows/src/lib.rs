//! Plans and changes in, shape changes out, on a timely worker.
//!
//! One write, followed through:
//!
//! ```text
//!  events, in order                 ┌──────────┐  routed   ┌───────────┐  per transaction
//!  change · relation · truncate ──► │  route   │ ────────► │  collate  │ ──────────────► emit
//!  commit · abort · add · remove    └──────────┘ collection└───────────┘
//! ```
//!
//! 1. [`worker::run`] takes [`Event`]s from its caller and steps the one standing dataflow.
//! 2. [`route`] holds every shape as a row of its [`index::ShapeIndex`], under one access path; for each
//!    change it looks up the candidates, lets [`verdict::verdict`] decide, and puts out one record per change with
//!    the list of matching shapes. The result is a differential collection that stateful operators
//!    can attach to.
//! 3. [`collate`] turns the records of one transaction into postings per shape at its commit.
//!
//! *Invariant*: shapes are data, never operators. Adding one costs an index entry and takes effect
//! at an exact position of the ordered input.
//! *Must not know*: sockets, files, clocks, HTTP, how positions are stored.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// What is tested from outside is tested here once more, with hashes that are mostly the same.
#[cfg(test)]
extern crate self as brooklet_dataflows;

pub mod change;
pub mod collate;
mod hashing;
pub mod index;
pub mod members;
pub mod pieces;
pub mod plan;
mod plans;
pub mod posting;
pub mod route;
pub mod verdict;
pub mod worker;

pub use change::{Change, Event, Viewer};
pub use collate::{Collated, ShapePostings};
pub use index::view::{PathView, TableView, TemplateView, View};
pub use plan::{Selection, ShapeId, ShapePlan};
pub use posting::Posting;
pub use route::{EndReason, Match, Routed};
pub use verdict::{Verdict, asked, evaluation_errors, verdict};

#[cfg(test)]
#[path = "../tests/paths.rs"]
mod paths;
