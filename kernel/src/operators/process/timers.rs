//! Timers of keys: the due timer as a function sees it, and the two queues that hold the timers that are not due.
//!
//! A timer is a time and a key; setting the same one twice sets it once. The queues know no clock: the operator says what time each has reached and takes
//! out the timers that are due.

use crate::checkpoint::OperatorState;
use crate::record::Key;
use thalweg_storage::TimerQueue;

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
}

impl<K: Key> Timers<K> {
    pub(super) fn new() -> Self {
        Self { event_time: TimerQueue::default(), processing_time: TimerQueue::default() }
    }

    pub(super) fn queue(&mut self, domain: TimerDomain) -> &mut TimerQueue<K> {
        match domain {
            TimerDomain::EventTime => &mut self.event_time,
            TimerDomain::ProcessingTime => &mut self.processing_time,
        }
    }

    /// Takes the timers of this subtask's keys out of the restored checkpoint.
    pub(super) fn restore(&mut self, saved: &OperatorState) {
        for (name, queue) in [(EVENT_TIME, &mut self.event_time), (PROCESSING_TIME, &mut self.processing_time)] {
            saved.restore::<K, ()>(name, |_, saved| {
                if let Some((time, _)) = saved.namespace {
                    queue.insert(time, saved.key);
                }
            });
        }
    }

    /// Saves up to `budget` timers of one of the two queues, from behind `after` on. Returns the last one saved, or `None` when all are.
    pub(super) fn save(&self, domain: TimerDomain, after: Option<(i64, K)>, saved: &OperatorState, budget: usize) -> Option<(i64, K)> {
        let (name, queue) = match domain {
            TimerDomain::EventTime => (EVENT_TIME, &self.event_time),
            TimerDomain::ProcessingTime => (PROCESSING_TIME, &self.processing_time),
        };
        let timers: Vec<&(i64, K)> = queue.iter_after(after).take(budget).collect();
        let entry = |timer: &&'_ (i64, K)| (K::hash(timer.1.view()), Some((timer.0, 0)));
        let entries = timers.iter().map(|timer| {
            let (hash, namespace) = entry(timer);
            (hash, namespace, &timer.1, ())
        });
        saved.save::<K, (), ()>(name, entries);
        timers.last().filter(|_| timers.len() == budget).map(|timer| (**timer).clone())
    }
}
