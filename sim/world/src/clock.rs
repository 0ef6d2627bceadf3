//! The clocks of a simulated core.
//!
//! The monotonic clock is madsim's virtual time, from an origin other than zero, which differs from machine to machine (a program that takes the origin for granted is wrong). It never
//! goes backwards, and begins anew with each run. The wall clock is a base, plus what the configuration of the core says: an offset, a drift, and
//! steps in either direction; it goes on from run to run.
//! Sleeps take at least 1 ms, which is madsim's granularity.

use crate::config::ClockConfig;
use crate::process::Process;
use crate::tasks::Tasks;
use madsim::time::Sleep;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thalweg_io::{Clock, LocalBoxFuture, MonotonicNs, UnixMillis};

/// Where the monotonic clock of the only process stands when a run begins, in nanoseconds.
pub(crate) const MONOTONIC_ORIGIN_NS: u64 = 3_600_000_000_000;

/// A jump of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// When, in milliseconds of virtual time since the start of the world's first run.
    pub at_ms: u64,
    /// How far, in milliseconds; backwards if negative.
    pub by_ms: i64,
}

/// The clocks of one core.
pub(crate) struct SimClock {
    process: Rc<Process>,
    config: ClockConfig,
}

impl SimClock {
    pub(crate) fn new(process: Rc<Process>, config: ClockConfig) -> Self {
        Self { process, config }
    }
}

impl Clock for SimClock {
    fn now(&self) -> MonotonicNs {
        MonotonicNs(self.process.setup.monotonic_origin_ns + self.process.tasks.now_ns())
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(wall_ms(&self.config, self.process.around.born_ns + self.process.tasks.now_ns()))
    }

    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()> {
        let process = Rc::clone(&self.process);
        let deadline_ns = deadline.0.saturating_sub(process.setup.monotonic_origin_ns);
        Box::pin(async move {
            process.note_operation("clock.sleep", "");
            sleep_until(&process.tasks, deadline_ns).await;
        })
    }
}

/// The wall clock that `config` describes, `elapsed_ns` after the start of the world.
pub(crate) fn wall_ms(config: &ClockConfig, elapsed_ns: u64) -> i64 {
    let elapsed_ms = i64::try_from(elapsed_ns / 1_000_000).unwrap_or(i64::MAX);
    let drift_ms = i64::try_from(i128::from(elapsed_ns) * i128::from(config.drift_ppm) / 1_000_000_000_000).unwrap_or(0);
    let passed = |step: &&ClockStep| step.at_ms.saturating_mul(1_000_000) <= elapsed_ns;
    let steps_ms: i64 = config.steps.iter().filter(passed).map(|step| step.by_ms).sum();
    config.base_unix_ms.saturating_add(elapsed_ms).saturating_add(config.offset_ms).saturating_add(drift_ms).saturating_add(steps_ms)
}

/// Waits until `deadline_ns` of virtual time, at once if it has passed. A sleep longer than a whole run is one for ever, and not a timer: who waits
/// like that still waits for somebody else.
pub(crate) async fn sleep_until(tasks: &Rc<Tasks>, deadline_ns: u64) {
    let duration_ns = deadline_ns.saturating_sub(tasks.now_ns());
    if duration_ns == 0 {
        return;
    }
    if duration_ns >= tasks.virtual_time_ns_max() {
        return std::future::pending().await;
    }
    let sleep = tasks.time().sleep(Duration::from_nanos(duration_ns));
    tasks.count_timer(1);
    let mut timer = Timer { tasks: Rc::clone(tasks), sleep: Box::pin(sleep), registered: None };
    poll_fn(|cx| timer.poll(cx)).await;
}

/// A timer that is counted, and set once per waker: madsim's own would set another at each poll.
struct Timer {
    tasks: Rc<Tasks>,
    sleep: Pin<Box<Sleep>>,
    registered: Option<Waker>,
}

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_elapsed() {
            return Poll::Ready(());
        }
        if self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.registered = Some(cx.waker().clone());
        self.sleep.as_mut().poll(cx)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.tasks.count_timer(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_wall_clock_has_an_offset_a_drift_and_steps() {
        let steps = vec![ClockStep { at_ms: 2_000, by_ms: -10_000 }, ClockStep { at_ms: 3_000, by_ms: 500 }];
        let config = ClockConfig { base_unix_ms: 1_000_000, offset_ms: -7, drift_ppm: 1_000, steps };
        assert_eq!(wall_ms(&config, 0), 999_993);
        assert_eq!(wall_ms(&config, SECOND_NS), 999_993 + 1_000 + 1);
        assert_eq!(wall_ms(&config, 2 * SECOND_NS), 999_993 + 2_000 + 2 - 10_000);
        assert_eq!(wall_ms(&config, 3 * SECOND_NS), 999_993 + 3_000 + 3 - 9_500);
    }
}
