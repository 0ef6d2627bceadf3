//! The messages between the coordinator, the workers and their subtasks. Messages of one pair arrive in their order.
//!
//! In one process they move through mailboxes; between processes the same messages travel as bytes (`cluster/`).

use crate::attempt::deployment::Deployment;
use crate::checkpoint::{Attempt, CheckpointId, PreparedEpoch, SnapshotTimes};
use crate::error::JobError;
use crate::graph_ids::{OperatorId, SubtaskId, WorkerId};
use crate::job::history::CheckpointFailure;
use crate::metrics::Metric;
use core::net::SocketAddr;
use rkyv::util::AlignedVec;
use std::convert::Infallible;
use std::time::Duration;
use thalweg_io::Mailbox;
use thalweg_storage::checkpoint::StateFile;

/// One subtask's part of a checkpoint.
pub struct Acknowledgement {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its state: today one file, which holds all of it.
    pub state: Vec<StateFile>,
    /// Splits in work, by number, with their positions.
    pub splits: Vec<(u32, AlignedVec)>,
    /// The result that its sink has prepared for the epoch that the checkpoint ends.
    pub prepared: Option<PreparedEpoch>,
    /// The time the subtask spent on it.
    pub times: SnapshotTimes,
}

/// A message from a subtask to the coordinator.
pub enum FromSubtask {
    /// A source reader has nothing to read.
    SplitRequested {
        /// The source that the reader belongs to.
        source: OperatorId,
        /// The subtask that asks.
        subtask: SubtaskId,
    },
    /// The subtask's part of a checkpoint is durable.
    Acknowledged {
        /// The subtask that it belongs to.
        subtask: SubtaskId,
        /// The part.
        acknowledgement: Acknowledgement,
    },
    /// There will be no part of the subtask in a checkpoint: the disk has no room for it, or it was of no use any more. The epoch that the subtask's sink has
    /// prepared is kept.
    Declined {
        /// The subtask that declines.
        subtask: SubtaskId,
        /// The checkpoint, which is declined.
        checkpoint: CheckpointId,
        /// Whether the reason is that state has changed too fast while it was saved.
        is_outpaced: bool,
        /// Whether later parts may build on files that the subtask has named. If not, it names none of them again.
        keeps_files: bool,
        /// The epoch that the subtask's sink has prepared.
        prepared: Option<PreparedEpoch>,
    },
    /// The disk has no room for the sink's results, and the sink waits; or it no longer waits.
    WaitsForRoom {
        /// The subtask of the sink.
        subtask: SubtaskId,
        /// Why the sink waits; `None` if it no longer waits.
        reason: Option<String>,
    },
    /// The input has ended, everything is handed over, and the records that the sink was given since the last barrier are prepared.
    Finished {
        /// The subtask that has finished.
        subtask: SubtaskId,
        /// The last epoch that its sink has prepared.
        prepared: Option<PreparedEpoch>,
    },
    /// The subtask failed and is closing; without a subtask, another part of the same worker failed.
    Failed {
        /// The subtask that failed.
        subtask: Option<SubtaskId>,
        /// The reason.
        error: JobError,
    },
    /// The subtask is gone.
    Ended {
        /// The subtask that is gone.
        subtask: SubtaskId,
        /// Its last metrics.
        metrics: Vec<Metric>,
    },
}

impl FromSubtask {
    /// The subtask that sends the message, if it names one.
    pub fn subtask(&self) -> Option<SubtaskId> {
        match self {
            Self::SplitRequested { subtask, .. }
            | Self::Acknowledged { subtask, .. }
            | Self::Declined { subtask, .. }
            | Self::Finished { subtask, .. }
            | Self::WaitsForRoom { subtask, .. }
            | Self::Ended { subtask, .. } => Some(*subtask),
            Self::Failed { subtask, .. } => *subtask,
        }
    }
}

/// A worker that has joined.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub id: WorkerId,
    /// The name that people see.
    pub name: String,
    /// Number of its cores.
    pub cores: usize,
    /// The addresses where its cores listen for frames of other workers, by core; empty if there are no others.
    pub doors: Vec<SocketAddr>,
    /// Its mailbox.
    pub orders: Mailbox<ToWorker>,
}

/// A message to the coordinator from any sender.
pub enum ToCoordinator {
    /// A message of a subtask. Late messages of an older attempt are refused.
    FromSubtask {
        /// The attempt that it belongs to.
        attempt: Attempt,
        /// The subtask's message.
        message: FromSubtask,
    },
    /// A worker has joined.
    Joined(Member),
    /// A worker is gone, and with it its subtasks; no message of it follows.
    Lost {
        /// The worker that is gone.
        worker: WorkerId,
        /// How the loss was noticed, for people.
        reason: String,
    },
    /// Metrics of the subtasks that a worker of another process runs in an attempt, each labelled with its name.
    Metrics {
        /// The attempt.
        attempt: Attempt,
        /// The metrics.
        metrics: Vec<Metric>,
    },
    /// No workers can be found: the error is the job's failure.
    Impossible(JobError),
    /// The user wants the job to end, without results other than committed ones.
    Cancel,
    /// The user wants the sources to end now, and the job to finish with the records read so far.
    Drain,
    /// The user wants the job to end with a checkpoint from which it can resume.
    Stop,
    /// The user wants a checkpoint, and to know its outcome.
    Checkpoint(Mailbox<CheckpointOutcome>),
    /// A caller wants to know when the job has ended: then this mailbox is closed.
    Watch(Mailbox<Infallible>),
}

/// The outcome of a checkpoint that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointOutcome {
    /// It is durable, and began after it was asked for.
    Completed {
        /// Its number.
        checkpoint: CheckpointId,
        /// From its trigger until it was durable.
        duration: Duration,
        /// The size of its state, in bytes.
        bytes: u64,
    },
    /// It was not taken, and no other is taken in its stead.
    Declined(CheckpointFailure),
    /// The job has ended, or ended before one could begin.
    JobEnded,
}

/// A message from the coordinator to a worker.
pub enum ToWorker {
    /// Bring your share of an attempt onto your cores.
    Deploy(Box<Deployment>),
    /// A message for one of its subtasks. It is dropped if its attempt is not the one that was deployed last.
    ToSubtask {
        /// The attempt that the subtask belongs to.
        attempt: Attempt,
        /// The subtask that is told.
        subtask: SubtaskId,
        /// The message to it.
        message: ToSubtask,
    },
    /// No other attempt follows.
    End {
        /// Why the job has failed, if it has.
        failure: Option<String>,
    },
}

/// The end of the job for workers that have not joined: no other attempt follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Why the job has failed, if it has.
    pub failure: Option<String>,
}

/// A message from the coordinator to a subtask.
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
