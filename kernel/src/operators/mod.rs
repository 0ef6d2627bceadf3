//! The operators. Each file holds one: its description, which the API puts into a chain, and its running form, a collector that wraps the one
//! downstream of it.

mod co_process;
mod connected;
mod custom;
mod filter;
mod flat_map;
mod keyed;
mod keyed_table;
mod map;
mod output_tag;
mod process;
mod rate_limiter;
mod reduce;
mod side_output;
mod sink;
mod source;
mod timestamps;
mod window;

use crate::chain::{Chain, Collector};
use crate::exchange::Exchanged;
use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;

pub(crate) use co_process::CoProcess;
pub use co_process::{CoProcessContext, CoProcessFunction};
pub(crate) use connected::Connected;
pub use custom::{
    KeyedOperatorContext, KeyedStreamOperator, OneInputStreamOperator, OperatorContext, RunRecords, StreamOperator, TwoInputStreamOperator,
};
pub(crate) use custom::{OperatorFunction, Transform, TwoInputTransform};
pub(crate) use filter::Filter;
pub(crate) use flat_map::FlatMap;
pub(crate) use keyed::Keyed;
#[cfg(test)]
pub(crate) use keyed::KeyedOperator;
pub(crate) use keyed_table::{KEYED_STATE, keyed_states};
pub(crate) use map::Map;
pub use output_tag::OutputTag;
pub use process::{
    Context, KeyedCoProcessFunction, KeyedProcessFunction, ListAccess, ListState, MapAccess, MapState, OpenContext, Output, Timer,
    TimerDomain, ValueAccess, ValueState,
};
pub(crate) use process::{KeyedCoProcess, OneInputFunction, Process, TwoInputFunction, wanted_states};
pub(crate) use reduce::{Aggregate, Reduce};
pub(crate) use side_output::SideOutputs;
pub(crate) use sink::{ForEach, SinkTerminal};
pub(crate) use source::FromSource;
pub(crate) use timestamps::{AssignTimestamps, timestamp_states};
pub use window::{AggregateFunction, SlidingEventTimeWindows, TumblingEventTimeWindows, WindowAssigner};
pub(crate) use window::{
    CONTENTS as WINDOW_CONTENTS, EventTimeTrigger, Panes, ReduceWindow, Trigger, WindowOperator, WindowSettings, WindowStore,
};

/// An operator with one input and one output that joins a chain.
pub trait Operator<In: Record>: Clone + Send + 'static {
    /// The records it emits.
    type Out: Record;
    /// The running form, which emits into `D`.
    type Running<D: Collector<Self::Out>>: Collector<In>;

    /// Builds the running form of one subtask.
    fn start<D: Collector<Self::Out>>(self, cx: &mut SubtaskContext, down: D) -> Self::Running<D>;
}

/// A chain and one more operator at its end.
#[derive(Clone)]
pub struct Then<C, O> {
    pub(crate) upstream: C,
    pub(crate) operator: O,
}

impl<C: Chain, O: Operator<C::Out>> Chain for Then<C, O> {
    type Out = O::Out;
    type Detached = Then<Exchanged<C::Out>, O>;

    fn fuse<D: Collector<O::Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        let running = self.operator.start(cx, down);
        self.upstream.fuse(cx, running)
    }

    fn detach(self, cut: &mut Cut<'_>) -> Self::Detached {
        Then { upstream: cut.below(self.upstream), operator: self.operator }
    }

    fn unchain(self, cut: &mut Cut<'_>) -> Self::Detached {
        Then { upstream: cut.below_each(self.upstream), operator: self.operator }
    }
}
