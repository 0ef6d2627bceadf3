//! How operators become one loop.
//!
//! A [`Chain`] is a description: the type `Filter<Map<FromSource<S>, F>, G>` says which operators are joined, in order. When a job starts, each
//! subtask *fuses* its chain from the end to the beginning: every operator wraps the [`Collector`] that stands downstream of it, and the head (a
//! source, or the input of an exchange) drives the whole. The compiler sees one loop without a dynamic call, an intermediate batch or an
//! allocation per record.
//!
//! Where a chain is cut (another parallelism, `disable_chaining`, several consumers) the upstream part becomes a task of its own and the rest
//! begins with [`Exchanged`](crate::Exchanged).
//!
//! A chain whose shape is known only when the job runs is [`Boxed`]: it ends in a joint, which records cross in runs (`joint.rs`).
//!
//! *Back-pressure.* A collector accepts a record only while it is [`ready`](Stage::ready). An operator that has more to emit than there is room for keeps
//! its place and is not ready; [`resume`](Stage::resume) continues it. So a chain stops between any two records or timers, without blocking and without
//! buffering more than one call of a user function produced.

mod boxed;
mod cut;
mod joint;
mod stage;

use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;

pub use boxed::Boxed;
pub(crate) use stage::pass_on;
pub use stage::{Collector, Resumed, Stage};

/// A description of joined operators, up to and including one whose output has type `Out`.
///
/// Users meet it only as the parameter of [`DataStream`](crate::DataStream): `fn f(s: DataStream<impl Chain<Out = Flight>>)`.
pub trait Chain: Clone + Send + 'static {
    /// The records that the last operator emits.
    type Out: Record;
    /// The same operator at the head of a chain of its own.
    type Detached: Chain<Out = Self::Out>;

    /// Builds the loop of one subtask, with `down` at its end.
    #[doc(hidden)]
    fn fuse<D: Collector<Self::Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask>;

    /// Makes everything above the last operator a task of its own.
    #[doc(hidden)]
    fn detach(self, cut: &mut Cut<'_>) -> Self::Detached;

    /// Makes every operator above the last one a task of its own.
    #[doc(hidden)]
    fn unchain(self, cut: &mut Cut<'_>) -> Self::Detached;
}

/// The end of a task: an exchange or a sink.
#[doc(hidden)]
pub trait Terminal<T: Record>: Clone + Send + 'static {
    /// Its running form.
    type Collector: Collector<T>;

    /// Builds the running form in one subtask.
    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector;
}
