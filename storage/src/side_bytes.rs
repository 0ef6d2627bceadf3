//! What states keep aside while their sealed contents are saved: how much it is, who keeps how much of it, and how much it may be.

use rkyv::util::AlignedVec;
use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use thalweg_record::record::Archiver;

/// Bytes of a chunk of memory.
pub(crate) const CHUNK: usize = 32 << 10;

/// Of the chunks that nobody has needed for one checkpoint this part is given back at the next, and so many at least; so many at most, since that is done
/// while a barrier passes.
const DROPPED_PART: usize = 8;
const DROPPED_LEAST: usize = 16;
const DROPPED_MOST: usize = 64;

/// Counts what is kept aside, against a bound that several states share, and has the memory in which entries are encoded and kept.
#[derive(Debug)]
pub struct SideBytes {
    used: Cell<usize>,
    most: Cell<usize>,
    archiver: RefCell<Archiver>,
    /// Chunks that are not in use, and the fewest that there have been since the last checkpoint began.
    chunks: RefCell<Vec<AlignedVec>>,
    idle: Cell<usize>,
}

impl SideBytes {
    /// None yet, and at most `most`.
    #[must_use]
    pub fn at_most(most: usize) -> Rc<Self> {
        Rc::new(Self {
            used: Cell::new(0),
            most: Cell::new(most),
            archiver: RefCell::default(),
            chunks: RefCell::default(),
            idle: Cell::new(0),
        })
    }

    /// An empty chunk of [`CHUNK`] bytes.
    pub(crate) fn take_chunk(&self) -> AlignedVec {
        let mut chunks = self.chunks.borrow_mut();
        let chunk = chunks.pop().unwrap_or_else(|| AlignedVec::with_capacity(CHUNK));
        self.idle.set(self.idle.get().min(chunks.len()));
        chunk
    }

    /// Takes a chunk back. Memory of another size is freed.
    pub(crate) fn give_chunk(&self, mut chunk: AlignedVec) {
        if chunk.capacity() == CHUNK {
            chunk.clear();
            self.chunks.borrow_mut().push(chunk);
        }
    }

    /// Another checkpoint begins, for which at most `most` may be kept.
    pub fn begin(&self, most: usize) {
        self.set_most(most);
        let mut chunks = self.chunks.borrow_mut();
        let idle = self.idle.get();
        let left = chunks.len() - idle.min((idle / DROPPED_PART).clamp(DROPPED_LEAST, DROPPED_MOST));
        chunks.truncate(left);
        self.idle.set(left);
    }

    /// Encodes entries, those of one state at a time.
    #[inline]
    pub(crate) fn archiver(&self) -> RefMut<'_, Archiver> {
        self.archiver.borrow_mut()
    }

    /// Sets the bound.
    pub fn set_most(&self, most: usize) {
        self.most.set(most);
    }

    /// The bound.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.get()
    }

    /// How much of the bound is used, as a number from 0 to `most`.
    #[must_use]
    pub fn fill(&self, most: usize) -> usize {
        (self.used.get() as u128 * most as u128 / self.most.get().max(1) as u128).min(most as u128) as usize
    }
}

/// What one state keeps aside.
#[derive(Debug)]
pub(crate) struct SideShare {
    side: Rc<SideBytes>,
    bytes: usize,
}

impl SideShare {
    pub(crate) fn of(side: &Rc<SideBytes>) -> Self {
        Self { side: Rc::clone(side), bytes: 0 }
    }

    /// `bytes` more are kept.
    ///
    /// # Errors
    /// If all states together keep more than they may: how much that is.
    #[inline]
    pub(crate) fn keep(&mut self, bytes: usize) -> Result<(), usize> {
        self.bytes += bytes;
        let used = self.side.used.get() + bytes;
        self.side.used.set(used);
        if used > self.side.most.get() { Err(used) } else { Ok(()) }
    }

    /// `bytes` of what was kept have been handed out.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.side.used.set(self.side.used.get() - bytes);
    }
}

impl Drop for SideShare {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_used_again_and_given_back_when_nobody_needs_them() {
        let side = SideBytes::at_most(0);
        let chunks: Vec<_> = (0..1_000).map(|_| side.take_chunk()).collect();
        chunks.into_iter().for_each(|chunk| side.give_chunk(chunk));
        side.give_chunk(AlignedVec::with_capacity(2 * CHUNK));
        let kept = || side.chunks.borrow().len();
        side.begin(0);
        assert_eq!(kept(), 1_000, "all of them were in use");
        (0..900).map(|_| side.take_chunk()).collect::<Vec<_>>().into_iter().for_each(|chunk| side.give_chunk(chunk));
        side.begin(0);
        assert_eq!(kept(), 1_000 - DROPPED_LEAST, "of a hundred");
        side.begin(0);
        assert_eq!(kept(), 1_000 - DROPPED_LEAST - DROPPED_MOST, "of all");
    }
}
