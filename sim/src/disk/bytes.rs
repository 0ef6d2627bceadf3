//! The content of one file: what a program sees, what is durable, and the writes in between.
//!
//! A crash decides separately for each 4 KiB page, and inside a torn page for each 512-byte sector, how many of the unsynced writes arrived, or
//! that garbage did. Bytes that no unsynced write covers always survive a crash as they were last synced: a drive that damages the neighbours of
//! what it writes is more than the door's contract lets a program survive. The length is decided on its own: it may be durable before the data
//! (which then reads as zeros) or after it (which is then cut off).

use crate::rng::Draw;
use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_io::Rng;

/// What the page cache writes back as one, in bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// What a drive writes atomically, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

const SECTORS_PER_PAGE: usize = PAGE_BYTES / SECTOR_BYTES;

/// What a crash does to everything that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashStyle {
    /// All of it is lost.
    LoseUnsynced,
    /// All of it survives: the kindest crash, and the same as the death of the process alone.
    KeepUnsynced,
    /// Each piece has a fate of its own.
    Random,
}

#[derive(Clone, Debug)]
struct Write {
    seq: u64,
    offset: usize,
    bytes: Vec<u8>,
    /// A sync of it failed. It is still seen, and no later sync will make it durable.
    doomed: bool,
}

/// The content of a file. Both versions share their memory until the first write.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileBytes {
    now: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    unsynced: Vec<Write>,
}

/// What became of the unsynced writes to a sector: the first `arrived` of them are there, or garbage is.
#[derive(Clone, Copy)]
struct Fate {
    arrived: usize,
    garbage: bool,
}

impl FileBytes {
    /// A file whose content is durable.
    pub(crate) fn durable(bytes: Vec<u8>) -> Self {
        let now = Rc::new(bytes);
        Self { durable: Rc::clone(&now), now, unsynced: vec![] }
    }

    pub(crate) fn now(&self) -> &[u8] {
        &self.now
    }

    /// Copies what is at `offset` into `target`, as far as the file and the target go. Returns how much that was.
    pub(crate) fn read(&self, offset: u64, target: &mut [u8]) -> usize {
        let source = usize::try_from(offset).ok().and_then(|offset| self.now.get(offset..)).unwrap_or_default();
        let len = source.len().min(target.len());
        target[..len].copy_from_slice(&source[..len]);
        len
    }

    /// Writes `bytes` at `offset`; a gap reads as zeros.
    pub(crate) fn write(&mut self, seq: u64, offset: usize, bytes: &[u8]) {
        overlay(Rc::make_mut(&mut self.now), offset, bytes);
        self.unsynced.push(Write { seq, offset, bytes: bytes.to_vec(), doomed: false });
    }

    /// Makes durable what was written up to `upto`.
    pub(crate) fn sync(&mut self, upto: u64) {
        let mut later = vec![];
        for write in self.unsynced.drain(..) {
            if write.seq > upto {
                later.push(write);
            } else if !write.doomed {
                overlay(Rc::make_mut(&mut self.durable), write.offset, &write.bytes);
            }
        }
        self.unsynced = later;
    }

    /// A sync fails: what was written up to `upto` counts as clean from now on, without being durable.
    pub(crate) fn fail_sync(&mut self, upto: u64) {
        for write in self.unsynced.iter_mut().filter(|write| write.seq <= upto) {
            write.doomed = true;
        }
    }

    /// Power fails. Afterwards both versions are what the drive holds.
    pub(crate) fn crash(&mut self, rng: &mut dyn Rng, style: CrashStyle) {
        let writes = std::mem::take(&mut self.unsynced);
        match style {
            CrashStyle::LoseUnsynced => self.now = Rc::clone(&self.durable),
            CrashStyle::KeepUnsynced => self.durable = Rc::clone(&self.now),
            CrashStyle::Random if writes.is_empty() => self.now = Rc::clone(&self.durable),
            CrashStyle::Random => {
                self.now = Rc::new(survivors(rng, &self.durable, &writes));
                self.durable = Rc::clone(&self.now);
            }
        }
    }
}

fn overlay(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if bytes.is_empty() {
        return;
    }
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}

/// What is left of `writes` on top of `durable`.
fn survivors(rng: &mut dyn Rng, durable: &[u8], writes: &[Write]) -> Vec<u8> {
    let lengths_arrived = rng.between(0, writes.len() as u64) as usize;
    let end = |write: &Write| if write.bytes.is_empty() { 0 } else { write.offset + write.bytes.len() };
    let len = writes[..lengths_arrived].iter().map(end).fold(durable.len(), usize::max);
    let mut left = durable.to_vec();
    left.resize(len, 0);
    let mut fates: BTreeMap<usize, [Fate; SECTORS_PER_PAGE]> = BTreeMap::new();
    for (number, write) in writes.iter().enumerate() {
        for (offset, bytes) in sectors(write) {
            let page = fates.entry(offset / PAGE_BYTES).or_insert_with(|| fate_of_page(rng, writes.len()));
            let fate = page[offset % PAGE_BYTES / SECTOR_BYTES];
            if offset >= len {
                continue;
            }
            let target = &mut left[offset..len.min(offset + bytes.len())];
            if fate.garbage {
                target.fill_with(|| rng.next_u64() as u8);
            } else if number < fate.arrived {
                target.copy_from_slice(&bytes[..target.len()]);
            }
        }
    }
    left
}

/// The pieces of a write that lie in one sector each, with their offsets in the file.
fn sectors(write: &Write) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = write.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let offset = write.offset + at;
        let len = rest.len().min(SECTOR_BYTES - offset % SECTOR_BYTES);
        at += len;
        Some((offset, &rest[..len]))
    })
}

fn fate_of_page(rng: &mut dyn Rng, writes: usize) -> [Fate; SECTORS_PER_PAGE] {
    let lost = Fate { arrived: 0, garbage: false };
    let kept = Fate { arrived: writes, garbage: false };
    let garbage = Fate { arrived: 0, garbage: true };
    match rng.below(8) {
        0..=2 => [kept; SECTORS_PER_PAGE],
        3..=4 => [lost; SECTORS_PER_PAGE],
        // Written back between two of the writes.
        5 => [Fate { arrived: rng.between(0, writes as u64) as usize, garbage: false }; SECTORS_PER_PAGE],
        6 => std::array::from_fn(|_| rng.pick(&[lost, kept, kept, garbage])),
        _ => [garbage; SECTORS_PER_PAGE],
    }
}
