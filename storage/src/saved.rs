//! Entries as they are saved: encoded, one behind the other, with the range of their hashes.

use crate::checkpoint::Namespace;
use rkyv::util::AlignedVec;
use thalweg_record::HashRange;
use thalweg_record::record::{ArchiveError, Archiver};

/// Encodes an entry behind what is there already: its namespace, if it has one, its key and its value.
pub type Encode<K, V> = fn(&mut Archiver, &mut AlignedVec, Option<Namespace>, &K, &V) -> Result<(), ArchiveError>;

/// Encodes the entries of one state.
pub(crate) struct Encoder<K, V> {
    encode: Encode<K, V>,
    archiver: Archiver,
}

impl<K, V> Encoder<K, V> {
    pub(crate) fn new(encode: Encode<K, V>) -> Self {
        Self { encode, archiver: Archiver::new() }
    }
}

/// Some entries of one state, encoded.
#[derive(Debug)]
pub struct SavedEntries {
    /// The hashes of their keys lie in this range.
    pub hashes: HashRange,
    /// How many there are.
    pub entries: u64,
    /// The entries, one behind the other.
    pub bytes: AlignedVec,
}

impl Default for SavedEntries {
    fn default() -> Self {
        Self::none(AlignedVec::new())
    }
}

impl SavedEntries {
    /// None, in this memory.
    pub(crate) fn none(mut memory: AlignedVec) -> Self {
        memory.clear();
        Self { hashes: HashRange::EMPTY, entries: 0, bytes: memory }
    }

    /// Encodes one entry more.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn add<K, V>(
        &mut self,
        encoder: &mut Encoder<K, V>,
        hash: u64,
        namespace: Option<Namespace>,
        key: &K,
        value: &V,
    ) -> Result<(), ArchiveError> {
        (encoder.encode)(&mut encoder.archiver, &mut self.bytes, namespace, key, value)?;
        self.hashes = self.hashes.including(hash);
        self.entries += 1;
        Ok(())
    }
}
