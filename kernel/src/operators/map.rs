//! `map`: one record for each record.

use super::Operator;
use crate::chain::{Collector, Stage, pass_on};
use crate::graph_ids::OperatorId;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use std::marker::PhantomData;
use std::rc::Rc;

/// Describes a map.
pub struct Map<F, O> {
    pub(crate) function: F,
    pub(crate) id: OperatorId,
    pub(crate) out: PhantomData<fn() -> O>,
}

impl<F: Clone, O> Clone for Map<F, O> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), id: self.id, out: PhantomData }
    }
}

impl<In: Record, O: Record, F> Operator<In> for Map<F, O>
where
    F: for<'a> FnMut(In::Ref<'a>) -> O + Clone + Send + 'static,
{
    type Out = O;
    type Running<D: Collector<O>> = RunningMap<F, O, D>;

    fn start<D: Collector<O>>(self, cx: &mut SubtaskContext, down: D) -> RunningMap<F, O, D> {
        RunningMap { function: self.function, info: cx.operator(self.id), out: PhantomData, down }
    }
}

/// A running map.
pub struct RunningMap<F, O, D> {
    function: F,
    info: Rc<OperatorInfo>,
    out: PhantomData<fn() -> O>,
    down: D,
}

impl<In: Record, O: Record, F, D: Collector<O>> Collector<In> for RunningMap<F, O, D>
where
    F: for<'a> FnMut(In::Ref<'a>) -> O + 'static,
{
    #[inline]
    fn push(&mut self, timestamp: i64, record: In) {
        Collector::<In>::push_view(self, timestamp, record.view());
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: In::Ref<'_>) {
        let function = &mut self.function;
        let mapped = self.info.call(view, || function(view));
        self.down.push(timestamp, mapped);
    }
}

impl<F: 'static, O: Record, D: Collector<O>> Stage for RunningMap<F, O, D> {
    pass_on!();
}
