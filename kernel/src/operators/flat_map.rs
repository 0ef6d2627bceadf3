//! `flat_map`: any number of records for each record.
//!
//! The user's function returns an iterator, which is pulled only while there is room downstream and kept in between: a record that becomes a
//! million is suspended between any two of them and never buffered.

use super::Operator;
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::graph_ids::OperatorId;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::subtask::slice::SliceBudget;
use crate::time::Control;
use std::marker::PhantomData;
use std::rc::Rc;

/// Describes a flat map.
pub struct FlatMap<F, I> {
    pub(crate) function: F,
    pub(crate) id: OperatorId,
    pub(crate) iterator: PhantomData<fn() -> I>,
}

impl<F: Clone, I> Clone for FlatMap<F, I> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), id: self.id, iterator: PhantomData }
    }
}

impl<In: Record, I, F> Operator<In> for FlatMap<F, I>
where
    I: IntoIterator<Item: Record> + 'static,
    F: for<'a> FnMut(In::Ref<'a>) -> I + Clone + Send + 'static,
{
    type Out = I::Item;
    type Running<D: Collector<I::Item>> = RunningFlatMap<F, I, D>;

    fn start<D: Collector<I::Item>>(self, cx: &mut SubtaskContext, down: D) -> RunningFlatMap<F, I, D> {
        let slice = Rc::clone(&cx.slice);
        RunningFlatMap { function: self.function, info: cx.operator(self.id), rest: None, slice, down }
    }
}

/// A running flat map.
pub struct RunningFlatMap<F, I: IntoIterator, D> {
    function: F,
    info: Rc<OperatorInfo>,
    /// The records that the one in work has still to give, with its timestamp.
    rest: Option<(i64, I::IntoIter)>,
    slice: Rc<SliceBudget>,
    down: D,
}

impl<F, I: IntoIterator<Item: Record>, D: Collector<I::Item>> RunningFlatMap<F, I, D> {
    /// Pulls the iterator until it is done, the output is full, or a slice is over.
    #[inline]
    fn pull(&mut self, timestamp: i64, mut iterator: I::IntoIter) -> Resumed {
        for _ in 0..self.slice.records() {
            if !self.down.ready() {
                self.rest = Some((timestamp, iterator));
                return Resumed::Again;
            }
            match self.info.call("(the iterator that the function returned)", || iterator.next()) {
                Some(record) => self.down.push(timestamp, record),
                None => return Resumed::Done,
            }
        }
        self.rest = Some((timestamp, iterator));
        Resumed::Again
    }
}

impl<In: Record, I, F, D: Collector<I::Item>> Collector<In> for RunningFlatMap<F, I, D>
where
    I: IntoIterator<Item: Record> + 'static,
    F: for<'a> FnMut(In::Ref<'a>) -> I + 'static,
{
    #[inline]
    fn push(&mut self, timestamp: i64, record: In) {
        Collector::<In>::push_view(self, timestamp, record.view());
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: In::Ref<'_>) {
        let function = &mut self.function;
        let iterator = self.info.call(view, || function(view).into_iter());
        self.pull(timestamp, iterator);
    }
}

impl<I: IntoIterator<Item: Record> + 'static, F: 'static, D: Collector<I::Item>> Stage for RunningFlatMap<F, I, D> {
    fn control(&mut self, control: Control) {
        self.down.control(control);
    }

    #[inline]
    fn ready(&self) -> bool {
        self.rest.is_none() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done => {}
            other => return other,
        }
        match self.rest.take() {
            Some((timestamp, iterator)) => self.pull(timestamp, iterator),
            None => Resumed::Done,
        }
    }

    pass_on!(batch_end flush poll_progress processing_time save finish);
}
