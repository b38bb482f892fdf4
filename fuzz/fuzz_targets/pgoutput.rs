//! Any bytes as a `pgoutput` message: an answer or an error, never a panic.
//!
//! Run with `cargo fuzz run -s none pgoutput` (a nightly toolchain may drop `-s none`); the seed corpus
//! is `corpus/pgoutput`, one file per message kind.

#![no_main]

use brooklet::decode::{Message, pgoutput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = pgoutput::decode(bytes::Bytes::copy_from_slice(data));
    if let Ok(Message::Insert { new, .. } | Message::Update { new, .. }) = message {
        let _ = pgoutput::row(new.iter());
    }
});
