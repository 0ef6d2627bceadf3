//! The interface of sinks: writers that gather synchronously and write asynchronously, and a committer that shows the prepared results.
//!
//! *Two-phase commit.* The records that a writer gets between two barriers are its part of an *epoch*. At the barrier the writer is
//! [sealed](SinkWriter::seal); it then makes the part durable, hidden, and hands out a [`Transaction`](Sink::Transaction) that stands for it: *prepared*.
//! The transaction is stored in the checkpoint. When the checkpoint is complete the coordinator has the sink [commit](Sink::commit) it. A job without
//! checkpoints has one epoch, which ends with the job.
//!
//! Nothing is aborted while a job runs. Before each attempt the sink [recovers](Sink::recover): it commits the transactions that the restored checkpoint
//! names and removes everything else that older attempts have begun (docs/src/semantics.md#o-1).

use crate::checkpoint::{Attempt, CheckpointId, JobId};
use crate::record::{Record, RecordLayout};
use crate::refusal::Refusal;
use std::path::PathBuf;
use std::task::{Context, Poll};
use thalweg_io::{Io, IoError, LocalBoxFuture};

/// Why a sink cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The disk has no room. Nothing has failed: the sink is called again, from the beginning, until there is room (docs/src/semantics.md#o-7).
    #[error(transparent)]
    NoRoom(IoError),
    /// The place is not fit for the results: nothing has begun, and the job's description has to change. Names the cure.
    #[error("{0}")]
    Invalid(Refusal),
    /// Another owner has taken over the place of the results: this process changes nothing there any more.
    #[error("{0}")]
    Overtaken(String),
}

impl SinkError {
    /// The place is not fit for the results, and no setting cures that. `reason` names the cure.
    #[must_use]
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(Refusal::from(reason.into()))
    }
}

/// The facts with which a sink begins an attempt.
#[derive(Clone, Debug)]
pub struct Recovery<T> {
    /// The job, over all its attempts.
    pub job: JobId,
    /// The attempt that is about to begin, or, after the last one, that has ended. Everything that older attempts (after the last one: this one, too) have
    /// begun and `committed` does not name is to be removed.
    pub attempt: Attempt,
    /// The checkpoint it starts from; `None` from the beginning.
    pub restored: Option<CheckpointId>,
    /// The transactions that this checkpoint names as prepared and not known to be committed. Some, or all, may have been committed already.
    pub committed: Vec<T>,
    /// Whether visible results of checkpoints later than `restored` are removed, instead of refused.
    pub discard_later_output: bool,
    /// Identifies the process that coordinates the job, by a number that no other process has.
    pub owner: u64,
    /// The folder of the log that tells older attempts of the job from newer ones; `None` without checkpoints.
    pub checkpoints: Option<PathBuf>,
    /// Folders and files that the job's sources read.
    pub inputs: Vec<PathBuf>,
    /// A person says that the present owner of the place no longer needs it: it is taken over instead of refused.
    pub take_over_output: bool,
    /// The job has ended for good and writes nothing any more. Leftovers are removed, and nothing is refused.
    pub is_last: bool,
}

/// A sink of records.
pub trait Sink: Clone + Send + 'static {
    /// The records it takes.
    type In: Record;
    /// Stands for results that are durable and hidden: a small value that outlives the process, and that any process can commit.
    type Transaction: Record;
    /// Writes in one subtask.
    type Writer: SinkWriter<In = Self::In, Transaction = Self::Transaction>;

    /// The operator's name, unless the user names it.
    fn name(&self) -> &'static str;

    /// The place where its results can be found, for people.
    fn location(&self) -> Option<String> {
        None
    }

    /// Checks whether [`recover`](Self::recover) would refuse, and changes nothing. Called before an attempt is written into the checkpoint log, so that
    /// a refused run leaves everything as it was.
    ///
    /// # Errors
    /// If results cannot or must not be put there.
    fn check(&self, _io: Io, _recovery: Recovery<Self::Transaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Restores the place of the results to its state at the restored checkpoint: commits `recovery.committed`, and removes everything else that older
    /// attempts of this job have begun. Called before each attempt, on core 0, before any writer is made, and once more after the last one.
    ///
    /// Idempotent: it may be interrupted anywhere and called again. The default commits and removes nothing.
    ///
    /// # Errors
    /// If there is [no room](SinkError::NoRoom): it is called again. If results cannot or must not be put there: the job fails with it before anything is
    /// read. After the last attempt, when nothing is waited for, a job that has succeeded fails only if the place has [another owner](SinkError::Overtaken)
    /// now.
    fn recover(&self, io: Io, recovery: Recovery<Self::Transaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        self.commit(io, recovery.committed)
    }

    /// Shows the results of `transactions`, all of one complete checkpoint and those before it. Called on core 0, one call at a time.
    ///
    /// Idempotent: committing again, in whole or in part, changes nothing.
    ///
    /// # Errors
    /// If there is [no room](SinkError::NoRoom): it is called again. If an operation fails: the attempt fails with it, and the next one commits again. If
    /// the place has [another owner](SinkError::Overtaken) by now: the job fails with it.
    fn commit(&self, _io: Io, _transactions: Vec<Self::Transaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether results that a writer has prepared in one process can be committed in another. If `false`, a job in several processes is refused.
    fn spans_processes(&self) -> bool {
        true
    }

    /// The layout of its transactions. Checkpoints hold it, and a transaction of another layout is refused.
    fn transaction_layout(&self) -> RecordLayout<Self::Transaction> {
        RecordLayout::default()
    }

    /// Makes the writer of one subtask, on its core.
    fn writer(&self, context: SinkContext) -> Self::Writer;
}

/// The surroundings of a writer when it is made.
pub struct SinkContext {
    /// Its door to the outside.
    pub io: Io,
    /// The number of its subtask, from 0.
    pub subtask: usize,
    /// How many subtasks the sink has.
    pub parallelism: usize,
    /// Bytes to gather for one write.
    pub write_block_bytes: usize,
    /// The job, over all its attempts.
    pub job: JobId,
    /// Identifies the process that coordinates the job: [`Recovery::owner`].
    pub owner: u64,
    /// The attempt that the writer belongs to.
    pub attempt: Attempt,
    /// The first epoch it writes: the one after the restored checkpoint.
    pub epoch: CheckpointId,
}

/// Writes the records of one subtask.
///
/// The `poll_` methods follow the rules of futures: pending means that the task is woken when another call is worthwhile.
pub trait SinkWriter: 'static {
    /// See [`Sink::In`].
    type In: Record;
    /// See [`Sink::Transaction`].
    type Transaction: Record;

    /// Takes a record into memory. Only while [`ready`](Self::ready).
    fn write(&mut self, timestamp: i64, record: <Self::In as Record>::Ref<'_>);

    /// Whether there is room for another record.
    fn ready(&self) -> bool {
        true
    }

    /// Drives the operations under way until the writer is ready. Pending if nothing changes before an operation completes, or none is under way.
    ///
    /// # Errors
    /// A failed write: the attempt fails with it.
    fn poll_progress(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Pending
    }

    /// Why the writer waits, in words that name the place, while the disk has no room: it tries again by itself, and people are told
    /// (docs/src/semantics.md#o-7). Asked after every poll.
    fn waits_for_room(&self) -> Option<String> {
        None
    }

    /// The records written so far belong to the epoch of `checkpoint`, whose barrier has come; later records belong to the next epoch. At the end of input
    /// it is called a last time. May be called again before earlier sealed epochs are prepared, and also while not ready.
    fn seal(&mut self, checkpoint: CheckpointId);

    /// Makes the earliest sealed epoch that is not prepared yet durable, and keeps it hidden. Ready once for each call of
    /// [`seal`](Self::seal), in their order, with `None` if nothing was written in that epoch. Not called while nothing is sealed.
    ///
    /// # Errors
    /// A failed write or sync: the attempt fails with it.
    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Self::Transaction>, IoError>>;

    /// The attempt is over: the writer comes to rest. Ready when none of its operations can change anything any more. It removes nothing: [`Sink::recover`]
    /// does.
    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
