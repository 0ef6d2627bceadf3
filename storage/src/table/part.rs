//! A part of a table: the entries whose hashes share some bits.

use super::slots::Slots;
use super::span::Span;
use crate::saved::SavedEntries;
use std::mem;
use thalweg_record::HashRange;

/// Part of its slots that a part may fill, in eighths: beyond, searches become long.
pub(super) const FULL_EIGHTHS: usize = 6;

/// A part of a table.
pub(super) struct Part<K, V> {
    pub(super) slots: Slots<K, V>,
    /// How many bits all hashes in it share, of those that tell them apart.
    pub(super) depth: u32,
    /// These bits.
    pub(super) prefix: u32,
    /// What saving knows of it.
    pub(super) history: History,
    /// What was changed since the part was sealed, as it was then; and what lies in parts that have split off since.
    pub(super) side: Option<Box<SavedEntries>>,
    /// The entries that were removed and may be in what is stored of it.
    pub(super) removed: Vec<Removed<K>>,
}

/// What was last saved of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSaved {
    /// The epoch in which that was sealed.
    pub(super) epoch: u32,
    /// Whether it was all of it.
    pub(super) is_whole: bool,
}

/// What was saved of a part, and when it was changed; in epochs of its table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// The epoch whose content was last saved, and the one in which it was last swept.
    pub(super) saved_in: u32,
    pub(super) swept_in: u32,
    /// The epoch for which it was last decided whether it is saved whole, and the decision.
    pub(super) decided_in: u32,
    pub(super) is_whole: bool,
    /// What was last saved, until that is known to be durable.
    pub(super) last_saved: Option<LastSaved>,
    /// The epoch in which the latest content was sealed that is known to be durable, if one is; and that of the latest of which all was saved, on which it
    /// builds.
    pub(super) stored_in: Option<u32>,
    pub(super) whole_in: u32,
    /// The epoch in which so much was last removed that not all of it is remembered: from the next epoch on nothing can be added to what had been saved by then.
    pub(super) given_up_in: u32,
    /// The epoch in which it was last changed.
    pub(super) changed_in: u32,
    /// About how many entries have changed since it was last decided, and since it was decided to save all.
    pub(super) changed: u32,
    pub(super) changed_since_whole: u32,
}

impl History {
    /// Whether something of it is stored, or may turn out to be.
    pub(super) fn may_be_stored(&self) -> bool {
        self.stored_in.is_some() || self.last_saved.is_some()
    }

    /// An entry is changed, added or removed in this epoch.
    #[inline]
    pub(super) fn change(&mut self, epoch: u32) {
        self.changed_in = epoch;
        self.changed = self.changed.saturating_add(1);
    }
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
        Self { slots: Slots::none(), depth: 0, prefix: 0, history: History::default(), side: None, removed: Vec::new() }
    }

    /// The upper half of a part that has just become its lower half, with these slots. What was saved of them was saved of both.
    pub(super) fn split_off(&mut self, slots: Slots<K, V>, is_upper: impl Fn(u64) -> bool) -> Self {
        let (upper, lower) = mem::take(&mut self.removed).into_iter().partition(|removed| is_upper(removed.hash));
        self.removed = lower;
        self.history.changed /= 2;
        self.history.changed_since_whole /= 2;
        Self { slots, depth: self.depth, prefix: self.prefix | 1, history: self.history, side: None, removed: upper }
    }

    /// Nothing is added to what was saved of it: all of it will be saved.
    pub(super) fn forget_stored(&mut self) {
        (self.history.last_saved, self.history.stored_in) = (None, None);
        self.removed = Vec::new();
    }

    /// The same for what had been saved by the time that it was given up.
    pub(super) fn forget_given_up(&mut self) {
        let history = &mut self.history;
        history.stored_in = history.stored_in.filter(|stored| *stored > history.given_up_in);
        history.last_saved = history.last_saved.filter(|last| last.epoch > history.given_up_in);
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
