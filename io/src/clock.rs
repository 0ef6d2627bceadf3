//! Time as a core sees it: a monotonic clock for intervals and deadlines, a wall clock for times that people read.
//!
//! The two are separate types on purpose. The wall clock may step, also backwards; the monotonic clock never does. In the simulator both
//! are virtual and stand still inside synchronous code.

use crate::LocalBoxFuture;
use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an arbitrary origin that is fixed for the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicNs(pub u64);

impl MonotonicNs {
    /// The point `duration` after this one; saturates at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Processing-time timers use it, as in Flink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// The clocks of one core.
pub trait Clock {
    /// Monotonic time: never goes backwards.
    fn now(&self) -> MonotonicNs;

    /// Wall-clock time: may step in either direction.
    fn wall(&self) -> UnixMillis;

    /// Completes at `deadline` or later (typically within 0.1 ms in production, 1 ms in the simulator); at once if it has passed.
    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()>;
}
