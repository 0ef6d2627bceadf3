//! The calls that an operator gets beside its records, and their order.

use super::context::OperatorContext;
use crate::operators::Output;
use crate::record::Record;
use crate::time::{Control, Watermark};

/// The part that every user-defined operator has, whatever its inputs: an output, and calls at the places where it may have to release the records it holds
/// (Flink's `StreamOperator`). Beside it stands the trait that takes records: [`OneInputStreamOperator`](crate::OneInputStreamOperator), which has an
/// example, [`TwoInputStreamOperator`](crate::TwoInputStreamOperator) or [`KeyedStreamOperator`](crate::KeyedStreamOperator).
///
/// *Order.* Each call here is made once for the element it announces, and that element waits until all records that the call, and each
/// [`resume`](Self::resume) after it, emitted have gone down the chain (docs/src/semantics.md#p-6). No record comes in between.
///
/// *State.* The operator's fields are in no checkpoint. An operator that in [`before_barrier`](Self::before_barrier) releases the records it holds needs no
/// state: everything from before the barrier leaves in front of it. After a restart each subtask begins with a new clone.
///
/// *Timestamps.* Records that these calls emit by [`collect`](Output::collect) have no timestamp; to give them one, use
/// [`collect_with_timestamp`](Output::collect_with_timestamp).
pub trait StreamOperator: Clone + Send + 'static {
    /// The records it emits.
    type Out: Record;

    /// Called before `watermark` goes on; in a keyed operator after the last timer that is due at it. A record with a timestamp up to the watermark that is
    /// held longer is late for operators downstream. [`current_watermark`](OperatorContext::current_watermark) is this one already.
    fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called before the barrier of a checkpoint goes on (Flink's `prepareSnapshotPreBarrier`).
    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called before idleness of this input is forwarded downstream. From then on its watermark holds nobody back, and records held longer may come late
    /// (docs/src/semantics.md#w-5).
    fn before_idle(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called at the end of a batch of records: a frame, or what a source read at once. An operator that releases its records here holds none longer than
    /// an open frame does. While there is no room downstream batches may end without this call; it is made once there is.
    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called when all input has come, before the end is forwarded downstream. It comes after [`Watermark::MAX`], so records with a timestamp should have
    /// left [before that](Self::before_watermark). A job that is stopped with a checkpoint ends without this call.
    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {}

    /// Called after any call that [suspended](OperatorContext::suspend) the operator, when all records it emitted have gone down and there is room for
    /// more. The timestamp is that of the call. If it suspends the operator again it is called again, and nothing else is called before.
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
    /// The call that the operator gets before `control` goes on.
    pub(in crate::operators) fn before(control: Control) -> Option<Self> {
        match control {
            Control::Watermark(watermark) => Some(Self::BeforeWatermark(watermark)),
            Control::Barrier(_) => Some(Self::BeforeBarrier),
            Control::Idle => Some(Self::BeforeIdle),
            Control::EndOfInput => Some(Self::EndOfInput),
            Control::Active | Control::SplitStarted(_) | Control::SplitFinished(_) => None,
        }
    }

    /// The text that an error shows in place of a record.
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

    /// Makes the call. The call for a run is made by the code that holds the run.
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
