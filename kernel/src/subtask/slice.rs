//! How much a task may do before the core's other tasks have their turn.
//!
//! Work is counted in records, because virtual time stands still inside synchronous code. The number of records per slice is adapted from the outside: a
//! task whose function takes a millisecond gets slices of a few records, so that cancelling, timers and the other tasks of the core do not wait for
//! thousands of them. In the simulator slices take no time and keep their size.

use std::cell::Cell;
use std::time::Duration;

/// A slice that takes longer is too long: twice the stall that the design allows, so that a single interruption by the system does not count.
const TOO_LONG: Duration = Duration::from_micros(400);

/// A slice that takes less may grow again.
const SHORT: Duration = Duration::from_micros(100);

/// Records in the first slice. At a millisecond per record a cancellation waits that many milliseconds.
const FIRST_RECORDS: usize = 64;

/// The slice of one subtask.
pub(crate) struct SliceBudget {
    most: usize,
    records: Cell<usize>,
}

impl SliceBudget {
    /// Slices of `most` records, or fewer; the first ones are short, for the cost per record is not known yet.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, records: Cell::new(most.min(FIRST_RECORDS)) }
    }

    /// Records in a slice, at least one.
    #[inline]
    pub(crate) fn records(&self) -> usize {
        self.records.get()
    }

    /// Takes into account how long a slice took.
    pub(crate) fn took(&self, elapsed: Duration) {
        let records = self.records.get();
        if elapsed > TOO_LONG {
            self.records.set((records / 2).max(1));
        } else if elapsed < SHORT && records < self.most {
            self.records.set((records * 2).min(self.most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_functions_get_short_slices_and_fast_ones_long_slices_again() {
        let budget = SliceBudget::new(1000);
        for _ in 0..20 {
            budget.took(Duration::from_millis(5));
        }
        assert_eq!(budget.records(), 1);
        for _ in 0..20 {
            budget.took(Duration::ZERO);
        }
        assert_eq!(budget.records(), 1000);
    }
}
