//! What a shape's readers read: snapshot rows, then entries that point into the change log.
//!
//! *Enters*: collated transactions ([`appender`]), snapshot rows ([`pack`]). *Leaves*: slices of a
//! log by offset ([`log::ShapeLog::slice`]), their JSON ([`encode`]), their Arrow form ([`typed`]).
//! *Invariant*: offsets rise strictly; what stands between two offsets of a completed chunk never
//! changes; nothing is readable before everything it depends on is. *Must not know*: Postgres, HTTP.

pub mod appender;
pub mod block;
mod chunk_ends;
pub mod encode;
pub mod encoded;
pub mod form;
pub mod gathered;
pub mod held;
mod json;
pub mod log;
mod logs;
pub mod messages;
mod moved;
mod numbered;
pub mod offset;
pub mod pack;
pub mod posting_files;
pub mod posting_rewrite;
pub mod postings;
mod scale;
pub mod typed;
mod varint;

pub use appender::{Appender, AppenderHandle, Ended, Results, SharedAppender};
pub use block::Block;
pub use encode::View;
pub use encoded::{Encoded, Piece};
pub use form::{Control, Form};
pub use gathered::Gathered;
pub use held::Held;
pub use log::{Brought, HeldTransaction, LogEnded, ShapeLog, Slice, SliceError};
pub use logs::{Logs, Pin, ShapeLogs};
pub use messages::Messages;
pub use offset::{LogPoint, Offset, RequestOffset};
pub use pack::{BatchPlace, PackStore};
pub use postings::News;
pub use typed::TypedView;
