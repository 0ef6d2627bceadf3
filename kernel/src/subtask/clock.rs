//! The time of a subtask: read once per slice, and the same for everything in it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs, UnixMillis};

/// Both clocks at the beginning of a slice. Time stands still within a slice (docs/src/semantics.md#t-5).
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For intervals.
    pub monotonic: MonotonicNs,
    /// For processing-time timers.
    pub wall: UnixMillis,
}

impl Now {
    /// When, on the monotonic clock, the wall clock will show `wall` if it runs evenly until then.
    pub(crate) fn deadline_of(self, wall: UnixMillis) -> MonotonicNs {
        let wait_ms = u64::try_from(wall.0.saturating_sub(self.wall.0)).unwrap_or(0);
        // The wall clock may be set meanwhile: look again at least once a second.
        self.monotonic.after(Duration::from_millis(wait_ms.min(1000)))
    }
}

/// The time of the current slice, as user functions see it.
#[derive(Clone)]
pub(crate) struct TaskClock {
    now: Rc<Cell<Now>>,
}

impl TaskClock {
    pub(crate) fn new(io: &Io) -> Self {
        Self { now: Rc::new(Cell::new(Self::read(io))) }
    }

    /// A slice begins: reads both clocks.
    pub(crate) fn advance(&self, io: &Io) {
        self.now.set(Self::read(io));
    }

    fn read(io: &Io) -> Now {
        Now { monotonic: io.clock().now(), wall: io.clock().wall() }
    }

    pub(crate) fn now(&self) -> Now {
        self.now.get()
    }
}
