//! Outcomes of commands: futures that can be awaited on any executor, or waited for on a thread.

use crate::job::history::{Failure, JobOutcome};
use crate::job::journal::{SharedHistory, snapshot};
use crate::messages::CheckpointOutcome;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use thalweg_io::{MailboxReceiver, block_on};

/// A checkpoint that was asked for, as [`JobControl::checkpoint`](crate::JobControl::checkpoint) gives it. Dropping it does not cancel the checkpoint.
pub struct RequestedCheckpoint {
    answer: MailboxReceiver<CheckpointOutcome>,
}

impl RequestedCheckpoint {
    pub(crate) fn new(answer: MailboxReceiver<CheckpointOutcome>) -> Self {
        Self { answer }
    }

    /// Waits on the current thread, which must not be one of the job's cores, until the outcome of the checkpoint is known.
    #[must_use]
    pub fn wait(self) -> CheckpointOutcome {
        block_on(self)
    }
}

impl Future for RequestedCheckpoint {
    type Output = CheckpointOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CheckpointOutcome> {
        // If the job has ended nobody is left to answer.
        self.answer.poll_recv(cx).map(|answer| answer.unwrap_or(CheckpointOutcome::JobEnded))
    }
}

/// The end of a job, as the commands that end it give it. Dropping it does not cancel the command.
pub struct JobEnd {
    /// Closed when the coordinator has recorded the end.
    closed: MailboxReceiver<Infallible>,
    history: SharedHistory,
}

impl JobEnd {
    pub(crate) fn new(closed: MailboxReceiver<Infallible>, history: SharedHistory) -> Self {
        Self { closed, history }
    }

    /// Waits on the current thread, which must not be one of the job's cores, until the job has ended.
    #[must_use]
    pub fn wait(self) -> JobOutcome {
        block_on(self)
    }
}

impl Future for JobEnd {
    type Output = JobOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<JobOutcome> {
        if self.closed.poll_recv(cx).is_pending() {
            return Poll::Pending;
        }
        let torn_down = || JobOutcome::Failed(Arc::new(Failure::unknown("the coordinator was torn down")));
        Poll::Ready(snapshot(&self.history).outcome().cloned().unwrap_or_else(torn_down))
    }
}
