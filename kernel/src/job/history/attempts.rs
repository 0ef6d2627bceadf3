//! What is remembered of an attempt, and how attempts and jobs end.

use super::Failure;
use crate::checkpoint::{Attempt, CheckpointId};
use std::sync::Arc;
use thalweg_io::UnixMillis;

/// One attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// Its number. They go on where an earlier process of the same job has stopped counting.
    pub attempt: Attempt,
    /// When it began.
    pub began_at: UnixMillis,
    /// The checkpoint that it goes on from; `None` if it begins at the beginning.
    pub restored: Option<CheckpointId>,
    /// The workers that it runs on; empty before its subtasks were deployed.
    pub workers: Vec<WorkerShare>,
    /// Its tasks and where their subtasks run; empty before they were deployed.
    pub tasks: Vec<TaskPlacement>,
    /// Why it failed. What fails while it closes is not told.
    pub failure: Option<Arc<Failure>>,
    /// When its last subtask was gone, and how it had ended; `None` while it runs or closes.
    pub ended: Option<(UnixMillis, AttemptOutcome)>,
}

impl AttemptRecord {
    pub(crate) fn new(began_at: UnixMillis, attempt: Attempt, restored: Option<CheckpointId>) -> Self {
        Self { attempt, began_at, restored, workers: Vec::new(), tasks: Vec::new(), failure: None, ended: None }
    }
}

/// What a worker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerShare {
    /// Its name.
    pub name: String,
    /// Its cores.
    pub cores: usize,
    /// How many subtasks it ran.
    pub subtasks: usize,
    /// How many of the job's key groups it owned, in whichever keyed operators.
    pub key_groups: u32,
}

/// A task of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskPlacement {
    /// Of its first operator.
    pub uid: String,
    /// The names of its operators.
    pub name: String,
    /// For each of its subtasks the worker that runs it, by its place in [`AttemptRecord::workers`].
    pub subtasks: Vec<usize>,
}

/// How an attempt came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// Its work was complete: the input had ended, or had before it began.
    Finished,
    /// It was stopped with this checkpoint.
    Stopped(CheckpointId),
    /// It failed. Why, [`AttemptRecord::failure`] says.
    Failed,
    /// More workers had come: the next one runs on all of them.
    Rescaled,
    /// The user wanted the job to end.
    Cancelled,
}

/// How a job came to its end, as its user wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnding {
    /// The input has ended, and all results are visible.
    Finished,
    /// It was stopped with this checkpoint, from which it can go on.
    Stopped(CheckpointId),
    /// It had finished before: there was nothing left to do.
    AlreadyFinished,
}

/// How a job came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOutcome {
    /// As its user wanted it.
    Ended(JobEnding),
    /// It was cancelled: what no checkpoint had committed is removed.
    Cancelled,
    /// It failed, and no other attempt follows.
    Failed(Arc<Failure>),
}

impl JobOutcome {
    /// The same; a failure with the place that is known of it.
    pub(crate) fn explained_by(self, latest: &Arc<Failure>) -> Self {
        match self {
            Self::Failed(failure) if failure.reason == latest.reason => Self::Failed(Arc::clone(latest)),
            other => other,
        }
    }
}
