//! Brooklet: a self-hosted sync engine. Any Postgres as a real-time database over plain HTTP.
//!
//! The modules in the order of a write's journey (`ARCHITECTURE.md` follows one):
//!
//! [`replication`] tails the slot · [`decode`] reads its messages · [`ingest`] appends them to the
//! [`change_log`] and hands them to the [`engine`], behind which the dataflow finds what each change
//! means for each shape · [`shape_log`] appends that and is read from · [`http`] serves it.
//! [`shapes`] says which shapes exist and makes new ones. [`core`] wires all this over an [`epoch`]'s
//! directory, [`server`] keeps one core behind one listener; [`frame`] is what files are made of,
//! [`storage`] where they are kept, [`shared_call`] what many wait for at a time, [`descriptors`] how many of them may; [`config`] and [`limits`] are all the numbers. [`demo`], [`verify`] and
//! [`explain`] are programs beside it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod change_log;
pub mod config;
pub mod core;
pub mod decode;
pub mod demo;
pub mod descriptors;
pub mod engine;
pub mod epoch;
pub mod explain;
pub mod frame;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod members;
pub mod repair;
pub mod replication;
pub mod server;
pub mod shape_log;
pub mod shapes;
pub mod shared_call;
pub mod storage;
mod unpark;
pub mod verify;

/// An error's message and its causes, without those that the message has told already.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}
