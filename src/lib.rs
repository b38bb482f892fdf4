//! Brooklet.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod change_log;
pub mod decode;
pub mod engine;
pub mod frame;
pub mod limits;
pub mod shapes;
pub mod shape_log;
