//! To which windows a record belongs: a pure function of its timestamp (docs/src/semantics.md#win-1).
//!
//! An assigner yields the windows that contain the timestamp, by ascending time. Spans that would reach past the ends of time are cut off there.
//! It knows no watermark and no lateness: which of the windows are over is for the operator to say.

use crate::time::TimeWindow;
use std::time::Duration;

/// Says to which windows a record belongs (docs/src/semantics.md#win-1).
pub trait WindowAssigner: Clone + Send + 'static {
    /// The windows of a record with this timestamp, by ascending time.
    fn assign_windows(&self, timestamp: i64) -> impl Iterator<Item = TimeWindow>;
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

impl WindowAssigner for TumblingEventTimeWindows {
    #[inline]
    fn assign_windows(&self, timestamp: i64) -> impl Iterator<Item = TimeWindow> {
        std::iter::once(window_of(timestamp, self.size_ms, self.offset_ms))
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

impl WindowAssigner for SlidingEventTimeWindows {
    #[inline]
    fn assign_windows(&self, timestamp: i64) -> impl Iterator<Item = TimeWindow> {
        let Self { size_ms, slide_ms, offset_ms } = *self;
        let last = window_of(timestamp, slide_ms, offset_ms).start;
        // The earliest start whose window still reaches the timestamp lies at most size - 1 before it.
        let earliest = timestamp.saturating_sub(size_ms - 1);
        let count = if last < earliest { 0 } else { (last.abs_diff(earliest) / slide_ms.unsigned_abs()) as i64 + 1 };
        (0..count).rev().map(move |back| {
            let start = last.saturating_sub(back.saturating_mul(slide_ms));
            TimeWindow { start, end: start.saturating_add(size_ms) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(windows: impl Iterator<Item = TimeWindow>) -> Vec<(i64, i64)> {
        windows.map(|w| (w.start, w.end)).collect()
    }

    #[test]
    fn tumbling_windows_are_aligned_to_the_epoch_before_and_after_it() {
        let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
        let of = |timestamp| spans(windows.assign_windows(timestamp));
        assert_eq!([of(0), of(9), of(10), of(-1)].concat(), [(0, 10), (0, 10), (10, 20), (-10, 0)]);
        assert_eq!(spans(windows.with_offset(3).assign_windows(2)), [(-7, 3)]);
    }

    #[test]
    fn sliding_windows_overlap_and_may_leave_gaps() {
        let overlapping = SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(4));
        assert_eq!(spans(overlapping.assign_windows(9)), [(0, 10), (4, 14), (8, 18)]);
        assert_eq!(spans(overlapping.assign_windows(11)), [(4, 14), (8, 18)]);
        let gaps = SlidingEventTimeWindows::of(Duration::from_millis(2), Duration::from_millis(5));
        assert_eq!(spans(gaps.assign_windows(1)), [(0, 2)]);
        assert_eq!(spans(gaps.assign_windows(3)), []);
    }

    proptest! {
        /// The definition, tried on every start near the timestamp, also at the ends of time.
        #[test]
        fn windows_are_those_that_contain_the_timestamp(timestamp in any::<i64>(), size in 1..50i64, slide in 1..50i64, offset in -100..100i64) {
            let assigner = SlidingEventTimeWindows { size_ms: size, slide_ms: slide, offset_ms: offset };
            let expected: Vec<_> = (0..size).rev()
                .filter_map(|back| timestamp.checked_sub(back))
                .filter(|start| (i128::from(*start) - i128::from(offset)).rem_euclid(i128::from(slide)) == 0)
                .map(|start| (start, start.saturating_add(size)))
                .collect();
            if timestamp > i64::MIN + 200 {
                prop_assert_eq!(spans(assigner.assign_windows(timestamp)), expected);
            }
        }
    }
}
