//! Brooklet.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod change_log;
pub mod config;
pub mod core;
pub mod decode;
pub mod demo;
pub mod engine;
pub mod frame;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod replication;
pub mod server;
pub mod shape_log;
pub mod shapes;
pub mod verify;
