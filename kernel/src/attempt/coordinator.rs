//! The coordinator of one attempt: assigns splits, and takes the attempt to its one end.
//!
//! An attempt runs until its work is complete, something fails, or the user cancels it; the first of these decides. Then all subtasks close, and
//! when the last one is gone the attempt has ended.
//!
//! Pure: `step(input) -> actions`, no clock, no I/O. Splits are numbers here; `splits.rs` holds their contents. `checkpoint_coordinator.rs` decides when
//! checkpoints are taken.

use crate::attempt::checkpoint_coordinator::Completion;
use crate::error::JobError;
use crate::graph_ids::{OperatorId, SubtaskId};
use std::collections::BTreeSet;

/// An event that the coordinator reacts to.
pub(crate) enum AttemptInput {
    /// A reader of `source` has nothing to read.
    SplitRequested { source: OperatorId, subtask: SubtaskId },
    /// The input has ended, or the job was stopped, and everything is committed.
    Completed(Completion),
    /// Something failed, or the user cancelled the job.
    Failed(JobError),
    /// The sources are to end where they are.
    Drain,
    /// The subtask is gone.
    Ended { subtask: SubtaskId },
    /// The worker that ran these subtasks is gone.
    Lost { subtasks: Vec<SubtaskId>, error: JobError },
}

/// An instruction for the driver.
#[derive(Debug)]
pub(crate) enum Action {
    /// Give split `number` of `source` to `subtask`.
    Assign { source: OperatorId, subtask: SubtaskId, number: u32 },
    /// Tell `subtask` that there is nothing more to read.
    NoMoreSplits { subtask: SubtaskId },
    /// Tell every subtask to end its sources.
    DrainAll,
    /// Tell every subtask that the attempt is over.
    CloseAll,
    /// The attempt has ended.
    End(Result<Completion, JobError>),
}

/// The state of an attempt as its coordinator sees it.
pub(crate) struct Coordinator {
    ended: Vec<bool>,
    /// All subtasks have been told that the attempt is over.
    closed: bool,
    /// The outcome of the attempt, once it is decided.
    outcome: Option<Result<Completion, JobError>>,
    draining: bool,
    /// For each source, the splits that are not assigned.
    unassigned: Vec<(OperatorId, BTreeSet<u32>)>,
}

impl Coordinator {
    /// A coordinator of `subtasks` subtasks and, for each source, its splits.
    pub(crate) fn new(subtasks: usize, sources: impl IntoIterator<Item = (OperatorId, BTreeSet<u32>)>) -> Self {
        assert!(subtasks > 0, "an attempt has subtasks");
        Self { ended: vec![false; subtasks], closed: false, outcome: None, draining: false, unassigned: sources.into_iter().collect() }
    }

    /// Takes `input` into account and returns the actions to take, in order.
    pub(crate) fn step(&mut self, input: AttemptInput) -> Vec<Action> {
        match input {
            AttemptInput::SplitRequested { source, subtask } => vec![self.assign(source, subtask)],
            AttemptInput::Completed(completion) => self.close(Ok(completion)),
            AttemptInput::Failed(error) => self.close(Err(error)),
            AttemptInput::Drain => {
                self.draining = true;
                vec![Action::DrainAll]
            }
            AttemptInput::Ended { subtask } => {
                assert!(!self.ended[subtask], "subtask {subtask} ended twice");
                assert!(self.closed, "subtask {subtask} ended before the attempt did");
                self.ended[subtask] = true;
                self.end_if_all_are_gone()
            }
            AttemptInput::Lost { subtasks, error } => {
                let mut actions = self.close(Err(error));
                // Some of these subtasks may have ended before.
                subtasks.into_iter().for_each(|subtask| self.ended[subtask] = true);
                actions.extend(self.end_if_all_are_gone());
                actions
            }
        }
    }

    fn end_if_all_are_gone(&mut self) -> Vec<Action> {
        if self.ended.iter().all(|ended| *ended) { self.outcome.take().map(Action::End).into_iter().collect() } else { vec![] }
    }

    fn assign(&mut self, source: OperatorId, subtask: SubtaskId) -> Action {
        let unassigned = self.unassigned.iter_mut().find(|(id, _)| *id == source);
        match unassigned.filter(|_| !self.draining).and_then(|(_, splits)| splits.pop_first()) {
            Some(number) => Action::Assign { source, subtask, number },
            None => Action::NoMoreSplits { subtask },
        }
    }

    /// The first reason wins.
    fn close(&mut self, outcome: Result<Completion, JobError>) -> Vec<Action> {
        if std::mem::replace(&mut self.closed, true) {
            return vec![];
        }
        self.outcome = Some(outcome);
        vec![Action::CloseAll]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::CheckpointId;
    use proptest::prelude::*;

    const FINISHED: Completion = Completion::Finished { checkpoint: CheckpointId(1) };

    fn names(actions: &[Action]) -> Vec<String> {
        actions.iter().map(|action| format!("{action:?}")).collect()
    }

    fn failed(reason: &str) -> AttemptInput {
        AttemptInput::Failed(JobError::invalid(reason))
    }

    fn end_by(reason: &str) -> String {
        format!("End(Err({:?}))", JobError::invalid(reason))
    }

    #[test]
    fn splits_are_given_out_lowest_first_and_then_there_are_no_more() {
        let source = OperatorId(7);
        let mut coordinator = Coordinator::new(2, [(source, BTreeSet::from([3, 5]))]);
        let request = |coordinator: &mut Coordinator, subtask| names(&coordinator.step(AttemptInput::SplitRequested { source, subtask }));
        assert_eq!(request(&mut coordinator, 1), ["Assign { source: OperatorId(7), subtask: 1, number: 3 }"]);
        assert_eq!(request(&mut coordinator, 0), ["Assign { source: OperatorId(7), subtask: 0, number: 5 }"]);
        assert_eq!(request(&mut coordinator, 1), ["NoMoreSplits { subtask: 1 }"]);
    }

    #[test]
    fn the_first_failure_is_the_attempts_and_what_comes_after_the_end_changes_nothing() {
        let mut coordinator = Coordinator::new(2, []);
        assert_eq!(names(&coordinator.step(failed("first"))), ["CloseAll"]);
        assert!(coordinator.step(failed("second")).is_empty());
        assert!(coordinator.step(AttemptInput::Completed(FINISHED)).is_empty());
        assert!(coordinator.step(AttemptInput::Ended { subtask: 1 }).is_empty());
        assert_eq!(names(&coordinator.step(AttemptInput::Ended { subtask: 0 })), [end_by("first")]);
    }

    #[test]
    fn a_cancellation_that_comes_after_everything_is_committed_changes_nothing() {
        let mut coordinator = Coordinator::new(1, []);
        assert_eq!(names(&coordinator.step(AttemptInput::Completed(FINISHED))), ["CloseAll"]);
        assert!(coordinator.step(AttemptInput::Failed(JobError::Cancelled)).is_empty());
        assert_eq!(names(&coordinator.step(AttemptInput::Ended { subtask: 0 })), ["End(Ok(Finished { checkpoint: CheckpointId(1) }))"]);
    }

    #[test]
    fn nobody_waits_for_the_subtasks_of_a_worker_that_is_gone() {
        let lost = |subtasks| AttemptInput::Lost { subtasks, error: JobError::invalid("lost") };
        let mut coordinator = Coordinator::new(3, []);
        assert_eq!(names(&coordinator.step(lost(vec![0, 2]))), ["CloseAll"]);
        assert_eq!(names(&coordinator.step(AttemptInput::Ended { subtask: 1 })), [end_by("lost")]);
        // One subtask of the lost worker had ended, and all others are gone.
        let mut coordinator = Coordinator::new(3, []);
        coordinator.step(failed("before"));
        assert!(coordinator.step(AttemptInput::Ended { subtask: 0 }).is_empty());
        assert!(coordinator.step(AttemptInput::Ended { subtask: 1 }).is_empty());
        assert_eq!(names(&coordinator.step(lost(vec![0, 2]))), [end_by("before")]);
        assert!(coordinator.step(lost(vec![1])).is_empty());
    }

    proptest! {
        #[test]
        fn an_attempt_closes_once_and_ends_once_when_everybody_is_gone(order in prop::collection::vec((0..3usize, 0..3u8), 0..40)) {
            let mut coordinator = Coordinator::new(3, []);
            let (mut closed, mut ends) = (0, 0);
            let mut gone = [false; 3];
            for (subtask, kind) in order {
                let input = match kind {
                    0 => failed(""),
                    1 => AttemptInput::Completed(FINISHED),
                    _ if closed > 0 && !gone[subtask] => { gone[subtask] = true; AttemptInput::Ended { subtask } }
                    _ => continue,
                };
                for action in coordinator.step(input) {
                    match action {
                        Action::CloseAll => closed += 1,
                        Action::End(_) => { prop_assert!(gone.iter().all(|g| *g)); ends += 1 }
                        _ => {}
                    }
                }
            }
            prop_assert!(closed <= 1 && ends <= closed);
        }
    }
}
