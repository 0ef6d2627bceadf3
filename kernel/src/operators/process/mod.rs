//! `process` on keyed streams: a user's function with state, timers and side outputs, on one stream or on two that share their key.
//!
//! [`running`] calls the function, [`state`] is what the function keeps for a key, [`timers`] what it is woken by, [`context`] through what it reaches both.
//! [`co_process`] is the form with two inputs.

mod co_process;
mod context;
mod running;
mod state;
mod timers;

use super::keyed::KeyedOperator;
use crate::chain::{Collector, Stage, pass_on};
use crate::checkpoint::WantedStates;
use crate::exchange::{Ahead, Arrival, Head};
use crate::graph::OperatorId;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;

pub use co_process::KeyedCoProcessFunction;
pub(crate) use co_process::{KeyedCoProcess, co_process_states};
pub use context::{Context, OpenContext, Output};
pub(super) use running::{KeyedFunction, Running, states_of};
pub use state::{ListAccess, ListState, MapAccess, MapState, ValueAccess, ValueState};
use std::sync::{Arc, Mutex, PoisonError};
pub use timers::{Timer, TimerDomain};

/// A function on the records of one key at a time, with state and timers of that key (Flink's `KeyedProcessFunction`).
///
/// Each subtask works on a clone. State and timers survive between calls; fields of the function do not belong to a key.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
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

    /// Called once a subtask, before anything else: the place to register state, and for nothing that cannot be done twice. It is also called when the job is
    /// [compared with a checkpoint](crate::Job::compare_with).
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record.
    fn process_element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every timer that comes due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// A function with one input, as what runs it sees it. In a type of its own, since a function may have the trait of the other form, too.
struct OneInputFunction<P>(P);

impl<P: KeyedProcessFunction> KeyedFunction for OneInputFunction<P> {
    type Key = P::Key;
    type Out = P::Out;

    fn open(&mut self, ctx: &mut OpenContext<'_, P::Key>) {
        self.0.open(ctx);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.on_timer(timer, ctx, out);
    }
}

/// The states that a keyed process keeps.
pub(crate) fn process_states<P: KeyedProcessFunction>(function: &P) -> WantedStates {
    let function = Mutex::new(function.clone());
    Arc::new(move |state| {
        let function = function.lock().unwrap_or_else(PoisonError::into_inner).clone();
        states_of(OneInputFunction(function), state)
    })
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
    type Running<D: Collector<P::Out>> = RunningProcess<KF, P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> RunningProcess<KF, P, D> {
        RunningProcess { key: self.key, down: Running::start(OneInputFunction(self.function), cx, self.id, down) }
    }
}

/// A running keyed process.
pub struct RunningProcess<KF, P: KeyedProcessFunction, D> {
    key: KF,
    /// Takes everything but the records as it comes.
    down: Running<OneInputFunction<P>, D>,
}

impl<KF, P, D> Head<P::In> for RunningProcess<KF, P, D>
where
    P: KeyedProcessFunction,
    KF: for<'a> FnMut(&'a <P::In as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + 'static,
    D: Collector<P::Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, P::In>) -> usize {
        self.down.prepare(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        self.down.prefetch(hashes);
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<P::In>) {
        let view = record.view();
        let key = &mut self.key;
        self.down.element(view, hash, timestamp, || key(&view), |function, cx, out| function.0.process_element(view, cx, out));
        self.down.hand_down();
    }
}

impl<KF: 'static, P: KeyedProcessFunction, D: Collector<P::Out>> Stage for RunningProcess<KF, P, D> {
    pass_on!();
}
