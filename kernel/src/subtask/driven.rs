//! One parallel instance of a task, whatever feeds it, as the driver sees it.
//!
//! It works in synchronous slices and says why each has ended; the driver (`driver.rs`) draws the consequences.

use super::clock::Now;
use crate::messages::ToSubtask;
use crate::metrics::Samples;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// Why a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do at once.
    Busy,
    /// Nothing to do before input, room or time comes.
    Waiting,
    /// The input has ended and everything has been handed over.
    Finished,
}

/// One parallel instance of a task.
pub trait Subtask {
    /// Works for one slice. `cx` is for sources, which read asynchronously.
    fn step(&mut self, cx: &mut Context<'_>) -> Step;

    /// Ready when another step is worthwhile; otherwise registers for that.
    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// See [`Stage::advance_processing_time`](crate::chain::Stage::advance_processing_time).
    fn advance_processing_time(&mut self, now: Now);

    /// When [`advance_processing_time`](Self::advance_processing_time), or a step, is due next.
    fn next_deadline(&self, now: Now) -> Option<MonotonicNs>;

    /// Takes a message of the coordinator that concerns sources.
    fn receive(&mut self, _message: ToSubtask) {}

    /// Frames waiting at its inputs.
    fn queued(&self) -> usize {
        0
    }

    /// After a slice that found nothing to do: whether it waits for input, and not for the chain's own sink.
    fn awaits_input(&self) -> bool {
        true
    }

    /// Adds the metrics that are only computed when asked for, those of its chain included.
    fn sample(&self, samples: &mut Samples<'_>);

    /// See [`Stage::save`](crate::chain::Stage::save).
    fn save(&mut self);

    /// See [`Stage::poll_prepared`](crate::chain::Stage::poll_prepared).
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// See [`Stage::poll_close`](crate::chain::Stage::poll_close).
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
