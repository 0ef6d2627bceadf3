//! What an operator is told of beside its records, and in which order.

use super::context::OperatorContext;
use crate::operators::Output;
use crate::record::Record;
use crate::time::{Control, Watermark};

/// What every operator of a user's own has, whatever its inputs: an output, and calls at the places where it may have to let go what it holds
/// (Flink's `StreamOperator`). Beside it stands the trait that takes records: [`OneInputStreamOperator`](crate::OneInputStreamOperator), which has an
/// example, [`TwoInputStreamOperator`](crate::TwoInputStreamOperator) or [`KeyedStreamOperator`](crate::KeyedStreamOperator).
///
/// *Order.* Each call here is made once for what it announces, and what that goes down the chain with waits until everything has gone down that the call
/// emitted, and [`resume`](Self::resume) after it (docs/src/semantics.md#p-6). No record comes in between.
///
/// *What is kept.* Nothing of the operator's fields is in a checkpoint. An operator that lets go in [`before_barrier`](Self::before_barrier) what it
/// holds needs no state: all that came before the barrier has left in front of it. After a restart each subtask begins with a new clone.
///
/// *Timestamps.* What these calls emit by [`collect`](Output::collect) has no timestamp; give it the one it should have by
/// [`collect_with_timestamp`](Output::collect_with_timestamp).
pub trait StreamOperator: Clone + Send + 'static {
    /// What goes out.
    type Out: Record;

    /// Called before `watermark` goes on; in a keyed operator after the last timer that is due at it. What is held longer and has a time up to it is
    /// late for whatever comes behind. [`current_watermark`](OperatorContext::current_watermark) is this one already.
    fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called before the barrier of a checkpoint goes on (Flink's `prepareSnapshotPreBarrier`).
    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called before it is told downstream that this input is silent for a while. From then on its watermark holds nobody back, and what is held longer
    /// may come late (docs/src/semantics.md#w-5).
    fn before_idle(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called when a batch of records has come: a frame, or what a source read at once. An operator that lets go here holds nothing longer than an open
    /// frame does. While there is no room downstream batches may end without it; it is called once there is.
    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called when all input has come, before that is told downstream. It comes after [`Watermark::MAX`], so what has a time should have left
    /// [before that](Self::before_watermark). A job that is stopped with a checkpoint ends without it.
    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called after any call that [suspended](OperatorContext::suspend) the operator, when all it has emitted has gone down and there is room for more. The
    /// timestamp is that of the call. If it suspends the operator again it is called again, and nothing else is before.
    fn resume(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}
}

/// One of the calls above, and the one for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Resume,
    Run,
    BeforeWatermark(Watermark),
    BeforeBarrier,
    BeforeIdle,
    BatchEnd,
    EndOfInput,
}

impl Hook {
    /// What the operator is told before `control` goes on.
    pub(in crate::operators) fn before(control: Control) -> Option<Self> {
        match control {
            Control::Watermark(watermark) => Some(Self::BeforeWatermark(watermark)),
            Control::Barrier(_) => Some(Self::BeforeBarrier),
            Control::Idle => Some(Self::BeforeIdle),
            Control::EndOfInput => Some(Self::EndOfInput),
            Control::Active | Control::SplitStarted(_) | Control::SplitFinished(_) => None,
        }
    }

    /// What an error shows in place of a record.
    pub(in crate::operators) fn told(self) -> &'static str {
        match self {
            Self::Resume => "(resuming)",
            Self::Run => "(a run of records)",
            Self::BeforeWatermark(_) => "(before a watermark)",
            Self::BeforeBarrier => "(before a barrier)",
            Self::BeforeIdle => "(before idleness)",
            Self::BatchEnd => "(the end of a batch)",
            Self::EndOfInput => "(the end of input)",
        }
    }

    /// Makes the call. That for a run is made by whoever has the run.
    pub(in crate::operators) fn call<P: StreamOperator>(self, operator: &mut P, ctx: &mut OperatorContext<'_>, out: &mut Output<P::Out>) {
        match self {
            Self::Resume => operator.resume(ctx, out),
            Self::Run => {}
            Self::BeforeWatermark(watermark) => operator.before_watermark(watermark, ctx, out),
            Self::BeforeBarrier => operator.before_barrier(ctx, out),
            Self::BeforeIdle => operator.before_idle(ctx, out),
            Self::BatchEnd => operator.batch_end(ctx, out),
            Self::EndOfInput => operator.end_of_input(ctx, out),
        }
    }
}
