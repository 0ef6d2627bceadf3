//! `reduce` and `aggregate` on a keyed stream without windows: a running result per key, emitted for every record.

use super::keyed::KeyedOperator;
use super::keyed_table::{KeyedTable, seal_and_pass_on};
use super::window::AggregateFunction;
use crate::chain::{Collector, Stage};
use crate::exchange::{Ahead, Arrival, Head};
use crate::graph_ids::OperatorId;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use std::marker::PhantomData;
use std::rc::Rc;

/// Describes a running aggregate: `add` folds a record into the key's accumulator, `result` makes the emitted record.
pub struct Aggregate<K, KF, A, RF> {
    pub(crate) key: KF,
    pub(crate) aggregate: A,
    pub(crate) result: RF,
    pub(crate) id: OperatorId,
    pub(crate) key_type: PhantomData<fn() -> K>,
}

impl<K, KF: Clone, A: Clone, RF: Clone> Clone for Aggregate<K, KF, A, RF> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), aggregate: self.aggregate.clone(), result: self.result.clone(), id: self.id, key_type: PhantomData }
    }
}

impl<In, K, KF, A, RF, Out> KeyedOperator<In> for Aggregate<K, KF, A, RF>
where
    In: Record,
    K: Key,
    Out: Record,
    A: AggregateFunction<In>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, A::Output) -> Out + Clone + Send + 'static,
{
    type Out = Out;
    type Running<D: Collector<Out>> = RunningAggregate<K, KF, A, A::Accumulator, RF, D>;

    fn start<D: Collector<Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D> {
        let info = cx.operator(self.id);
        RunningAggregate { key: self.key, aggregate: self.aggregate, result: self.result, state: KeyedTable::new(cx, self.id), info, down }
    }
}

/// A running aggregate.
pub struct RunningAggregate<K, KF, A, Acc, RF, D> {
    key: KF,
    aggregate: A,
    result: RF,
    state: KeyedTable<K, Acc>,
    info: Rc<OperatorInfo>,
    down: D,
}

impl<In, K, KF, A, RF, Out, D> Head<In> for RunningAggregate<K, KF, A, A::Accumulator, RF, D>
where
    In: Record,
    K: Key,
    Out: Record,
    A: AggregateFunction<In>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, A::Output) -> Out + 'static,
    D: Collector<Out>,
{
    fn prepare(&mut self, ahead: Ahead<'_, In>) -> usize {
        self.state.table.at_hand(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.state.table.prefetch(*hash));
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<In>) {
        let view = record.view();
        let Self { key, aggregate, result, state, info, .. } = self;
        let out = info.call(view, || {
            let key = key(&view);
            let make = || (K::from_view(key), aggregate.create_accumulator());
            let accumulator = state.table.get_or_insert_with(hash, |stored| stored.matches(key), make);
            aggregate.add(view, accumulator);
            result(key, aggregate.get_result(accumulator))
        });
        self.down.push(timestamp, out);
    }
}

impl<K: Key, KF: 'static, A: 'static, Acc: Record, RF: 'static, D: Stage> Stage for RunningAggregate<K, KF, A, Acc, RF, D> {
    seal_and_pass_on!();
}

/// Describes a reduce: the first record of a key is its first result.
pub struct Reduce<K, KF, F> {
    pub(crate) key: KF,
    pub(crate) function: F,
    pub(crate) id: OperatorId,
    pub(crate) key_type: PhantomData<fn() -> K>,
}

impl<K, KF: Clone, F: Clone> Clone for Reduce<K, KF, F> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), function: self.function.clone(), id: self.id, key_type: PhantomData }
    }
}

impl<In, K, KF, F> KeyedOperator<In> for Reduce<K, KF, F>
where
    In: Record,
    K: Key,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    F: for<'a, 'b> FnMut(In::Ref<'a>, In::Ref<'b>) -> In + Clone + Send + 'static,
{
    type Out = In;
    type Running<D: Collector<In>> = RunningReduce<K, In, KF, F, D>;

    fn start<D: Collector<In>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D> {
        RunningReduce { key: self.key, function: self.function, state: KeyedTable::new(cx, self.id), info: cx.operator(self.id), down }
    }
}

/// A running reduce.
pub struct RunningReduce<K, In, KF, F, D> {
    key: KF,
    function: F,
    /// `None` only until an entry that was just made gets its first record.
    state: KeyedTable<K, Option<In>>,
    info: Rc<OperatorInfo>,
    down: D,
}

impl<In, K, KF, F, D> Head<In> for RunningReduce<K, In, KF, F, D>
where
    In: Record,
    K: Key,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + 'static,
    F: for<'a, 'b> FnMut(In::Ref<'a>, In::Ref<'b>) -> In + 'static,
    D: Collector<In>,
{
    fn prepare(&mut self, ahead: Ahead<'_, In>) -> usize {
        self.state.table.at_hand(ahead.hashes())
    }

    fn prefetch(&mut self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.state.table.prefetch(*hash));
    }

    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: impl Arrival<In>) {
        let view = record.view();
        let Self { key, function, state, info, down } = self;
        let reduced = info.call(view, || {
            let key = key(&view);
            let value = state.table.get_or_insert_with(hash, |stored| stored.matches(key), || (K::from_view(key), None));
            match value {
                Some(before) => {
                    let next = function(before.view(), view);
                    *before = next;
                }
                None => *value = Some(In::from_view(view)),
            }
            value
        });
        if let Some(result) = reduced {
            down.push_view(timestamp, result.view());
        }
    }
}

impl<K: Key, In: Record, KF: 'static, F: 'static, D: Stage> Stage for RunningReduce<K, In, KF, F, D> {
    seal_and_pass_on!();
}
