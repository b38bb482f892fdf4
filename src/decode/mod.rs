//! Bytes from Postgres in, values out; pure.
//!
//! *Enters*: messages of the `pgoutput` plugin, protocol version 1, text format ([`pgoutput`]); rows
//! of `COPY … TO STDOUT` ([`copy`]). *Leaves*: [`Message`]s and [`brooklet_sql::Row`]s.
//! *Invariant*: no bytes panic; what cannot be read is an error that says where. *Must not know*:
//! the connection, shapes, time.

pub mod copy;
pub mod pgoutput;

pub use pgoutput::{DecodeError, Message, TupleColumn};
