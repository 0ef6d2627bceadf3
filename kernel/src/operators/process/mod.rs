//! `process` on keyed streams: a user's function with state, timers and side outputs, on one stream or on two that share their key.
//!
//! [`running`] calls the function, [`state`] is what the function keeps per key, [`timers`] wake it, and through [`context`] it reaches both.
//! [`co_process`] is the form with two inputs.

mod co_process;
mod context;
mod running;
mod state;
mod timers;

use super::keyed::KeyedOperator;
use crate::chain::{Collector, Stage, pass_on};
use crate::exchange::{Ahead, Arrival, Head};
use crate::graph_ids::OperatorId;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;

pub use co_process::KeyedCoProcessFunction;
pub(crate) use co_process::{KeyedCoProcess, TwoInputFunction};
pub use context::{Context, OpenContext, Output};
use running::RunningKeyed;
pub(crate) use running::wanted_states;
pub(super) use running::{KeyedFunction, Takes};
pub use state::{ListAccess, ListState, MapAccess, MapState, ValueAccess, ValueState};
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
    /// The records it takes.
    type In: Record;
    /// The records it emits.
    type Out: Record;

    /// Called once per subtask, before anything else, to register state. It must do nothing that cannot be done twice: it is also called when the job is
    /// [compared with a checkpoint](crate::Job::compare_with).
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record.
    fn process_element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every timer that is due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// A function with one input, in the form that runs it. It has a type of its own, since a function may also implement the trait of the other form.
#[derive(Clone)]
pub struct OneInputFunction<P>(pub(crate) P);

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

impl<P: KeyedProcessFunction> Takes for OneInputFunction<P> {
    type In = P::In;

    #[inline]
    fn element(&mut self, value: <P::In as Record>::Ref<'_>, ctx: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.process_element(value, ctx, out);
    }
}

/// Describes a function `F` on keyed records: a process, or a user-defined keyed operator.
#[derive(Clone)]
pub struct Process<KF, F> {
    key: KF,
    function: F,
    id: OperatorId,
}

impl<KF, F: KeyedFunction + Clone + Send> Process<KF, F> {
    pub(crate) fn new(key: KF, function: F, id: OperatorId) -> Self {
        Self { key, function, id }
    }
}

impl<KF, F> KeyedOperator<F::In> for Process<KF, F>
where
    F: Takes + Clone + Send,
    KF: for<'a> FnMut(&'a <F::In as Record>::Ref<'a>) -> <F::Key as Record>::Ref<'a> + Clone + Send + 'static,
{
    type Out = F::Out;
    type Running<D: Collector<F::Out>> = RunningProcess<KF, F, D>;

    fn start<D: Collector<F::Out>>(self, cx: &mut SubtaskContext, down: D) -> RunningProcess<KF, F, D> {
        RunningProcess { key: self.key, down: RunningKeyed::start(self.function, cx, self.id, down) }
    }
}

/// A running function on keyed records.
pub struct RunningProcess<KF, F: KeyedFunction, D> {
    key: KF,
    /// Takes everything but the records.
    down: RunningKeyed<F, D>,
}

impl<KF, F, D> Head<F::In> for RunningProcess<KF, F, D>
where
    F: Takes,
    KF: for<'a> FnMut(&'a <F::In as Record>::Ref<'a>) -> <F::Key as Record>::Ref<'a> + 'static,
    D: Collector<F::Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, F::In>) -> usize {
        self.down.prepare(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        self.down.prefetch(hashes);
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<F::In>) {
        self.down.take::<0, KF>(&mut self.key, hash, timestamp, record);
    }
}

impl<KF: 'static, F: KeyedFunction, D: Collector<F::Out>> Stage for RunningProcess<KF, F, D> {
    pass_on!();
}
