//! x
pub mod visibility;
