//! A user-defined operator with two inputs.

use super::context::OperatorContext;
use super::running::{OperatorInput, RunningOperator};
use super::stream_operator::StreamOperator;
use crate::chain::{Collector, Stage, pass_on};
use crate::exchange::{Arrival, Head};
use crate::graph_ids::OperatorId;
use crate::operators::Output;
use crate::operators::connected::TwoInputOperator;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;

/// An operator with two inputs (Flink's `TwoInputStreamOperator`). Put on two streams by [`ConnectedStreams::transform`](crate::ConnectedStreams::transform).
/// The calls beside those for records are described in [`StreamOperator`]: watermarks, barriers, idleness and the end are those of both inputs together.
///
/// Between the records of the two streams there is no order. Each subtask works on a clone.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{OperatorContext, Output, StreamExecutionEnvironment, StreamOperator, TwoInputStreamOperator};
///
/// /// How many records came in each input, told at every barrier and at the end.
/// #[derive(Clone, Default)]
/// struct Count { counts: (u64, u64) }
///
/// impl StreamOperator for Count {
///     type Out = (u64, u64);
///
///     fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
///         out.collect(std::mem::take(&mut self.counts));
///     }
///
///     fn end_of_input(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
///         self.before_barrier(ctx, out);
///     }
/// }
///
/// impl TwoInputStreamOperator for Count {
///     type In1 = u64;
///     type In2 = String;
///
///     fn process_element1(&mut self, _number: u64, _ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
///         self.counts.0 += 1;
///     }
///
///     fn process_element2(&mut self, _word: &str, _ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
///         self.counts.1 += 1;
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamExecutionEnvironment::new();
/// env.set_parallelism(1);
/// let words = env.from_collection(vec!["one".to_owned()]);
/// let counts = env.from_collection(vec![1u64, 2]).connect(words).transform("count", Count::default()).collect();
/// env.execute("counts", 1)?.wait()?;
/// assert_eq!(counts.take(), [(2, 1)]);
/// # Ok(())
/// # }
/// ```
pub trait TwoInputStreamOperator: StreamOperator {
    /// The records of the first stream.
    type In1: Record;
    /// The records of the second stream.
    type In2: Record;

    /// Called once per subtask, before anything else: with the number of the subtask, from 0, and how many there are.
    fn open(&mut self, _subtask: usize, _parallelism: usize) {}

    /// Called for every record of the first stream.
    fn process_element1(&mut self, value: <Self::In1 as Record>::Ref<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>);

    /// Called for every record of the second stream.
    fn process_element2(&mut self, value: <Self::In2 as Record>::Ref<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>);
}

/// An operator for which nothing is gathered.
pub struct Inputs<P>(P);

impl<P: TwoInputStreamOperator> OperatorInput for Inputs<P> {
    type Operator = P;

    #[inline]
    fn operator(&mut self) -> &mut P {
        &mut self.0
    }
}

/// Describes a user-defined operator with two inputs.
#[derive(Clone)]
pub struct TwoInputTransform<P> {
    pub(crate) operator: P,
    pub(crate) id: OperatorId,
}

impl<P: TwoInputStreamOperator> TwoInputOperator<P::In1, P::In2> for TwoInputTransform<P> {
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = RunningTwoInputs<P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> RunningTwoInputs<P, D> {
        let mut operator = self.operator;
        let (subtask, parallelism) = (cx.subtask(), cx.name.parallelism);
        cx.operator(self.id).call("(open)", || operator.open(subtask, parallelism));
        RunningTwoInputs { down: RunningOperator::start(Inputs(operator), cx, self.id, down) }
    }
}

/// A running operator with two inputs.
pub struct RunningTwoInputs<P: TwoInputStreamOperator, D> {
    /// Takes everything but the records.
    down: RunningOperator<Inputs<P>, D>,
}

impl<P: TwoInputStreamOperator, D: Collector<P::Out>> Head<P::In1, 0> for RunningTwoInputs<P, D> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<P::In1>) {
        let view = record.view();
        self.down.element(view, timestamp, |operator, ctx, out| operator.process_element1(view, ctx, out));
    }
}

impl<P: TwoInputStreamOperator, D: Collector<P::Out>> Head<P::In2, 1> for RunningTwoInputs<P, D> {
    #[inline]
    fn take(&mut self, _hash: u64, timestamp: i64, record: impl Arrival<P::In2>) {
        let view = record.view();
        self.down.element(view, timestamp, |operator, ctx, out| operator.process_element2(view, ctx, out));
    }
}

impl<P: TwoInputStreamOperator, D: Collector<P::Out>> Stage for RunningTwoInputs<P, D> {
    pass_on!();
}
