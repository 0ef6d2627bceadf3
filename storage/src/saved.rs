//! Entries as they are saved: encoded, one behind the other, with the range of their hashes.

use crate::checkpoint::Namespace;
use rkyv::util::AlignedVec;
use std::mem;
use thalweg_record::HashRange;
use thalweg_record::record::{Appending, ArchiveError, Archiver};

/// Encodes an entry behind what is there already: its namespace, if it has one, its key and its value.
pub type Encode<K, V> = fn(&mut Appending<'_>, Option<Namespace>, &K, &V) -> Result<(), ArchiveError>;

/// Encodes the entries of one state.
pub(crate) struct Encoder<K, V> {
    encode: Encode<K, V>,
    /// Made when the first entry comes: it has memory of its own.
    archiver: Option<Archiver>,
}

impl<K, V> Encoder<K, V> {
    pub(crate) fn new(encode: Encode<K, V>) -> Self {
        Self { encode, archiver: None }
    }

    /// Opens `saved` for more entries.
    pub(crate) fn open(&mut self, saved: &mut SavedEntries) -> OpenEntries<'_, K, V> {
        let SavedEntries { hashes, entries, bytes } = mem::take(saved);
        let appending = self.archiver.get_or_insert_default().open(bytes, 0);
        OpenEntries { encode: self.encode, appending, hashes, entries }
    }
}

/// Entries that more are added to.
pub(crate) struct OpenEntries<'a, K, V> {
    encode: Encode<K, V>,
    appending: Appending<'a>,
    hashes: HashRange,
    entries: u64,
}

impl<K, V> OpenEntries<'_, K, V> {
    /// Encodes one entry more.
    ///
    /// # Errors
    /// If it cannot be encoded. What there is then is of no use.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64, namespace: Option<Namespace>, key: &K, value: &V) -> Result<(), ArchiveError> {
        (self.encode)(&mut self.appending, namespace, key, value)?;
        self.hashes = self.hashes.including(hash);
        self.entries += 1;
        Ok(())
    }

    /// All of them.
    pub(crate) fn close(self) -> SavedEntries {
        SavedEntries { hashes: self.hashes, entries: self.entries, bytes: self.appending.close() }
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
}
