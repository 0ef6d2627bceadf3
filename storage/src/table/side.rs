//! What is kept aside of a sealed table: the entries that have changed since, encoded as they were when it was sealed.
//!
//! They lie one behind the other in the order in which they were changed, wherever in the table they come from, so that keeping one more aside touches no
//! memory but that of the one before. They are gathered in chunks, whose memory all states of a subtask share; a chunk that is full is saved as it is.

use crate::checkpoint::Namespace;
use crate::saved::{Encoder, SavedEntries};
use crate::side_bytes::{CHUNK, SideBytes};
use rkyv::util::AlignedVec;
use std::mem;
use thalweg_record::record::ArchiveError;

/// Room that a chunk has for the next entry, if that is a small one. A larger one makes the chunk grow, which then takes no other one.
const ROOM: usize = 128;

/// The smallest chunk: tables may be small, and parts on purpose.
const LEAST: usize = 4 * ROOM;

/// The side buffer of a table.
pub(super) struct Side {
    /// Bytes of a chunk that is full.
    chunk_bytes: usize,
    /// The chunk that entries are added to; without memory if there are none.
    open: SavedEntries,
    full: Vec<SavedEntries>,
}

impl Side {
    /// Nothing yet of a table of so many bytes.
    pub(super) fn for_a_table_of(bytes: usize) -> Self {
        Self { chunk_bytes: bytes.clamp(LEAST, CHUNK), open: SavedEntries::default(), full: Vec::new() }
    }

    /// Keeps an entry. Returns how many bytes it is.
    #[inline]
    pub(super) fn add<K, V>(
        &mut self,
        encoder: &Encoder<K, V>,
        namespace: Option<Namespace>,
        (hash, key, value): (u64, &K, &V),
    ) -> Result<usize, ArchiveError> {
        if self.open.bytes.capacity() == 0 || self.open.bytes.len() > self.chunk_bytes - ROOM {
            self.open_another(encoder.side());
        }
        let before = self.open.bytes.len();
        encoder.add(&mut self.open.bytes, namespace, key, Some(value))?;
        self.open.hashes = self.open.hashes.including(hash);
        self.open.entries += 1;
        Ok(self.open.bytes.len() - before)
    }

    #[cold]
    fn open_another(&mut self, side: &SideBytes) {
        // There may be thousands of tables of a few entries each.
        let chunk = if self.chunk_bytes < CHUNK { AlignedVec::with_capacity(ROOM) } else { side.take_chunk() };
        let full = mem::replace(&mut self.open, SavedEntries::none(chunk));
        if full.entries > 0 {
            self.full.push(full);
        }
    }

    /// Takes out a chunk that is full, if there is one.
    pub(super) fn take_full(&mut self) -> Option<SavedEntries> {
        self.full.pop()
    }

    /// Takes out a chunk, if there is one.
    pub(super) fn take(&mut self) -> Option<SavedEntries> {
        self.full.pop().or_else(|| (self.open.entries > 0).then(|| mem::take(&mut self.open)))
    }
}

/// A chunk has room for many entries of usual sizes.
const _: () = assert!(CHUNK >= 8 * ROOM && LEAST <= CHUNK);
