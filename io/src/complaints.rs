//! Warnings about what strangers can bring about as often as they like.
//!
//! The first is shown, the second, the fourth, and so on, and otherwise at most one in [`INTERVAL`]; each with how many there were. So a flood of callers
//! is no flood of lines, and what happens now and then is not hidden by a flood long ago.

use crate::{Io, MonotonicNs};
use std::time::Duration;

/// However many there are, one is shown as often as this.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts one kind of warnings.
#[derive(Debug, Default)]
pub struct Complaints {
    count: u64,
    shown_at: Option<MonotonicNs>,
}

impl Complaints {
    /// There is reason for one more: how many there were, if it is to be shown.
    pub fn count(&mut self, io: &Io) -> Option<u64> {
        self.count += 1;
        let now = io.clock().now();
        let is_due = self.count.is_power_of_two() || self.shown_at.is_none_or(|shown| now.since(shown) >= INTERVAL);
        is_due.then(|| {
            self.shown_at = Some(now);
            self.count
        })
    }
}
