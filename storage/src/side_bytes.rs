//! What states keep aside while their sealed contents are saved: how much it is, who keeps how much of it, and how much it may be.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use thalweg_record::record::Archiver;

/// Counts what is kept aside, against a bound that several states share, and has the memory in which entries are encoded.
#[derive(Debug)]
pub struct SideBytes {
    used: Cell<usize>,
    most: Cell<usize>,
    archiver: RefCell<Archiver>,
}

impl SideBytes {
    /// None yet, and at most `most`.
    #[must_use]
    pub fn at_most(most: usize) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), most: Cell::new(most), archiver: RefCell::default() })
    }

    /// Encodes entries, those of one state at a time.
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
