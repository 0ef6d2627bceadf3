//! Callers that have given a command and wait for its outcome.
//!
//! There are as many callers as there are futures in their hands: one whose future has been dropped is forgotten when the next one comes. When the job has
//! ended all of them are dropped, and that is the answer to callers that still wait.

use crate::job::history::CheckpointFailure;
use crate::messages::CheckpointOutcome;
use std::convert::Infallible;
use thalweg_io::Mailbox;

/// The callers that wait.
#[derive(Default)]
pub(crate) struct Callers {
    /// For a checkpoint that has not begun.
    waiting: Vec<Mailbox<CheckpointOutcome>>,
    /// For the checkpoint under way, which began after they had asked.
    promised: Vec<Mailbox<CheckpointOutcome>>,
    /// For the end of the job.
    watching: Vec<Mailbox<Infallible>>,
}

impl Callers {
    /// A caller wants a checkpoint that begins from now on.
    pub(crate) fn ask(&mut self, caller: Mailbox<CheckpointOutcome>) {
        self.waiting.retain(|caller| !caller.is_closed());
        self.waiting.push(caller);
    }

    /// A caller wants to know how the job ends.
    pub(crate) fn watch(&mut self, caller: Mailbox<Infallible>) {
        self.watching.retain(|caller| !caller.is_closed());
        self.watching.push(caller);
    }

    /// Whether a checkpoint was asked for that has not begun.
    pub(crate) fn want_checkpoint(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A checkpoint begins: every caller that waits for one gets this one.
    pub(crate) fn begun(&mut self) {
        assert!(self.promised.is_empty(), "one checkpoint is under way at a time");
        self.promised = std::mem::take(&mut self.waiting);
    }

    /// The outcome of the checkpoint under way is known.
    pub(crate) fn decided(&mut self, outcome: &CheckpointOutcome) {
        self.promised.drain(..).for_each(|caller| answer(&caller, outcome.clone()));
    }

    /// No checkpoint can be taken.
    pub(crate) fn decline(&mut self, reason: CheckpointFailure) {
        self.waiting.drain(..).for_each(|caller| answer(&caller, CheckpointOutcome::Declined(reason)));
    }
}

/// A caller may have dropped its future.
fn answer(caller: &Mailbox<CheckpointOutcome>, outcome: CheckpointOutcome) {
    drop(caller.send(outcome));
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_io::{block_on, mailbox};

    #[test]
    fn a_checkpoint_answers_those_who_had_asked_before_it_began_and_nobody_else() {
        let mut callers = Callers::default();
        let (early, mut early_answer) = mailbox();
        let (late, mut late_answer) = mailbox();
        callers.ask(early);
        assert!(callers.want_checkpoint());
        callers.begun();
        callers.ask(late);
        callers.decided(&CheckpointOutcome::Declined(CheckpointFailure::Expired));
        assert_eq!(early_answer.try_recv(), Some(CheckpointOutcome::Declined(CheckpointFailure::Expired)));
        assert_eq!((late_answer.try_recv(), callers.want_checkpoint()), (None, true));
        drop(callers);
        assert_eq!(block_on(late_answer.recv()), None, "nobody is left who could answer");
    }

    #[test]
    fn whoever_does_not_wait_any_more_is_forgotten() {
        let mut callers = Callers::default();
        for _ in 0..10 {
            let (asks, _answer) = mailbox();
            let (watches, _closed) = mailbox();
            callers.ask(asks);
            callers.watch(watches);
        }
        assert_eq!((callers.waiting.len(), callers.watching.len()), (1, 1));
    }
}
