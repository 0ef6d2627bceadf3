//! How long things of one kind have taken, as a histogram of bounded size.
//!
//! Times are counted in cells that are a sixteenth of their value wide, from a microsecond to some minutes: a quantile is at most that much too high. A
//! histogram takes 4 KiB, however many times it holds, and those of several subtasks, cores and workers add up to that of all.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Shorter times share two cells, and longer ones the last.
const LOWEST_NS: u64 = 64;
const HIGHEST_NS: u64 = 1_000_000_000_000;

/// Decimal digits of a time that are kept.
const DIGITS: u8 = 1;

/// The histogram of a kind of durations.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::time::Duration;
/// use thalweg::Durations;
/// let mut slices = Durations::default();
/// (1..=1_000).for_each(|us| slices.record(Duration::from_micros(us)));
/// assert_eq!((slices.count(), slices.max()), (1_000, Duration::from_millis(1)));
/// let median = slices.quantile(0.5);
/// assert!(median >= Duration::from_micros(500) && median < Duration::from_micros(540));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    cells: Histogram<u64>,
    sum: Duration,
    max: Duration,
}

// The cells of a histogram are integers.
impl Eq for Durations {}

impl Default for Durations {
    fn default() -> Self {
        let cells = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("invariant: the bounds of a histogram are in order");
        Self { cells, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Durations {
    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        self.cells.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        self.sum = self.sum.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    /// Counts all that `other` has counted.
    pub fn add(&mut self, other: &Self) {
        self.cells.add(&other.cells).expect("invariant: all histograms have the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What it has counted since `earlier`, a copy of it from then; `None` if that has counted something which this has not. The maximum, too, is that of a
    /// cell then: at most a sixteenth too high.
    ///
    /// ```
    /// # extern crate thalweg_kernel as thalweg;
    /// # use std::time::Duration;
    /// # use thalweg::Durations;
    /// let mut slices = Durations::default();
    /// slices.record(Duration::from_secs(1));
    /// let before = slices.clone();
    /// slices.record(Duration::from_millis(1));
    /// let since = slices.since(&before).unwrap();
    /// assert!(since.count() == 1 && since.max() < Duration::from_micros(1_100));
    /// assert_eq!(before.since(&slices), None);
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut cells = self.cells.clone();
        cells.subtract(&earlier.cells).ok()?;
        let max = if cells.is_empty() { Duration::ZERO } else { self.max.min(Duration::from_nanos(cells.max())) };
        let since = Self { cells, sum: self.sum.saturating_sub(earlier.sum), max };
        // Without what the subtraction leaves behind in an empty histogram.
        Some(Self::of_cells(since.cells(), since.sum, since.max))
    }

    /// How many durations it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cells.len()
    }

    /// Their sum, exactly.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest, exactly; zero if there is none.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration that the share `q`, from 0 to 1, of all does not exceed; at most a sixteenth too high, and zero if there is none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        Duration::from_nanos(self.cells.value_at_quantile(q)).min(self.max)
    }

    /// How many did not exceed `bound`; some that did by up to a sixteenth may be among them.
    #[must_use]
    pub fn up_to(&self, bound: Duration) -> u64 {
        self.cells.count_between(0, u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The cells that are not empty, each by a time in it, in nanoseconds, with its count: with sum and maximum, all that there is, to be sent.
    pub fn cells(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cells.iter_recorded().map(|cell| (cell.value_iterated_to(), cell.count_at_value()))
    }

    /// The inverse of [`cells`](Self::cells), whatever the numbers.
    #[must_use]
    pub fn of_cells(cells: impl IntoIterator<Item = (u64, u64)>, sum: Duration, max: Duration) -> Self {
        let mut all = Self { sum, max, ..Self::default() };
        cells.into_iter().for_each(|(ns, count)| all.cells.saturating_record_n(ns, count));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_two_add_up_and_survive_being_sent() {
        let (mut some, mut others) = (Durations::default(), Durations::default());
        for us in [0, 1, 5, 900, 20_000] {
            some.record(Duration::from_micros(us));
            others.record(Duration::from_micros(us * 3));
        }
        others.record(Duration::from_secs(1 << 40));
        let sent = |of: &Durations| Durations::of_cells(of.cells(), of.sum(), of.max());
        assert_eq!((sent(&some), sent(&others)), (some.clone(), others.clone()));
        let mut all = sent(&some);
        all.add(&others);
        assert_eq!((all.count(), all.max()), (11, Duration::from_secs(1 << 40)));
        assert_eq!(all.sum(), some.sum() + others.sum());
        assert_eq!(all.up_to(Duration::from_millis(1)), 7);
        assert!(all.quantile(1.0) >= Duration::from_secs(900));
        assert_eq!(all.since(&others).as_ref().map(|since| (since.count(), since.sum())), Some((5, some.sum())));
        assert_eq!(all.since(&all), Some(Durations::default()));
        assert_eq!(Durations::of_cells([(u64::MAX, u64::MAX), (7, u64::MAX)], Duration::MAX, Duration::MAX).count(), u64::MAX);
    }

    #[test]
    fn without_any_all_is_zero() {
        let none = Durations::default();
        assert!(none.cells.distinct_values() * size_of::<u64>() <= 4 << 10);
        assert_eq!((none.count(), none.max(), none.quantile(0.99), none.up_to(Duration::MAX)), (0, Duration::ZERO, Duration::ZERO, 0));
    }
}
