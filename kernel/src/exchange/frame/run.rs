//! Consecutive records with their timestamps, as they cross a joint between two chains of one task or are handed to an operator that takes runs.
//!
//! A run never reaches past an in-band element and is never longer than a frame: so order is kept, and its size is bounded. A joint stands before every
//! exchange's hash, so a run needs no hashes: they are computed behind it, once.

use super::Entry;
use std::collections::VecDeque;

/// Consecutive records, in order.
pub(crate) struct Run<T> {
    entries: VecDeque<Entry<T>>,
}

impl<T> Run<T> {
    /// An empty run.
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new() }
    }

    /// Number of records.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a record.
    #[inline]
    pub(crate) fn push(&mut self, timestamp: i64, record: T) {
        self.entries.push_back(Entry { timestamp, record });
    }

    /// Takes the first record, with its timestamp.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(i64, T)> {
        self.entries.pop_front().map(|entry| (entry.timestamp, entry.record))
    }

    /// Looks at the records, with their timestamps.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = (i64, &T)> {
        self.entries.iter().map(|entry| (entry.timestamp, &entry.record))
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
