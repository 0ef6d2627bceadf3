//! Timers of keys, in the order in which they are due.
//!
//! A timer is an entry of a table, under its key and its time: what a barrier seals, and what a checkpoint adds to earlier ones, is the affair of that table.
//! Their order follows from the entries, and is not saved.

use crate::in_one_table::InOneTable;
use crate::{HotTable, StateSize, TableOwner, map_entry_hash};
use std::collections::BTreeSet;
use thalweg_record::record::Key;

/// A set of `(time, key)`; a timer set twice is one timer. Setting, deleting and taking cost a lookup and the logarithm of the number of timers.
pub struct TimerQueue<K> {
    in_order: BTreeSet<(i64, K)>,
    entries: HotTable<(K, i64), ()>,
}

/// About how many bytes of a node of a `BTreeSet` an element takes besides its own.
const NODE_BYTES: usize = 8;

impl<K: Key> TimerQueue<K> {
    /// No timers, of `owner`, in parts of `part_slots` slots at most.
    #[must_use]
    pub fn new(owner: TableOwner, part_slots: usize) -> Self {
        Self { in_order: BTreeSet::new(), entries: HotTable::of(owner).with_part_slots(part_slots) }
    }

    /// Sets a timer for `key`. `false` if it was set already.
    pub fn insert(&mut self, time: i64, key: K) -> bool {
        let hash = map_entry_hash::<K, i64>(key.view(), &time);
        if self.entries.get(hash, |entry| entry.1 == time && entry.0 == key).is_some() {
            return false;
        }
        self.entries.insert_new(hash, (key.clone(), time), ());
        self.in_order.insert((time, key))
    }

    /// Deletes a timer of `key`. `false` if it was not set.
    pub fn remove(&mut self, time: i64, key: K) -> bool {
        self.remove_entry(time, &key) && self.in_order.remove(&(time, key))
    }

    fn remove_entry(&mut self, time: i64, key: &K) -> bool {
        let hash = map_entry_hash::<K, i64>(key.view(), &time);
        self.entries.remove(hash, |entry| entry.1 == time && entry.0 == *key).is_some()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_time(&self) -> Option<i64> {
        self.in_order.first().map(|(time, _)| *time)
    }

    /// The timers that are due at `now`, in the order in which they are taken out.
    pub fn due(&self, now: i64) -> impl Iterator<Item = &(i64, K)> {
        self.in_order.iter().take_while(move |(time, _)| *time <= now)
    }

    /// Removes and returns the next timer if it is due at `now`: the earliest, and among several at one time the one with the lowest key.
    pub fn pop_due(&mut self, now: i64) -> Option<(i64, K)> {
        if self.next_time()? > now {
            return None;
        }
        let (time, key) = self.in_order.pop_first()?;
        self.remove_entry(time, &key);
        Some((time, key))
    }

    /// Number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_order.len()
    }

    /// Whether there are no timers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> StateSize {
        let StateSize { entries, table_bytes } = self.entries.size();
        StateSize { entries, table_bytes: table_bytes + entries * (size_of::<(i64, K)>() + NODE_BYTES) }
    }
}

impl<K> InOneTable for TimerQueue<K> {
    type Key = (K, i64);
    type Value = ();

    fn table(&self) -> &HotTable<(K, i64), ()> {
        &self.entries
    }

    fn table_mut(&mut self) -> &mut HotTable<(K, i64), ()> {
        &mut self.entries
    }
}

#[cfg(test)]
mod tests;
