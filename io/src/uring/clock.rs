//! The kernel's clocks.

use super::monotonic::now;
use super::timers::Timers;
use crate::{Clock, LocalBoxFuture, MonotonicNs, UnixMillis};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// The clocks of a core: monotonic time is `CLOCK_MONOTONIC`, the same on every core.
pub(crate) struct UringClock {
    /// The sleepers of the core.
    pub(crate) timers: Rc<Timers>,
}

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
        Box::pin(Timers::sleep_until(&self.timers, deadline))
    }
}
