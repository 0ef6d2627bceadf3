//! Building the image of one subtask's state at one barrier, from the front to the back.
//!
//! Sections are appended whole, and what is there of the image can be taken out at any time, to be written while the rest is made: no more of it has to be in
//! memory than that, and no step at the end takes as long as the image is large. docs/src/formats.md#snapshots describes the layout;
//! [`Snapshot`](super::Snapshot) reads it.

use super::frame::{ALIGN, FileKind, Header};
use std::collections::BTreeMap;
use std::mem;
use thalweg_io::{BUFFER_ALIGN, Buffer};
use thalweg_record::HashRange;
use thalweg_record::record::Layout;

/// The last four bytes of an image: a truncated image lacks them.
pub(super) const END_MARK: [u8; 4] = *b"end\n";

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 32;

/// The layout of a state's entries. It is compared before any entry is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateLayout {
    /// The layout of the key; empty if the entries have no keys.
    pub key: Layout,
    /// The layout of the value; empty if the entries are not records.
    pub value: Layout,
}

/// The part of a job to which the entries of a section belong: it tells where they go when the job is rescaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Keys with hashes in this range.
    Hashes(HashRange),
    /// All keys with hashes in this range: what earlier images hold of it is superseded.
    AllHashes(HashRange),
    /// All keys with hashes in this range that are in one namespace, of which what earlier images hold is superseded. The bytes begin with that.
    AllHashesWithin(HashRange),
    /// The namespaces that there are, instead of entries: what earlier images hold of others is gone.
    Namespaces,
    /// One split of a source.
    Split(u32),
    /// The subtask itself.
    Subtask,
}

impl Scope {
    /// The scope as three numbers: its tag, and two that it has within the tag.
    pub(super) fn parts(self) -> [u32; 3] {
        match self {
            Self::Hashes(HashRange { first, last }) => [0, first, last],
            Self::Split(split) => [1, split, 0],
            Self::Subtask => [2, 0, 0],
            Self::AllHashes(HashRange { first, last }) => [3, first, last],
            Self::AllHashesWithin(HashRange { first, last }) => [4, first, last],
            Self::Namespaces => [5, 0, 0],
        }
    }

    /// The inverse of `parts`; `None` for numbers that are those of no scope.
    pub(super) fn of_parts(parts: [u32; 3]) -> Option<Self> {
        match parts {
            [0, first, last] if first <= last => Some(Self::Hashes(HashRange { first, last })),
            [1, split, 0] => Some(Self::Split(split)),
            [2, 0, 0] => Some(Self::Subtask),
            [3, first, last] if first <= last => Some(Self::AllHashes(HashRange { first, last })),
            [4, first, last] if first <= last => Some(Self::AllHashesWithin(HashRange { first, last })),
            [5, 0, 0] => Some(Self::Namespaces),
            _ => None,
        }
    }
}

/// A state within a [`SnapshotWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateIndex(u32);

/// A state of an image in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSummary {
    /// The operator's uid.
    pub operator: String,
    /// The state's name.
    pub state: String,
    /// The layout of its entries.
    pub layout: StateLayout,
    /// Whether earlier images hold a part of it. Then some of the entries counted here are superseded or tombstones.
    pub builds_on_earlier: bool,
    /// The number of its sections.
    pub sections: u64,
    /// The number of its entries.
    pub entries: u64,
    /// The size of its entries in bytes, without padding.
    pub bytes: u64,
}

impl StateSummary {
    /// A state without entries.
    pub(super) fn new(operator: &str, state: &str, layout: &StateLayout) -> Self {
        let (operator, state, layout) = (operator.to_owned(), state.to_owned(), layout.clone());
        Self { operator, state, layout, builds_on_earlier: false, sections: 0, entries: 0, bytes: 0 }
    }

    /// Counts a section of it.
    pub(super) fn add(&mut self, entries: u64, bytes: usize) {
        self.sections += 1;
        self.entries = self.entries.saturating_add(entries);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Operator, name, and the layouts of key and value.
    fn texts(&self) -> [&str; 4] {
        [&self.operator, &self.state, self.layout.key.text(), self.layout.value.text()]
    }
}

/// The end of an image.
#[derive(Debug)]
pub struct ImageEnd {
    /// What has not been taken out yet; the whole image if nothing has.
    pub rest: Buffer,
    /// The length of the whole image in bytes.
    pub len: u64,
    /// The checksum of the image's root, its footer: that holds the checksum of the index, and the index those of all sections.
    pub root_crc: u32,
    /// The states in it, as [`Snapshot::states`](super::Snapshot::states) gives them.
    pub states: Vec<StateSummary>,
}

/// Makes the images of one subtask's state, one after the other.
///
/// ```
/// use thalweg_record::HashRange;
/// use thalweg_record::record::Layout;
/// use thalweg_storage::checkpoint::{Scope, SnapshotWriter, StateLayout};
/// let mut writer = SnapshotWriter::new();
/// let count = writer.state("count per word", "count", &StateLayout { key: Layout::of::<String>(), value: Layout::of::<u64>() });
/// writer.append(count, Scope::Hashes(HashRange { first: 700, last: 799 }), 1, b"an entry");
/// let image = writer.finish();
/// assert_eq!(image.rest.len() as u64, image.len);
/// ```
#[derive(Debug)]
pub struct SnapshotWriter {
    states: Vec<StateSummary>,
    by_name: BTreeMap<(String, String), StateIndex>,
    /// The rows of the index that describe sections.
    sections: Vec<u8>,
    section_count: u32,
    /// The end of the image so far: what has not been taken out.
    rest: Buffer,
    /// The length of what has.
    taken: u64,
}

impl Default for SnapshotWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl SnapshotWriter {
    /// A writer without states, which makes the snapshot of an operator that has none.
    #[must_use]
    pub fn new() -> Self {
        let mut rest = Buffer::default();
        rest.extend_from_slice(&HEADER.encode(FileKind::Snapshot));
        Self { states: Vec::new(), by_name: BTreeMap::new(), sections: Vec::new(), section_count: 0, rest, taken: 0 }
    }

    /// The state named `state` of the operator with the uid `operator`; the same state if it is requested again.
    ///
    /// # Panics
    /// If it was requested with another layout before: two tables would be mixed up.
    pub fn state(&mut self, operator: &str, state: &str, layout: &StateLayout) -> StateIndex {
        let key = (operator.to_owned(), state.to_owned());
        if let Some(index) = self.by_name.get(&key) {
            let before = self.states.get(index.0 as usize).map(|state| &state.layout);
            assert_eq!(before, Some(layout), "the state {state} of {operator} has one layout");
            return *index;
        }
        let index = StateIndex(u32::try_from(self.states.len()).expect("states are counted in 32 bits"));
        self.states.push(StateSummary::new(operator, state, layout));
        self.by_name.insert(key, index);
        index
    }

    /// Notes that the state is that of earlier images, changed by what this one has of it.
    ///
    /// # Panics
    /// If the state belongs to another writer.
    pub fn builds_on_earlier(&mut self, state: StateIndex) {
        let state = self.states.get_mut(state.0 as usize);
        state.expect("the state belongs to this writer").builds_on_earlier = true;
    }

    /// Appends a section: `entries` entries of one state and one scope, as `bytes`. There may be several for a state and a range of hashes. Costs a copy and a
    /// checksum of the bytes.
    ///
    /// # Panics
    /// If the state belongs to another writer, or sections are more than 32 bits can count.
    pub fn append(&mut self, state: StateIndex, scope: Scope, entries: u64, bytes: &[u8]) {
        let summary = self.states.get_mut(state.0 as usize).expect("the state belongs to this writer");
        summary.add(entries, bytes.len());
        self.section_count = self.section_count.checked_add(1).expect("sections are counted in 32 bits");
        let [tag, first, second] = scope.parts();
        for number in [state.0, tag, first, second, crc32fast::hash(bytes), 0] {
            self.sections.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.len(), bytes.len() as u64, entries] {
            self.sections.extend_from_slice(&number.to_le_bytes());
        }
        self.rest.extend_from_slice(bytes);
        pad(&mut self.rest);
    }

    /// The length of the image so far.
    fn len(&self) -> u64 {
        self.taken + self.rest.len() as u64
    }

    /// The length of what has not been taken out.
    #[must_use]
    pub fn rest_len(&self) -> usize {
        self.rest.len()
    }

    /// Takes out what there is, up to the last multiple of [`BUFFER_ALIGN`] of the image in it, if there is one: so each piece can be written around the page cache.
    /// The image goes on in `memory`, whose content is dropped.
    #[must_use]
    pub fn take(&mut self, mut memory: Buffer) -> Buffer {
        memory.clear();
        let beyond = (self.len() % BUFFER_ALIGN as u64) as usize;
        let taken = self.rest.len().checked_sub(beyond).filter(|taken| *taken > 0).unwrap_or(self.rest.len());
        memory.extend_from_slice(&self.rest[taken..]);
        self.rest.truncate(taken);
        self.taken += taken as u64;
        mem::replace(&mut self.rest, memory)
    }

    /// Ends the image with its index. The next call begins another image.
    ///
    /// # Panics
    /// If names are longer than 32 bits can count.
    #[must_use]
    pub fn finish(&mut self) -> ImageEnd {
        let mut image = mem::take(self);
        let mut index = Vec::with_capacity(8 + image.sections.len());
        put_u32(&mut index, image.states.len());
        index.extend_from_slice(&image.section_count.to_le_bytes());
        for state in &image.states {
            put_u32(&mut index, usize::from(state.builds_on_earlier));
            for text in state.texts() {
                put_u32(&mut index, text.len());
                index.extend_from_slice(text.as_bytes());
            }
        }
        index.extend_from_slice(&image.sections);
        let index_at = image.len();
        image.rest.extend_from_slice(&index);
        pad(&mut image.rest);
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&index_at.to_le_bytes());
        footer.extend_from_slice(&(index.len() as u64).to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        footer.extend_from_slice(&[0; 4]);
        let root_crc = crc32fast::hash(&footer);
        footer.extend_from_slice(&root_crc.to_le_bytes());
        footer.extend_from_slice(&END_MARK);
        assert_eq!(footer.len(), FOOTER_BYTES, "the fields of the footer");
        image.rest.extend_from_slice(&footer);
        let len = image.len();
        assert!(len.is_multiple_of(ALIGN as u64), "what follows an image is aligned too");
        let rest = mem::take(&mut image.rest);
        ImageEnd { rest, len, root_crc, states: image.states }
    }
}

/// The header of an image that begins before its length is known: the footer closes it.
pub(super) const HEADER: Header = Header { length: 0, crc: 0 };

/// Bytes of a state in the index, without its texts: whether it builds on earlier images, and the lengths of the texts.
pub(super) const STATE_BYTES: usize = 5 * 4;

/// Bytes of a section in the index.
pub(super) const SECTION_BYTES: usize = 6 * 4 + 3 * 8;

fn put_u32(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("names and sections are counted in 32 bits");
    out.extend_from_slice(&number.to_le_bytes());
}

/// Adds zeros up to the next multiple of [`ALIGN`].
pub(super) fn pad(out: &mut Buffer) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}
