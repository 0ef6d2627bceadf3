//! The first operator of a task that is fed by an exchange.

use super::arrival::Arrival;
use crate::chain::{Collector, Stage, pass_on};
use crate::record::Record;

/// Takes the records of one input of a task, with the hashes of their keys (0 where the edge is not keyed). A head with two inputs implements this for
/// each of them: what reaches it in between (watermarks, barriers, the end) is of both.
pub trait Head<T: Record, const INPUT: usize = 0>: Stage {
    /// Is told the hashes of the keys of the next records, to bring their state near.
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
