//! Timers of keys: the due timer as a function sees it, and the two queues that hold the timers that are not due.
//!
//! A timer is a time and a key; setting the same one twice sets it once. The queues know no clock: the operator says what time each has reached and takes
//! out the timers that are due.

use crate::checkpoint::{OperatorState, SealedState};
use crate::record::{Key, Parts};
use thalweg_storage::checkpoint::append_entry;
use thalweg_storage::{StateSize, TimerQueue};

/// The clock that a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerDomain {
    /// The watermark (docs/src/semantics.md#p-1).
    EventTime,
    /// The wall clock (docs/src/semantics.md#p-2).
    ProcessingTime,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time it was set to, in milliseconds.
    pub timestamp: i64,
    /// The clock it went by.
    pub domain: TimerDomain,
}

/// The names under which the timers are saved, reserved for the engine.
const EVENT_TIME: &str = "thalweg/event-time-timers";
const PROCESSING_TIME: &str = "thalweg/processing-time-timers";

/// The timers of one operator in one subtask.
pub(super) struct Timers<K> {
    pub(super) event_time: TimerQueue<K>,
    pub(super) processing_time: TimerQueue<K>,
    /// How far the saving of each queue has come.
    sealed: [SealedState; 2],
}

impl<K: Key> Timers<K> {
    /// The timers that the restored checkpoint holds for this subtask's keys.
    pub(super) fn restored(saved: &OperatorState) -> Self {
        let restored = |name| {
            let mut queue = saved.timers(name);
            saved.restore_timers::<K>(name, |_, saved| {
                let (key, time) = saved.key;
                queue.insert(time, key);
            });
            queue
        };
        let sealed = [EVENT_TIME, PROCESSING_TIME].map(|name| SealedState::of_parts::<K, i64, ()>(saved, name, Parts::Timers));
        Self { event_time: restored(EVENT_TIME), processing_time: restored(PROCESSING_TIME), sealed }
    }

    pub(super) fn queue(&mut self, domain: TimerDomain) -> &mut TimerQueue<K> {
        match domain {
            TimerDomain::EventTime => &mut self.event_time,
            TimerDomain::ProcessingTime => &mut self.processing_time,
        }
    }

    /// How much the queues hold.
    pub(super) fn size(&self) -> StateSize {
        [&self.event_time, &self.processing_time].map(TimerQueue::size).into_iter().sum()
    }

    /// A barrier has come: the timers will be saved as they are now.
    pub(super) fn seal(&mut self, saved: &OperatorState) {
        let [event_time, processing_time] = &mut self.sealed;
        event_time.seal(saved, &mut self.event_time, append_entry);
        processing_time.seal(saved, &mut self.processing_time, append_entry);
    }

    /// Saves about the next `budget` timers of what was sealed. `false` if nothing is left.
    pub(super) fn save(&mut self, saved: &OperatorState, budget: usize) -> bool {
        let [event_time, processing_time] = &mut self.sealed;
        event_time.save(saved, &mut self.event_time, budget) || processing_time.save(saved, &mut self.processing_time, budget)
    }
}
