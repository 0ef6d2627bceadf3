//! The decisions of a job's coordinator, as events.

use super::{AttemptOutcome, CheckpointFailure, Failure, JobOutcome, SubtaskCheckpoint, TaskPlacement, WorkerShare};
use crate::checkpoint::{Attempt, CheckpointId, JobId};
use std::time::Duration;

/// A decision of the coordinator. Its time is given beside the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobEvent {
    /// An attempt stands in the log. `restored` is the checkpoint that it resumes from.
    AttemptBegan { job: JobId, attempt: Attempt, restored: Option<CheckpointId> },
    /// The attempt's subtasks are sent to their workers.
    AttemptDeployed { attempt: Attempt, workers: Vec<WorkerShare>, tasks: Vec<TaskPlacement> },
    /// The attempt fails, and is closing from now on; `None` if none had begun.
    AttemptFailed { attempt: Option<Attempt>, failure: Failure },
    /// The last subtask of the attempt is gone.
    AttemptEnded { attempt: Attempt, outcome: AttemptOutcome },
    /// The sources are told to send the checkpoint's barrier, or the last checkpoint is being written. `ends_job`: the job ends with it if it completes.
    CheckpointBegan { attempt: Attempt, checkpoint: CheckpointId, ends_job: bool },
    /// The subtask's part is durable.
    SubtaskAcknowledged { checkpoint: CheckpointId, task_uid: String, subtask: usize, part: SubtaskCheckpoint },
    /// The checkpoint is durable.
    CheckpointCompleted { checkpoint: CheckpointId, duration: Duration },
    /// The checkpoint was given up, and will not complete.
    CheckpointFailed { checkpoint: CheckpointId, duration: Duration, reason: CheckpointFailure },
    /// The job has ended: no event follows.
    JobEnded { outcome: JobOutcome },
}
