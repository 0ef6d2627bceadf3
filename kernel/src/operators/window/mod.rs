//! Event-time windows on a keyed stream.
//!
//! Windows of one span live together, in [`panes`]. When the watermark passes a span's last millisecond all its keys fire, in the order in which
//! they came; when it passes that plus the allowed lateness the span is dropped as a whole. No timer a key is needed.
//!
//! A record is assigned to all its windows that are not over; it is *late*, and goes to the late output, when all are
//! (docs/src/semantics.md#l-2). A record for a window that has fired and is not over fires that window again for its key at once
//! (docs/src/semantics.md#l-3).
//!
//! [`assigner`] says which windows are a record's, [`aggregate`] what is kept of it.

mod aggregate;
mod assigner;
mod panes;

use super::keyed::KeyedOperator;
use super::side_output::{OutputTag, WithSides};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::checkpoint::{OperatorState, PartialSave};
use crate::exchange::{Arrival, Head};
use crate::graph::OperatorId;
use crate::record::{Key, Record};
use crate::runtime::{Counter, OperatorInfo, SubtaskContext};
use crate::time::{Control, NO_TIMESTAMP, TimeWindow, Watermark};
use panes::{Panes, RestoredPanes};
use std::marker::PhantomData;
use std::rc::Rc;
use thalweg_io::Io;

pub use aggregate::AggregateFunction;
pub(crate) use aggregate::ReduceWindow;
pub use assigner::{SlidingEventTimeWindows, TumblingEventTimeWindows, WindowAssigner};

/// What all kinds of windowed operators have in common.
pub struct WindowSettings<In: Record, K, KF, W> {
    pub(crate) key: KF,
    pub(crate) assigner: W,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) late: Option<OutputTag<In>>,
    pub(crate) key_type: PhantomData<fn() -> K>,
}

impl<In: Record, K, KF: Clone, W: Clone> Clone for WindowSettings<In, K, KF, W> {
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

/// The state that holds the accumulators of open windows, with the span of each as namespace.
pub(crate) const CONTENTS: &str = "window-contents";

/// Describes a windowed aggregate: `result` makes what is emitted from key, window and aggregate.
pub struct WindowOperator<In: Record, K, KF, W, A, RF> {
    pub(crate) settings: WindowSettings<In, K, KF, W>,
    pub(crate) aggregate: A,
    pub(crate) result: RF,
    pub(crate) id: OperatorId,
}

impl<In: Record, K, KF: Clone, W: Clone, A: Clone, RF: Clone> Clone for WindowOperator<In, K, KF, W, A, RF> {
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
        let watermark = cx.restored_watermark();
        let state = cx.state_of(self.id);
        let mut restored = RestoredPanes::new(watermark, state.owner_of(CONTENTS));
        state.restore::<K, A::Accumulator>(CONTENTS, |hash, saved| {
            let Some((start, end)) = saved.namespace else { return };
            restored.take(TimeWindow { start, end }, hash, saved.key, saved.value, saved.watermark);
        });
        state.all_claimed();
        let (panes, has_due) = restored.finish();
        Running {
            settings: self.settings,
            aggregate: self.aggregate,
            result: self.result,
            panes,
            state,
            saving: None,
            watermark,
            advancing: has_due.then_some(watermark),
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

/// A running windowed aggregate.
pub struct Running<In: Record, K, KF, W, A, Acc, RF, Out, D> {
    settings: WindowSettings<In, K, KF, W>,
    aggregate: A,
    result: RF,
    panes: Panes<K, Acc>,
    state: OperatorState,
    /// The next entry to be saved: pane, and position in it.
    saving: Option<PartialSave<(usize, usize)>>,
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
            let (window, pane) = self.panes.at(due);
            let (mut position, keys) = (pane.fired, pane.table.len());
            while position < keys && budget > 0 && self.down.ready() {
                self.emit(window, position);
                position += 1;
                budget -= 1;
            }
            let (_, pane) = self.panes.at(due);
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

    /// Saves the next slice of the open windows. Nothing changes before the barrier goes down.
    fn save(&mut self) -> Resumed {
        let Some(saving) = &mut self.saving else { return Resumed::Done };
        let (mut place, mut position) = saving.cursor;
        let mut budget = self.slice;
        while let Some((window, pane)) = self.panes.nth(place) {
            let end = pane.table.len().min(position + budget);
            let entry = |position| {
                let (key, accumulator) = pane.table.entry(position)?;
                Some((pane.table.hash(position)?, Some((window.start, window.end)), key, accumulator))
            };
            self.state.save::<K, A::Accumulator, _>(CONTENTS, (position..end).filter_map(entry));
            budget -= end - position;
            (place, position) = if end == pane.table.len() { (place + 1, 0) } else { (place, end) };
            if budget == 0 {
                saving.cursor = (place, position);
                return Resumed::Again;
            }
        }
        let checkpoint = saving.checkpoint;
        self.saving = None;
        self.down.control(Control::Barrier(checkpoint));
        Resumed::Done
    }

    #[cold]
    fn late(&mut self, timestamp: i64, record: impl Arrival<In>) {
        self.io.observe("window.late", &self.place, [timestamp, self.watermark.0, self.settings.allowed_lateness_ms]);
        let taken = self.settings.late.as_ref().is_some_and(|tag| self.down.sides.emit(tag, timestamp, record.into_owned()));
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
        if let Some(pane) = self.panes.last() {
            hashes.iter().for_each(|hash| pane.table.prefetch(*hash));
        }
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<In>) {
        let view = record.view();
        if timestamp == NO_TIMESTAMP {
            self.info.fail("a record has no timestamp: call assign_timestamps_and_watermarks before window");
            return;
        }
        let Self { settings, aggregate, panes, info, again, watermark, .. } = self;
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
            Control::Barrier(checkpoint) => {
                self.saving = Some(PartialSave::new(checkpoint));
                self.save();
            }
            control => self.down.control(control),
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.advancing.is_none() && self.saving.is_none() && self.again.is_empty() && !self.panes.is_freeing() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.saving.is_some() => self.save(),
            Resumed::Done => self.fire(),
            other => other,
        }
    }

    pass_on!(batch_end flush poll_progress processing_time finish);
}
