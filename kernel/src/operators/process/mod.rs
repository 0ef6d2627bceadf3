//! `process` on a keyed stream: a user's function with state, timers and side outputs.
//!
//! The operator calls the function for one record or one timer at a time, and for the next only when all that the last call emitted has gone
//! down the chain. A watermark goes down after the last timer that is due at it (docs/src/semantics.md#w-6).
//!
//! [`state`] is what the function keeps for a key, [`timers`] what it is woken by, [`context`] through what it reaches both.

mod context;
mod state;
mod timers;

use super::keyed::KeyedOperator;
use super::side_output::WithSides;
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::checkpoint::CheckpointId;
use crate::exchange::{Arrival, Head};
use crate::graph::OperatorId;
use crate::record::{Key, Record};
use crate::runtime::{Now, OperatorInfo, SubtaskContext, TaskClock};
use crate::time::{Control, Watermark};
use std::rc::Rc;
use thalweg_io::MonotonicNs;

pub use context::{Context, OpenContext, Output};
use state::States;
pub use state::{ListAccess, ListState, MapAccess, MapState, ValueAccess, ValueState};
use timers::Timers;
pub use timers::{Timer, TimerDomain};

/// A function on the records of one key at a time, with state and timers of that key (Flink's `KeyedProcessFunction`).
///
/// Each subtask works on a clone. State and timers survive between calls; fields of the function do not belong to a key.
///
/// ```
/// use thalweg::{Context, KeyedProcessFunction, OpenContext, Output, Timer, ValueState};
///
/// /// Emits how often a word was seen, ten seconds after it was seen first.
/// #[derive(Clone, Default)]
/// struct CountThenReport { count: ValueState<u64> }
///
/// impl KeyedProcessFunction for CountThenReport {
///     type Key = String;
///     type In = String;
///     type Out = (String, u64);
///
///     fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
///         self.count = ctx.value_state("count");
///     }
///
///     fn process_element(&mut self, _word: &str, ctx: &mut Context<'_, String>, _out: &mut Output<(String, u64)>) {
///         let first = ctx.value(self.count).get().is_none();
///         *ctx.value(self.count).get_or_insert_with(|| 0) += 1;
///         if first && let Some(timestamp) = ctx.timestamp() {
///             ctx.register_event_time_timer(timestamp + 10_000);
///         }
///     }
///
///     fn on_timer(&mut self, _timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<(String, u64)>) {
///         let count = ctx.value(self.count).take().unwrap_or(0);
///         out.collect((ctx.key().to_owned(), count));
///     }
/// }
/// ```
pub trait KeyedProcessFunction: Clone + Send + 'static {
    /// The type of the key.
    type Key: Key;
    /// What comes in.
    type In: Record;
    /// What goes out.
    type Out: Record;

    /// Called once a subtask, before anything else: the place to register state.
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record.
    fn process_element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every timer that comes due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// Describes a keyed process.
#[derive(Clone)]
pub struct Process<KF, P> {
    pub(crate) key: KF,
    pub(crate) function: P,
    pub(crate) id: OperatorId,
}

impl<KF, P> KeyedOperator<P::In> for Process<KF, P>
where
    P: KeyedProcessFunction,
    KF: for<'a> FnMut(&'a <P::In as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + Clone + Send + 'static,
{
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = Running<KF, P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> Running<KF, P, D> {
        let mut function = self.function;
        let mut states = States::new(cx.state_of(self.id));
        let info = cx.operator(self.id);
        let mut open = OpenContext { states: &mut states, subtask: cx.subtask(), parallelism: cx.name.parallelism };
        info.call("(open)", || function.open(&mut open));
        let mut timers = Timers::new();
        timers.restore(&states.saved);
        states.saved.all_claimed();
        Running {
            key: self.key,
            function,
            states,
            timers,
            watermark: cx.restored_watermark(),
            saving: None,
            advancing: None,
            processing_time: None,
            output: Output::new(),
            slice: cx.settings().slice_timers,
            clock: cx.clock.clone(),
            info,
            down: WithSides::new(cx, self.id, down),
        }
    }
}

/// How far a snapshot has come.
struct Saving<K> {
    checkpoint: CheckpointId,
    /// The state that is being saved, and its next part.
    state: usize,
    part: usize,
    /// The timers that are being saved once the states are, and the last one saved.
    domain: TimerDomain,
    timer: Option<(i64, K)>,
}

/// A running keyed process.
pub struct Running<KF, P: KeyedProcessFunction, D> {
    key: KF,
    function: P,
    states: States<P::Key>,
    timers: Timers<P::Key>,
    watermark: Watermark,
    /// The watermark whose timers are being fired: it goes down the chain after the last of them.
    advancing: Option<Watermark>,
    /// The wall-clock time up to which processing-time timers are being fired.
    processing_time: Option<i64>,
    saving: Option<Saving<P::Key>>,
    /// With what the last call emitted and the output had no room for.
    output: Output<P::Out>,
    slice: usize,
    clock: TaskClock,
    info: Rc<OperatorInfo>,
    down: WithSides<D>,
}

impl<KF, P: KeyedProcessFunction, D: Collector<P::Out>> Running<KF, P, D> {
    /// Hands down what the last call emitted. `false` if there is no room for all of it.
    #[inline]
    fn hand_down(&mut self) -> bool {
        while !self.output.records.is_empty() {
            if !self.down.ready() {
                return false;
            }
            if let Some((timestamp, record)) = self.output.records.pop_front() {
                self.down.push(timestamp, record);
            }
        }
        true
    }

    fn fire(&mut self, timestamp: i64, key: &P::Key, domain: TimerDomain) {
        let timer = Timer { timestamp, domain };
        let Self { function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let view = key.view();
        let (watermark, wall) = (self.watermark, self.clock.now().wall.0);
        let processing_time = match domain {
            TimerDomain::EventTime => wall,
            // The clock may have been set back while the timer, which was due, waited for room (docs/src/semantics.md#p-2).
            TimerDomain::ProcessingTime => wall.max(timestamp),
        };
        info.call((timer, view), || {
            let hash = P::Key::hash(view);
            let mut cx = Context { key: view, hash, timestamp, watermark, processing_time, states, timers, sides: &mut down.sides };
            function.on_timer(timer, &mut cx, output);
        });
    }

    /// Fires due timers until there are none, the output is full, or a slice is over (docs/src/semantics.md#p-3, #w-6).
    fn fire_due(&mut self) -> Resumed {
        for _ in 0..self.slice {
            if !self.hand_down() || !self.down.ready() {
                return Resumed::Again;
            }
            if let Some(watermark) = self.advancing {
                match self.timers.event_time.pop_due(watermark.0) {
                    Some((timestamp, key)) => self.fire(timestamp, &key, TimerDomain::EventTime),
                    None => {
                        self.advancing = None;
                        self.down.control(Control::Watermark(watermark));
                    }
                }
            } else if let Some(now) = self.processing_time {
                match self.timers.processing_time.pop_due(now) {
                    Some((timestamp, key)) => self.fire(timestamp, &key, TimerDomain::ProcessingTime),
                    None => self.processing_time = None,
                }
            } else if self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0) {
                // Set for a time that event time has passed already (docs/src/semantics.md#p-1).
                if let Some((timestamp, key)) = self.timers.event_time.pop_due(self.watermark.0) {
                    self.fire(timestamp, &key, TimerDomain::EventTime);
                }
            } else {
                return Resumed::Done;
            }
        }
        Resumed::Again
    }

    /// Saves the next slice: the states in the order of their registration, then the timers. Nothing changes before the barrier goes down.
    fn save(&mut self) -> Resumed {
        let Some(saving) = &mut self.saving else { return Resumed::Done };
        if let Some(is_saved) = self.states.save(saving.state, &mut saving.part, self.slice) {
            if is_saved {
                (saving.state, saving.part) = (saving.state + 1, 0);
            }
            return Resumed::Again;
        }
        saving.timer = self.timers.save(saving.domain, saving.timer.take(), &self.states.saved, self.slice);
        if saving.timer.is_some() {
            return Resumed::Again;
        }
        if saving.domain == TimerDomain::EventTime {
            saving.domain = TimerDomain::ProcessingTime;
            return Resumed::Again;
        }
        let checkpoint = saving.checkpoint;
        self.saving = None;
        self.down.control(Control::Barrier(checkpoint));
        Resumed::Done
    }

    fn is_suspended(&self) -> bool {
        self.saving.is_some()
            || !self.output.records.is_empty()
            || self.advancing.is_some()
            || self.processing_time.is_some()
            || self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0)
    }
}

impl<KF, P, D> Head<P::In> for Running<KF, P, D>
where
    P: KeyedProcessFunction,
    KF: for<'a> FnMut(&'a <P::In as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + 'static,
    D: Collector<P::Out>,
{
    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<P::In>) {
        let view = record.view();
        let Self { key, function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let (watermark, processing_time) = (self.watermark, self.clock.now().wall.0);
        info.call(view, || {
            let mut cx = Context { key: key(&view), hash, timestamp, watermark, processing_time, states, timers, sides: &mut down.sides };
            function.process_element(view, &mut cx, output);
        });
        self.hand_down();
    }
}

impl<KF: 'static, P: KeyedProcessFunction, D: Collector<P::Out>> Stage for Running<KF, P, D> {
    fn control(&mut self, control: Control) {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = watermark;
                self.advancing = Some(watermark);
                self.fire_due();
            }
            Control::Barrier(checkpoint) => {
                self.saving = Some(Saving { checkpoint, state: 0, part: 0, domain: TimerDomain::EventTime, timer: None });
                self.save();
            }
            control => self.down.control(control),
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        !self.is_suspended() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.saving.is_some() => self.save(),
            Resumed::Done => self.fire_due(),
            other => other,
        }
    }

    fn advance_processing_time(&mut self, now: Now) {
        // docs/src/semantics.md#p-2: after the last watermark only the end of input follows.
        let ended = self.watermark == Watermark::MAX;
        if !ended && self.timers.processing_time.next_time().is_some_and(|time| time <= now.wall.0) {
            self.processing_time = Some(now.wall.0);
            self.fire_due();
        }
        if self.down.ready() {
            self.down.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        let pending = self.timers.processing_time.next_time().filter(|_| self.watermark < Watermark::MAX);
        let timer = pending.map(|time| now.deadline_of(thalweg_io::UnixMillis(time)));
        timer.into_iter().chain(self.down.next_deadline(now)).min()
    }

    pass_on!(batch_end flush poll_progress finish);
}
