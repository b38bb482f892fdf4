//! Brooklet.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod decode;
pub mod frame;
pub mod limits;
pub mod change_log;
