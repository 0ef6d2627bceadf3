//! Timers of keys, in the order in which they are due.

use std::collections::BTreeSet;
use std::ops::Bound;

/// A set of `(time, key)`; a timer set twice is one timer. Setting, deleting and taking cost the logarithm of the number of timers.
#[derive(Debug)]
pub struct TimerQueue<K> {
    timers: BTreeSet<(i64, K)>,
}

impl<K: Ord> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { timers: BTreeSet::new() }
    }
}

impl<K: Ord> TimerQueue<K> {
    /// Sets a timer for `key`. `false` if it was set already.
    pub fn insert(&mut self, time: i64, key: K) -> bool {
        self.timers.insert((time, key))
    }

    /// Deletes a timer of `key`. `false` if it was not set.
    pub fn remove(&mut self, time: i64, key: K) -> bool {
        self.timers.remove(&(time, key))
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_time(&self) -> Option<i64> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// The timers that are due at `now`, in the order in which they are taken out.
    pub fn due(&self, now: i64) -> impl Iterator<Item = &(i64, K)> {
        self.timers.iter().take_while(move |(time, _)| *time <= now)
    }

    /// Removes and returns the next timer if it is due at `now`: the earliest, and among several at one time the one with the lowest key.
    pub fn pop_due(&mut self, now: i64) -> Option<(i64, K)> {
        if self.next_time()? > now {
            return None;
        }
        self.timers.pop_first()
    }

    /// The timers after `after` in their order; all of them for `None`.
    pub fn iter_after(&self, after: Option<(i64, K)>) -> impl Iterator<Item = &(i64, K)> {
        self.timers.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// Number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there are no timers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_due_in_order_of_time_then_key_and_once() {
        let mut timers = TimerQueue::default();
        for (time, key) in [(5, "b"), (3, "z"), (5, "a"), (5, "b"), (9, "c")] {
            timers.insert(time, key);
        }
        assert!(timers.remove(9, "c"));
        assert_eq!(timers.pop_due(2), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(5)).collect();
        assert_eq!(due, [(3, "z"), (5, "a"), (5, "b")]);
        assert!(timers.is_empty());
    }
}
