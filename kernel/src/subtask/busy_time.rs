//! How a subtask spends its time: working, waiting for input, or waiting for room downstream.
//!
//! The driver says after each slice how it ended, and the time from the beginning of that slice to the beginning of the next, parked or not, counts as that
//! kind; the slices' clock readings are there anyway, so this costs an addition per slice. Time that is neither idle nor back-pressured is busy, as in
//! Flink: also waiting for a turn on the core, and for a write that the chain's own sink has begun.

use crate::metrics::{Sampler, Samples};
use crate::subtask::driven::Subtask;
use crate::subtask::durations::TaskDurations;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// The kinds of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Busy,
    Idle,
    BackPressured,
}

/// The time of each kind, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
    back_pressured: u64,
}

impl Times {
    fn add(&mut self, doing: Doing, ns: u64) {
        match doing {
            Doing::Busy => self.busy += ns,
            Doing::Idle => self.idle += ns,
            Doing::BackPressured => self.back_pressured += ns,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            busy: self.busy - earlier.busy,
            idle: self.idle - earlier.idle,
            back_pressured: self.back_pressured - earlier.back_pressured,
        }
    }

    fn total(self) -> u64 {
        self.busy + self.idle + self.back_pressured
    }
}

/// The least time over which the shares are averaged: the core's usual ups and downs are shorter.
const SPAN: Duration = Duration::from_secs(1);

/// Adds up the time of one subtask.
pub(crate) struct Load {
    times: Cell<Times>,
    doing: Cell<Doing>,
    since: Cell<MonotonicNs>,
    /// The times at the beginning of the span under way.
    span_began: Cell<Times>,
    /// The shares of the last span that has ended, in milliseconds per second. Before the first has ended, the shares of that one so far.
    shares: Cell<Option<[i64; 3]>>,
}

impl Load {
    pub(crate) fn new(now: MonotonicNs) -> Self {
        Self {
            times: Cell::default(),
            doing: Cell::new(Doing::Busy),
            since: Cell::new(now),
            span_began: Cell::default(),
            shares: Cell::new(None),
        }
    }

    /// A slice begins.
    #[inline]
    pub(crate) fn begins(&self, now: MonotonicNs) {
        let mut times = self.times.get();
        times.add(self.doing.get(), now.0.saturating_sub(self.since.get().0));
        self.times.set(times);
        self.since.set(now);
    }

    /// Says how the slice ended.
    #[inline]
    pub(crate) fn is(&self, doing: Doing) {
        self.doing.set(doing);
    }

    /// The times until now, and the shares of busy, idle and back-pressured in the latest second, in milliseconds.
    fn read(&self, now: MonotonicNs) -> (Times, [i64; 3]) {
        self.begins(now);
        let times = self.times.get();
        let span = times.since(self.span_began.get());
        let share = |ns: u64| (u128::from(ns) * 1000).checked_div(u128::from(span.total())).map_or(0, |share| share as i64);
        let current = [span.busy, span.idle, span.back_pressured].map(share);
        if Duration::from_nanos(span.total()) < SPAN {
            return (times, self.shares.get().unwrap_or(current));
        }
        self.span_began.set(times);
        self.shares.set(Some(current));
        (times, current)
    }
}

/// Samples the metrics of a running subtask.
pub(crate) struct TaskSampler {
    pub(crate) io: Io,
    pub(crate) load: Rc<Load>,
    pub(crate) durations: Rc<TaskDurations>,
    /// Dropped with the subtask.
    pub(crate) task: Weak<RefCell<Box<dyn Subtask>>>,
}

const MILLISECOND: u64 = 1_000_000;

impl Sampler for TaskSampler {
    fn sample(&self, samples: &mut Samples<'_>) {
        let task = self.task.upgrade();
        // The times of a subtask that has ended do not change any more.
        let now = if task.is_some() { self.io.clock().now() } else { self.load.since.get() };
        let (times, [busy, idle, back_pressured]) = self.load.read(now);
        samples.counter("accumulateBusyTimeMs", (times.busy / MILLISECOND) as i64);
        samples.counter("accumulateIdleTimeMs", (times.idle / MILLISECOND) as i64);
        samples.counter("accumulateBackPressuredTimeMs", (times.back_pressured / MILLISECOND) as i64);
        samples.gauge("busyTimeMsPerSecond", None, busy);
        samples.gauge("idleTimeMsPerSecond", None, idle);
        samples.gauge("backPressuredTimeMsPerSecond", None, back_pressured);
        self.durations.sample(samples);
        // The driver borrows it only within a slice, and slices do not wait.
        if let Some(task) = task.as_ref().and_then(|task| task.try_borrow().ok()) {
            task.sample(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonotonicNs {
        MonotonicNs(ms * MILLISECOND)
    }

    #[test]
    fn every_moment_counts_once() {
        let load = Load::new(at(100));
        // Works for 10 ms, waits for input for 30, for room for 60.
        for (from, doing) in [(100, Doing::Busy), (110, Doing::Idle), (140, Doing::BackPressured)] {
            load.begins(at(from));
            load.is(doing);
        }
        let (times, shares) = load.read(at(200));
        assert_eq!([times.busy, times.idle, times.back_pressured].map(|ns| ns / MILLISECOND), [10, 30, 60]);
        assert_eq!(shares, [100, 300, 600]);
    }

    #[test]
    fn shares_are_those_of_the_latest_second() {
        let load = Load::new(at(0));
        load.is(Doing::Idle);
        assert_eq!(load.read(at(400)).1, [0, 1000, 0], "while the first second lasts, what is known of it");
        assert_eq!(load.read(at(1000)).1, [0, 1000, 0]);
        load.is(Doing::BackPressured);
        assert_eq!(load.read(at(1500)).1, [0, 1000, 0], "half a second is no average");
        assert_eq!(load.read(at(2000)).1, [0, 0, 1000]);
        assert_eq!(Load::new(at(0)).read(at(0)).1, [0, 0, 0]);
    }
}
