//! The running form of chains: the stages of a fused chain, and the collectors that take its records.
//!
//! Each operator holds the collector downstream of it, and passes down every call that does not concern itself.

use crate::metrics::Samples;
use crate::record::Record;
use crate::subtask::clock::Now;
use crate::time::Control;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// Why a suspended stage stopped.
///
/// Only the ends of a chain return `Blocked`: they know which channel or write they wait for, and [`Stage::poll_progress`] registers with exactly that.
/// An operator that finds the stage below not ready returns `Again`, whatever the reason: the next [`Stage::resume`] begins below and gets the true
/// answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing is suspended any more.
    Done,
    /// There is more to do, and room for it: a slice of work is over.
    Again,
    /// The output has no room.
    Blocked,
    /// The state of the next record or timer is still being fetched; [`Stage::poll_progress`] is ready when it has come.
    AwaitsState,
}

/// The calls that every operator of a fused chain takes, whatever the type of its records. Each call passes down the chain.
pub trait Stage: 'static {
    /// Takes an in-band element. Only while [`ready`](Self::ready); it may suspend the stage (a watermark that fires many windows). A stage with
    /// state fixes it when a barrier comes, before it passes the barrier on: it seals its tables and timers, which are saved later, and writes the state of splits
    /// into the snapshot at once.
    fn control(&mut self, control: Control);

    /// Whether the stage takes a record or an in-band element now.
    fn ready(&self) -> bool;

    /// Continues the suspended work.
    fn resume(&mut self) -> Resumed;

    /// The head has worked off one batch: time for periodic watermarks. Also while not ready: under back-pressure event time goes on.
    fn batch_end(&mut self);

    /// Hands over the open frames. `true` when none is left.
    fn flush(&mut self) -> bool;

    /// Ready if [`resume`](Self::resume) or [`flush`](Self::flush) would get further: because something that is held back can move now, or because state
    /// has come that was being fetched. Registers for that otherwise, and drives the I/O of a sink.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Starts the I/O of a sink that has enough for it, while the task is busy and does not park. Nothing to do for an exchange.
    fn drive(&mut self, cx: &mut Context<'_>);

    /// Fires processing-time timers and idleness that are due. Only while [`ready`](Self::ready).
    fn advance_processing_time(&mut self, now: Now);

    /// When [`advance_processing_time`](Self::advance_processing_time) wants to be called next.
    fn next_deadline(&self, now: Now) -> Option<MonotonicNs>;

    /// Saves the next slice of the state that a barrier has sealed and that is not in its snapshot yet: of the first operator that has such state. Also while
    /// not [`ready`](Self::ready).
    fn save(&mut self);

    /// Adds the metrics of state, which are only computed when asked for. Also while not [`ready`](Self::ready).
    fn sample(&self, samples: &mut Samples<'_>);

    /// After the end of input: ready when the results of all epochs are prepared, that is durable and hidden.
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The attempt is over: ready when no operation is under way that could change anything.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The downstream end of an operator, inside one fused chain.
pub trait Collector<T: Record>: Stage {
    /// Takes a record over. Only while [`ready`](Stage::ready).
    fn push(&mut self, timestamp: i64, record: T);

    /// Takes the view of a record. Only while [`ready`](Stage::ready).
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>);
}

/// Implements the methods of [`Stage`] that an operator only passes down to the collector in its field `down`.
macro_rules! pass_on {
    () => {
        $crate::chain::pass_on!(ready resume batch_end control flush poll_progress processing_time save finish);
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
        fn advance_processing_time(&mut self, now: $crate::subtask::clock::Now) {
            self.down.advance_processing_time(now);
        }
        fn next_deadline(&self, now: $crate::subtask::clock::Now) -> Option<thalweg_io::MonotonicNs> {
            self.down.next_deadline(now)
        }
    };
    (@ save) => {
        fn save(&mut self) {
            self.down.save();
        }
        fn sample(&self, samples: &mut $crate::metrics::Samples<'_>) {
            self.down.sample(samples);
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
