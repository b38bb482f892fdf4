//! The HTTP shape protocol as its published clients need it, one file per subject.

mod chunks;
mod handles;
mod headers;
mod live;
mod recorded;
mod rows;
