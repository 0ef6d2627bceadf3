//! State whose content can be fixed, and saved while the state goes on changing.
//!
//! *Sealing* fixes the content in a time that does not depend on the number of entries. From then on an entry is encoded as it was when it is changed or removed for the first
//! time, and kept aside. Saving goes through the state step by step, and hands out what was kept aside and what has not changed.

use crate::saved::{Encode, SavedEntries};
use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use thalweg_record::record::{ArchiveError, Archiver};

/// Why a sealed content can no longer be saved.
#[derive(Debug)]
pub enum SaveError {
    /// So much has changed meanwhile that what is kept aside would take more memory than it may.
    SideBuffersFull {
        /// The bytes it takes.
        bytes: usize,
    },
    /// An entry cannot be encoded.
    Archive(ArchiveError),
}

/// Keyed state that can be sealed and saved.
pub trait Sealable<K, V> {
    /// Fixes the present content: [`save`](Self::save) hands it out, whatever happens to the state meanwhile. If an earlier content is not saved yet, it is
    /// given up.
    fn seal(&mut self, encode: Encode<K, V>, side: &Rc<SideBytes>);

    /// Hands the next entries of the sealed content to `take`, until about `budget` entries have been looked at, and takes those off `budget`. `true` when that
    /// was all.
    ///
    /// # Errors
    /// If the content had to be given up.
    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError>;

    /// Gives up the sealed content, and what is kept aside of it.
    fn unseal(&mut self);

    /// Bytes of memory that the entries take, without what keys and values own outside of them.
    fn table_bytes(&self) -> usize;
}

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
    /// If all states together keep more than they may.
    pub(crate) fn keep(&mut self, bytes: usize) -> Result<(), SaveError> {
        self.bytes += bytes;
        let used = self.side.used.get() + bytes;
        self.side.used.set(used);
        if used > self.side.most.get() { Err(SaveError::SideBuffersFull { bytes: used }) } else { Ok(()) }
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
