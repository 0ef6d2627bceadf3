//! The coordinator: hands out splits, and takes the job to its one end.
//!
//! A job ends in one of two ways. *Finished*: every subtask has prepared its results, then all of them commit, then all end. *Failed* (or cancelled):
//! whatever is not yet committing aborts, then all end, and the first reason is the job's. Nothing is shown before everything is prepared.
//!
//! Pure: `step(input) -> outputs`, no clock, no I/O. Splits are numbers here; the driver in `core.rs` holds what they stand for.

use super::context::SubtaskId;
use super::error::JobError;
use super::metrics::Metric;
use crate::graph::OperatorId;
use std::any::Any;
use std::collections::VecDeque;

/// What subtasks (and the user, through a handle) say to the coordinator. At most one message of each kind is under way per subtask.
pub(crate) enum FromSubtask {
    /// A source reader has nothing to read.
    SplitRequested { source: OperatorId, subtask: SubtaskId },
    /// The subtask's results are durable and hidden.
    Prepared { subtask: SubtaskId },
    /// The subtask failed and is aborting.
    Failed { error: JobError },
    /// The subtask has committed or aborted and is gone.
    Ended { subtask: SubtaskId, metrics: Vec<Metric> },
    /// The user wants the job to end without results.
    Cancel,
    /// The user wants the sources to end now, and the job to finish with what it has read.
    Stop,
}

/// What the coordinator says to a subtask.
pub enum ToSubtask {
    /// Read this split next.
    Split { number: u32, split: Box<dyn Any + Send> },
    /// There is nothing more to read (docs/src/semantics.md#s-2).
    NoMoreSplits,
    /// End the input where it is.
    Stop,
    /// Show the results.
    Commit,
    /// Remove the results.
    Abort,
}

/// What the coordinator wants done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Give split `split` of `source` to `subtask`.
    Assign { source: OperatorId, subtask: SubtaskId, split: usize },
    /// Tell `subtask` that `source` has nothing more.
    NoMoreSplits { subtask: SubtaskId },
    /// Tell every subtask to end its sources.
    StopAll,
    /// Tell every subtask to commit.
    CommitAll,
    /// Tell every subtask to abort.
    AbortAll,
    /// The job has ended.
    End(Result<(), JobError>),
}

#[derive(PartialEq, Eq)]
enum State {
    Running,
    Committing,
    Aborting,
}

/// The state of a job as its coordinator sees it.
pub(crate) struct Coordinator {
    state: State,
    prepared: Vec<bool>,
    ended: Vec<bool>,
    failure: Option<JobError>,
    stopped: bool,
    /// For each source, the splits that nobody has been given yet, lowest first.
    unassigned: Vec<(OperatorId, VecDeque<usize>)>,
}

impl Coordinator {
    /// A coordinator of `subtasks` subtasks and, for each source, the number of its splits.
    pub(crate) fn new(subtasks: usize, sources: impl IntoIterator<Item = (OperatorId, usize)>) -> Self {
        Self {
            state: State::Running,
            prepared: vec![false; subtasks],
            ended: vec![false; subtasks],
            failure: None,
            stopped: false,
            unassigned: sources.into_iter().map(|(source, splits)| (source, (0..splits).collect())).collect(),
        }
    }

    /// Takes `input` into account and says what is to be done, in order.
    pub(crate) fn step(&mut self, input: FromSubtask) -> Vec<Action> {
        match input {
            FromSubtask::SplitRequested { source, subtask } => vec![self.assign(source, subtask)],
            FromSubtask::Prepared { subtask } => {
                assert!(!self.ended[subtask], "subtask {subtask} prepared after its end");
                self.prepared[subtask] = true;
                if self.state == State::Running && self.prepared.iter().all(|prepared| *prepared) {
                    self.state = State::Committing;
                    return vec![Action::CommitAll];
                }
                vec![]
            }
            FromSubtask::Failed { error } => self.abort(error),
            FromSubtask::Cancel => self.abort(JobError::Cancelled),
            FromSubtask::Stop => {
                self.stopped = true;
                vec![Action::StopAll]
            }
            FromSubtask::Ended { subtask, .. } => {
                assert!(!self.ended[subtask], "subtask {subtask} ended twice");
                assert!(self.state != State::Running, "subtask {subtask} ended before the job did");
                self.ended[subtask] = true;
                if self.ended.iter().all(|ended| *ended) {
                    return vec![Action::End(self.failure.take().map_or(Ok(()), Err))];
                }
                vec![]
            }
        }
    }

    fn assign(&mut self, source: OperatorId, subtask: SubtaskId) -> Action {
        let unassigned = self.unassigned.iter_mut().find(|(id, _)| *id == source);
        match unassigned.filter(|_| !self.stopped).and_then(|(_, splits)| splits.pop_front()) {
            Some(split) => Action::Assign { source, subtask, split },
            None => Action::NoMoreSplits { subtask },
        }
    }

    /// The first reason wins. Once the commit has begun it goes on: what fails then is reported, but nothing can be taken back
    /// (docs/src/semantics.md#o-2).
    fn abort(&mut self, error: JobError) -> Vec<Action> {
        match self.state {
            State::Running => {
                self.failure = Some(error);
                self.state = State::Aborting;
                vec![Action::AbortAll]
            }
            State::Committing if !matches!(error, JobError::Cancelled) => {
                self.failure.get_or_insert(error);
                vec![]
            }
            State::Committing | State::Aborting => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ended(subtask: SubtaskId) -> FromSubtask {
        FromSubtask::Ended { subtask, metrics: vec![] }
    }

    fn names(actions: &[Action]) -> Vec<String> {
        actions.iter().map(|action| format!("{action:?}")).collect()
    }

    #[test]
    fn splits_are_given_out_lowest_first_and_then_there_are_no_more() {
        let mut coordinator = Coordinator::new(2, [(OperatorId(7), 2)]);
        let mut request = |subtask| names(&coordinator.step(FromSubtask::SplitRequested { source: OperatorId(7), subtask }));
        assert_eq!(request(1), ["Assign { source: OperatorId(7), subtask: 1, split: 0 }"]);
        assert_eq!(request(0), ["Assign { source: OperatorId(7), subtask: 0, split: 1 }"]);
        assert_eq!(request(1), ["NoMoreSplits { subtask: 1 }"]);
    }

    #[test]
    fn nothing_commits_before_everything_is_prepared() {
        let mut coordinator = Coordinator::new(2, []);
        assert!(coordinator.step(FromSubtask::Prepared { subtask: 0 }).is_empty());
        assert_eq!(names(&coordinator.step(FromSubtask::Prepared { subtask: 1 })), ["CommitAll"]);
        assert!(coordinator.step(ended(0)).is_empty());
        assert_eq!(names(&coordinator.step(ended(1))), ["End(Ok(()))"]);
    }

    #[test]
    fn the_first_failure_is_the_jobs_and_prepared_results_are_aborted() {
        let mut coordinator = Coordinator::new(2, []);
        coordinator.step(FromSubtask::Prepared { subtask: 0 });
        let failed = |reason: &str| FromSubtask::Failed { error: JobError::Invalid(reason.to_owned()) };
        assert_eq!(names(&coordinator.step(failed("first"))), ["AbortAll"]);
        assert!(coordinator.step(failed("second")).is_empty());
        coordinator.step(ended(1));
        assert_eq!(names(&coordinator.step(ended(0))), ["End(Err(Invalid(\"first\")))"]);
    }

    #[test]
    fn a_cancellation_that_comes_after_the_commit_began_changes_nothing() {
        let mut coordinator = Coordinator::new(1, []);
        coordinator.step(FromSubtask::Prepared { subtask: 0 });
        assert!(coordinator.step(FromSubtask::Cancel).is_empty());
        assert_eq!(names(&coordinator.step(ended(0))), ["End(Ok(()))"]);
    }

    proptest! {
        /// Whatever the order of messages, a job either commits or aborts, never both, and ends once.
        #[test]
        fn a_job_commits_or_aborts_and_ends_once(order in prop::collection::vec((0..3usize, 0..4u8), 0..40)) {
            let mut coordinator = Coordinator::new(3, []);
            let (mut commits, mut aborts, mut ends) = (0, 0, 0);
            let mut prepared = [false; 3];
            let mut gone = [false; 3];
            for (subtask, kind) in order {
                let decided = commits + aborts > 0;
                let input = match kind {
                    0 if !prepared[subtask] && !gone[subtask] => { prepared[subtask] = true; FromSubtask::Prepared { subtask } }
                    1 if !gone[subtask] => FromSubtask::Failed { error: JobError::Invalid(String::new()) },
                    2 if decided && !gone[subtask] => { gone[subtask] = true; ended(subtask) }
                    3 => FromSubtask::Cancel,
                    _ => continue,
                };
                for action in coordinator.step(input) {
                    match action {
                        Action::CommitAll => { prop_assert!(prepared.iter().all(|p| *p)); commits += 1 }
                        Action::AbortAll => aborts += 1,
                        Action::End(_) => { prop_assert!(gone.iter().all(|g| *g)); ends += 1 }
                        _ => {}
                    }
                }
            }
            prop_assert!(commits + aborts <= 1 && ends <= 1);
        }
    }
}
