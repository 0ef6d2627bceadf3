//! Calls a user-defined operator for its records and for in-band elements.
//!
//! The records that a call emits are handed down while there is room. The operator takes nothing else before all of them have gone, and before it no longer
//! says that there is more: an in-band element is held until the call that announces it is over in this sense (docs/src/semantics.md#p-6).

use super::context::{OperatorContext, Site};
use super::stream_operator::{Hook, StreamOperator};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::graph_ids::OperatorId;
use crate::operators::Output;
use crate::operators::side_output::WithSides;
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::subtask::slice::SliceBudget;
use crate::time::{Control, NO_TIMESTAMP, Watermark};
use std::fmt::Debug;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// An operator with the records gathered for it.
pub trait OperatorInput: 'static {
    /// The operator.
    type Operator: StreamOperator;

    /// The operator, to be called.
    fn operator(&mut self) -> &mut Self::Operator;

    /// Whether records are gathered that the operator has not seen.
    #[inline]
    fn has_run(&self) -> bool {
        false
    }

    /// Hands it the gathered records.
    fn process_run(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<OutputOf<Self>>) {}
}

/// The records that the operator emits.
pub type OutputOf<I> = <<I as OperatorInput>::Operator as StreamOperator>::Out;

/// A running operator, except for its records.
pub struct RunningOperator<I: OperatorInput, D> {
    pub(super) input: I,
    watermark: Watermark,
    /// Work is due before the next record. Kept here, so that asking costs one comparison.
    is_suspended: bool,
    /// The operator has more to emit.
    has_more: bool,
    /// The call that is due next, and the in-band element that goes down after it.
    hook: Option<Hook>,
    control: Option<Control>,
    /// A batch has ended, and the operator has not been told.
    owes_batch_end: bool,
    /// Holds the records of the last call that found no room.
    output: Output<OutputOf<I>>,
    slice: Rc<SliceBudget>,
    site: Site,
    info: Rc<OperatorInfo>,
    down: WithSides<D>,
}

impl<I: OperatorInput, D: Collector<OutputOf<I>>> RunningOperator<I, D> {
    pub(super) fn start(input: I, cx: &mut SubtaskContext, id: OperatorId, down: D) -> Self {
        Self {
            input,
            watermark: cx.restored_watermark(),
            is_suspended: false,
            has_more: false,
            hook: None,
            control: None,
            owes_batch_end: false,
            output: Output::new(),
            slice: Rc::clone(&cx.slice),
            site: Site::of(cx),
            info: cx.operator(id),
            down: WithSides::new(cx, id, down),
        }
    }

    /// Calls the operator, by `call`, for the record `view`.
    #[inline]
    pub(super) fn element<V: Debug>(
        &mut self,
        view: V,
        timestamp: i64,
        call: impl FnOnce(&mut I::Operator, &mut OperatorContext<'_>, &mut Output<OutputOf<I>>),
    ) {
        let Self { input, output, site, info, down, watermark, .. } = self;
        output.timestamp = timestamp;
        let mut ctx = OperatorContext { timestamp, watermark: *watermark, site, has_more: false, sides: &mut down.sides };
        info.call(view, || call(input.operator(), &mut ctx, output));
        self.has_more = ctx.has_more;
        self.is_suspended = !self.output.hand_down(&mut self.down) || self.has_more;
    }

    /// Calls the operator for something other than a record.
    fn call(&mut self, hook: Hook) {
        let Self { input, output, site, info, down, watermark, .. } = self;
        if hook != Hook::Resume {
            output.timestamp = NO_TIMESTAMP;
        }
        let timestamp = output.timestamp;
        let mut ctx = OperatorContext { timestamp, watermark: *watermark, site, has_more: false, sides: &mut down.sides };
        info.call(hook.told(), || match hook {
            Hook::Run => input.process_run(&mut ctx, output),
            hook => hook.call(input.operator(), &mut ctx, output),
        });
        self.has_more = ctx.has_more;
    }

    /// Does the work that is due, in the promised order, until nothing is left, there is no room, or a slice is over. Only an operator that has more and
    /// more to emit takes long: every other call is made once.
    pub(super) fn advance(&mut self) -> Resumed {
        self.is_suspended = true;
        let mut left = self.slice.records();
        loop {
            if !self.output.hand_down(&mut self.down) || !self.down.ready() {
                return Resumed::Again;
            }
            if self.has_more {
                if left == 0 {
                    return Resumed::Again;
                }
                left -= 1;
                self.call(Hook::Resume);
            } else if self.input.has_run() {
                self.call(Hook::Run);
            } else if let Some(hook) = self.hook.take() {
                self.call(hook);
            } else if let Some(control) = self.control.take() {
                self.down.control(control);
            } else if std::mem::take(&mut self.owes_batch_end) {
                self.call(Hook::BatchEnd);
            } else {
                self.is_suspended = false;
                return Resumed::Done;
            }
        }
    }

    /// Hands the operator the gathered records, if it can be called.
    fn let_run_go(&mut self) {
        if self.input.has_run() && !self.is_suspended {
            self.advance();
        }
    }
}

impl<I: OperatorInput, D: Collector<OutputOf<I>>> Stage for RunningOperator<I, D> {
    fn control(&mut self, control: Control) {
        assert!(self.control.is_none(), "{control:?} came to an operator that was not ready");
        if let Control::Watermark(watermark) = control {
            self.watermark = watermark;
        }
        self.hook = Hook::before(control);
        self.control = Some(control);
        self.advance();
    }

    #[inline]
    fn ready(&self) -> bool {
        !self.is_suspended && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done if self.is_suspended => self.advance(),
            other => other,
        }
    }

    fn batch_end(&mut self) {
        self.owes_batch_end = true;
        if !self.is_suspended {
            self.advance();
        }
        self.down.batch_end();
    }

    fn flush(&mut self) -> bool {
        self.let_run_go();
        self.down.flush() && !self.is_suspended
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let below = self.down.poll_progress(cx);
        if self.is_suspended && self.down.ready() { Poll::Ready(()) } else { below }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.down.drive(cx);
    }

    fn advance_processing_time(&mut self, now: Now) {
        // Records that came before this point go before it below, too.
        self.let_run_go();
        if self.ready() {
            self.down.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        self.down.next_deadline(now)
    }

    pass_on!(save finish);
}
