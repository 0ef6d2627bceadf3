//! A part of a table: the entries whose hashes share some bits.

use super::history::{Changes, History};
use super::slots::Slots;
use super::span::Span;
use std::mem;
use thalweg_record::HashRange;

/// Part of its slots that a part may fill, in eighths: beyond, searches become long.
pub(super) const FULL_EIGHTHS: usize = 6;

/// A part of a table. What a change looks at comes first, in one cache line.
#[repr(C, align(64))]
pub(super) struct Part<K, V> {
    /// When it was changed.
    pub(super) changes: Changes,
    pub(super) slots: Slots<K, V>,
    /// How many bits all hashes in it share, of those that tell them apart.
    pub(super) depth: u32,
    /// These bits.
    pub(super) prefix: u32,
    /// What saving knows of it.
    pub(super) history: History,
    /// The entries that were removed and may be in what is stored of it.
    pub(super) removed: Vec<Removed<K>>,
}

/// An entry that was removed.
pub(super) struct Removed<K> {
    pub(super) hash: u64,
    /// The epoch in which it was.
    pub(super) epoch: u32,
    pub(super) key: K,
}

impl<K, V> Part<K, V> {
    /// An empty part of all hashes.
    pub(super) fn first() -> Self {
        Self { changes: Changes::default(), slots: Slots::none(), depth: 0, prefix: 0, history: History::default(), removed: Vec::new() }
    }

    /// The upper half of a part that has just become its lower half, with these slots. What was saved of them was saved of both.
    pub(super) fn split_off(&mut self, slots: Slots<K, V>, is_upper: impl Fn(u64) -> bool) -> Self {
        let (upper, lower) = mem::take(&mut self.removed).into_iter().partition(|removed| is_upper(removed.hash));
        self.removed = lower;
        self.changes.changed /= 2;
        self.history.changed_since_whole /= 2;
        Self { changes: self.changes, slots, depth: self.depth, prefix: self.prefix | 1, history: self.history, removed: upper }
    }

    /// Nothing is added to what was saved of it: all of it will be saved.
    pub(super) fn forget_stored(&mut self) {
        (self.history.last_saved, self.history.stored_in) = (None, None);
        self.removed = Vec::new();
    }

    /// The hashes of which the part has all entries.
    pub(super) fn range(&self, span: Span) -> HashRange {
        let first = span.first.wrapping_add(self.offset(span) as u32);
        HashRange { first, last: first.saturating_add(((1u64 << (span.bits - self.depth)) - 1) as u32) }
    }

    /// Where the range begins within that of its table.
    pub(super) fn offset(&self, span: Span) -> u64 {
        u64::from(self.prefix) << (span.bits - self.depth)
    }

    /// Whether another entry leaves enough slots free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() * 8 < self.slots.capacity() * FULL_EIGHTHS
    }
}
