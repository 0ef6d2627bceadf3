//! Timers of keys: what a function sees of one that has come due, and the two queues in which those that have not are held.
//!
//! A timer is a time and a key; setting the same one twice sets it once. The queues know no clock: the operator says how far each has come and
//! takes out what is due.

use crate::record::Key;
use thalweg_storage::TimerQueue;

/// Which clock a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerDomain {
    /// The watermark (docs/src/semantics.md#p-1).
    EventTime,
    /// The wall clock (docs/src/semantics.md#p-2).
    ProcessingTime,
}

/// A timer that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time it was set to, in milliseconds.
    pub timestamp: i64,
    /// The clock it went by.
    pub domain: TimerDomain,
}

/// The timers of one operator in one subtask.
pub(super) struct Timers<K> {
    pub(super) event_time: TimerQueue<K>,
    pub(super) processing_time: TimerQueue<K>,
}

impl<K: Key> Timers<K> {
    pub(super) fn new() -> Self {
        Self { event_time: TimerQueue::default(), processing_time: TimerQueue::default() }
    }
}
