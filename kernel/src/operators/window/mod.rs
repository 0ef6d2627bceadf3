//! Event-time windows on a keyed stream: an assigner, a trigger and a store, as Flink has them.
//!
//! [`assigner`] says to which windows a record belongs, [`lateness`] which of these are over and when a record is late, [`aggregate`] folds its records,
//! [`trigger`] says when the result is emitted. [`panes`] stores the entries: windows of one span live together, so that no timer per key is needed;
//! [`store`] says what the other parts expect of it. [`firing`] walks through a store in slices, [`restoring`] fills it; [`running`] joins the parts.
//!
//! Another kind of window is another assigner, and a trigger or a store only if these do not serve: sessions, which merge, need a store of their own.
//! Lateness, firing and restoring are the same for all.

mod aggregate;
mod assigner;
mod firing;
mod lateness;
#[cfg(test)]
mod other_kinds_tests;
mod panes;
mod restoring;
mod running;
mod store;
mod trigger;

use super::keyed::KeyedOperator;
use super::output_tag::OutputTag;
use super::side_output::WithSides;
use crate::chain::Collector;
use crate::checkpoint::SealedState;
use crate::graph_ids::OperatorId;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;
use crate::time::TimeWindow;
use firing::Firing;
use lateness::{AllowedLateness, LateRecords};
use running::RunningWindow;
use std::marker::PhantomData;

pub use aggregate::AggregateFunction;
pub(crate) use aggregate::ReduceWindow;
pub use assigner::{SlidingEventTimeWindows, TumblingEventTimeWindows, WindowAssigner};
pub(crate) use panes::Panes;
pub(crate) use restoring::CONTENTS;
pub(crate) use store::WindowStore;
pub(crate) use trigger::{EventTimeTrigger, Trigger};

/// The settings that all kinds of windowed operators have in common.
pub struct WindowSettings<In: Record, K, KF, W> {
    pub(crate) key: KF,
    pub(crate) assigner: W,
    pub(crate) allowed_lateness_ms: i64,
    pub(crate) late: Option<OutputTag<In>>,
    pub(crate) key_type: PhantomData<fn() -> K>,
}

impl<In: Record, K, KF: Clone, W: Clone> Clone for WindowSettings<In, K, KF, W> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            assigner: self.assigner.clone(),
            allowed_lateness_ms: self.allowed_lateness_ms,
            late: self.late.clone(),
            key_type: PhantomData,
        }
    }
}

/// Describes a windowed aggregate whose windows lie in a store `S`: `result` makes the emitted record from key, window and aggregate.
pub struct WindowOperator<In: Record, K, KF, W, T, A, S, RF> {
    pub(crate) settings: WindowSettings<In, K, KF, W>,
    pub(crate) trigger: T,
    pub(crate) aggregate: A,
    pub(crate) result: RF,
    pub(crate) id: OperatorId,
    pub(crate) store: PhantomData<fn() -> S>,
}

impl<In: Record, K, KF: Clone, W: Clone, T: Clone, A: Clone, S, RF: Clone> Clone for WindowOperator<In, K, KF, W, T, A, S, RF> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            trigger: self.trigger.clone(),
            aggregate: self.aggregate.clone(),
            result: self.result.clone(),
            id: self.id,
            store: PhantomData,
        }
    }
}

impl<In, K, KF, W, T, A, S, RF, Out> KeyedOperator<In> for WindowOperator<In, K, KF, W, T, A, S, RF>
where
    In: Record,
    K: Key,
    Out: Record,
    W: WindowAssigner<In>,
    T: Trigger,
    A: AggregateFunction<In>,
    S: WindowStore<K, T::Kept<A::Accumulator>>,
    KF: for<'a> FnMut(&'a In::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + Clone + Send + 'static,
{
    type Out = Out;
    type Running<D: Collector<Out>> = RunningWindow<In, K, KF, W, T, A, S, RF, Out, D>;

    fn start<D: Collector<Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D> {
        let watermark = cx.restored_watermark();
        let state = cx.state_of(self.id);
        let (store, has_due) = restoring::restored(&state, watermark);
        let slice = cx.settings().slice_timers;
        RunningWindow {
            key: self.settings.key,
            assigner: self.settings.assigner,
            trigger: self.trigger,
            aggregate: self.aggregate,
            result: self.result,
            store,
            watermark,
            allowed_lateness: AllowedLateness { ms: self.settings.allowed_lateness_ms },
            late: LateRecords::new(cx, self.id, self.settings.late),
            firing: Firing::new(has_due.then_some(watermark), slice),
            sealed: SealedState::new::<K, T::Kept<A::Accumulator>>(&state, CONTENTS),
            state,
            slice,
            io: cx.io.clone(),
            place: cx.name.to_string(),
            info: cx.operator(self.id),
            types: PhantomData,
            down: WithSides::new(cx, self.id, down),
        }
    }
}
