//! A user-defined operator that is told of batches, watermarks and barriers: it does what a flat map would, later.
//!
//! It holds elements, and emits their copies when it holds too many, when a batch has ended, and before anything that they must not fall behind:
//! watermarks, barriers, idleness. So an error in the order of those calls shows as a record that is late or lost. It emits a few copies at a time, and is
//! suspended in between.

use super::elements::{Element, ElementRef, copies};
use std::collections::VecDeque;
use thalweg::{OneInputStreamOperator, OperatorContext, Output, Record, RunRecords, StreamOperator, Watermark};

/// The most elements held, except those of a single run.
const HELD_MAX: usize = 5;
/// Copies emitted per call: now and then an element has more.
const AT_ONCE: usize = 6;

/// A record with its timestamp, if it has one.
type Timed = (Option<i64>, Element);

/// Emits copies of the elements it holds. With `RUNS` it takes elements by runs.
#[derive(Clone, Default)]
pub(super) struct Hold<const RUNS: bool> {
    held: VecDeque<Timed>,
    /// Copies waiting to be emitted.
    leaving: VecDeque<Timed>,
}

impl<const RUNS: bool> Hold<RUNS> {
    fn let_go(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        for _ in 0..AT_ONCE {
            while self.leaving.is_empty()
                && let Some((timestamp, element)) = self.held.pop_front()
            {
                self.leaving.extend(copies(element).map(|copy| (timestamp, copy)));
            }
            match self.leaving.pop_front() {
                Some((Some(timestamp), copy)) => out.collect_with_timestamp(copy, timestamp),
                Some((None, copy)) => out.collect(copy),
                None => return,
            }
        }
        ctx.suspend();
    }
}

impl<const RUNS: bool> StreamOperator for Hold<RUNS> {
    type Out = Element;

    fn before_watermark(&mut self, _watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    /// The next batch may be long in coming: held elements would not arrive while the input is silent.
    fn batch_end(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    fn before_barrier(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    fn before_idle(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    /// After a restore from a checkpoint after the last watermark no other watermark arrives before the end.
    fn end_of_input(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    fn resume(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }
}

impl<const RUNS: bool> OneInputStreamOperator for Hold<RUNS> {
    type In = Element;

    const TAKES_RUNS: bool = RUNS;

    fn process_element(&mut self, element: ElementRef<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.held.push_back((ctx.timestamp(), Element::from_view(element)));
        if self.held.len() > HELD_MAX {
            self.let_go(ctx, out);
        }
    }

    fn process_run(&mut self, run: RunRecords<'_, Element>, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.held.extend(run.into_records());
        if self.held.len() > HELD_MAX {
            self.let_go(ctx, out);
        }
    }
}
