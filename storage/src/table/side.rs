//! What is kept aside of one part of a table: the entries that have changed since it was sealed, encoded as they were then.
//!
//! They lie in chunks that all states of a subtask share, so that keeping one more aside neither copies what is there nor asks for memory. Only where a part
//! is smaller than a chunk is what is kept of it in memory that grows, and what is larger than a chunk has one of its own.

use crate::checkpoint::Namespace;
use crate::saved::{Encoder, SavedEntries};
use crate::side_bytes::{CHUNK, SideBytes};
use rkyv::util::AlignedVec;
use thalweg_record::HashRange;
use thalweg_record::record::ArchiveError;

/// Room that a chunk has for the next entry, if that is a small one. A larger one makes the chunk grow, which then takes no other one.
const ROOM: usize = 128;

/// The side buffer of a part. What is needed to add an entry comes first.
#[repr(C)]
pub(super) struct Side {
    /// The chunk that entries are added to; without memory if there are none.
    open: AlignedVec,
    hashes: HashRange,
    entries: u32,
    full: Vec<AlignedVec>,
}

impl Default for Side {
    fn default() -> Self {
        Self { open: AlignedVec::new(), hashes: HashRange::EMPTY, entries: 0, full: Vec::new() }
    }
}

impl Side {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The hashes of the entries lie in this range.
    pub(super) fn hashes(&self) -> HashRange {
        self.hashes
    }

    /// Keeps an entry of a part that takes `part_bytes`. Returns how many bytes it is.
    #[inline]
    pub(super) fn add<K, V>(
        &mut self,
        encoder: &Encoder<K, V>,
        namespace: Option<Namespace>,
        (hash, key, value): (u64, &K, &V),
        part_bytes: impl FnOnce() -> usize,
    ) -> Result<usize, ArchiveError> {
        let capacity = self.open.capacity();
        if capacity >= CHUNK && (capacity > CHUNK || capacity - self.open.len() < ROOM) || capacity == 0 {
            self.open_another(encoder.side(), part_bytes());
        }
        let before = self.open.len();
        encoder.add(&mut self.open, namespace, key, Some(value))?;
        self.hashes = self.hashes.including(hash);
        self.entries += 1;
        Ok(self.open.len() - before)
    }

    #[cold]
    fn open_another(&mut self, side: &SideBytes, part_bytes: usize) {
        // There may be thousands of tables of a few entries each.
        let chunk = if part_bytes < CHUNK { AlignedVec::with_capacity(ROOM) } else { side.take_chunk() };
        let full = std::mem::replace(&mut self.open, chunk);
        if full.capacity() > 0 {
            self.full.push(full);
        }
    }

    /// Moves all entries to the end of `saved`, whose range is that of them too, and the chunks back. Returns how many bytes were kept.
    pub(super) fn move_to(&mut self, saved: &mut SavedEntries, side: &SideBytes) -> usize {
        let before = saved.bytes.len();
        saved.entries += u64::from(self.entries);
        saved.hashes = saved.hashes.hull(self.hashes);
        self.empty(side, |chunk| saved.bytes.extend_from_slice(chunk));
        saved.bytes.len() - before
    }

    /// Drops all entries.
    pub(super) fn clear(&mut self, side: &SideBytes) {
        self.empty(side, |_| ());
    }

    fn empty(&mut self, side: &SideBytes, mut take: impl FnMut(&[u8])) {
        let Self { open, full, .. } = std::mem::take(self);
        for chunk in full.into_iter().chain((open.capacity() > 0).then_some(open)) {
            take(&chunk);
            side.give_chunk(chunk);
        }
    }
}

/// A chunk has room for many entries of usual sizes.
const _: () = assert!(CHUNK >= 8 * ROOM);
