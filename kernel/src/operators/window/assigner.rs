//! Assigns windows to records: a pure function of the record and its timestamp (docs/src/semantics.md#win-1).
//!
//! The assigners of the engine yield the windows that contain the timestamp, by ascending time. Spans that would reach past the ends of time are cut off
//! there. An assigner knows no watermark and no lateness: `lateness.rs` says which of the windows are over.

use crate::record::Record;
use crate::time::TimeWindow;
use std::time::Duration;

/// Assigns windows to the records of `In` (docs/src/semantics.md#win-1).
///
/// Equal records must always get equal windows: after a failure they are assigned once more.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{TimeWindow, WindowAssigner};
///
/// /// Each reading, in seconds, says itself for how long it is valid.
/// #[derive(Clone)]
/// struct Validity;
///
/// impl WindowAssigner<u32> for Validity {
///     type Windows = Option<TimeWindow>;
///
///     fn assign_windows(&self, seconds: u32, timestamp: i64) -> Option<TimeWindow> {
///         let length = 1_000 * i64::from(seconds);
///         let start = timestamp - timestamp.checked_rem_euclid(length)?;
///         Some(TimeWindow { start, end: start + length })
///     }
/// }
/// assert_eq!(Validity.assign_windows(2, 5_100), Some(TimeWindow { start: 4_000, end: 6_000 }));
/// assert_eq!(Validity.assign_windows(0, 5_100), None);
/// ```
pub trait WindowAssigner<In: Record>: Clone + Send + 'static {
    /// The windows of one record: an `Option`, an array, an iterator. A `Vec` would be allocated per record.
    type Windows: IntoIterator<Item = TimeWindow>;

    /// The windows of `record`, each once. They may be of different lengths, and each has at least one millisecond: an empty window fails the job. A record
    /// without windows is neither counted nor late.
    fn assign_windows(&self, record: In::Ref<'_>, timestamp: i64) -> Self::Windows;
}

/// The window of `size` that holds `timestamp`, if windows begin at `offset` and every `size` after and before it. At the ends of time the window
/// is cut off.
fn window_of(timestamp: i64, size: i64, offset: i64) -> TimeWindow {
    let past_start = match timestamp.checked_sub(offset) {
        Some(distance) => distance.rem_euclid(size),
        None => (i128::from(timestamp) - i128::from(offset)).rem_euclid(i128::from(size)) as i64,
    };
    let start = timestamp.saturating_sub(past_start);
    TimeWindow { start, end: start.saturating_add(size) }
}

fn millis(duration: Duration, what: &str) -> i64 {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    assert!(millis > 0, "the {what} of a window must be at least one millisecond");
    millis
}

/// Windows side by side: each record belongs to exactly one. They are aligned to 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug)]
pub struct TumblingEventTimeWindows {
    size_ms: i64,
    offset_ms: i64,
}

impl TumblingEventTimeWindows {
    /// Windows of `size`.
    ///
    /// # Panics
    /// If `size` is less than a millisecond.
    #[must_use]
    pub fn of(size: Duration) -> Self {
        Self { size_ms: millis(size, "size"), offset_ms: 0 }
    }

    /// The same windows, all moved by `offset` milliseconds: for days of a time zone, say.
    #[must_use]
    pub fn with_offset(self, offset_ms: i64) -> Self {
        Self { offset_ms, ..self }
    }
}

impl<In: Record> WindowAssigner<In> for TumblingEventTimeWindows {
    type Windows = [TimeWindow; 1];

    #[inline]
    fn assign_windows(&self, _record: In::Ref<'_>, timestamp: i64) -> [TimeWindow; 1] {
        [window_of(timestamp, self.size_ms, self.offset_ms)]
    }
}

/// Windows that overlap (`slide` < `size`) or leave gaps (`slide` > `size`). They are aligned to 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug)]
pub struct SlidingEventTimeWindows {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
}

impl SlidingEventTimeWindows {
    /// Windows of `size`, one every `slide`.
    ///
    /// # Panics
    /// If `size` or `slide` is less than a millisecond.
    #[must_use]
    pub fn of(size: Duration, slide: Duration) -> Self {
        Self { size_ms: millis(size, "size"), slide_ms: millis(slide, "slide"), offset_ms: 0 }
    }

    /// The same windows, all moved by `offset` milliseconds.
    #[must_use]
    pub fn with_offset(self, offset_ms: i64) -> Self {
        Self { offset_ms, ..self }
    }
}

impl<In: Record> WindowAssigner<In> for SlidingEventTimeWindows {
    type Windows = SlidingWindows;

    #[inline]
    fn assign_windows(&self, _record: In::Ref<'_>, timestamp: i64) -> SlidingWindows {
        let Self { size_ms, slide_ms, offset_ms } = *self;
        let last = window_of(timestamp, slide_ms, offset_ms).start;
        // The earliest start whose window still reaches the timestamp lies at most size - 1 before it.
        let earliest = timestamp.saturating_sub(size_ms - 1);
        let count = if last < earliest { 0 } else { (last.abs_diff(earliest) / slide_ms.unsigned_abs()) as i64 + 1 };
        SlidingWindows { size_ms, slide_ms, last, left: count }
    }
}

/// The windows of [`SlidingEventTimeWindows`] that hold one record, by ascending time.
#[derive(Clone, Debug)]
pub struct SlidingWindows {
    size_ms: i64,
    slide_ms: i64,
    /// The start of the last window.
    last: i64,
    left: i64,
}

impl Iterator for SlidingWindows {
    type Item = TimeWindow;

    #[inline]
    fn next(&mut self) -> Option<TimeWindow> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let back = self.left;
        let start = self.last.saturating_sub(back.saturating_mul(self.slide_ms));
        Some(TimeWindow { start, end: start.saturating_add(self.size_ms) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(assigner: impl WindowAssigner<u32>, timestamp: i64) -> Vec<(i64, i64)> {
        assigner.assign_windows(0, timestamp).into_iter().map(|w| (w.start, w.end)).collect()
    }

    #[test]
    fn tumbling_windows_are_aligned_to_the_epoch_before_and_after_it() {
        let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
        let of = |timestamp| spans(windows, timestamp);
        assert_eq!([of(0), of(9), of(10), of(-1)].concat(), [(0, 10), (0, 10), (10, 20), (-10, 0)]);
        assert_eq!(spans(windows.with_offset(3), 2), [(-7, 3)]);
    }

    #[test]
    fn sliding_windows_overlap_and_may_leave_gaps() {
        let overlapping = SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(4));
        assert_eq!(spans(overlapping, 9), [(0, 10), (4, 14), (8, 18)]);
        assert_eq!(spans(overlapping, 11), [(4, 14), (8, 18)]);
        let gaps = SlidingEventTimeWindows::of(Duration::from_millis(2), Duration::from_millis(5));
        assert_eq!(spans(gaps, 1), [(0, 2)]);
        assert_eq!(spans(gaps, 3), []);
    }

    proptest! {
        /// The definition, tested on every start near the timestamp, also at the ends of time.
        #[test]
        fn windows_are_those_that_contain_the_timestamp(timestamp in any::<i64>(), size in 1..50i64, slide in 1..50i64, offset in -100..100i64) {
            let assigner = SlidingEventTimeWindows { size_ms: size, slide_ms: slide, offset_ms: offset };
            let expected: Vec<_> = (0..size).rev()
                .filter_map(|back| timestamp.checked_sub(back))
                .filter(|start| (i128::from(*start) - i128::from(offset)).rem_euclid(i128::from(slide)) == 0)
                .map(|start| (start, start.saturating_add(size)))
                .collect();
            if timestamp > i64::MIN + 200 {
                prop_assert_eq!(spans(assigner, timestamp), expected);
            }
        }
    }
}
