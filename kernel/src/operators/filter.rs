//! `filter`: keeps the records for which a predicate holds.

use super::Operator;
use crate::chain::{Collector, Stage, pass_on};
use crate::graph_ids::OperatorId;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use std::marker::PhantomData;
use std::rc::Rc;

/// Describes a filter.
#[derive(Clone)]
pub struct Filter<F> {
    pub(crate) predicate: F,
    pub(crate) id: OperatorId,
}

impl<In: Record, F> Operator<In> for Filter<F>
where
    F: for<'a> FnMut(In::Ref<'a>) -> bool + Clone + Send + 'static,
{
    type Out = In;
    type Running<D: Collector<In>> = RunningFilter<In, F, D>;

    fn start<D: Collector<In>>(self, cx: &mut SubtaskContext, down: D) -> RunningFilter<In, F, D> {
        RunningFilter { predicate: self.predicate, info: cx.operator(self.id), record: PhantomData, down }
    }
}

/// A running filter.
pub struct RunningFilter<In, F, D> {
    predicate: F,
    info: Rc<OperatorInfo>,
    record: PhantomData<fn(In)>,
    down: D,
}

impl<In: Record, F, D: Collector<In>> Collector<In> for RunningFilter<In, F, D>
where
    F: for<'a> FnMut(In::Ref<'a>) -> bool + 'static,
{
    #[inline]
    fn push(&mut self, timestamp: i64, record: In) {
        let predicate = &mut self.predicate;
        let view = record.view();
        if self.info.call(view, || predicate(view)) {
            self.down.push(timestamp, record);
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: In::Ref<'_>) {
        let predicate = &mut self.predicate;
        if self.info.call(view, || predicate(view)) {
            self.down.push_view(timestamp, view);
        }
    }
}

impl<In: Record, F: 'static, D: Collector<In>> Stage for RunningFilter<In, F, D> {
    pass_on!();
}
