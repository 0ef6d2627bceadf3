//! State whose content can be fixed, and saved while the state goes on changing.
//!
//! *Sealing* fixes the content in a time that does not depend on the number of entries. From then on an entry is encoded as it was when it is changed or removed for the first
//! time, and kept aside. Saving goes through the state step by step, and hands out what was kept aside and what has not changed.

use crate::saved::{Encode, SavedEntries};
use crate::saving::Saving;
use thalweg_record::CheckpointId;
use thalweg_record::record::ArchiveError;

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
    fn seal(&mut self, encode: Encode<K, V>, saving: &Saving);

    /// Hands the next entries of the sealed content to `take`, until about `budget` entries have been looked at, and takes those off `budget`. `true` when that
    /// was all.
    ///
    /// # Errors
    /// If the content had to be given up.
    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError>;

    /// What the content that is being saved, or was saved last, is to be added to, as far as that is known by now: what was saved for this checkpoint and later
    /// ones, and is durable. `None` if it is whole.
    fn builds_on(&self) -> Option<CheckpointId> {
        None
    }

    /// Gives up the sealed content, and what is kept aside of it.
    fn unseal(&mut self);

    /// Bytes of memory that the entries take, without what keys and values own outside of them.
    fn table_bytes(&self) -> usize;
}
