//! Event-time windows on a keyed stream.
//!
//! Windows of one span live together: a [`WindowTable`] a span, in order of time. When the watermark passes a span's last millisecond all its keys
//! fire, in the order in which they came; when it passes that plus the allowed lateness the table is dropped as a whole. No timer a key is needed.
//!
//! A record is assigned to all its windows that are not over; it is *late*, and goes to the late output, when all are
//! (docs/src/semantics.md#l-2). A record for a window that has fired and is not over fires that window again for its key at once
//! (docs/src/semantics.md#l-3).

use super::keyed::KeyedOperator;
use super::side_output::{OutputTag, WithSides};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::exchange::Head;
use crate::graph::OperatorId;
use crate::record::{Key, Record};
use crate::runtime::{Counter, OperatorInfo, SubtaskContext};
use crate::time::{Control, NO_TIMESTAMP, TimeWindow, Watermark};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::Io;
use thalweg_storage::WindowTable;

/// Folds records into an accumulator (Flink's `AggregateFunction`).
pub trait AggregateFunction<In: Record>: Clone + Send + 'static {
    /// What is kept for a key (and window).
    type Accumulator: Record;
    /// What it amounts to.
    type Output;

    /// An accumulator that has seen nothing.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Adds a record.
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Self::Accumulator);

    /// The result so far.
    fn get_result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

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

/// What all kinds of windowed operators have in common.
pub struct WindowSettings<In, K, KF, W> {
    pub(crate) key: KF,
    pub(crate) assigner: W,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) late: Option<OutputTag<In>>,
    pub(crate) key_type: PhantomData<fn() -> K>,
}

impl<In, K, KF: Clone, W: Clone> Clone for WindowSettings<In, K, KF, W> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            assigner: self.assigner.clone(),
            allowed_lateness_ms: self.allowed_lateness_ms,
            late: self.late.clone(),
            key_type: PhantomData,
        }
    }
}

/// Describes a windowed aggregate: `result` makes what is emitted from key, window and aggregate.
pub struct WindowOperator<In, K, KF, W, A, RF> {
    pub(crate) settings: WindowSettings<In, K, KF, W>,
    pub(crate) aggregate: A,
    pub(crate) result: RF,
    pub(crate) id: OperatorId,
}

impl<In, K, KF: Clone, W: Clone, A: Clone, RF: Clone> Clone for WindowOperator<In, K, KF, W, A, RF> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), aggregate: self.aggregate.clone(), result: self.result.clone(), id: self.id }
    }
}

impl<In, K, KF, W, A, RF, Out> KeyedOperator<In> for WindowOperator<In, K, KF, W, A, RF>
where
    In: Record,
    K: Key,
    Out: Record,
    W: WindowAssigner,
    A: AggregateFunction<In>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + Clone + Send + 'static,
{
    type Out = Out;
    type Running<D: Collector<Out>> = Running<In, K, KF, W, A, A::Accumulator, RF, Out, D>;

    fn start<D: Collector<Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D> {
        Running {
            settings: self.settings,
            aggregate: self.aggregate,
            result: self.result,
            panes: Panes::new(),
            watermark: Watermark::MIN,
            advancing: None,
            again: Vec::new(),
            slice: cx.settings().slice_timers,
            late_dropped: cx.counter(self.id, "numLateRecordsDropped"),
            late_output: cx.counter(self.id, "numLateRecords"),
            io: cx.io.clone(),
            place: cx.name.to_string(),
            info: cx.operator(self.id),
            out: PhantomData,
            down: WithSides::new(cx, self.id, down),
        }
    }
}

/// The contents of one span of time.
struct Pane<K, Acc> {
    table: WindowTable<K, Acc>,
    /// Keys that have fired; all of them once the span has.
    fired: usize,
    complete: bool,
}

/// The open spans of a subtask, by ascending time. Nearly every record belongs to the one that was asked for last; firing and cleaning up go
/// forward through time and look at no span twice.
struct Panes<K, Acc> {
    panes: VecDeque<(TimeWindow, Pane<K, Acc>)>,
    last: usize,
    /// All panes before this one are complete.
    first_incomplete: usize,
    /// What is over and still holds keys to be freed.
    retired: Vec<WindowTable<K, Acc>>,
}

impl<K, Acc> Panes<K, Acc> {
    fn new() -> Self {
        Self { panes: VecDeque::new(), last: 0, first_incomplete: 0, retired: Vec::new() }
    }

    /// The pane of `window`, made if there is none.
    #[inline]
    fn get_or_insert(&mut self, window: TimeWindow) -> &mut Pane<K, Acc> {
        if self.panes.get(self.last).is_none_or(|(last, _)| *last != window) {
            self.last = self.seek(window);
        }
        &mut self.panes[self.last].1
    }

    #[inline(never)]
    fn seek(&mut self, window: TimeWindow) -> usize {
        self.panes.binary_search_by_key(&window, |(window, _)| *window).unwrap_or_else(|place| {
            self.panes.insert(place, (window, Pane { table: WindowTable::default(), fired: 0, complete: false }));
            self.first_incomplete = self.first_incomplete.min(place);
            place
        })
    }

    fn get(&self, window: TimeWindow) -> Option<&Pane<K, Acc>> {
        let place = self.panes.binary_search_by_key(&window, |(window, _)| *window).ok()?;
        Some(&self.panes[place].1)
    }

    /// The earliest pane that ends at or before `watermark` and has not fired.
    fn first_due(&mut self, watermark: Watermark) -> Option<usize> {
        while self.panes.get(self.first_incomplete).is_some_and(|(_, pane)| pane.complete) {
            self.first_incomplete += 1;
        }
        let (window, _) = self.panes.get(self.first_incomplete)?;
        (window.max_timestamp() <= watermark.0).then_some(self.first_incomplete)
    }

    /// Retires the panes for which `is_over` holds; those are the first ones.
    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool) {
        while self.panes.front().is_some_and(|(window, _)| is_over(*window)) {
            let Some((_, pane)) = self.panes.pop_front() else { break };
            self.retired.push(pane.table);
            self.last = self.last.wrapping_sub(1);
            self.first_incomplete = self.first_incomplete.saturating_sub(1);
        }
    }

    /// Frees up to `keys` keys of retired panes. `true` when none are left.
    fn free(&mut self, keys: usize) -> bool {
        while let Some(table) = self.retired.last_mut() {
            if !table.free(keys) {
                return false;
            }
            self.retired.pop();
        }
        true
    }
}

/// A running windowed aggregate.
pub struct Running<In, K, KF, W, A, Acc, RF, Out, D> {
    settings: WindowSettings<In, K, KF, W>,
    aggregate: A,
    result: RF,
    panes: Panes<K, Acc>,
    watermark: Watermark,
    /// The watermark whose windows are being fired: it goes down the chain after the last of them.
    advancing: Option<Watermark>,
    /// Windows that fire again for a single key, and were not handed down yet for want of room: at most those of one record.
    again: Vec<(TimeWindow, usize)>,
    slice: usize,
    late_dropped: Counter,
    late_output: Counter,
    io: Io,
    place: String,
    info: Rc<OperatorInfo>,
    out: PhantomData<fn() -> Out>,
    down: WithSides<D>,
}

impl<In, K, KF, W, A, RF, Out, D> Running<In, K, KF, W, A, A::Accumulator, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    A: AggregateFunction<In>,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out,
    D: Collector<Out>,
{
    /// The watermark at which the window is over (docs/src/semantics.md#l-1).
    fn cleanup_time(allowed_lateness_ms: i64, window: TimeWindow) -> i64 {
        window.max_timestamp().saturating_add(allowed_lateness_ms)
    }

    /// Emits the result of the entry at `position` of `window`. Only while there is room.
    fn emit(&mut self, window: TimeWindow, position: usize) {
        let Self { panes, aggregate, result, info, down, .. } = self;
        if let Some((key, accumulator)) = panes.get(window).and_then(|pane| pane.table.entry(position)) {
            let view = key.view();
            let out = info.call((view, window), || result(view, window, aggregate.get_result(accumulator)));
            down.push(window.max_timestamp(), out);
        }
    }

    /// Fires what is due until there is nothing, the output is full, or a slice is over (docs/src/semantics.md#win-2, #w-6).
    fn fire(&mut self) -> Resumed {
        let mut budget = self.slice;
        while let Some((window, position)) = self.again.pop() {
            if !self.down.ready() {
                self.again.push((window, position));
                return Resumed::Again;
            }
            self.emit(window, position);
        }
        let Some(watermark) = self.advancing else {
            return if self.panes.free(self.slice) { Resumed::Done } else { Resumed::Again };
        };
        while let Some(due) = self.panes.first_due(watermark) {
            let (window, pane) = &self.panes.panes[due];
            let (window, mut position, keys) = (*window, pane.fired, pane.table.len());
            while position < keys && budget > 0 && self.down.ready() {
                self.emit(window, position);
                position += 1;
                budget -= 1;
            }
            let pane = &mut self.panes.panes[due].1;
            pane.fired = position;
            pane.complete = position == keys;
            if pane.complete {
                self.io.observe("window.fire", &self.place, [window.end, watermark.0, keys as i64]);
            }
            if position < keys {
                return Resumed::Again;
            }
        }
        if !self.down.ready() {
            return Resumed::Again;
        }
        let allowed = self.settings.allowed_lateness_ms;
        self.panes.retire(|window| Self::cleanup_time(allowed, window) <= watermark.0);
        self.advancing = None;
        self.down.control(Control::Watermark(watermark));
        if self.panes.free(self.slice) && self.down.ready() { Resumed::Done } else { Resumed::Again }
    }

    #[cold]
    fn late(&mut self, timestamp: i64, record: In) {
        self.io.observe("window.late", &self.place, [timestamp, self.watermark.0, self.settings.allowed_lateness_ms]);
        let taken = self.settings.late.as_ref().is_some_and(|tag| self.down.sides.emit(tag, timestamp, record));
        if taken { self.late_output.add(1) } else { self.late_dropped.add(1) }
    }
}

impl<In, K, KF, W, A, RF, Out, D> Head<In> for Running<In, K, KF, W, A, A::Accumulator, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    W: WindowAssigner,
    A: AggregateFunction<In>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + 'static,
    D: Collector<Out>,
{
    fn prefetch(&mut self, hashes: &[u64]) {
        if let Some((_, pane)) = self.panes.panes.get(self.panes.last) {
            hashes.iter().for_each(|hash| pane.table.prefetch(*hash));
        }
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: In) {
        if timestamp == NO_TIMESTAMP {
            self.info.fail("a record has no timestamp: call assign_timestamps_and_watermarks before window");
            return;
        }
        let Self { settings, aggregate, panes, info, again, watermark, .. } = self;
        let view = record.view();
        let mut assigned = false;
        let mut gap = true;
        info.call(view, || {
            let key = (settings.key)(&view);
            for window in settings.assigner.assign_windows(timestamp) {
                gap = false;
                // docs/src/semantics.md#l-2
                if Self::cleanup_time(settings.allowed_lateness_ms, window) <= watermark.0 {
                    continue;
                }
                assigned = true;
                let pane = panes.get_or_insert(window);
                let make = || (K::from_view(key), aggregate.create_accumulator());
                let position = pane.table.find_or_insert_with(hash, |stored| stored.matches(key), make);
                aggregate.add(view, pane.table.value_mut(position));
                // docs/src/semantics.md#l-3
                if window.max_timestamp() <= watermark.0 {
                    pane.complete = true;
                    again.push((window, position));
                }
            }
        });
        if !assigned && !gap {
            self.late(timestamp, record);
        } else if !self.again.is_empty() {
            self.again.reverse();
            self.fire();
        }
    }
}

impl<In, K, KF, W, A, RF, Out, D> Stage for Running<In, K, KF, W, A, A::Accumulator, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    W: 'static,
    A: AggregateFunction<In>,
    KF: 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + 'static,
    D: Collector<Out>,
{
    fn control(&mut self, control: Control) {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = watermark;
                self.advancing = Some(watermark);
                self.fire();
            }
            control => self.down.control(control),
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.advancing.is_none() && self.again.is_empty() && self.panes.retired.is_empty() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done => self.fire(),
            other => other,
        }
    }

    pass_on!(batch_end flush poll_progress processing_time finish);
}

/// A reduce as an aggregate: the accumulator is the reduced record, absent before the first.
#[derive(Clone)]
pub struct ReduceWindow<F> {
    pub(crate) function: F,
}

impl<In, F> AggregateFunction<In> for ReduceWindow<F>
where
    In: Record,
    F: for<'a, 'b> Fn(In::Ref<'a>, In::Ref<'b>) -> In + Clone + Send + 'static,
{
    type Accumulator = Option<In>;
    type Output = In;

    fn create_accumulator(&self) -> Option<In> {
        None
    }

    #[inline]
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Option<In>) {
        *accumulator = Some(match accumulator {
            Some(before) => (self.function)(before.view(), value),
            None => In::from_view(value),
        });
    }

    fn get_result(&self, accumulator: &Option<In>) -> In {
        accumulator.clone().expect("invariant: an accumulator is made for its first record")
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
