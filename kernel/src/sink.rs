//! The interface of sinks: writers that gather synchronously, write asynchronously, and show their results in two steps.
//!
//! At the end of a job every writer *prepares*: its results are durable, and hidden. When all writers of all sinks have prepared, all *commit*. If
//! anything fails before that, all *abort* (docs/src/semantics.md#o-1).

use crate::record::Record;
use std::task::{Context, Poll};
use thalweg_io::{Io, IoError, LocalBoxFuture};

/// Why a sink cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The operating system said no.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The place of the results is not fit for them: nothing has begun, and the job's description has to change. Names the cure.
    #[error("{0}")]
    Invalid(String),
}

/// A sink of records.
pub trait Sink: Clone + Send + 'static {
    /// What it takes.
    type In: Record;
    /// Writes in one subtask.
    type Writer: SinkWriter<In = Self::In>;

    /// What its operator is called unless the user names it.
    fn name(&self) -> &'static str;

    /// Where its results can be found, for people.
    fn location(&self) -> Option<String> {
        None
    }

    /// Prepares the place of the results. Called once, on core 0, before the first split is given out.
    ///
    /// # Errors
    /// If results cannot or must not be put there: the job fails with it before anything is read.
    fn initialize(&self, _io: Io) -> LocalBoxFuture<Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Makes the writer of one subtask, on its core.
    fn writer(&self, context: SinkContext) -> Self::Writer;
}

/// What a writer is given when it is made.
pub struct SinkContext {
    /// Its door to the outside.
    pub io: Io,
    /// The number of its subtask, from 0.
    pub subtask: usize,
    /// How many subtasks the sink has.
    pub parallelism: usize,
    /// How many bytes to gather for one write.
    pub write_block_bytes: usize,
}

/// Writes the records of one subtask.
///
/// The `poll_` methods follow the rules of futures: pending means that the task is woken when another call is worth it. Each of
/// `poll_prepare`, `poll_commit` and `poll_abort` is called until it is ready once, and not again.
pub trait SinkWriter: 'static {
    /// See [`Sink::In`].
    type In: Record;

    /// Takes a record into memory. Only while [`ready`](Self::ready).
    fn write(&mut self, timestamp: i64, record: <Self::In as Record>::Ref<'_>);

    /// Whether there is room for another record.
    fn ready(&self) -> bool {
        true
    }

    /// Drives what is under way towards being ready. Pending if nothing changes before an operation completes, or nothing is under way.
    ///
    /// # Errors
    /// A failed write: the job fails with it.
    fn poll_progress(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Pending
    }

    /// Makes everything that was written durable, and keeps it hidden.
    ///
    /// # Errors
    /// A failed write or sync: the job fails with it.
    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }

    /// Shows what was prepared. Other writers may have done so already, or not yet (docs/src/semantics.md#o-3).
    ///
    /// # Errors
    /// A failed operation: the job fails with it, although other writers may have committed.
    fn poll_commit(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// A failed operation: it is logged.
    fn poll_abort(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
}
