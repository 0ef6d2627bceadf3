//! How operators become one loop.
//!
//! A [`Chain`] is a description: the type `Filter<Map<FromSource<S>, F>, G>` says which operators are joined, in order. When a job starts, each
//! subtask *fuses* its chain from the end to the beginning: every operator wraps the [`Collector`] that stands downstream of it, and the head (a
//! source, or the input of an exchange) drives the whole. What the compiler sees is one loop without a dynamic call, an intermediate batch or an
//! allocation per record.
//!
//! Where a chain is cut (another parallelism, `disable_chaining`, several consumers) the upstream part becomes a task of its own and the rest
//! begins with [`Exchanged`](crate::Exchanged).
//!
//! A chain whose shape is known only when the job runs is [`Boxed`]: it ends in a joint, over which records go by runs (`joint.rs`).
//!
//! *Back-pressure.* A collector accepts a record only while it is [`ready`](Stage::ready). One that has more to give than there is room for
//! keeps its place and is not ready; [`resume`](Stage::resume) goes on. So a chain stops between any two records or timers, without blocking
//! and without buffering more than one call of a user function produced.

mod boxed;
mod joint;

use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driver::Now;
use crate::subtask::driver::Subtask;
use crate::time::Control;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

pub use boxed::Boxed;

/// How far a suspended stage came.
///
/// Only the ends of a chain say `Blocked`: they know which channel or write they wait for, and [`Stage::poll_progress`] registers with exactly that.
/// An operator that finds the stage below not ready says `Again`, whatever the reason: the next [`Stage::resume`] begins below and gets the true
/// answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing is suspended any more.
    Done,
    /// There is more to do, and room for it: a slice of work is over.
    Again,
    /// The output has no room.
    Blocked,
    /// What is to be worked on next has state that is still being fetched; [`Stage::poll_progress`] is ready when it is there.
    AwaitsState,
}

/// What every operator of a fused chain can do, whatever the type of its records. Each call passes down the chain.
pub trait Stage: 'static {
    /// Takes an in-band element. Only while [`ready`](Self::ready); it may suspend the stage (a watermark that fires many windows). A stage with
    /// state puts it into the snapshot when a barrier comes, before it passes the barrier on.
    fn control(&mut self, control: Control);

    /// Whether it takes a record or control now.
    fn ready(&self) -> bool;

    /// Goes on with what is suspended.
    fn resume(&mut self) -> Resumed;

    /// The head has worked off one batch: time for periodic watermarks. Also while not ready: under back-pressure event time goes on.
    fn batch_end(&mut self);

    /// Hands over what is held in open frames. `true` when nothing is held any more.
    fn flush(&mut self) -> bool;

    /// Ready if something that is held back can move now, so that [`resume`](Self::resume) or [`flush`](Self::flush) would get further, or if state that was
    /// asked for has come. Registers for that otherwise, and drives the I/O of a sink.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Starts the I/O of a sink that has enough for it, while the task is busy and does not park. Nothing to do for an exchange.
    fn drive(&mut self, cx: &mut Context<'_>);

    /// Fires processing-time timers and idleness that are due. Only while [`ready`](Self::ready).
    fn advance_processing_time(&mut self, now: Now);

    /// When [`advance_processing_time`](Self::advance_processing_time) wants to be called next.
    fn next_deadline(&self, now: Now) -> Option<MonotonicNs>;

    /// After the end of input: ready when the results of all epochs are prepared, that is durable and hidden.
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The attempt is over: ready when no operation is under way that could change anything.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The downstream end of an operator, inside one fused chain.
pub trait Collector<T: Record>: Stage {
    /// Takes a record over. Only while [`ready`](Stage::ready).
    fn push(&mut self, timestamp: i64, record: T);

    /// Shows a record. Only while [`ready`](Stage::ready).
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>);
}

/// Implements the methods of [`Stage`] that an operator only passes on to the collector in its field `down`.
macro_rules! pass_on {
    () => {
        $crate::chain::pass_on!(ready resume batch_end control flush poll_progress processing_time finish);
    };
    ($($part:ident)*) => { $($crate::chain::pass_on!(@ $part);)* };
    (@ ready) => {
        #[inline]
        fn ready(&self) -> bool {
            self.down.ready()
        }
    };
    (@ resume) => {
        fn resume(&mut self) -> $crate::chain::Resumed {
            self.down.resume()
        }
    };
    (@ batch_end) => {
        fn batch_end(&mut self) {
            self.down.batch_end();
        }
    };
    (@ control) => {
        fn control(&mut self, control: $crate::time::Control) {
            self.down.control(control);
        }
    };
    (@ flush) => {
        fn flush(&mut self) -> bool {
            self.down.flush()
        }
    };
    (@ poll_progress) => {
        fn poll_progress(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            self.down.poll_progress(cx)
        }
        fn drive(&mut self, cx: &mut std::task::Context<'_>) {
            self.down.drive(cx);
        }
    };
    (@ processing_time) => {
        fn advance_processing_time(&mut self, now: $crate::subtask::driver::Now) {
            self.down.advance_processing_time(now);
        }
        fn next_deadline(&self, now: $crate::subtask::driver::Now) -> Option<thalweg_io::MonotonicNs> {
            self.down.next_deadline(now)
        }
    };
    (@ finish) => {
        fn poll_prepared(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            self.down.poll_prepared(cx)
        }
        fn poll_close(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            self.down.poll_close(cx)
        }
    };
}
pub(crate) use pass_on;

/// A description of joined operators, up to and including one whose output has type `Out`.
///
/// Users meet it only as the parameter of [`DataStream`](crate::DataStream): `fn f(s: DataStream<impl Chain<Out = Flight>>)`.
pub trait Chain: Clone + Send + 'static {
    /// What the last operator emits.
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

/// What stands at the end of a task: an exchange or a sink.
#[doc(hidden)]
pub trait Terminal<T: Record>: Clone + Send + 'static {
    /// Its running form.
    type Collector: Collector<T>;

    /// Builds the running form in one subtask.
    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector;
}
