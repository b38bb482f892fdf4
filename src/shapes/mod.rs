//! Shapes: what is asked, what exists, how one comes to be and ends.
//!
//! *Enters*: definitions checked against a table, news of the stream. *Leaves*: [`shape::Shape`]s
//! with a handle, a log and a snapshot. *Invariant*: equal definitions share one shape; a handle
//! means the same content for ever; a shape whose log cannot be right has ended. *Must not know*:
//! HTTP.

pub mod base;
pub mod catalog;
pub mod chunks;
pub mod create;
pub mod definition;
pub mod difference;
pub mod evict;
pub mod fold;
pub mod forms;
pub mod handle;
pub mod listing;
mod maps;
pub mod partitions;
pub mod progress;
mod recency;
pub mod recent;
pub mod reconcile;
pub mod registry;
pub mod retention;
pub mod schema_header;
pub mod shape;
mod sorted;
pub mod stored;
pub mod template;
pub mod together;
pub mod visibility;

pub use create::CreateError;
pub use definition::{Defined, Definition, DefinitionError};
pub use registry::Registry;
pub use shape::Shape;
