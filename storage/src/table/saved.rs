//! Entries of a part of a table as they are saved: encoded, one behind the other, with the range of their hashes.

use rkyv::util::AlignedVec;
use thalweg_record::HashRange;
use thalweg_record::record::{ArchiveError, Archiver};

/// Encodes a key and its value behind what is there already.
pub type Encode<K, V> = fn(&mut Archiver, &mut AlignedVec, &K, &V) -> Result<(), ArchiveError>;

/// Encodes the entries of one table.
pub(super) struct Encoder<K, V> {
    pub(super) encode: Encode<K, V>,
    pub(super) archiver: Archiver,
}

/// Entries of one part, encoded.
#[derive(Debug)]
pub struct SavedEntries {
    /// The hashes of their keys lie in this range.
    pub hashes: HashRange,
    /// How many there are.
    pub entries: u64,
    /// The entries, one behind the other.
    pub bytes: AlignedVec,
}

impl SavedEntries {
    /// None, in this memory.
    pub(super) fn none(mut memory: AlignedVec) -> Self {
        memory.clear();
        Self { hashes: HashRange::EMPTY, entries: 0, bytes: memory }
    }

    /// Encodes one entry more.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(super) fn add<K, V>(&mut self, encoder: &mut Encoder<K, V>, hash: u64, key: &K, value: &V) -> Result<(), ArchiveError> {
        (encoder.encode)(&mut encoder.archiver, &mut self.bytes, key, value)?;
        self.hashes = self.hashes.including(hash);
        self.entries += 1;
        Ok(())
    }
}
