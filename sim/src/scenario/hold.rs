//! A user's operator that is told of what goes by: it does what a flat map would, later.
//!
//! It holds elements, and lets their copies go when there are too many, when a batch has ended, and before all that they must not stay behind: watermarks,
//! barriers, idleness. So
//! whatever goes wrong with the order of those calls shows as a record that is late or lost. A few copies at a time: in between it is suspended.

use super::elements::{Element, ElementRef, copies};
use std::collections::VecDeque;
use thalweg::{OneInputStreamOperator, OperatorContext, Output, Record, RunRecords, StreamOperator, Watermark};

/// Elements that are held at most, those of one run apart.
const HELD_MAX: usize = 5;
/// Copies emitted in one call: an element has more now and then.
const AT_ONCE: usize = 6;

/// A record with its timestamp, if it has one.
type Timed = (Option<i64>, Element);

/// Makes copies of what it holds. With `RUNS` it takes elements by runs.
#[derive(Clone, Default)]
pub(super) struct Hold<const RUNS: bool> {
    held: VecDeque<Timed>,
    /// Copies that are on their way out.
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

    /// Nobody knows when the next batch comes: what is held would not arrive while the input is silent.
    fn batch_end(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    fn before_barrier(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    fn before_idle(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<Element>) {
        self.let_go(ctx, out);
    }

    /// After a restore behind the last watermark no other watermark comes before the end.
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
