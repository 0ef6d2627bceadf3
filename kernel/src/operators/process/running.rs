//! Calls a keyed function for its records and timers, whichever inputs the records come from.
//!
//! The function is called for one record or one timer at a time, and for the next only when all that the last call emitted has gone down the chain. A
//! watermark goes down after the last timer that is due at it (docs/src/semantics.md#w-6), a barrier when states and timers are sealed.

use super::context::{Context, OpenContext, Output};
use super::state::States;
use super::timers::{Timer, TimerDomain, Timers};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::checkpoint::{CheckpointId, OperatorState, WantedState, WantedStates};
use crate::exchange::Arrival;
use crate::graph_ids::OperatorId;
use crate::metrics::Samples;
use crate::operators::custom::{Hook, OperatorContext, Site};
use crate::operators::side_output::WithSides;
use crate::record::{Key, Record};
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::{Control, NO_TIMESTAMP, Watermark};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use thalweg_io::MonotonicNs;

/// The calls of a function other than those for its records.
pub trait KeyedFunction: 'static {
    type Key: Key;
    type Out: Record;

    /// Whether it has calls for in-band elements, and may suspend itself. If `false`, these cost nothing.
    const HAS_HOOKS: bool = false;

    fn open(&mut self, ctx: &mut OpenContext<'_, Self::Key>);

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Makes the call `hook`.
    fn call(&mut self, _hook: Hook, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}
}

/// A function on the records of the input `INPUT`.
pub trait Takes<const INPUT: usize = 0>: KeyedFunction {
    type In: Record;

    fn element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);
}

/// Timers whose state is prefetched together: the cache misses of this many lookups overlap.
const PREFETCH_TIMERS: usize = 32;

/// The state of the next key has to come first.
struct AwaitsState;

/// The states that `function` registers: a clone of it is opened, and not run.
pub(crate) fn wanted_states<F: KeyedFunction + Clone + Send>(function: F) -> WantedStates {
    let function = Mutex::new(function);
    Arc::new(move |state| states_of(function.lock().unwrap_or_else(PoisonError::into_inner).clone(), state))
}

fn states_of<F: KeyedFunction>(mut function: F, state: OperatorState) -> Vec<WantedState> {
    let mut states = States::new(state);
    function.open(&mut OpenContext { states: &mut states, subtask: 0, parallelism: 1 });
    Timers::<F::Key>::restored(&states.saved);
    states.saved.into_claimed()
}

/// A running function on keyed records.
pub struct RunningKeyed<F: KeyedFunction, D> {
    function: F,
    states: States<F::Key>,
    timers: Timers<F::Key>,
    watermark: Watermark,
    /// The watermark whose timers are being fired: it goes down the chain after the last of them.
    advancing: Option<Watermark>,
    /// The wall-clock time up to which processing-time timers are being fired.
    processing_time: Option<i64>,
    /// The barrier that has come and goes down when the function has been told.
    barrier: Option<CheckpointId>,
    /// The function has more to emit.
    has_more: bool,
    /// The call that is due next.
    hook: Option<Hook>,
    /// The element that goes down the chain after that call.
    passing: Option<Control>,
    /// A batch has ended, and the function has not been told.
    owes_batch_end: bool,
    /// While timers are fired: the timers up to this one have their state at hand. A timer that is set meanwhile and comes before it belongs to the key
    /// that was just called.
    at_hand: Option<(i64, F::Key)>,
    /// The hashes of the records or timers ahead, kept to reuse the memory.
    ahead: Vec<u64>,
    /// Holds the records of the last call that found no room.
    output: Output<F::Out>,
    slice: usize,
    site: Site,
    info: Rc<OperatorInfo>,
    down: WithSides<D>,
}

impl<F: KeyedFunction, D: Collector<F::Out>> RunningKeyed<F, D> {
    /// Opens `function`, with the state that the restored checkpoint holds for the operator `id`.
    pub(in crate::operators) fn start(mut function: F, cx: &mut SubtaskContext, id: OperatorId, down: D) -> Self {
        let mut states = States::new(cx.state_of(id));
        let info = cx.operator(id);
        let mut open = OpenContext { states: &mut states, subtask: cx.subtask(), parallelism: cx.name.parallelism };
        info.call("(open)", || function.open(&mut open));
        let timers = Timers::restored(&states.saved);
        states.saved.all_claimed();
        Self {
            function,
            states,
            timers,
            watermark: cx.restored_watermark(),
            barrier: None,
            has_more: false,
            hook: None,
            passing: None,
            owes_batch_end: false,
            advancing: None,
            processing_time: None,
            at_hand: None,
            ahead: Vec::new(),
            output: Output::new(),
            slice: cx.settings().slice_timers,
            site: Site::of(cx),
            info,
            down: WithSides::new(cx, id, down),
        }
    }

    /// See [`Head::prepare`](crate::exchange::Head::prepare).
    pub(in crate::operators) fn prepare(&mut self, hashes: impl Iterator<Item = u64>) -> usize {
        self.ahead.clear();
        self.ahead.extend(hashes);
        self.states.at_hand(&self.ahead)
    }

    /// See [`Head::prefetch`](crate::exchange::Head::prefetch).
    pub(in crate::operators) fn prefetch(&mut self, hashes: &[u64]) {
        self.states.prefetch(hashes);
    }

    /// Takes out the next timer of `domain` that is due at `now`.
    fn pop_due(&mut self, domain: TimerDomain, now: i64) -> Result<Option<(i64, F::Key)>, AwaitsState> {
        let Self { timers, states, at_hand, ahead, .. } = self;
        let timers = timers.queue(domain);
        let is_at_hand = |next: &(i64, F::Key)| at_hand.as_ref().is_some_and(|last| next <= last);
        if timers.due(now).next().is_some_and(|next| !is_at_hand(next)) {
            ahead.clear();
            ahead.extend(timers.due(now).take(PREFETCH_TIMERS).map(|(_, key)| F::Key::hash(key.view())));
            let count = states.at_hand(ahead);
            let Some(last) = count.checked_sub(1) else { return Err(AwaitsState) };
            states.prefetch(&ahead[..count]);
            *at_hand = timers.due(now).nth(last).cloned();
        }
        let due = timers.pop_due(now);
        if due.is_none() {
            *at_hand = None;
        }
        Ok(due)
    }

    /// Calls the function, by `call`, for the record `view` of the key that `key` finds in it. Behind each call comes [`hand_down`](Self::hand_down).
    #[inline]
    pub(in crate::operators) fn element<'v, V: Debug>(
        &'v mut self,
        view: V,
        hash: u64,
        timestamp: i64,
        key: impl FnOnce() -> <F::Key as Record>::Ref<'v>,
        call: impl FnOnce(&mut F, &mut Context<'v, F::Key>, &mut Output<F::Out>),
    ) {
        let Self { function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let (watermark, processing_time, has_more, sides) = (self.watermark, self.site.clock.now().wall.0, false, &mut down.sides);
        let has_more = info.call(view, || {
            let mut cx = Context { key: key(), hash, timestamp, watermark, processing_time, has_more, states, timers, sides };
            call(function, &mut cx, output);
            cx.has_more
        });
        if F::HAS_HOOKS {
            self.has_more = has_more;
        }
    }

    /// Calls the function for `record` of the input `INPUT`, in which `key` finds the key, and hands down what it emits.
    #[inline]
    pub(in crate::operators) fn take<const INPUT: usize, KF>(
        &mut self,
        key: &mut KF,
        hash: u64,
        timestamp: i64,
        record: impl Arrival<<F as Takes<INPUT>>::In>,
    ) where
        F: Takes<INPUT>,
        KF: for<'a> FnMut(&'a <<F as Takes<INPUT>>::In as Record>::Ref<'a>) -> <F::Key as Record>::Ref<'a>,
    {
        let view = record.view();
        self.element(view, hash, timestamp, || key(&view), |function, cx, out| Takes::<INPUT>::element(function, view, cx, out));
        self.hand_down();
    }

    /// Hands down what the last call emitted. `false` if there is no room for all of it.
    #[inline]
    pub(in crate::operators) fn hand_down(&mut self) -> bool {
        self.output.hand_down(&mut self.down)
    }

    fn fire(&mut self, timestamp: i64, key: &F::Key, domain: TimerDomain) {
        let timer = Timer { timestamp, domain };
        let Self { function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let view = key.view();
        let (watermark, wall) = (self.watermark, self.site.clock.now().wall.0);
        let processing_time = match domain {
            TimerDomain::EventTime => wall,
            // The clock may have been set back while the timer, which was due, waited for room (docs/src/semantics.md#p-2).
            TimerDomain::ProcessingTime => wall.max(timestamp),
        };
        let sides = &mut down.sides;
        let has_more = info.call((timer, view), || {
            let hash = F::Key::hash(view);
            let mut cx = Context { key: view, hash, timestamp, watermark, processing_time, has_more: false, states, timers, sides };
            function.on_timer(timer, &mut cx, output);
            cx.has_more
        });
        if F::HAS_HOOKS {
            self.has_more = has_more;
        }
    }

    /// Makes the call `hook` of a function that has hooks.
    fn call(&mut self, hook: Hook) {
        let Self { function, output, info, down, site, watermark, .. } = self;
        if hook != Hook::Resume {
            output.timestamp = NO_TIMESTAMP;
        }
        let timestamp = output.timestamp;
        let mut ctx = OperatorContext { timestamp, watermark: *watermark, site, has_more: false, sides: &mut down.sides };
        info.call(hook.told(), || function.call(hook, &mut ctx, output));
        self.has_more = ctx.has_more;
    }

    /// Continues with the records the function has to emit and the calls that are due, if any. Returns whether it made a call. Only while there is room.
    #[inline]
    fn call_if_due(&mut self) -> bool {
        if !F::HAS_HOOKS {
            return false;
        }
        let due = if self.has_more { Some(Hook::Resume) } else { self.hook.take() };
        due.inspect(|hook| self.call(*hook)).is_some()
    }

    /// Fires due timers until there are none, the output is full, or a slice is over (docs/src/semantics.md#p-3, #w-6).
    fn fire_due(&mut self) -> Resumed {
        for _ in 0..self.slice {
            if !self.hand_down() || !self.down.ready() {
                return Resumed::Again;
            }
            if F::HAS_HOOKS && self.has_more {
                self.call(Hook::Resume);
            } else if let Some(watermark) = self.advancing {
                match self.pop_due(TimerDomain::EventTime, watermark.0) {
                    Err(AwaitsState) => return Resumed::AwaitsState,
                    Ok(Some((timestamp, key))) => self.fire(timestamp, &key, TimerDomain::EventTime),
                    Ok(None) if self.call_if_due() => {}
                    Ok(None) => {
                        self.advancing = None;
                        self.down.control(Control::Watermark(watermark));
                    }
                }
            } else if let Some(now) = self.processing_time {
                match self.pop_due(TimerDomain::ProcessingTime, now) {
                    Err(AwaitsState) => return Resumed::AwaitsState,
                    Ok(Some((timestamp, key))) => self.fire(timestamp, &key, TimerDomain::ProcessingTime),
                    Ok(None) => self.processing_time = None,
                }
            } else if self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0) {
                // Timers set for a time that event time has passed already (docs/src/semantics.md#p-1).
                match self.pop_due(TimerDomain::EventTime, self.watermark.0) {
                    Err(AwaitsState) => return Resumed::AwaitsState,
                    Ok(Some((timestamp, key))) => self.fire(timestamp, &key, TimerDomain::EventTime),
                    Ok(None) => {}
                }
            } else if self.call_if_due() {
            } else if F::HAS_HOOKS
                && let Some(control) = self.passing.take()
            {
                self.down.control(control);
            } else if F::HAS_HOOKS && std::mem::take(&mut self.owes_batch_end) {
                self.call(Hook::BatchEnd);
            } else {
                self.at_hand = None;
                return Resumed::Done;
            }
        }
        Resumed::Again
    }

    /// Whether the function has been told of the barrier that has come, and all records it emitted have gone down.
    fn is_told(&mut self) -> bool {
        for _ in 0..self.slice {
            if !self.hand_down() || !self.down.ready() {
                return false;
            }
            if !self.call_if_due() {
                return true;
            }
        }
        false
    }

    /// Seals states and timers and hands the barrier that has come down, when the function has been told.
    fn seal(&mut self) -> Resumed {
        if F::HAS_HOOKS && !self.is_told() {
            return Resumed::Again;
        }
        if let Some(checkpoint) = self.barrier.take() {
            self.states.seal();
            self.timers.seal(&self.states.saved);
            self.down.control(Control::Barrier(checkpoint));
        }
        Resumed::Done
    }

    fn is_suspended(&self) -> bool {
        (F::HAS_HOOKS && (self.has_more || self.hook.is_some() || self.passing.is_some() || self.owes_batch_end))
            || self.barrier.is_some()
            || !self.output.records.is_empty()
            || self.advancing.is_some()
            || self.processing_time.is_some()
            || self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0)
    }
}

impl<F: KeyedFunction, D: Collector<F::Out>> Stage for RunningKeyed<F, D> {
    fn control(&mut self, control: Control) {
        if F::HAS_HOOKS {
            self.hook = Hook::before(control);
        }
        match control {
            Control::Watermark(watermark) => {
                self.watermark = watermark;
                self.advancing = Some(watermark);
                self.fire_due();
            }
            Control::Barrier(checkpoint) => {
                self.barrier = Some(checkpoint);
                self.seal();
            }
            control if F::HAS_HOOKS => {
                self.passing = Some(control);
                self.fire_due();
            }
            control => self.down.control(control),
        }
    }

    fn batch_end(&mut self) {
        if F::HAS_HOOKS {
            let is_suspended = self.is_suspended();
            self.owes_batch_end = true;
            if !is_suspended {
                self.fire_due();
            }
        }
        self.down.batch_end();
    }

    #[inline]
    fn ready(&self) -> bool {
        !self.is_suspended() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.barrier.is_some() => self.seal(),
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

    fn poll_progress(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        // Both are polled, so that each can wake the task.
        let (below, state) = (self.down.poll_progress(cx), self.states.poll_at_hand(cx));
        if below.is_ready() { below } else { state }
    }

    fn drive(&mut self, cx: &mut task::Context<'_>) {
        self.down.drive(cx);
    }

    fn save(&mut self) {
        let Self { states, timers, slice, .. } = self;
        if !states.save(*slice) && !timers.save(&states.saved, *slice) {
            self.down.save();
        }
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        let Self { states, timers, .. } = self;
        states.saved.sample([states.size(), timers.size()].into_iter().sum(), samples);
        self.down.sample(samples);
    }

    pass_on!(flush finish);
}
