//! The contents of one window: an accumulator per key, in the order in which the keys arrived.
//!
//! Entries lie in one arena, so that firing a window is a walk through memory that can stop at any entry and go on later, and dropping it frees one
//! block. Single entries cannot be removed: a window is dropped as a whole.

use crate::TableOwner;
use hashbrown::HashTable;
use std::ops::Range;
use std::task::{Context, Poll};

struct Slot<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// A map that only grows, from keys whose hashes the caller knows.
pub struct WindowTable<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    owner: TableOwner,
}

impl<K, V> Default for WindowTable<K, V> {
    fn default() -> Self {
        Self::of(TableOwner::default())
    }
}

impl<K, V> WindowTable<K, V> {
    /// An empty table of `owner`, who is named in the message if memory for growth runs out.
    #[must_use]
    pub fn of(owner: TableOwner) -> Self {
        Self { index: HashTable::new(), slots: Vec::new(), owner }
    }

    /// Bytes of memory that the table takes, without memory that keys and values own outside of it.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.index.allocation_size() + self.slots.capacity() * size_of::<Slot<K, V>>()
    }

    /// Ends the process with a message when the table cannot grow, instead of a silent death.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let Self { index, slots, .. } = self;
        let is_refused = slots.try_reserve(1).is_err() || index.try_reserve(1, |position| slots[*position as usize].hash).is_err();
        if is_refused {
            self.owner.cannot_grow(self.slots.len(), self.table_bytes());
        }
    }

    /// Number of entries; at most 2^32.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The position of the key with this hash for which `is_key` holds; inserts the entry that `make` returns if there is none.
    #[inline]
    pub fn find_or_insert_with(&mut self, hash: u64, mut is_key: impl FnMut(&K) -> bool, make: impl FnOnce() -> (K, V)) -> usize {
        let slots = &self.slots;
        let same = |position: &u32| {
            let slot = &slots[*position as usize];
            slot.hash == hash && is_key(&slot.key)
        };
        if let Some(position) = self.index.find(hash, same) {
            return *position as usize;
        }
        if self.slots.len() == self.slots.capacity() || self.index.len() == self.index.capacity() {
            self.grow();
        }
        let slots = &mut self.slots;
        let position = u32::try_from(slots.len()).expect("invariant: a window of one subtask holds fewer than 2^32 keys");
        let (key, value) = make();
        slots.push(Slot { hash, key, value });
        self.index.insert_unique(hash, position, |position| slots[*position as usize].hash);
        position as usize
    }

    /// How many of `hashes`, from the first on, have their entries at hand; see [`HotTable::at_hand`](crate::HotTable::at_hand).
    #[inline]
    pub fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64>) -> usize {
        hashes.len()
    }

    /// How many entries, from `position` on, are at hand.
    #[inline]
    pub fn entries_at_hand(&mut self, position: usize) -> usize {
        self.slots.len() - position
    }

    /// Ready when an entry has arrived that was not at hand; see [`HotTable::poll_at_hand`](crate::HotTable::poll_at_hand).
    pub fn poll_at_hand(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Brings the entry stored under `hash` into the processor's caches; see [`HotTable::prefetch`](crate::HotTable::prefetch).
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        std::hint::black_box(self.index.find(hash, |position| self.slots[*position as usize].hash == hash).is_some());
    }

    /// The value of the entry at `position`, mutable.
    ///
    /// # Panics
    /// If the table has fewer entries.
    #[inline]
    pub fn value_mut(&mut self, position: usize) -> &mut V {
        &mut self.slots[position].value
    }

    /// Frees up to `entries` entries, the last ones first, and then the memory. `true` when the table is empty; until then it must not be used otherwise.
    pub fn free(&mut self, entries: usize) -> bool {
        let kept = if std::mem::needs_drop::<Slot<K, V>>() { self.slots.len().saturating_sub(entries) } else { 0 };
        self.slots.truncate(kept);
        if kept == 0 {
            *self = Self::of(self.owner.clone());
        }
        kept == 0
    }

    /// The entries at these positions, with the hashes of their keys.
    ///
    /// # Panics
    /// If the table has fewer entries.
    pub fn slice(&self, positions: Range<usize>) -> impl ExactSizeIterator<Item = (u64, &K, &V)> {
        self.slots[positions].iter().map(|slot| (slot.hash, &slot.key, &slot.value))
    }

    /// The entry at `position`, counted in the order of insertion.
    #[inline]
    #[must_use]
    pub fn entry(&self, position: usize) -> Option<(&K, &V)> {
        self.slots.get(position).map(|slot| (&slot.key, &slot.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_order_in_which_they_came() {
        let mut table = WindowTable::default();
        for key in [5u64, 3, 5, 9, 3, 5] {
            // All hashes collide: the comparison of keys decides.
            let position = table.find_or_insert_with(7, |k| *k == key, || (key, 0u32));
            *table.value_mut(position) += 1;
        }
        let entries: Vec<_> = (0..table.len()).map(|i| table.entry(i).map(|(k, v)| (*k, *v)).unwrap()).collect();
        assert_eq!(entries, [(5, 3), (3, 2), (9, 1)]);
        assert!(table.entry(3).is_none());
        assert_eq!(table.slice(1..3).collect::<Vec<_>>(), [(7, &3, &2), (7, &9, &1)]);
    }

    #[test]
    fn a_table_is_freed_in_portions() {
        let mut table = WindowTable::default();
        for key in 0..10u64 {
            table.find_or_insert_with(key, |k| *k == key.to_string(), || (key.to_string(), ()));
        }
        assert_eq!((table.free(4), table.free(4), table.free(4)), (false, false, true));
        assert!(table.is_empty());
    }
}
