//! Brooklet.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod change_log;
pub mod decode;
pub mod engine;
pub mod frame;
pub mod ingest;
pub mod limits;
pub mod replication;
pub mod shapes;
pub mod shape_log;
