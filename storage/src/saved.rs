//! Entries as they are saved: encoded, one behind the other, with the range of their hashes.

use crate::checkpoint::{Namespace, Scope, namespace_bytes};
use crate::side_bytes::SideBytes;
use rkyv::util::AlignedVec;
use std::mem;
use std::rc::Rc;
use thalweg_record::HashRange;
use thalweg_record::record::{Appending, ArchiveError};

/// Encodes an entry behind what is there already: its namespace, if it has one, its key and its value, or that there is none any more.
pub type Encode<K, V> = fn(&mut Appending<'_>, Option<Namespace>, &K, Option<&V>) -> Result<(), ArchiveError>;

/// Encodes the entries of one state.
pub(crate) struct Encoder<K, V> {
    encode: Encode<K, V>,
    side: Rc<SideBytes>,
}

impl<K, V> Encoder<K, V> {
    /// The memory that encoding takes in passing is that of `side`: a state may consist of thousands of tables.
    pub(crate) fn new(encode: Encode<K, V>, side: &Rc<SideBytes>) -> Self {
        Self { encode, side: Rc::clone(side) }
    }

    /// What bounds the memory that is kept aside, and has it.
    pub(crate) fn side(&self) -> &SideBytes {
        &self.side
    }

    /// Adds one entry to `saved`. After an error that is of no use.
    #[inline]
    pub(crate) fn add(&self, saved: &mut AlignedVec, namespace: Option<Namespace>, key: &K, value: Option<&V>) -> Result<(), ArchiveError> {
        self.side.archiver().append_with(saved, |open| (self.encode)(open, namespace, key, value))
    }

    /// Has `add` add entries to `saved`. After an error what there is is of no use.
    pub(crate) fn extend(
        &self,
        saved: &mut SavedEntries,
        add: impl FnOnce(&mut OpenEntries<'_, K, V>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let SavedEntries { hashes, part, entries, bytes } = mem::take(saved);
        let mut archiver = self.side.archiver();
        let mut open = OpenEntries { encode: self.encode, appending: archiver.open(bytes, 0), hashes, entries };
        let added = add(&mut open);
        *saved = SavedEntries { hashes: open.hashes, part, entries: open.entries, bytes: open.appending.close() };
        added
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
    /// Encodes one entry more, or that there is none any more.
    ///
    /// # Errors
    /// If it cannot be encoded.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64, namespace: Option<Namespace>, key: &K, value: Option<&V>) -> Result<(), ArchiveError> {
        (self.encode)(&mut self.appending, namespace, key, value)?;
        self.hashes = self.hashes.including(hash);
        self.entries += 1;
        Ok(())
    }
}

/// What some entries are of what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedPart {
    /// Some of it.
    Some,
    /// All in the range of their hashes, so that what was saved of it earlier is of no use.
    Range,
    /// All of one namespace in the range of their hashes. The namespace stands in front of the entries.
    RangeWithin,
    /// No entries, but the namespaces that there are.
    Namespaces,
}

/// Some entries of one state, encoded.
#[derive(Debug)]
pub struct SavedEntries {
    /// The hashes of their keys lie in this range.
    pub hashes: HashRange,
    /// What they are.
    pub part: SavedPart,
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
    /// The namespaces that there are.
    pub fn namespaces(namespaces: impl Iterator<Item = Namespace>) -> Self {
        let mut saved = Self { part: SavedPart::Namespaces, ..Self::default() };
        namespaces.for_each(|namespace| saved.bytes.extend_from_slice(&namespace_bytes(namespace)));
        saved
    }

    /// Where they belong in a snapshot.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.part {
            SavedPart::Some => Scope::Hashes(self.hashes),
            SavedPart::Range => Scope::AllHashes(self.hashes),
            SavedPart::RangeWithin => Scope::AllHashesWithin(self.hashes),
            SavedPart::Namespaces => Scope::Namespaces,
        }
    }

    /// None, in this memory.
    pub(crate) fn none(mut memory: AlignedVec) -> Self {
        memory.clear();
        Self { hashes: HashRange::EMPTY, part: SavedPart::Some, entries: 0, bytes: memory }
    }
}
