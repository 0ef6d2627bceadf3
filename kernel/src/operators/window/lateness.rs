//! When a window is over, and which records are late (docs/src/semantics.md#l-1, #l-2).
//!
//! [`AllowedLateness`] and [`Admission`] are pure: a watermark reaches them as an argument. [`LateRecords`] is where late records go. Nothing here knows how
//! windows are stored or when they fire.

use crate::graph_ids::OperatorId;
use crate::metrics::Counter;
use crate::operators::output_tag::OutputTag;
use crate::operators::side_output::SideOutputs;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::time::{TimeWindow, Watermark};

/// How long windows are kept after their last millisecond.
#[derive(Clone, Copy)]
pub(super) struct AllowedLateness {
    pub(super) ms: i64,
}

impl AllowedLateness {
    /// Whether `window` is over (docs/src/semantics.md#l-1).
    #[inline]
    pub(super) fn is_over(self, window: TimeWindow, watermark: Watermark) -> bool {
        window.max_timestamp().saturating_add(self.ms) <= watermark.0
    }
}

/// The admission of one record to its windows (docs/src/semantics.md#l-2).
pub(super) struct Admission {
    allowed: AllowedLateness,
    watermark: Watermark,
    has_windows: bool,
    is_admitted: bool,
}

impl Admission {
    /// The admission of a record that arrives at `watermark`.
    #[inline]
    pub(super) fn new(allowed: AllowedLateness, watermark: Watermark) -> Self {
        Self { allowed, watermark, has_windows: false, is_admitted: false }
    }

    /// Whether the record is added to `window`, one of its own.
    #[inline]
    pub(super) fn admit(&mut self, window: TimeWindow) -> bool {
        let is_open = !self.allowed.is_over(window, self.watermark);
        self.has_windows = true;
        self.is_admitted |= is_open;
        is_open
    }

    /// Whether the record is late: it has windows, and all of them are over.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        self.has_windows && !self.is_admitted
    }
}

/// Where late records go: to the late output if there is one; they are counted either way.
pub(super) struct LateRecords<In: Record> {
    tag: Option<OutputTag<In>>,
    dropped: Counter,
    emitted: Counter,
}

impl<In: Record> LateRecords<In> {
    pub(super) fn new(cx: &SubtaskContext, operator: OperatorId, tag: Option<OutputTag<In>>) -> Self {
        Self { tag, dropped: cx.counter(operator, "numLateRecordsDropped"), emitted: cx.counter(operator, "numLateRecords") }
    }

    pub(super) fn take(&self, sides: &mut SideOutputs, timestamp: i64, record: impl FnOnce() -> In) {
        let is_emitted = self.tag.as_ref().is_some_and(|tag| sides.emit(tag, timestamp, record()));
        if is_emitted { self.emitted.add(1) } else { self.dropped.add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: TimeWindow = TimeWindow { start: 0, end: 10 };
    const SECOND: TimeWindow = TimeWindow { start: 5, end: 15 };

    /// Which of its windows a record is added to at `watermark` with 3 ms of allowed lateness, and whether it is late.
    fn admitted(watermark: i64, windows: &[TimeWindow]) -> (Vec<TimeWindow>, bool) {
        let mut admission = Admission::new(AllowedLateness { ms: 3 }, Watermark(watermark));
        let admitted = windows.iter().copied().filter(|window| admission.admit(*window)).collect();
        (admitted, admission.is_late())
    }

    #[test]
    fn a_record_is_late_when_all_of_its_windows_are_over() {
        let both = [FIRST, SECOND];
        assert_eq!(admitted(11, &both), (both.to_vec(), false));
        assert_eq!(admitted(12, &both), (vec![SECOND], false));
        assert_eq!(admitted(16, &both), (vec![SECOND], false));
        assert_eq!(admitted(17, &both), (vec![], true));
    }

    #[test]
    fn a_record_without_windows_is_not_late() {
        assert_eq!(admitted(i64::MAX, &[]), (vec![], false));
    }

    #[test]
    fn a_lateness_without_end_keeps_windows_until_the_last_watermark() {
        let forever = AllowedLateness { ms: i64::MAX };
        assert!(!forever.is_over(FIRST, Watermark(i64::MAX - 1)));
        assert!(forever.is_over(FIRST, Watermark::MAX));
    }
}
