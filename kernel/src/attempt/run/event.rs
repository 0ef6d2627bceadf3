//! The events that an attempt waits for.

use super::{AttemptRun, Event};
use crate::messages::ToCoordinator;
use std::future::poll_fn;
use std::task::Poll;
use thalweg_io::MailboxReceiver;

impl AttemptRun<'_> {
    /// The next event.
    pub(super) async fn next_event(&mut self, inbox: &mut MailboxReceiver<ToCoordinator>) -> Event {
        // When nothing is left to decide, waiting for a deadline would be spinning.
        let deadlines = self.checkpoints.next_deadline().into_iter().chain(self.stop_word_at);
        let deadlines = deadlines.chain(self.commit_again.map(|(at, _)| at)).chain(self.room.next_word());
        let deadline = deadlines.min().filter(|_| !self.closing);
        if self.timer.as_ref().map(|(at, _)| *at) != deadline {
            self.timer = deadline.map(|at| (at, self.parts.io.clock().sleep_until(at)));
        }
        let Self { folder, committing, timer, .. } = self;
        poll_fn(|cx| {
            if let Poll::Ready(persisted) = folder.poll_persisted(cx) {
                return Poll::Ready(Event::Persisted(persisted));
            }
            if folder.poll_cleaned(cx).is_ready() {
                return Poll::Ready(Event::Cleaned);
            }
            if let Some(future) = committing
                && let Poll::Ready((checkpoint, result)) = future.as_mut().poll(cx)
            {
                *committing = None;
                return Poll::Ready(Event::Committed(checkpoint, result));
            }
            if let Poll::Ready(message) = inbox.poll_recv(cx) {
                return Poll::Ready(Event::Message(message));
            }
            if let Some((_, sleep)) = timer
                && sleep.as_mut().poll(cx).is_ready()
            {
                *timer = None;
                return Poll::Ready(Event::Tick);
            }
            Poll::Pending
        })
        .await
    }
}
