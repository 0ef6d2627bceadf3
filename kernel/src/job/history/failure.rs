//! Why an attempt or a job failed, with its place and time.

use crate::checkpoint::Attempt;
use crate::error::FailureCause;
use thalweg_io::UnixMillis;

/// A failure, as far as its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The attempt that failed; `None` if the failure came before one could begin.
    pub attempt: Option<Attempt>,
    /// When the coordinator heard of it.
    pub at: UnixMillis,
    /// What failed, where, and what can be done: the text of the error, or its first 4096 bytes.
    pub reason: String,
    /// The kind of cause.
    pub cause: FailureCause,
    /// The uid of the task in which it happened, which is that of its first operator.
    pub task_uid: Option<String>,
    /// The names of the operators of that task.
    pub task: Option<String>,
    /// The operator in which it happened.
    pub operator: Option<String>,
    /// The uid of that operator.
    pub operator_uid: Option<String>,
    /// The subtask in which it happened, from 0.
    pub subtask: Option<usize>,
    /// The worker that ran the subtask, or was lost.
    pub worker: Option<String>,
}

/// The place of a failure, as far as the coordinator knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailurePlace {
    pub(crate) task_uid: Option<String>,
    pub(crate) subtask: Option<usize>,
    pub(crate) worker: Option<String>,
}

impl Failure {
    /// A failure whose reason nobody is left to tell.
    pub(crate) fn unknown(reason: &str) -> Self {
        Self {
            attempt: None,
            at: UnixMillis(0),
            reason: reason.to_owned(),
            cause: FailureCause::Other,
            task_uid: None,
            task: None,
            operator: None,
            operator_uid: None,
            subtask: None,
            worker: None,
        }
    }
}
