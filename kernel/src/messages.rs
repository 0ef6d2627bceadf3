//! What workers and their subtasks say to the coordinator, and what it says to them. Messages of one pair arrive in their order.
//!
//! In one process they move through mailboxes; between processes the same messages travel as bytes (`cluster/`).

use crate::attempt::deployment::Deployment;
use crate::checkpoint::{Attempt, CheckpointId, PreparedEpoch, SnapshotTimes};
use crate::error::JobError;
use crate::ids::{OperatorId, SubtaskId, WorkerId};
use crate::job::history::CheckpointFailure;
use crate::metrics::Metric;
use core::net::SocketAddr;
use rkyv::util::AlignedVec;
use std::convert::Infallible;
use std::time::Duration;
use thalweg_io::Mailbox;
use thalweg_storage::checkpoint::StateFile;

/// What one subtask adds to a checkpoint.
pub struct Acknowledgement {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its state: today one file, which holds all of it.
    pub state: Vec<StateFile>,
    /// Splits in work, by number, with their positions.
    pub splits: Vec<(u32, AlignedVec)>,
    /// What its sink has prepared of the epoch that the checkpoint ends.
    pub prepared: Option<PreparedEpoch>,
    /// What it took.
    pub times: SnapshotTimes,
}

/// What subtasks say to the coordinator.
pub enum FromSubtask {
    /// A source reader has nothing to read.
    SplitRequested {
        /// The source that it belongs to.
        source: OperatorId,
        /// Who asks.
        subtask: SubtaskId,
    },
    /// The subtask's part of a checkpoint is durable.
    Acknowledged {
        /// Whose part it is.
        subtask: SubtaskId,
        /// The part.
        acknowledgement: Acknowledgement,
    },
    /// The disk has no room for the subtask's part of a checkpoint. What its sink has prepared is kept.
    Declined {
        /// The checkpoint, which is declined.
        checkpoint: CheckpointId,
        /// What its sink has prepared.
        prepared: Option<PreparedEpoch>,
    },
    /// The disk has no room for what its sink writes, and the sink waits; or it goes on.
    WaitsForRoom {
        /// Whose sink it is.
        subtask: SubtaskId,
        /// Why it waits; without a reason, it goes on.
        reason: Option<String>,
    },
    /// The input has ended, everything is handed over, and what the sink was given since the last barrier is prepared.
    Finished {
        /// Who has finished.
        subtask: SubtaskId,
        /// The last that its sink has prepared.
        prepared: Option<PreparedEpoch>,
    },
    /// The subtask failed and is closing; without one, it is something else at the same worker that failed.
    Failed {
        /// Who failed.
        subtask: Option<SubtaskId>,
        /// Why.
        error: JobError,
    },
    /// The subtask is gone.
    Ended {
        /// Who it was.
        subtask: SubtaskId,
        /// Its last numbers.
        metrics: Vec<Metric>,
    },
}

impl FromSubtask {
    /// Who says it, as far as it says that itself.
    pub fn subtask(&self) -> Option<SubtaskId> {
        match self {
            Self::SplitRequested { subtask, .. }
            | Self::Acknowledged { subtask, .. }
            | Self::Finished { subtask, .. }
            | Self::WaitsForRoom { subtask, .. }
            | Self::Ended { subtask, .. } => Some(*subtask),
            Self::Failed { subtask, .. } => *subtask,
            Self::Declined { .. } => None,
        }
    }
}

/// A worker that is there.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub id: WorkerId,
    /// What people know it by.
    pub name: String,
    /// How many cores it has.
    pub cores: usize,
    /// Where each of its cores listens for the frames of others; empty if there are no others.
    pub doors: Vec<SocketAddr>,
    /// The way to it.
    pub orders: Mailbox<ToWorker>,
}

/// What somebody else says to the coordinator.
pub enum ToCoordinator {
    /// A subtask of an attempt. What an older attempt says late is refused.
    FromSubtask {
        /// The attempt that it belongs to.
        attempt: Attempt,
        /// What it says.
        message: FromSubtask,
    },
    /// A worker is there.
    Joined(Member),
    /// It is gone, and with it its subtasks; nothing of it follows.
    Lost {
        /// Which one.
        worker: WorkerId,
        /// How that was noticed, for people.
        reason: String,
    },
    /// Numbers of what a worker of another process runs of an attempt, each labelled with its name.
    Metrics {
        /// The attempt.
        attempt: Attempt,
        /// The numbers.
        metrics: Vec<Metric>,
    },
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

/// What became of a checkpoint that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointOutcome {
    /// It is durable, and began after it was asked for.
    Completed {
        /// Its number.
        checkpoint: CheckpointId,
        /// From its trigger until it was durable.
        duration: Duration,
        /// The state in it, in bytes.
        bytes: u64,
    },
    /// There is none, and none will be made in its stead.
    Declined(CheckpointFailure),
    /// The job has ended, or ended before one could begin.
    JobEnded,
}

/// What the coordinator says to a worker.
pub enum ToWorker {
    /// Bring your share of an attempt onto your cores.
    Deploy(Box<Deployment>),
    /// Something for one of its subtasks. Of another attempt than the one that was deployed last it is for nobody.
    ToSubtask {
        /// The attempt that the subtask belongs to.
        attempt: Attempt,
        /// Who is told.
        subtask: SubtaskId,
        /// What.
        message: ToSubtask,
    },
    /// There will be no other attempt: the reason, if the job has failed.
    End {
        /// Why the job has failed.
        failure: Option<String>,
    },
}

/// There will be no other attempt, of anybody: the reason, if the job has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Why the job has failed.
    pub failure: Option<String>,
}

/// What the coordinator says to a subtask.
pub enum ToSubtask {
    /// Read this split next.
    Split {
        /// The number of the split among those of its source.
        number: u32,
        /// Its archive.
        split: AlignedVec,
    },
    /// There is nothing more to read (docs/src/semantics.md#s-2).
    NoMoreSplits,
    /// Send the barrier of this checkpoint, and nothing behind it if the job stops there.
    Trigger {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Whether the job ends with it.
        stops: bool,
    },
    /// End the input where it is.
    Drain,
    /// The attempt is over.
    Close,
}
