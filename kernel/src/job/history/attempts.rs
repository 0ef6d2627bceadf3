//! The records of attempts, and how attempts and jobs end.

use super::Failure;
use crate::checkpoint::{Attempt, CheckpointId};
use std::sync::Arc;
use thalweg_io::UnixMillis;

/// One attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// Its number. Numbers continue where an earlier process of the same job has stopped.
    pub attempt: Attempt,
    /// When it began.
    pub began_at: UnixMillis,
    /// The checkpoint that it resumes from; `None` if it starts afresh.
    pub restored: Option<CheckpointId>,
    /// The workers that it runs on; empty before its subtasks were deployed.
    pub workers: Vec<WorkerShare>,
    /// Its tasks and the workers of their subtasks; empty before they were deployed.
    pub tasks: Vec<TaskPlacement>,
    /// Why it failed. Failures while it closes are not recorded.
    pub failure: Option<Arc<Failure>>,
    /// When its last subtask was gone, and how it had ended; `None` while it runs or closes.
    pub ended: Option<(UnixMillis, AttemptOutcome)>,
}

impl AttemptRecord {
    pub(crate) fn new(began_at: UnixMillis, attempt: Attempt, restored: Option<CheckpointId>) -> Self {
        Self { attempt, began_at, restored, workers: Vec::new(), tasks: Vec::new(), failure: None, ended: None }
    }
}

/// The share of a worker in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerShare {
    /// Its name.
    pub name: String,
    /// Its cores.
    pub cores: usize,
    /// How many subtasks it ran.
    pub subtasks: usize,
    /// How many of the job's key groups it owned, over all keyed operators.
    pub key_groups: u32,
}

/// A task of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskPlacement {
    /// The uid of its first operator.
    pub uid: String,
    /// The names of its operators.
    pub name: String,
    /// For each of its subtasks the worker that runs it, by its place in [`AttemptRecord::workers`].
    pub subtasks: Vec<usize>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// Its work was complete: the input had ended, then or before it began.
    Finished,
    /// It was stopped with this checkpoint.
    Stopped(CheckpointId),
    /// It failed; [`AttemptRecord::failure`] says why.
    Failed,
    /// More workers had joined: the next attempt runs on all of them.
    Rescaled,
    /// The user wanted the job to end.
    Cancelled,
}

/// How a job ended as its user wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnding {
    /// The input has ended, and all results are visible.
    Finished,
    /// It was stopped with this checkpoint, from which it can resume.
    Stopped(CheckpointId),
    /// It had finished before: there was nothing left to do.
    AlreadyFinished,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOutcome {
    /// As its user wanted.
    Ended(JobEnding),
    /// It was cancelled: results that no checkpoint had committed are removed.
    Cancelled,
    /// It failed, and no other attempt follows.
    Failed(Arc<Failure>),
}

impl JobOutcome {
    /// The same; a failure is replaced by `latest` if that is the same one, with its known place.
    pub(crate) fn explained_by(self, latest: &Arc<Failure>) -> Self {
        match self {
            Self::Failed(failure) if failure.reason == latest.reason => Self::Failed(Arc::clone(latest)),
            other => other,
        }
    }
}
