//! The common part of the operators behind a `key_by`: they stand at the head of a task and get the hash of the key with each record.

use crate::chain::{Chain, Collector};
use crate::exchange::{ChannelTask, Head, OneInput};
use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;
use std::marker::PhantomData;

/// An operator on a keyed stream.
pub trait KeyedOperator<In: Record>: Clone + Send + 'static {
    /// The records it emits.
    type Out: Record;
    /// The running form, which emits into `D`.
    type Running<D: Collector<Self::Out>>: Head<In>;

    /// Builds the running form of one subtask.
    fn start<D: Collector<Self::Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D>;
}

/// The chain that begins with a keyed operator.
pub struct Keyed<In, O> {
    operator: O,
    record: PhantomData<fn(In)>,
}

impl<In, O> Keyed<In, O> {
    pub(crate) fn new(operator: O) -> Self {
        Self { operator, record: PhantomData }
    }
}

impl<In, O: Clone> Clone for Keyed<In, O> {
    fn clone(&self) -> Self {
        Self::new(self.operator.clone())
    }
}

impl<In: Record, O: KeyedOperator<In>> Chain for Keyed<In, O> {
    type Out = O::Out;
    type Detached = Self;

    fn fuse<D: Collector<O::Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        let running = self.operator.start(cx, down);
        Box::new(ChannelTask::<OneInput<In>, _>::new(cx, running))
    }

    fn detach(self, _cut: &mut Cut<'_>) -> Self {
        self
    }

    fn unchain(self, _cut: &mut Cut<'_>) -> Self {
        self
    }
}
