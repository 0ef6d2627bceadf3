//! The first operator of a task that is fed by an exchange.

use super::arrival::Arrival;
use super::frame::Ahead;
use crate::chain::{Collector, Stage, pass_on};
use crate::record::Record;

/// Takes the records of one input of a task, with the hashes of their keys (0 where the edge is not keyed). A head with two inputs implements this for each
/// of them; watermarks, barriers and the end reach it merged over both.
pub trait Head<T: Record, const INPUT: usize = 0>: Stage {
    /// How many of the records ahead have their state at hand, from the first on; state that is not in memory begins to be fetched. 0 if not even the first
    /// has; [`poll_progress`](Stage::poll_progress) is then ready when it is worth asking again. State stays at hand until its record is taken, or another
    /// frame comes first. Only while [`ready`](Stage::ready).
    fn prepare(&mut self, ahead: Ahead<'_, T>) -> usize {
        ahead.len()
    }

    /// Gives the head the key hashes of the next records, at most 32, to bring their state into the processor's caches.
    fn prefetch(&mut self, _hashes: &[u64]) {}

    /// Takes a record. Only while [`ready`](Stage::ready).
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<T>);
}

/// A chain at the head of a task whose input is not keyed.
pub(crate) struct Unkeyed<C> {
    down: C,
}

impl<C> Unkeyed<C> {
    pub(super) fn new(down: C) -> Self {
        Self { down }
    }
}

impl<T: Record, C: Collector<T>> Head<T> for Unkeyed<C> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<T>) {
        record.hand_to(timestamp, &mut self.down);
    }
}

impl<C: Stage> Stage for Unkeyed<C> {
    pass_on!();
}
