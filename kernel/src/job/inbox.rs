//! The coordinator's messages while no attempt is under way.
//!
//! Workers come and go, and the user asks for an end, also while checkpoints are read or sinks recover. So the coordinator waits for everything with
//! [`Inbox::listening`], which does not put the end off and forgets no worker; for changes on a disk it uses [`Inbox::hearing_out`]. Messages of an attempt
//! that is over change nothing (law 10). An attempt that is under way takes messages and crew for itself.

use crate::error::JobError;
use crate::job::callers::Callers;
use crate::job::crew::Crew;
use crate::messages::ToCoordinator;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use thalweg_io::MailboxReceiver;

/// The coordinator's messages, and the facts known from them.
pub(crate) struct Inbox {
    pub(crate) messages: MailboxReceiver<ToCoordinator>,
    pub(crate) crew: Crew,
    /// Callers wait also while no attempt is under way.
    pub(crate) callers: Callers,
    /// The job is to end.
    pub(crate) is_cancelled: bool,
    /// The input is to end where it is.
    pub(crate) drains: bool,
    /// The job is to stop with a checkpoint.
    pub(crate) stops: bool,
}

impl Inbox {
    pub(crate) fn new(messages: MailboxReceiver<ToCoordinator>) -> Self {
        Self { messages, crew: Crew::default(), callers: Callers::default(), is_cancelled: false, drains: false, stops: false }
    }

    /// Waits for `future`, or until a message ends the job.
    pub(crate) async fn listening<F: Future>(&mut self, future: F) -> Result<F::Output, JobError> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while let Poll::Ready(message) = self.messages.poll_recv(cx) {
                // The handle holds a sender, so only a core that is being torn down has no sender left.
                if let Err(end) = self.hear(message.unwrap_or(ToCoordinator::Cancel)) {
                    return Poll::Ready(Err(end));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The same for a `future` that must not be given up halfway: an abandoned disk operation still comes to its end, and may do so after later code has
    /// looked at the disk. A message that ends the job takes effect when `future` has ended.
    pub(crate) async fn hearing_out<F: Future>(&mut self, future: F) -> Result<F::Output, JobError> {
        let (mut future, mut end) = (pin!(future), None);
        let output = poll_fn(|cx| {
            while end.is_none()
                && let Poll::Ready(message) = self.messages.poll_recv(cx)
            {
                end = self.hear(message.unwrap_or(ToCoordinator::Cancel)).err();
            }
            future.as_mut().poll(cx)
        })
        .await;
        end.map_or(Ok(output), Err)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// If the job is to end, or cannot go on.
    pub(crate) fn hear(&mut self, message: ToCoordinator) -> Result<(), JobError> {
        match message {
            // A message of an attempt that is over.
            ToCoordinator::FromSubtask { .. } | ToCoordinator::Metrics { .. } => {}
            ToCoordinator::Joined(member) => self.crew.join(member),
            ToCoordinator::Lost { worker, reason } => {
                if let Some(member) = self.crew.lose(worker) {
                    tracing::warn!(worker = %member.name, %reason, "a worker is lost");
                }
            }
            ToCoordinator::Impossible(error) => return Err(error),
            ToCoordinator::Drain => self.drains = true,
            ToCoordinator::Checkpoint(caller) => self.callers.ask(caller),
            ToCoordinator::Watch(caller) => self.callers.watch(caller),
            // Nothing has been read since the last checkpoint: stopping with a checkpoint means ending here.
            ToCoordinator::Cancel | ToCoordinator::Stop => {
                self.is_cancelled = true;
                return Err(JobError::Cancelled);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::task::{Context, Waker};
    use thalweg_io::mailbox;

    /// A cancelled job removes its sinks' results. A job that was cancelled in the middle of a recovery left a file: it was linked after that.
    #[test]
    fn what_is_heard_out_has_ended_when_the_word_comes_that_the_job_is_to_end() {
        let (coordinator, messages) = mailbox();
        let (mut inbox, polls) = (Inbox::new(messages), Cell::new(0));
        let operation = poll_fn(|_| {
            polls.set(polls.get() + 1);
            if polls.get() == 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        drop(coordinator.send(ToCoordinator::Cancel));
        drop(coordinator.send(ToCoordinator::Drain));
        let mut heard_out = pin!(inbox.hearing_out(operation));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(heard_out.as_mut().poll(&mut cx).is_pending() && heard_out.as_mut().poll(&mut cx).is_pending());
        assert!(matches!(heard_out.as_mut().poll(&mut cx), Poll::Ready(Err(JobError::Cancelled))));
        assert_eq!(polls.get(), 3);
    }
}
