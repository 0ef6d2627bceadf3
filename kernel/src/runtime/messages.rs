//! What workers and their subtasks say to the coordinator, and what it says to them. Messages of one pair arrive in their order.
//!
//! In one process they move through mailboxes; between processes the same messages travel as bytes (`cluster/`).

use super::context::SubtaskId;
use super::crew::{Member, WorkerId};
use super::deployment::Deployment;
use super::error::JobError;
use super::history::SnapshotTimes;
use super::metrics::Metric;
use super::outcome::CheckpointOutcome;
use crate::checkpoint::{Attempt, CheckpointId, PreparedEpoch};
use crate::graph::OperatorId;
use rkyv::util::AlignedVec;
use std::convert::Infallible;
use thalweg_io::Mailbox;
use thalweg_storage::checkpoint::StateFile;

/// What one subtask adds to a checkpoint.
pub(crate) struct Acknowledgement {
    pub(crate) checkpoint: CheckpointId,
    /// Its state: today one file, which holds all of it.
    pub(crate) state: Vec<StateFile>,
    /// Splits in work, by number, with their positions.
    pub(crate) splits: Vec<(u32, AlignedVec)>,
    /// What its sink has prepared of the epoch that the checkpoint ends.
    pub(crate) prepared: Option<PreparedEpoch>,
    /// What it took.
    pub(crate) times: SnapshotTimes,
}

/// What subtasks say to the coordinator.
pub(crate) enum FromSubtask {
    /// A source reader has nothing to read.
    SplitRequested { source: OperatorId, subtask: SubtaskId },
    /// The subtask's part of a checkpoint is durable.
    Acknowledged { subtask: SubtaskId, acknowledgement: Acknowledgement },
    /// The disk has no room for the subtask's part of a checkpoint. What its sink has prepared is kept.
    Declined { checkpoint: CheckpointId, prepared: Option<PreparedEpoch> },
    /// The input has ended, everything is handed over, and what the sink was given since the last barrier is prepared.
    Finished { subtask: SubtaskId, prepared: Option<PreparedEpoch> },
    /// The subtask failed and is closing; without one, it is something else at the same worker that failed.
    Failed { subtask: Option<SubtaskId>, error: JobError },
    /// The subtask is gone.
    Ended { subtask: SubtaskId, metrics: Vec<Metric> },
}

impl FromSubtask {
    /// Who says it, as far as it says that itself.
    pub(crate) fn subtask(&self) -> Option<SubtaskId> {
        match self {
            Self::SplitRequested { subtask, .. }
            | Self::Acknowledged { subtask, .. }
            | Self::Finished { subtask, .. }
            | Self::Ended { subtask, .. } => Some(*subtask),
            Self::Failed { subtask, .. } => *subtask,
            Self::Declined { .. } => None,
        }
    }
}

/// What somebody else says to the coordinator.
pub(crate) enum ToCoordinator {
    /// A subtask of an attempt. What an older attempt says late is refused.
    FromSubtask { attempt: Attempt, message: FromSubtask },
    /// A worker is there.
    Joined(Member),
    /// It is gone, and with it its subtasks; nothing of it follows.
    Lost { worker: WorkerId, reason: String },
    /// Numbers of what a worker of another process runs of an attempt, each labelled with its name.
    Metrics { attempt: Attempt, metrics: Vec<Metric> },
    /// Workers cannot be had: the reason, which is the job's failure.
    Impossible(JobError),
    /// The user wants the job to end, without results beyond those committed.
    Cancel,
    /// The user wants the sources to end now, and the job to finish with what it has read.
    Drain,
    /// The user wants the job to end with a checkpoint from which it can go on.
    Stop,
    /// The user wants a checkpoint, and to know what becomes of it.
    Checkpoint(Mailbox<CheckpointOutcome>),
    /// Somebody wants to know when the job has ended: then this is closed.
    Watch(Mailbox<Infallible>),
}

/// What the coordinator says to a worker.
pub(crate) enum ToWorker {
    /// Bring your share of an attempt onto your cores.
    Deploy(Box<Deployment>),
    /// Something for one of its subtasks. Of another attempt than the one that was deployed last it is for nobody.
    ToSubtask { attempt: Attempt, subtask: SubtaskId, message: ToSubtask },
    /// There will be no other attempt: the reason, if the job has failed.
    End { failure: Option<String> },
}

/// What the coordinator says to a subtask.
pub enum ToSubtask {
    /// Read this split next.
    Split { number: u32, split: AlignedVec },
    /// There is nothing more to read (docs/src/semantics.md#s-2).
    NoMoreSplits,
    /// Send the barrier of this checkpoint, and nothing behind it if the job stops there.
    Trigger { checkpoint: CheckpointId, stops: bool },
    /// End the input where it is.
    Drain,
    /// The attempt is over.
    Close,
}
