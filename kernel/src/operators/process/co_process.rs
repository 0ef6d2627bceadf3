//! `process` on two keyed streams: one function for the records of both, with state and timers that they share.

use super::context::{Context, OpenContext, Output};
use super::running::{KeyedFunction, RunningKeyed, Takes};
use super::timers::Timer;
use crate::chain::{Collector, Stage, pass_on};
use crate::exchange::{Ahead, Arrival, Head};
use crate::graph_ids::OperatorId;
use crate::operators::connected::TwoInputOperator;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;

/// A function on the records of one key at a time that come in two streams, with state and timers of that key (Flink's `KeyedCoProcessFunction`).
///
/// Between the records of the two streams there is no order; the watermark is the minimum of both. Each subtask works on a clone.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{Context, KeyedCoProcessFunction, ListState, OpenContext, Output, StreamExecutionEnvironment, ValueState};
///
/// /// Puts the name of its customer beside each order; orders that come before the name wait for it.
/// #[derive(Clone, Default)]
/// struct Enrich { name: ValueState<String>, early: ListState<u32> }
///
/// impl KeyedCoProcessFunction for Enrich {
///     type Key = u64;
///     type In1 = (u64, u32);
///     type In2 = (u64, String);
///     type Out = (String, u32);
///
///     fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
///         (self.name, self.early) = (ctx.value_state("name"), ctx.list_state("early"));
///     }
///
///     fn process_element1(&mut self, (_, amount): (u64, u32), ctx: &mut Context<'_, u64>, out: &mut Output<(String, u32)>) {
///         match ctx.value(self.name).get() {
///             Some(name) => out.collect((name.clone(), amount)),
///             None => ctx.list(self.early).add(amount),
///         }
///     }
///
///     fn process_element2(&mut self, (_, name): (u64, &str), ctx: &mut Context<'_, u64>, out: &mut Output<(String, u32)>) {
///         ctx.list(self.early).take().into_iter().for_each(|amount| out.collect((name.to_owned(), amount)));
///         ctx.value(self.name).set(name.to_owned());
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// let orders = env.from_collection(vec![(1u64, 30u32), (2, 5)]).key_by::<u64>(|order| order.0);
/// let names = env.from_collection(vec![(1u64, "Ada".to_owned())]).key_by::<u64>(|customer| customer.0);
/// let named = orders.connect(names).process(Enrich::default()).collect();
/// env.execute("orders", 1)?.wait()?;
/// assert_eq!(named.take(), [("Ada".to_owned(), 30)]);
/// # Ok(())
/// # }
/// ```
pub trait KeyedCoProcessFunction: Clone + Send + 'static {
    /// The type of the key, the same in both streams.
    type Key: Key;
    /// The records of the first stream.
    type In1: Record;
    /// The records of the second stream.
    type In2: Record;
    /// The records it emits.
    type Out: Record;

    /// Called once per subtask, before anything else, to register state. It must do nothing that cannot be done twice: it is also called when the job is
    /// [compared with a checkpoint](crate::Job::compare_with).
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record of the first stream.
    fn process_element1(&mut self, value: <Self::In1 as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every record of the second stream.
    fn process_element2(&mut self, value: <Self::In2 as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every timer that is due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// A function with two inputs, in the form that runs it. It has a type of its own, since a function may also implement the trait of the other form.
#[derive(Clone)]
pub struct TwoInputFunction<P>(pub(crate) P);

impl<P: KeyedCoProcessFunction> KeyedFunction for TwoInputFunction<P> {
    type Key = P::Key;
    type Out = P::Out;

    fn open(&mut self, ctx: &mut OpenContext<'_, P::Key>) {
        self.0.open(ctx);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.on_timer(timer, ctx, out);
    }
}

impl<P: KeyedCoProcessFunction> Takes<0> for TwoInputFunction<P> {
    type In = P::In1;

    #[inline]
    fn element(&mut self, value: <P::In1 as Record>::Ref<'_>, ctx: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.process_element1(value, ctx, out);
    }
}

impl<P: KeyedCoProcessFunction> Takes<1> for TwoInputFunction<P> {
    type In = P::In2;

    #[inline]
    fn element(&mut self, value: <P::In2 as Record>::Ref<'_>, ctx: &mut Context<'_, P::Key>, out: &mut Output<P::Out>) {
        self.0.process_element2(value, ctx, out);
    }
}

/// Describes a process on two keyed streams, with the key of each.
#[derive(Clone)]
pub struct KeyedCoProcess<KF1, KF2, P> {
    pub(crate) keys: (KF1, KF2),
    pub(crate) function: P,
    pub(crate) id: OperatorId,
}

impl<KF1, KF2, P> TwoInputOperator<P::In1, P::In2> for KeyedCoProcess<KF1, KF2, P>
where
    P: KeyedCoProcessFunction,
    KF1: for<'a> FnMut(&'a <P::In1 as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + Clone + Send + 'static,
    KF2: for<'a> FnMut(&'a <P::In2 as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + Clone + Send + 'static,
{
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = RunningKeyedCoProcess<KF1, KF2, P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D> {
        RunningKeyedCoProcess { keys: self.keys, down: RunningKeyed::start(TwoInputFunction(self.function), cx, self.id, down) }
    }
}

/// A running process on two keyed streams.
pub struct RunningKeyedCoProcess<KF1, KF2, P: KeyedCoProcessFunction, D> {
    keys: (KF1, KF2),
    /// Takes everything but the records.
    down: RunningKeyed<TwoInputFunction<P>, D>,
}

impl<KF1, KF2, P, D> Head<P::In1, 0> for RunningKeyedCoProcess<KF1, KF2, P, D>
where
    P: KeyedCoProcessFunction,
    KF1: for<'a> FnMut(&'a <P::In1 as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + 'static,
    KF2: 'static,
    D: Collector<P::Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, P::In1>) -> usize {
        self.down.prepare(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        self.down.prefetch(hashes);
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<P::In1>) {
        self.down.take::<0, KF1>(&mut self.keys.0, hash, timestamp, record);
    }
}

impl<KF1, KF2, P, D> Head<P::In2, 1> for RunningKeyedCoProcess<KF1, KF2, P, D>
where
    P: KeyedCoProcessFunction,
    KF1: 'static,
    KF2: for<'a> FnMut(&'a <P::In2 as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + 'static,
    D: Collector<P::Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, P::In2>) -> usize {
        self.down.prepare(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        self.down.prefetch(hashes);
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<P::In2>) {
        self.down.take::<1, KF2>(&mut self.keys.1, hash, timestamp, record);
    }
}

impl<KF1: 'static, KF2: 'static, P: KeyedCoProcessFunction, D: Collector<P::Out>> Stage for RunningKeyedCoProcess<KF1, KF2, P, D> {
    pass_on!();
}
