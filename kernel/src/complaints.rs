//! Warnings about what strangers can bring about as often as they like.
//!
//! The first is shown, the second, the fourth, and so on, and otherwise at most one in [`INTERVAL`]; each with how many there were. So a flood of callers
//! is no flood of lines, and what happens now and then is not hidden by a flood long ago.

use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// However many there are, one is shown as often as this.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts one kind of warnings.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    count: u64,
    shown_at: Option<MonotonicNs>,
}

impl Complaints {
    /// There is reason for one more: how many there were, if it is to be shown.
    pub(crate) fn count(&mut self, io: &Io) -> Option<u64> {
        self.count += 1;
        let now = io.clock().now();
        let is_due = self.count.is_power_of_two() || self.shown_at.is_none_or(|shown| now.since(shown) >= INTERVAL);
        is_due.then(|| {
            self.shown_at = Some(now);
            self.count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::World;

    #[test]
    fn a_flood_is_shown_in_a_few_lines_and_a_single_one_long_after_it_again() {
        let (world, mut complaints) = (World::default(), Complaints::default());
        let shown: Vec<_> = (0..100_000).filter_map(|_| complaints.count(&world.io())).collect();
        assert_eq!(shown, (0..17).map(|power| 1 << power).collect::<Vec<u64>>());
        world.sleep(INTERVAL);
        assert_eq!([complaints.count(&world.io()), complaints.count(&world.io())], [Some(100_001), None]);
    }
}
