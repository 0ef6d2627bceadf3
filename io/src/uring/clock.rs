//! The kernel's clocks and glommio's timers.

use crate::{Clock, LocalBoxFuture, MonotonicNs, UnixMillis};
use std::time::{Duration, SystemTime};

/// Monotonic time is `CLOCK_MONOTONIC`, the same on every core.
pub(super) struct UringClock;

impl Clock for UringClock {
    fn now(&self) -> MonotonicNs {
        now()
    }

    fn wall(&self) -> UnixMillis {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        UnixMillis(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }

    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()> {
        Box::pin(async move {
            loop {
                let left = deadline.since(now());
                if left.is_zero() {
                    return;
                }
                // A timer never fires early by its own clock; the loop makes it true by ours. A year is as good as for ever, and stays within
                // what an `Instant` can be moved by.
                glommio::timer::Timer::new(left.min(Duration::from_secs(365 * 24 * 3600))).await;
            }
        })
    }
}

fn now() -> MonotonicNs {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the call fills in. It cannot fail: the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    MonotonicNs(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
