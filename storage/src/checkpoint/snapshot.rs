//! The image of one subtask's state, read in place.
//!
//! [`Snapshot::parse`] checks every byte once: all checksums, that sections lie one after the other without gap or overlap, that padding is zero. After
//! that no call can fail, and sections are borrowed in place, aligned to 16. The content of entries is not checked here: compare layouts first, then let
//! the archive's own check look at it. A snapshot is cheap to clone and to send to the cores that share it.

use super::CheckpointError;
use super::frame::{ALIGN, FileKind, HEADER_BYTES, Header, Reader};
use super::snapshot_writer::{END_MARK, FOOTER_BYTES, HEADER, SECTION_BYTES, STATE_BYTES, Scope, StateLayout, StateSummary};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::{Deref, Range};
use std::sync::Arc;
use thalweg_io::Buffer;
use thalweg_record::record::Layout;

#[derive(Debug)]
struct StateRow {
    operator: String,
    name: String,
    layout: StateLayout,
    builds_on_earlier: bool,
}

#[derive(Debug)]
struct SectionRow {
    state: usize,
    scope: Scope,
    /// Place of the section within the image.
    bytes: Range<usize>,
    entries: u64,
}

#[derive(Debug)]
struct Index {
    /// The checksum of the footer.
    root_crc: u32,
    states: Vec<StateRow>,
    /// In the order in which they lie in the image.
    sections: Vec<SectionRow>,
}

/// Memory that images are read in. What is in it never changes, and it does not move.
pub trait ImageMemory: Deref<Target = [u8]> + Debug + Send + Sync {}

impl<M: Deref<Target = [u8]> + Debug + Send + Sync> ImageMemory for M {}

/// A checked image.
#[derive(Clone, Debug)]
pub struct Snapshot {
    memory: Arc<dyn ImageMemory>,
    /// Place of the image within the memory.
    place: Range<usize>,
    index: Arc<Index>,
}

/// The entries of one state in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The scope of the entries.
    pub scope: Scope,
    /// The layout of the entries.
    pub layout: &'a StateLayout,
    /// The number of entries.
    pub entries: u64,
    /// Where they begin in the image.
    pub offset: usize,
    /// The entries as they were appended, aligned to 16.
    pub bytes: &'a [u8],
}

impl Snapshot {
    /// Checks an image that fills `image`. Errors name `file`.
    ///
    /// # Errors
    /// If any byte differs from what was written.
    pub fn parse(file: &str, image: Buffer) -> Result<Self, CheckpointError> {
        Self::parse_shared(file, Arc::new(image))
    }

    /// The same for an image in memory of any kind, a file that is mapped say, which begins at a multiple of 16.
    ///
    /// # Errors
    /// If any byte differs from what was written.
    ///
    /// # Panics
    /// If the memory begins elsewhere.
    pub fn parse_shared(file: &str, image: Arc<dyn ImageMemory>) -> Result<Self, CheckpointError> {
        let place = 0..image.len();
        Self::parse_within(file, image, place)
    }

    /// Checks an image that is part of a file.
    ///
    /// # Errors
    /// If any byte differs from what was written, or the image does not begin at a multiple of 16.
    pub(super) fn parse_within(file: &str, memory: Arc<dyn ImageMemory>, place: Range<usize>) -> Result<Self, CheckpointError> {
        let start = place.start;
        let Some(image) = memory.get(place.clone()).filter(|_| start.is_multiple_of(ALIGN)) else {
            return Err(CheckpointError::corrupt(file, start, "there is no room for a snapshot here"));
        };
        let index = parse_index(file, image, start)?;
        assert!(image.as_ptr().addr().is_multiple_of(ALIGN), "the memory of an image is aligned");
        Ok(Self { memory, place, index: Arc::new(index) })
    }

    /// The sections of one state in the order in which they were written; none if there is no such state.
    pub fn sections<'a>(&'a self, operator: &str, state: &str) -> impl Iterator<Item = Section<'a>> + use<'a> {
        let found = self.index.states.iter().position(|row| row.operator == operator && row.name == state);
        let layout = found.and_then(|found| self.index.states.get(found)).map(|row| &row.layout);
        let rows = self.index.sections.iter().filter(move |row| Some(row.state) == found);
        rows.zip(layout.into_iter().cycle()).map(move |(row, layout)| {
            let bytes = self.image().get(row.bytes.clone()).expect("invariant: parsing has checked where sections lie");
            Section { scope: row.scope, layout, entries: row.entries, offset: row.bytes.start, bytes }
        })
    }

    /// Whether a state is that of earlier images, changed by what this one has of it. `None` if there is no such state.
    #[must_use]
    pub fn builds_on_earlier(&self, operator: &str, state: &str) -> Option<bool> {
        self.index.states.iter().find(|row| row.operator == operator && row.name == state).map(|row| row.builds_on_earlier)
    }

    /// The states in the order in which they were written.
    pub fn states(&self) -> impl Iterator<Item = StateSummary> {
        self.index.states.iter().enumerate().map(|(number, row)| {
            let sections = self.index.sections.iter().filter(|section| section.state == number);
            let mut summary = StateSummary::new(&row.operator, &row.name, &row.layout);
            summary.builds_on_earlier = row.builds_on_earlier;
            sections.for_each(|section| summary.add(section.entries, section.bytes.len()));
            summary
        })
    }

    /// The checksum of the image's root: see [`ImageEnd::root_crc`](super::ImageEnd::root_crc). An image that is intact and has another one is another image.
    #[must_use]
    pub fn root_crc(&self) -> u32 {
        self.index.root_crc
    }

    /// The length of the image in bytes.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        self.place.len()
    }

    /// Where the image begins in its file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.place.start
    }

    fn image(&self) -> &[u8] {
        self.memory.get(self.place.clone()).expect("invariant: parsing has checked where the image lies")
    }
}

fn parse_index(file: &str, image: &[u8], base: usize) -> Result<Index, CheckpointError> {
    let mut reader = Reader::new(file, image, base);
    let header = Header::decode(&mut reader, FileKind::Snapshot)?;
    if header != HEADER {
        return Err(reader.corrupt(HEADER_BYTES / 2, "the header of a snapshot has neither a length nor a checksum of what follows"));
    }
    let footer_at = image.len().checked_sub(FOOTER_BYTES).filter(|at| *at >= HEADER_BYTES && at.is_multiple_of(ALIGN));
    let footer_at = footer_at.ok_or_else(|| reader.corrupt(image.len(), "there is no room for a footer"))?;
    let footer = image.get(footer_at..).unwrap_or_default();
    let mut footer_reader = Reader::new(file, footer, base + footer_at);
    let index_at = footer_reader.length("the footer")?;
    let index_length = footer_reader.length("the footer")?;
    let index_crc = footer_reader.u32("the footer")?;
    let reserved = footer_reader.u32("the footer")?;
    let covered = footer.get(..footer_reader.at()).unwrap_or_default();
    let root_crc = crc32fast::hash(covered);
    let crc_matches = footer_reader.u32("the footer")? == root_crc;
    if !crc_matches || reserved != 0 || footer_reader.take(END_MARK.len(), "the footer")? != END_MARK {
        return Err(reader.corrupt(footer_at, "the checksum of the footer does not match"));
    }
    // Between header and footer: the sections, then the index, both padded.
    let sections = image.get(..index_at).filter(|bytes| bytes.len() >= HEADER_BYTES && bytes.len().is_multiple_of(ALIGN));
    let rest = image.get(index_at..footer_at);
    let (Some(sections), Some(rest)) = (sections, rest) else {
        return Err(reader.corrupt(footer_at, "the footer points outside of the image"));
    };
    let mut rest = Reader::new(file, rest, base + index_at);
    let index = rest.take(index_length, "the index")?;
    if crc32fast::hash(index) != index_crc {
        return Err(reader.corrupt(index_at, "the checksum of the index does not match"));
    }
    rest.padding()?;
    rest.end()?;
    let (states, sections) = read_rows(Reader::new(file, index, base + index_at), Reader::new(file, sections, base))?;
    Ok(Index { root_crc, states, sections })
}

/// Decodes the index, and takes the sections it lists one after the other.
fn read_rows(mut index: Reader<'_>, mut sections: Reader<'_>) -> Result<(Vec<StateRow>, Vec<SectionRow>), CheckpointError> {
    sections.take(HEADER_BYTES, "the header")?;
    // Both counts are read before any row, so the check of the first count leaves room for the second.
    let state_count = index.count(STATE_BYTES, "states")?;
    let section_count = index.count(SECTION_BYTES, "sections")?;
    let mut states = Vec::with_capacity(state_count);
    let mut names = BTreeSet::new();
    for _ in 0..state_count {
        let at = index.at();
        let builds_on_earlier = match index.u32("a state")? {
            0 => false,
            1 => true,
            other => return Err(index.corrupt(at, format!("a state with {other} for whether it builds on earlier images"))),
        };
        let (operator, name) = (index.text("an operator's uid")?, index.text("a state's name")?);
        let (key, value) = (index.text("a layout")?, index.text("a layout")?);
        let layout = StateLayout { key: Layout::described(key), value: Layout::described(value) };
        if !names.insert((operator, name)) {
            return Err(index.corrupt(at, format!("the state {name} of {operator} is there twice")));
        }
        states.push(StateRow { operator: operator.to_owned(), name: name.to_owned(), layout, builds_on_earlier });
    }
    let mut rows: Vec<SectionRow> = Vec::with_capacity(section_count);
    // Only keys may come in several sections.
    let mut single = BTreeSet::new();
    for _ in 0..section_count {
        let at = index.at();
        let state = index.u32("a section")? as usize;
        let parts = [index.u32("a section")?, index.u32("a section")?, index.u32("a section")?];
        let (crc, reserved) = (index.u32("a section")?, index.u32("a section")?);
        let (offset, length) = (index.length("a section")?, index.length("a section")?);
        let entries = index.u64("a section")?;
        let Some(scope) = Scope::of_parts(parts).filter(|_| state < states.len() && reserved == 0) else {
            return Err(index.corrupt(at, format!("a section of state {state} and scope {parts:?}, which do not exist")));
        };
        if offset != sections.at() {
            return Err(index.corrupt(at, format!("the section at {offset} is not the one that follows")));
        }
        if !matches!(scope, Scope::Hashes(_) | Scope::AllHashes(_) | Scope::AllHashesWithin(_)) && !single.insert((state, scope)) {
            return Err(index.corrupt(at, format!("state {state} has two sections of scope {parts:?}")));
        }
        if crc32fast::hash(sections.take(length, "a section")?) != crc {
            return Err(sections.corrupt(offset, format!("the checksum of a section of {length} bytes does not match")));
        }
        sections.padding()?;
        rows.push(SectionRow { state, scope, bytes: offset..offset + length, entries });
    }
    index.end()?;
    sections.end()?;
    Ok((states, rows))
}
