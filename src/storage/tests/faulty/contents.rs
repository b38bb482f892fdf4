//! What a file of the disk holds: for who reads it now, and after the power was gone.

use super::super::rng::Rng;

/// Bytes that reach the disk together; small, since the files of a test are.
const BLOCK: usize = 64;

/// A file.
#[derive(Default)]
pub(super) struct Contents {
    pub cached: Vec<u8>,
    pub durable: Vec<u8>,
    pub unsynced: Vec<Unsynced>,
}

/// What no sync has covered yet.
#[derive(Clone)]
pub(super) enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Contents {
    /// Makes a random part durable of what is not.
    pub fn persist_some(&mut self, rng: &mut Rng) {
        let keep = [0, 50, 100][rng.below(3)];
        for unsynced in std::mem::take(&mut self.unsynced) {
            match unsynced {
                Unsynced::Length(length) if rng.percent(keep) => self.durable.resize(length, 0),
                Unsynced::Length(_) => {}
                Unsynced::Write(at, bytes) => {
                    let mut begin = 0;
                    while begin < bytes.len() {
                        let end = (begin + BLOCK - (at + begin) % BLOCK).min(bytes.len());
                        let torn =
                            if rng.percent(10) { rng.below(end - begin + 1) } else { end - begin };
                        if rng.percent(keep) {
                            write(&mut self.durable, at + begin, &bytes[begin..begin + torn]);
                        }
                        begin = end;
                    }
                }
            }
        }
    }
}

/// Writes at a place, beyond the end, too.
pub(super) fn write(contents: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if contents.len() < at + bytes.len() {
        contents.resize(at + bytes.len(), 0);
    }
    contents[at..at + bytes.len()].copy_from_slice(bytes);
}
