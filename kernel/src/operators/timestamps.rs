//! `assign_timestamps_and_watermarks`: assigns event times to records and watermarks to the stream.
//!
//! In the chain of a source there is one generator per split; elsewhere there is one per subtask. Upstream watermarks are swallowed, except the last one
//! (docs/src/semantics.md#w-1, #w-2). The state of a split's generator is part of every checkpoint, so that a restored split continues at the time it had
//! reached (docs/src/semantics.md#c-5).

use super::Operator;
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::checkpoint::{OperatorState, WantedStates};
use crate::graph_ids::OperatorId;
use crate::metrics::Gauge;
use crate::record::Record;
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::{Control, Watermark};
use crate::watermark::{TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// Describes the assignment.
pub struct AssignTimestamps<T, G, A> {
    pub(crate) strategy: WatermarkStrategy<T, G, A>,
    pub(crate) id: OperatorId,
}

impl<T, G: Clone, A: Clone> Clone for AssignTimestamps<T, G, A> {
    fn clone(&self) -> Self {
        Self { strategy: self.strategy.clone(), id: self.id }
    }
}

/// The states that the assignment keeps.
pub(crate) fn timestamp_states() -> WantedStates {
    Arc::new(|state| {
        [WAITING, GENERATORS, WHOLE].iter().for_each(|name| drop(state.restore_splits(name)));
        state.into_claimed()
    })
}

impl<T: Record, G: WatermarkGenerator<T>, A: TimestampAssigner<T>> Operator<T> for AssignTimestamps<T, G, A> {
    type Out = T;
    type Running<D: Collector<T>> = RunningTimestamps<T, G, A, D>;

    fn start<D: Collector<T>>(self, cx: &mut SubtaskContext, down: D) -> RunningTimestamps<T, G, A, D> {
        let WatermarkStrategy { generator, assigner, idleness, .. } = self.strategy;
        let prototype = generator.clone();
        let state = cx.state_of(self.id);
        let mut restored = state.restore_splits(WAITING);
        // Generators of splits that were in work have come further than waiting ones.
        restored.extend(state.restore_splits(GENERATORS));
        let (subtask, is_source) = (u32::try_from(cx.subtask()).unwrap_or(u32::MAX), cx.is_source());
        // Records that come to this subtask now may have gone to any other before, since splits change their readers: all begin with the generator that was
        // furthest behind. Operators downstream have been told its watermark, and no higher one (docs/src/semantics.md#c-5).
        let saved = state.restore_splits(WHOLE);
        let saved = saved.values().filter_map(|saved| saved.split_first_chunk());
        let least =
            saved.map(|(watermark, saved)| (Watermark(i64::from_le_bytes(*watermark)), saved)).min_by_key(|(watermark, _)| *watermark);
        state.all_claimed();
        let mut generator = generator;
        let mut forwarded = Watermark::MIN;
        if let Some((watermark, saved)) = least {
            forwarded = watermark;
            generator.restore(saved);
        }
        RunningTimestamps {
            state,
            restored,
            subtask,
            is_source,
            prototype,
            splits: vec![],
            whole: generator,
            assigner,
            forwarded,
            pending: false,
            idleness: idleness.map(|timeout| Idleness {
                timeout,
                // A reader that waits for its first split is not idle: that split will have records of earlier times.
                since: (!cx.is_source()).then(|| cx.clock.now().monotonic),
                idle: false,
                seen: false,
            }),
            info: cx.operator(self.id),
            watermark_out: cx.gauge(self.id, "currentOutputWatermark"),
            io: cx.io.clone(),
            place: cx.name.to_string(),
            record: std::marker::PhantomData,
            down,
        }
    }
}

/// The state of the generators, by split: the watermark (i64, little endian) and what the generator saves of itself.
const GENERATORS: &str = "generators";

/// The same of restored splits that have not begun again.
const WAITING: &str = "generators-waiting";

/// The same behind an exchange, by subtask, since there are no splits.
const WHOLE: &str = "generator";

/// The generator of a split that is being read, and its watermark.
struct Split<G> {
    number: u32,
    generator: G,
    watermark: Watermark,
}

struct Idleness {
    timeout: Duration,
    /// Since when no record has come; `None` before there is anything to read.
    since: Option<MonotonicNs>,
    idle: bool,
    /// Whether a record has come since the last look at the clock.
    seen: bool,
}

/// A running assignment.
pub struct RunningTimestamps<T, G, A, D> {
    prototype: G,
    /// Splits being read, the current one last.
    splits: Vec<Split<G>>,
    /// Used where there are no splits: behind an exchange.
    whole: G,
    assigner: A,
    forwarded: Watermark,
    /// `forwarded` has not been handed down yet, for want of room.
    pending: bool,
    idleness: Option<Idleness>,
    info: Rc<OperatorInfo>,
    watermark_out: Gauge,
    io: Io,
    place: String,
    record: std::marker::PhantomData<fn(T)>,
    state: OperatorState,
    /// The generators that the restored checkpoint holds of splits that have not begun again.
    restored: BTreeMap<u32, Vec<u8>>,
    subtask: u32,
    is_source: bool,
    down: D,
}

impl<T: Record, G: WatermarkGenerator<T>, A: TimestampAssigner<T>, D: Collector<T>> RunningTimestamps<T, G, A, D> {
    /// The generator of a split that begins or, restored, continues.
    fn split(&mut self, number: u32) -> Split<G> {
        let mut split = Split { number, generator: self.prototype.clone(), watermark: Watermark::MIN };
        let saved = self.restored.remove(&number);
        if let Some((watermark, generator)) = saved.as_deref().and_then(<[u8]>::split_first_chunk) {
            split.watermark = Watermark(i64::from_le_bytes(*watermark));
            split.generator.restore(generator);
        }
        split
    }

    fn save_generators(&self) {
        let form = |watermark: Watermark, generator: &G| [&watermark.0.to_le_bytes()[..], &generator.snapshot()].concat();
        for split in &self.splits {
            self.state.save_split(GENERATORS, split.number, &form(split.watermark, &split.generator));
        }
        // Every subtask knows all splits that were in work; one subtask saves those that no reader has continued yet.
        if self.subtask == 0 {
            for (number, saved) in &self.restored {
                self.state.save_split(WAITING, *number, saved);
            }
        }
        if !self.is_source {
            self.state.save_split(WHOLE, self.subtask, &form(self.forwarded, &self.whole));
        }
    }

    /// Gives the record its event time and passes it to the generator. Returns the time, and a watermark if the generator emitted one.
    #[inline]
    fn stamp(&mut self, previous: i64, view: T::Ref<'_>) -> (i64, Option<Watermark>) {
        let generator = self.splits.last_mut().map_or(&mut self.whole, |split| &mut split.generator);
        let assigner = &mut self.assigner;
        let mut output = WatermarkOutput { emitted: None };
        let timestamp = self.info.call(view, || {
            // The two ends of the range have another meaning (docs/src/semantics.md#t-1).
            let timestamp = assigner.timestamp(view, previous).clamp(i64::MIN + 1, i64::MAX - 1);
            generator.on_event(view, timestamp, &mut output);
            timestamp
        });
        (timestamp, output.emitted)
    }

    /// Takes a watermark of the current split into account.
    #[cold]
    fn advance(&mut self, watermark: Watermark) {
        let merged = match self.splits.last_mut() {
            Some(split) => {
                split.watermark = split.watermark.max(watermark);
                self.splits.iter().map(|split| split.watermark).min().unwrap_or(Watermark::MIN)
            }
            None => watermark,
        };
        // `MAX` means the end of input, which no generator can foresee (docs/src/semantics.md#e-1).
        let merged = merged.min(Watermark(i64::MAX - 1));
        if merged > self.forwarded {
            self.forwarded = merged;
            self.pending = true;
            self.forward();
        }
    }

    /// Hands the watermark down if there is room; otherwise it waits.
    fn forward(&mut self) {
        if self.pending && self.down.ready() {
            self.pending = false;
            self.watermark_out.set(self.forwarded.0);
            self.io.observe("watermark.out", &self.place, [self.forwarded.0, 0, 0]);
            self.down.control(Control::Watermark(self.forwarded));
        }
    }

    #[inline]
    fn saw_record(&mut self) {
        if let Some(idleness) = &mut self.idleness {
            idleness.seen = true;
            if idleness.idle {
                idleness.idle = false;
                self.down.control(Control::Active);
            }
        }
    }
}

impl<T: Record, G: WatermarkGenerator<T>, A: TimestampAssigner<T>, D: Collector<T>> Collector<T> for RunningTimestamps<T, G, A, D> {
    #[inline]
    fn push(&mut self, previous: i64, record: T) {
        self.saw_record();
        let (timestamp, emitted) = self.stamp(previous, record.view());
        self.down.push(timestamp, record);
        if let Some(watermark) = emitted {
            self.advance(watermark);
        }
    }

    #[inline]
    fn push_view(&mut self, previous: i64, view: T::Ref<'_>) {
        self.saw_record();
        let (timestamp, emitted) = self.stamp(previous, view);
        self.down.push_view(timestamp, view);
        if let Some(watermark) = emitted {
            self.advance(watermark);
        }
    }
}

impl<T: Record, G: WatermarkGenerator<T>, A: TimestampAssigner<T>, D: Collector<T>> Stage for RunningTimestamps<T, G, A, D> {
    fn control(&mut self, control: Control) {
        match control {
            Control::SplitStarted(number) => {
                let split = self.split(number);
                self.splits.push(split);
                if let Some(idleness) = &mut self.idleness {
                    idleness.seen = true;
                }
            }
            Control::SplitFinished(number) => self.splits.retain(|split| split.number != number),
            // Watermarks come from here, not from upstream; upstream tells only the end of input.
            Control::Watermark(watermark) if watermark < Watermark::MAX => return,
            Control::Idle | Control::Active => return,
            Control::Watermark(_) => {
                self.forwarded = Watermark::MAX;
                self.pending = false;
                self.watermark_out.set(Watermark::MAX.0);
            }
            Control::Barrier(_) => self.save_generators(),
            Control::EndOfInput => {}
        }
        self.down.control(control);
    }

    #[inline]
    fn ready(&self) -> bool {
        !self.pending && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done => {
                self.forward();
                if self.ready() { Resumed::Done } else { Resumed::Again }
            }
            other => other,
        }
    }

    fn batch_end(&mut self) {
        // docs/src/semantics.md#w-5: an idle stream is silent until its next record.
        if self.idleness.as_ref().is_some_and(|idleness| idleness.idle) {
            self.down.batch_end();
            return;
        }
        let mut output = WatermarkOutput { emitted: None };
        let generator = self.splits.last_mut().map_or(&mut self.whole, |split| &mut split.generator);
        self.info.call("(periodic watermark)", || generator.on_periodic_emit(&mut output));
        if let Some(watermark) = output.emitted {
            self.advance(watermark);
        }
        self.down.batch_end();
    }

    fn advance_processing_time(&mut self, now: Now) {
        if let Some(idleness) = &mut self.idleness {
            if std::mem::take(&mut idleness.seen) {
                idleness.since = Some(now.monotonic);
            } else if !idleness.idle && idleness.since.is_some_and(|since| now.monotonic.since(since) >= idleness.timeout) {
                idleness.idle = true;
                self.down.control(Control::Idle);
            }
        }
        self.down.advance_processing_time(now);
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        let idle_at = self.idleness.as_ref().filter(|idleness| !idleness.idle).and_then(|idleness| {
            let since = if idleness.seen { Some(now.monotonic) } else { idleness.since };
            since.map(|since| since.after(idleness.timeout))
        });
        idle_at.into_iter().chain(self.down.next_deadline(now)).min()
    }

    pass_on!(flush poll_progress save finish);
}
