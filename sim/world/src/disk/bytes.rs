//! The content of one file: what a program sees, what is durable, and the writes in between.
//!
//! A crash decides separately for each 4 KiB page, and inside a torn page for each 512-byte sector, how many of the unsynced writes arrived, or
//! that garbage did. Bytes that no unsynced write covers always survive a crash as they were last synced: a drive that damages the neighbours of
//! what it writes is more than the door's contract lets a program survive. The length is decided on its own: it may be durable before the data
//! (which then reads as zeros) or after it (which is then cut off).

use super::survival::{CrashStyle, Fate, PAGE_BYTES, SECTOR_BYTES, SECTORS_PER_PAGE, Survival};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

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

impl FileBytes {
    /// A file whose content is durable.
    pub(crate) fn durable(bytes: Vec<u8>) -> Self {
        let now = Rc::new(bytes);
        Self { durable: Rc::clone(&now), now, unsynced: vec![] }
    }

    pub(crate) fn now(&self) -> &[u8] {
        &self.now
    }

    /// The content as it is seen, shared until the next write.
    pub fn shared_now(&self) -> Rc<Vec<u8>> {
        Rc::clone(&self.now)
    }

    /// The content as it is on the drive, shared until the next sync.
    pub(crate) fn shared_durable(&self) -> Rc<Vec<u8>> {
        Rc::clone(&self.durable)
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

    /// The last write will never reach the drive, whatever syncs say.
    pub(crate) fn doom_last_write(&mut self) {
        if let Some(last) = self.unsynced.last_mut() {
            last.doomed = true;
        }
    }

    /// Takes the writes whose sync failed out of what is seen as well.
    pub(crate) fn forget_failed(&mut self) {
        self.unsynced.retain(|write| !write.doomed);
        self.now = Rc::clone(&self.durable);
        for write in &self.unsynced {
            overlay(Rc::make_mut(&mut self.now), write.offset, &write.bytes);
        }
    }

    /// Changes the content as it is seen and as it is on the drive; `true` if `change` says that it has.
    pub(crate) fn change_at_rest(&mut self, change: impl Fn(&mut Vec<u8>) -> bool) -> bool {
        // What is not durable yet has nothing to rot.
        change(Rc::make_mut(&mut self.durable)) && change(Rc::make_mut(&mut self.now))
    }

    /// Whether there is something that a crash decides about.
    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The number of pieces that a crash decides about: the length, and each page.
    pub(crate) fn pieces(&self) -> usize {
        let pages: BTreeSet<_> = self.unsynced.iter().flat_map(sectors).map(|(offset, _)| offset / PAGE_BYTES).collect();
        usize::from(self.has_unsynced()) + pages.len()
    }

    /// Power fails. Afterwards both versions are what the drive holds. Whether all that was seen is still there.
    pub(crate) fn crash(&mut self, survival: &mut Survival<'_>) -> bool {
        let writes = std::mem::take(&mut self.unsynced);
        let left = match survival.style() {
            // With what a failed sync has left in the page cache alone.
            CrashStyle::KeepUnsynced => Rc::clone(&self.now),
            _ if writes.is_empty() => Rc::clone(&self.durable),
            _ => Rc::new(survivors(survival, &self.durable, &writes)),
        };
        let is_whole = left == self.now;
        self.durable = Rc::clone(&left);
        self.now = left;
        is_whole
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
fn survivors(survival: &mut Survival<'_>, durable: &[u8], writes: &[Write]) -> Vec<u8> {
    let lengths_arrived = survival.lengths(writes.len());
    let end = |write: &Write| if write.bytes.is_empty() { 0 } else { write.offset + write.bytes.len() };
    let len = writes[..lengths_arrived].iter().map(end).fold(durable.len(), usize::max);
    let mut left = durable.to_vec();
    left.resize(len, 0);
    let mut fates: BTreeMap<usize, [Fate; SECTORS_PER_PAGE]> = BTreeMap::new();
    for (number, write) in writes.iter().enumerate() {
        for (offset, bytes) in sectors(write) {
            let page = fates.entry(offset / PAGE_BYTES).or_insert_with(|| survival.page(writes.len()));
            let fate = page[offset % PAGE_BYTES / SECTOR_BYTES];
            if offset >= len {
                continue;
            }
            let target = &mut left[offset..len.min(offset + bytes.len())];
            if fate.garbage {
                target.fill_with(|| survival.rng().next_u64() as u8);
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
