//! The record of a checkpoint: its outcome, and the part of each subtask.

use super::TaskPlacement;
use crate::checkpoint::{Attempt, CheckpointId, SnapshotTimes};
use std::fmt;
use std::time::Duration;
use thalweg_io::UnixMillis;

/// One checkpoint of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointRecord {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// When it was triggered.
    pub began_at: UnixMillis,
    /// Whether the job was to end with it: it was the last one, or the job was being stopped.
    pub ends_job: bool,
    /// Its state or outcome.
    pub state: CheckpointState,
    /// From its trigger until it was durable or given up; zero while it is under way.
    pub duration: Duration,
    /// The parts of its tasks, as far as they have arrived.
    pub tasks: Vec<TaskCheckpoint>,
}

impl CheckpointRecord {
    pub(crate) fn new(began_at: UnixMillis, attempt: Attempt, checkpoint: CheckpointId, ends_job: bool, tasks: &[TaskPlacement]) -> Self {
        let nothing_yet = |task: &TaskPlacement| TaskCheckpoint {
            uid: task.uid.clone(),
            name: task.name.clone(),
            subtasks: vec![None; task.subtasks.len()],
        };
        let tasks = tasks.iter().map(nothing_yet).collect();
        Self { checkpoint, attempt, began_at, ends_job, state: CheckpointState::UnderWay, duration: Duration::ZERO, tasks }
    }

    pub(crate) fn acknowledged(&mut self, task_uid: &str, subtask: usize, part: SubtaskCheckpoint) {
        let task = self.tasks.iter_mut().find(|task| task.uid == task_uid);
        if let Some(place) = task.and_then(|task| task.subtasks.get_mut(subtask)) {
            place.get_or_insert(part);
        }
    }

    /// The size of its state, in bytes, as far as it has arrived.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }

    /// Subtasks that have acknowledged it, and subtasks in all. Subtasks that had finished before have nothing to acknowledge.
    #[must_use]
    pub fn acknowledged_of(&self) -> (usize, usize) {
        (self.parts().count(), self.tasks.iter().map(|task| task.subtasks.len()).sum())
    }

    /// The parts that have arrived, over all subtasks.
    pub fn parts(&self) -> impl Iterator<Item = &SubtaskCheckpoint> {
        self.tasks.iter().flat_map(|task| task.subtasks.iter().flatten())
    }
}

/// The state of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointState {
    /// Some subtasks have not acknowledged it, or it is being made durable.
    UnderWay,
    /// It is durable: a restart resumes from it.
    Completed {
        /// The time at which it became durable.
        at: UnixMillis,
    },
    /// It was given up, and will not complete.
    Failed {
        /// The time at which it was given up.
        at: UnixMillis,
        /// The reason.
        reason: CheckpointFailure,
    },
}

/// Why there is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointFailure {
    /// It was not complete in time.
    Expired,
    /// The disk had no room for it.
    NoRoom,
    /// State has changed so fast while it was saved that what it had been took too much memory. The next checkpoint may take more.
    Outpaced,
    /// The attempt came to its end, or failed, before it was complete.
    AttemptEnded,
    /// The job takes no checkpoints. Only for a checkpoint that was asked for.
    NotEnabled,
}

impl fmt::Display for CheckpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it was not complete in time",
            Self::NoRoom => "the disk is full",
            Self::Outpaced => "state changes faster than it can be saved; the next checkpoint may take more memory for that",
            Self::AttemptEnded => "the attempt ended before it was complete",
            Self::NotEnabled => "the job keeps no checkpoints: give it a folder for them",
        })
    }
}

/// The part of one task in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskCheckpoint {
    /// The uid of its first operator.
    pub uid: String,
    /// The names of its operators.
    pub name: String,
    /// By subtask; `None` for a subtask that has not acknowledged it, or had finished before.
    pub subtasks: Vec<Option<SubtaskCheckpoint>>,
}

/// The part of one subtask in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubtaskCheckpoint {
    /// When its acknowledgement reached the coordinator.
    pub acknowledged_at: UnixMillis,
    /// From the trigger of the checkpoint until then.
    pub end_to_end: Duration,
    /// The size of its state, in bytes.
    pub bytes: u64,
    /// The time it spent on it.
    pub times: SnapshotTimes,
}
