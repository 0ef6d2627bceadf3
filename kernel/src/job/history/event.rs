//! What the coordinator of a job decides, as it tells it.

use super::{AttemptOutcome, CheckpointFailure, Failure, JobOutcome, SubtaskCheckpoint, TaskPlacement, WorkerShare};
use crate::checkpoint::{Attempt, CheckpointId, JobId};
use std::time::Duration;

/// Something has been decided. When, the event's teller says beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobEvent {
    /// An attempt stands in the log. `restored` is the checkpoint that it goes on from.
    AttemptBegan { job: JobId, attempt: Attempt, restored: Option<CheckpointId> },
    /// Its subtasks are sent to their workers.
    AttemptDeployed { attempt: Attempt, workers: Vec<WorkerShare>, tasks: Vec<TaskPlacement> },
    /// It fails, and is closing from now on; `None` if none had begun.
    AttemptFailed { attempt: Option<Attempt>, failure: Failure },
    /// The last of its subtasks is gone.
    AttemptEnded { attempt: Attempt, outcome: AttemptOutcome },
    /// The sources are told to send its barrier, or the last one is being written. The job ends with it if it is complete.
    CheckpointBegan { attempt: Attempt, checkpoint: CheckpointId, ends_job: bool },
    /// The part of a subtask is durable.
    SubtaskAcknowledged { checkpoint: CheckpointId, task_uid: String, subtask: usize, part: SubtaskCheckpoint },
    /// The checkpoint is durable.
    CheckpointCompleted { checkpoint: CheckpointId, duration: Duration },
    /// It was given up, and will not be.
    CheckpointFailed { checkpoint: CheckpointId, duration: Duration, reason: CheckpointFailure },
    /// Nothing follows.
    JobEnded { outcome: JobOutcome },
}
