//! What many readers share: pieces of logs and batches of snapshots, encoded once.
//!
//! *Enters*: a piece's name and a way to encode it. *Leaves*: its bytes, the same for all readers.
//! *Invariant*: a name means the same bytes for ever (a slice of a log between two offsets, a batch
//! of a snapshot), so nothing is ever taken back; memory is bounded by bytes. Readers that ask for
//! the same piece at once wait for one encoding.

use std::io;
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use bytes::Bytes;
use futures_util::FutureExt;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::{BatchPlace, Form, Messages, Offset};
use crate::limits::ENCODED_CACHE_BYTES_MAX;

/// What is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Piece {
    /// A shape's entries after one offset, up to another, in a form.
    Slice(ShapeId, Offset, Offset, Form),
    /// A batch of a shape's snapshot, in a form.
    Batch(ShapeId, BatchPlace, Form),
}

/// The shared pieces; cheap to clone.
#[derive(Clone)]
pub struct Encoded {
    /// `None` where a piece is too large to be kept.
    pieces: Cache<Piece, Option<Bytes>>,
    /// What the pieces of different shapes have in common.
    pub messages: Arc<Messages>,
}

impl Default for Encoded {
    fn default() -> Encoded {
        // What a piece costs beside its bytes.
        const HEAD: usize = 200;
        let weight = |_: &Piece, bytes: &Option<Bytes>| {
            let bytes = bytes.as_ref().map_or(0, Bytes::len);
            u32::try_from(bytes + HEAD).unwrap_or(u32::MAX)
        };
        // What was made last is asked for next. The cache's own policy keeps out what nobody has asked for before,
        // which is all of a table that is being loaded.
        let pieces = Cache::builder()
            .weigher(weight)
            .max_capacity(ENCODED_CACHE_BYTES_MAX)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Encoded { pieces, messages: Arc::default() }
    }
}

impl Encoded {
    /// Keeps a piece that is at hand anyhow for those who are about to ask, if that is no trouble.
    pub fn offer(&self, piece: Piece, bytes: Bytes) {
        _ = self.pieces.insert(piece, Some(bytes)).now_or_never();
        // Else hundreds of pieces may wait before the cache looks at how large it is.
        _ = self.pieces.run_pending_tasks().now_or_never();
    }

    /// A piece from memory, else from `encode`, which runs on a thread that may block, or right `here`: that spares two
    /// changes of threads where nothing is waited for.
    pub async fn get(
        &self,
        piece: Piece,
        here: bool,
        encode: impl FnOnce() -> io::Result<Option<Bytes>> + Send + 'static,
    ) -> Result<Option<Bytes>, Arc<io::Error>> {
        let encoded = async {
            if here {
                return encode();
            }
            let encoded = tokio::task::spawn_blocking(encode).await;
            encoded.map_err(io::Error::other).and_then(|encoded| encoded)
        };
        self.pieces.try_get_with(piece, encoded).await
    }
}
