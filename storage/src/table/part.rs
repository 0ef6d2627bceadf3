//! A part of a table: the entries whose hashes share some bits.

use super::slots::Slots;
use crate::saved::SavedEntries;

/// Part of its slots that a part may fill, in eighths: beyond, searches become long.
pub(super) const FULL_EIGHTHS: usize = 6;

/// A part of a table.
pub(super) struct Part<K, V> {
    pub(super) slots: Slots<K, V>,
    /// How many bits all hashes in it share, of those that tell them apart.
    pub(super) depth: u32,
    /// These bits.
    pub(super) prefix: u32,
    /// The epoch whose content of this part was last saved, and the one in which it was last swept.
    pub(super) saved_in: u32,
    pub(super) swept_in: u32,
    /// What was changed since the part was sealed, as it was then; and what lies in parts that have split off since.
    pub(super) side: Option<Box<SavedEntries>>,
}

impl<K, V> Part<K, V> {
    /// Whether another entry leaves enough slots free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() * 8 < self.slots.capacity() * FULL_EIGHTHS
    }
}
