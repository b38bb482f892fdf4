//! The forms in which a log can be read: JSON, and Arrow's stream format.
//!
//! *Enters*: pieces of a log. *Leaves*: bytes of which a body is made: [`Form::open`], parts with
//! [`Form::separator`] between them, [`Form::close`]. *Invariant*: both forms say the same of the same
//! piece.

use std::io;

use arrow::error::ArrowError;
use brooklet_sql::Lsn;
use bytes::Bytes;

use super::encode::{Entry, snapshot_end, up_to_date};
use super::pack::Stored;
use super::typed::{self, Batch};
use crate::shapes::Shape;
use crate::shapes::visibility::Visibility;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The protocol's own.
    Json,
    /// Record batches with typed columns.
    Arrow,
}

/// A message about the log itself.
#[derive(Debug, Clone)]
pub enum Control {
    /// The end of the log; the stream has come so far.
    UpToDate(Lsn),
    /// The end of the snapshot, and what it saw.
    SnapshotEnd(Visibility),
}

/// Entries that become one part.
pub enum Part<'a> {
    /// Messages with commas between them.
    Json(Json<'a>),
    /// A record batch.
    Arrow(Box<Batch<'a>>),
}

/// Messages of a shape, one after the other.
pub struct Json<'a> {
    shape: &'a Shape,
    json: Vec<u8>,
    /// The first message if it is shared and no other has come: it is not copied.
    alone: Option<Bytes>,
}

impl Form {
    /// Its media type, without parameters.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// What a body begins with.
    pub fn open(self, shape: &Shape) -> io::Result<Bytes> {
        Ok(match self {
            Form::Json => Bytes::from_static(b"["),
            Form::Arrow => shape.typed()?.open(),
        })
    }

    /// What stands between parts.
    #[must_use]
    pub fn separator(self) -> &'static [u8] {
        match self {
            Form::Json => b",",
            Form::Arrow => b"",
        }
    }

    /// What a body ends with.
    #[must_use]
    pub fn close(self) -> &'static [u8] {
        match self {
            Form::Json => b"]",
            Form::Arrow => typed::CLOSE,
        }
    }

    /// A part to be filled.
    pub fn part(self, shape: &Shape) -> io::Result<Part<'_>> {
        Ok(match self {
            Form::Json => Part::Json(Json { shape, json: Vec::new(), alone: None }),
            Form::Arrow => Part::Arrow(Box::new(shape.typed()?.batch())),
        })
    }

    /// A part that is one control message.
    pub fn control(self, shape: &Shape, control: &Control) -> io::Result<Vec<u8>> {
        match (self, control) {
            (Form::Json, Control::UpToDate(lsn)) => Ok(up_to_date(*lsn).into_bytes()),
            (Form::Json, Control::SnapshotEnd(seen)) => Ok(snapshot_end(seen).into_bytes()),
            (Form::Arrow, control) => {
                let mut batch = shape.typed()?.batch();
                let added = match control {
                    Control::UpToDate(lsn) => batch.up_to_date(*lsn),
                    Control::SnapshotEnd(seen) => batch.snapshot_end(seen),
                };
                added.and_then(|()| batch.finish()).map_err(failed)
            }
        }
    }
}

impl Part<'_> {
    /// Adds an entry of the log; says how many bytes that are, about.
    pub fn entry(&mut self, entry: &Entry<'_>) -> io::Result<usize> {
        match self {
            Part::Json(part) => {
                let (shape, json) = (part.shape, part.next());
                let before = json.len();
                shape.view().entry(entry, json);
                Ok(json.len() - before)
            }
            Part::Arrow(batch) => {
                batch.entry(entry).map_err(failed)?;
                let old = entry.old.map_or(0, |old| old.as_bytes().len());
                Ok(entry.row.as_bytes().len() + old)
            }
        }
    }

    /// Adds an entry that is JSON already; says how many bytes that are.
    pub fn message(&mut self, message: &Bytes) -> io::Result<usize> {
        match self {
            Part::Json(part) => Ok(part.message(message)),
            Part::Arrow(_) => Err(io::Error::other("JSON among record batches")),
        }
    }

    /// Adds what the rows so far contain; says how many bytes that are, about.
    pub fn snapshot_end(&mut self, seen: &Visibility) -> io::Result<usize> {
        let message = snapshot_end(seen);
        match self {
            Part::Json(part) => part.next().extend_from_slice(message.as_bytes()),
            Part::Arrow(batch) => batch.snapshot_end(seen).map_err(failed)?,
        }
        Ok(message.len())
    }

    /// Adds rows of the snapshot.
    pub fn snapshot_rows(&mut self, rows: &Stored) -> io::Result<()> {
        match self {
            Part::Json(part) => {
                let shape = part.shape;
                for row in 0..rows.count() {
                    let json = part.next();
                    shape.view().stored_row(|place| rows.get(row, place), json);
                    if row == 0 {
                        // What is around the values is about as long for the others.
                        let around = json.len().saturating_sub(rows.bytes_of(row));
                        let all = rows.bytes() + around * rows.count();
                        json.reserve(all + all / 16);
                    }
                }
                Ok(())
            }
            Part::Arrow(batch) => {
                let rows = rows.rows().ok_or_else(|| io::Error::other("no rows of ours"))?;
                rows.iter().try_for_each(|row| batch.snapshot_row(row)).map_err(failed)
            }
        }
    }

    /// The part; empty if nothing was added.
    pub fn finish(self) -> io::Result<Bytes> {
        match self {
            Part::Json(Json { alone: Some(alone), .. }) => Ok(alone),
            Part::Json(Json { json, .. }) => Ok(json.into()),
            Part::Arrow(batch) => Ok(batch.finish().map_err(failed)?.into()),
        }
    }
}

impl Json<'_> {
    fn message(&mut self, message: &Bytes) -> usize {
        if self.json.is_empty() && self.alone.is_none() {
            self.alone = Some(message.clone());
        } else {
            self.next().extend_from_slice(message);
        }
        message.len()
    }

    /// Where the next message is to be written.
    fn next(&mut self) -> &mut Vec<u8> {
        self.json.extend(self.alone.take().unwrap_or_default());
        if !self.json.is_empty() {
            self.json.extend_from_slice(Form::Json.separator());
        }
        &mut self.json
    }
}

fn failed(error: ArrowError) -> io::Error {
    io::Error::other(error)
}
