//! The newest changes as JSON, written once for all shapes that show the same of them.
//!
//! *Enters*: a message's name and a way to write it. *Leaves*: its bytes, the same for all readers of all
//! these shapes. *Invariant*: a name means the same bytes for ever, so nothing is ever taken back; a place
//! holds one message, and a newer change takes it from an older one. Who asks for what is just being
//! written waits for it.

use std::io;
use std::sync::{Mutex, PoisonError};

use brooklet_dataflows::Verdict;
use bytes::Bytes;

use crate::limits::{SHARED_MESSAGE_BYTES_MAX, SHARED_MESSAGES_MAX};

/// What is written: everything that a message's bytes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The change, and with it its transaction and place there.
    pub seq: u64,
    /// Which [`View`](super::View) of it.
    pub view: u64,
    /// What it is to the shape. A key change is two messages, and has no name.
    pub verdict: Verdict,
    /// Whether it is the transaction's last one in the shape.
    pub last: bool,
}

/// The shared messages.
pub struct Messages {
    places: Box<[Place]>,
}

/// The newest message of those that may stand here.
type Place = Mutex<Option<(Name, Bytes)>>;

impl Default for Messages {
    fn default() -> Messages {
        Messages { places: (0..SHARED_MESSAGES_MAX).map(|_| Mutex::default()).collect() }
    }
}

impl Messages {
    /// A message from memory, else from `write`, which may block; `weight` is what its rows have in bytes.
    pub fn get(
        &self,
        name: Name,
        weight: u32,
        write: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<Bytes> {
        if weight > SHARED_MESSAGE_BYTES_MAX {
            return write();
        }
        let mut place = self.place(name).lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some((held, message)) if *held == name => return Ok(message.clone()),
            // A reader who is behind leaves it to those who are not.
            Some((held, _)) if held.seq > name.seq => {
                drop(place);
                return write();
            }
            _ => {}
        }
        let message = write()?;
        metrics::counter!("brooklet_messages_written_count").increment(1);
        // With the old row, or escaped, it may be much larger than its row.
        if message.len() <= SHARED_MESSAGE_BYTES_MAX as usize {
            *place = Some((name, message.clone()));
        }
        Ok(message)
    }

    /// Messages of one change stand side by side, and so do the changes.
    fn place(&self, name: Name) -> &Mutex<Option<(Name, Bytes)>> {
        let Name { seq, view, verdict, last } = name;
        let variant = view * 8 + u64::from(verdict as u8) * 2 + u64::from(last);
        // Views are few, changes many: an odd factor far from a power of two spreads both.
        let place = seq.wrapping_add(variant.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32);
        &self.places[(place % SHARED_MESSAGES_MAX as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(seq: u64) -> Name {
        Name { seq, view: 1, verdict: Verdict::Insert, last: true }
    }

    #[test]
    fn one_is_written_for_all_who_ask_and_a_newer_change_takes_its_place() {
        let messages = Messages::default();
        let mut written = Vec::new();
        let mut get = |name: Name, weight| {
            let write = || {
                written.push(name);
                Ok(Bytes::from(format!("{name:?}")))
            };
            let message = messages.get(name, weight, write).unwrap();
            assert_eq!(message, format!("{name:?}"));
        };
        let newer = name(7 + SHARED_MESSAGES_MAX as u64);
        let others = [
            Name { view: 2, ..name(7) },
            Name { verdict: Verdict::Update, ..name(7) },
            Name { last: false, ..name(7) },
        ];
        for one in [name(7), name(8), others[0], others[1], others[2]] {
            for _ in 0..10 {
                get(one, 100);
            }
        }
        // The older one is written for each who asks, and does not push the newer one out.
        for one in [newer, name(7), name(7), newer] {
            get(one, 100);
        }
        // Larger ones are never kept.
        let large = name(9);
        for one in [large, large] {
            get(one, SHARED_MESSAGE_BYTES_MAX + 1);
        }
        let mut expected = vec![name(7), name(8)];
        expected.extend(others);
        expected.extend([newer, name(7), name(7), large, large]);
        assert_eq!(written, expected);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let messages = Messages::default();
        let error = messages.get(name(1), 10, || Err(io::Error::other("unreadable")));
        assert_eq!(error.unwrap_err().to_string(), "unreadable");
        let message = messages.get(name(1), 10, || Ok(Bytes::from_static(b"{}")));
        assert_eq!(message.unwrap(), "{}");
    }
}
