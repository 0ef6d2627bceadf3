//! What is asked of whatever keeps one state, without knowing the types of keys and values.

use crate::{HotTable, StateSize, TableOwner};
use std::task::{Context, Poll};
use thalweg_record::HashRange;

/// What keeps one state.
pub trait StateTable: 'static {
    /// An empty one for keys whose hashes lie in `hashes`, in parts of `part_slots` slots at most (see [`HotTable::spanning`]).
    fn spanning(hashes: HashRange, part_slots: usize, owner: TableOwner) -> Self
    where
        Self: Sized;

    /// Brings what keys with these hashes have into the processor's caches, as far as that can be told (see [`HotTable::prefetch`]).
    fn prefetch(&self, hashes: &[u64]);

    /// How many of `hashes`, from the first on, have their state at hand (see [`HotTable::at_hand`]).
    fn at_hand(&mut self, hashes: &[u64]) -> usize;

    /// See [`HotTable::poll_at_hand`].
    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// How much it holds.
    fn size(&self) -> StateSize;
}

impl<K: 'static, V: 'static> StateTable for HotTable<K, V> {
    fn spanning(hashes: HashRange, part_slots: usize, owner: TableOwner) -> Self {
        Self::spanning(hashes, owner).with_part_slots(part_slots)
    }

    fn prefetch(&self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.prefetch(*hash));
    }

    fn at_hand(&mut self, hashes: &[u64]) -> usize {
        self.at_hand(hashes.iter().copied())
    }

    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_at_hand(cx)
    }

    fn size(&self) -> StateSize {
        self.size()
    }
}
