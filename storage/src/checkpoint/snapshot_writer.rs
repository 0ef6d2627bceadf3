//! Building the image of one subtask's state at one barrier.
//!
//! Sections are filled in any order and interleaving; finding a section costs an index into a vector. The finished image depends on the entries alone, not
//! on the order in which sections were touched. docs/src/formats.md#snapshots describes the layout; [`Snapshot`](super::Snapshot) reads it.

use super::frame::{ALIGN, HEADER_BYTES, Header, Kind};
use rkyv::util::AlignedVec;
use std::collections::BTreeMap;
use thalweg_io::Buffer;
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
    /// The keys of one key group.
    KeyGroup(u16),
    /// One split of a source.
    Split(u32),
    /// The subtask itself.
    Subtask,
}

impl Scope {
    /// The scope as two numbers: its tag, and its number within the tag.
    pub(super) fn parts(self) -> (u32, u32) {
        match self {
            Self::KeyGroup(group) => (0, u32::from(group)),
            Self::Split(split) => (1, split),
            Self::Subtask => (2, 0),
        }
    }

    /// The inverse of `parts`; `None` for an unknown tag.
    pub(super) fn of_parts(tag: u32, number: u32) -> Option<Self> {
        match (tag, number) {
            (0, group) => u16::try_from(group).ok().map(Self::KeyGroup),
            (1, split) => Some(Self::Split(split)),
            (2, 0) => Some(Self::Subtask),
            _ => None,
        }
    }
}

/// A state within a [`SnapshotWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateIndex(usize);

/// The entries of one state in one scope.
#[derive(Debug, Default)]
pub struct SectionWriter {
    bytes: AlignedVec,
    entries: u64,
}

impl SectionWriter {
    /// Counts one entry and returns the bytes to append it to. They begin at a multiple of 16 in memory now and when they are read again; the caller keeps
    /// track of where each entry begins and ends.
    pub fn entry(&mut self) -> &mut AlignedVec {
        self.entries += 1;
        &mut self.bytes
    }

    /// The bytes, without counting an entry: for data shared by all entries.
    pub fn bytes(&mut self) -> &mut AlignedVec {
        &mut self.bytes
    }

    /// The number of entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

#[derive(Debug)]
struct State {
    operator: String,
    name: String,
    layout: StateLayout,
    /// By key group: 1 + the place in `sections`, 0 if there is no section.
    by_key_group: Vec<u32>,
    others: BTreeMap<Scope, usize>,
}

impl State {
    /// Operator, name, and the layouts of key and value.
    fn texts(&self) -> [&str; 4] {
        [&self.operator, &self.name, self.layout.key.text(), self.layout.value.text()]
    }
}

/// Collects the state of one subtask, one snapshot after the other. Memory is kept from one snapshot to the next: large snapshots would spend more on fresh
/// pages than on their entries.
///
/// ```
/// use thalweg_io::Buffer;
/// use thalweg_record::record::Layout;
/// use thalweg_storage::checkpoint::{Scope, SnapshotWriter, StateLayout};
/// let mut writer = SnapshotWriter::new();
/// let count = writer.state("count per word", "count", StateLayout { key: Layout::of::<String>(), value: Layout::of::<u64>() });
/// writer.section(count, Scope::KeyGroup(7)).entry().extend_from_slice(b"an entry");
/// let image = writer.finish(Buffer::default());
/// assert_eq!(image.len() % 16, 0);
/// ```
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    states: Vec<State>,
    by_name: BTreeMap<(String, String), usize>,
    sections: Vec<SectionWriter>,
    /// Empty vectors from the previous snapshot, in reverse order of use.
    spare: Vec<AlignedVec>,
}

/// A section's memory is freed if its content left more than this part of it unused.
const UNUSED_PART_MAX: usize = 4;

impl SnapshotWriter {
    /// A writer without states, which is the snapshot of an operator that has none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state named `state` of the operator with the uid `operator`; the same state if it is requested again.
    ///
    /// # Panics
    /// If it was requested with another layout before: two tables would be mixed up.
    pub fn state(&mut self, operator: &str, state: &str, layout: StateLayout) -> StateIndex {
        let key = (operator.to_owned(), state.to_owned());
        if let Some(index) = self.by_name.get(&key) {
            let before = self.states.get(*index).map(|state| &state.layout);
            assert_eq!(before, Some(&layout), "the state {state} of {operator} has one layout");
            return StateIndex(*index);
        }
        let index = self.states.len();
        self.states.push(State {
            operator: operator.to_owned(),
            name: state.to_owned(),
            layout,
            by_key_group: Vec::new(),
            others: BTreeMap::new(),
        });
        self.by_name.insert(key, index);
        StateIndex(index)
    }

    /// The section of a state and a scope, made empty if there is none yet.
    ///
    /// # Panics
    /// If the state belongs to another writer.
    #[inline]
    pub fn section(&mut self, state: StateIndex, scope: Scope) -> &mut SectionWriter {
        let next = self.sections.len();
        let state = self.states.get_mut(state.0).expect("the state belongs to this writer");
        let place = match scope {
            Scope::KeyGroup(group) => {
                let group = usize::from(group);
                if group >= state.by_key_group.len() {
                    state.by_key_group.resize(group + 1, 0);
                }
                let slot = state.by_key_group.get_mut(group).expect("invariant: it was made long enough");
                if *slot == 0 {
                    *slot = u32::try_from(next + 1).expect("invariant: key groups and splits are numbered in 32 bits");
                }
                *slot as usize - 1
            }
            other => *state.others.entry(other).or_insert(next),
        };
        if place == next {
            self.sections.push(SectionWriter { bytes: self.spare.pop().unwrap_or_default(), entries: 0 });
        }
        self.sections.get_mut(place).expect("invariant: it was there or has been pushed")
    }

    /// The bytes of all entries so far, about the length of the image.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sections.iter().map(|section| section.bytes.len().next_multiple_of(ALIGN)).sum()
    }

    /// The image, in the memory of `image`, whose content is dropped. Costs a copy and a checksum of all entries. Resets the writer.
    ///
    /// # Panics
    /// If names or sections are more than 32 bits can count.
    #[must_use]
    pub fn finish(&mut self, mut image: Buffer) -> Buffer {
        let length = HEADER_BYTES + self.bytes() + self.index_bytes() + ALIGN + FOOTER_BYTES;
        image.clear();
        if !(length..=length.saturating_mul(UNUSED_PART_MAX)).contains(&image.capacity()) {
            // Leaves room for state that grows a little from one snapshot to the next.
            image = Buffer::with_capacity(length + length / 8);
        }
        image.resize(HEADER_BYTES, 0);
        let mut index = Vec::with_capacity(self.index_bytes());
        put_u32(&mut index, self.states.len());
        put_u32(&mut index, self.sections.len());
        for state in &self.states {
            for text in state.texts() {
                put_u32(&mut index, text.len());
                index.extend_from_slice(text.as_bytes());
            }
        }
        for (number, state) in self.states.iter().enumerate() {
            let groups = state.by_key_group.iter().zip(0..=u16::MAX).filter(|(place, _)| **place != 0);
            let groups = groups.map(|(place, group)| (Scope::KeyGroup(group), *place as usize - 1));
            for (scope, place) in groups.chain(state.others.iter().map(|(scope, place)| (*scope, *place))) {
                let section = self.sections.get(place).expect("invariant: places are those of sections");
                let (tag, within) = scope.parts();
                put_u32(&mut index, number);
                index.extend_from_slice(&tag.to_le_bytes());
                index.extend_from_slice(&within.to_le_bytes());
                index.extend_from_slice(&crc32fast::hash(&section.bytes).to_le_bytes());
                index.extend_from_slice(&(image.len() as u64).to_le_bytes());
                index.extend_from_slice(&(section.bytes.len() as u64).to_le_bytes());
                index.extend_from_slice(&section.entries.to_le_bytes());
                image.extend_from_slice(&section.bytes);
                pad(&mut image);
            }
        }
        let index_at = image.len();
        image.extend_from_slice(&index);
        pad(&mut image);
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&(index_at as u64).to_le_bytes());
        footer.extend_from_slice(&(index.len() as u64).to_le_bytes());
        footer.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        footer.extend_from_slice(&[0; 4]);
        footer.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
        footer.extend_from_slice(&END_MARK);
        assert_eq!(footer.len(), FOOTER_BYTES, "the fields of the footer");
        image.extend_from_slice(&footer);
        let header = Header { length: image.len() as u64, crc: 0 }.encode(Kind::Snapshot);
        image.get_mut(..HEADER_BYTES).expect("invariant: room for it was made first").copy_from_slice(&header);
        assert!(image.len().is_multiple_of(ALIGN), "what follows an image is aligned too");
        self.begin_anew();
        image
    }

    /// Keeps the memory that the next snapshot is likely to need.
    fn begin_anew(&mut self) {
        self.states.clear();
        self.by_name.clear();
        self.spare.clear();
        let used = |section: &SectionWriter| section.bytes.capacity() <= section.bytes.len().saturating_mul(UNUSED_PART_MAX);
        for mut section in self.sections.drain(..).rev().filter(used) {
            section.bytes.clear();
            self.spare.push(section.bytes);
        }
    }

    fn index_bytes(&self) -> usize {
        let states: usize = self.states.iter().map(|state| STATE_BYTES + state.texts().map(str::len).iter().sum::<usize>()).sum();
        8 + states + self.sections.len() * SECTION_BYTES
    }
}

/// Bytes of a state in the index, without its texts: the lengths of the texts.
pub(super) const STATE_BYTES: usize = 4 * 4;

/// Bytes of a section in the index.
pub(super) const SECTION_BYTES: usize = 4 * 4 + 3 * 8;

fn put_u32(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("names and sections are counted in 32 bits");
    out.extend_from_slice(&number.to_le_bytes());
}

/// Adds zeros up to the next multiple of [`ALIGN`].
pub(super) fn pad(out: &mut Buffer) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}
