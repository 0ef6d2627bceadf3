//! Warnings that strangers can trigger as often as they like.
//!
//! The first warning is shown, the second, the fourth, and so on, and otherwise at most one in [`INTERVAL`]; each with the count so far. So a flood of
//! callers does not flood the log, and a flood long ago does not hide occasional warnings later.

use crate::{Io, MonotonicNs};
use std::time::Duration;

/// The interval after which the next warning is shown, whatever the count.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts warnings of one kind.
#[derive(Debug, Default)]
pub struct Complaints {
    count: u64,
    shown_at: Option<MonotonicNs>,
}

impl Complaints {
    /// Counts a warning. Returns the count so far if the warning is to be shown.
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
