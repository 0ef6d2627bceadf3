//! The common part of the operators on two connected streams: they stand at the head of a task, and each stream is an input of its own.

use crate::chain::{Chain, Collector};
use crate::exchange::{ChannelTask, Head, TwoInputs};
use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;
use std::marker::PhantomData;

/// An operator on two streams, of `A` and of `B`.
pub trait TwoInputOperator<A: Record, B: Record>: Clone + Send + 'static {
    /// The records it emits.
    type Out: Record;
    /// The running form, which emits into `D`.
    type Running<D: Collector<Self::Out>>: Head<A, 0> + Head<B, 1>;

    /// Builds the running form of one subtask.
    fn start<D: Collector<Self::Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D>;
}

/// The chain that begins with an operator on two streams.
pub struct Connected<A, B, O> {
    operator: O,
    records: PhantomData<fn(A, B)>,
}

impl<A, B, O> Connected<A, B, O> {
    pub(crate) fn new(operator: O) -> Self {
        Self { operator, records: PhantomData }
    }
}

impl<A, B, O: Clone> Clone for Connected<A, B, O> {
    fn clone(&self) -> Self {
        Self::new(self.operator.clone())
    }
}

impl<A: Record, B: Record, O: TwoInputOperator<A, B>> Chain for Connected<A, B, O> {
    type Out = O::Out;
    type Detached = Self;

    fn fuse<D: Collector<O::Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        let running = self.operator.start(cx, down);
        Box::new(ChannelTask::<TwoInputs<A, B>, _>::new(cx, running))
    }

    fn detach(self, _cut: &mut Cut<'_>) -> Self {
        self
    }

    fn unchain(self, _cut: &mut Cut<'_>) -> Self {
        self
    }
}
