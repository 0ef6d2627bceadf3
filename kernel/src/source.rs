//! The interface of sources: an enumerator that finds splits, and readers that read them.
//!
//! A *split* is a part of the input that is read by one reader from its beginning to its end: a file, a partition, a range of numbers. Splits are
//! assigned one at a time, lowest first, to the reader that asks (docs/src/semantics.md#s-1).

use crate::operators::OutputTag;
use crate::record::{Record, RecordLayout};
use std::path::PathBuf;
use std::task::{Context, Poll};
use thalweg_io::{Io, IoError, LocalBoxFuture};

/// Why input could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A record cannot be understood.
    #[error("{file}:{line}:{column}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column (of the table, or of the text), from 1.
        column: u64,
        /// The problem.
        reason: String,
    },
    /// The input that the source was given does not exist: nothing has begun, and the job's description has to change. Names the cure.
    #[error("{0}")]
    Invalid(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A source of records.
pub trait Source: Clone + Send + 'static {
    /// The records it emits.
    type Out: Record;
    /// A part of the input, and the position in it. Checkpoints hold it.
    type Split: Record;
    /// Reads splits in one subtask.
    type Reader: SourceReader<Out = Self::Out, Split = Self::Split>;

    /// The operator's name, unless the user names it.
    fn name(&self) -> &'static str;

    /// The file or folder that it reads, if it reads one: a sink that works in that folder is refused.
    fn location(&self) -> Option<PathBuf> {
        None
    }

    /// The layout of its records, where their type stands for several layouts: see [`DataStream::with_layout`](crate::DataStream::with_layout).
    fn record_layout(&self) -> RecordLayout<Self::Out> {
        RecordLayout::default()
    }

    /// The layout of its splits. Checkpoints hold it, and a split of another layout is refused.
    fn split_layout(&self) -> RecordLayout<Self::Split> {
        RecordLayout::default()
    }

    /// Finds the splits, in the order in which they are to be assigned. Called once, on core 0.
    fn splits(&self, io: Io, parallelism: usize) -> LocalBoxFuture<Result<Vec<Self::Split>, SourceError>>;

    /// Makes the reader of one subtask, on its core.
    fn reader(&self, context: ReaderContext) -> Self::Reader;
}

/// The surroundings of a reader when it is made.
pub struct ReaderContext {
    /// Its door to the outside.
    pub io: Io,
    /// Bytes to read at once.
    pub read_block_bytes: usize,
}

/// The result of a call of [`SourceReader::poll_next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderStatus {
    /// The split has more records.
    MoreAvailable,
    /// The split has been read to its end.
    EndOfSplit,
}

/// Reads one split after the other.
pub trait SourceReader: 'static {
    /// The records it emits.
    type Out: Record;
    /// See [`Source::Split`].
    type Split;

    /// Begins a split, or resumes it where [`snapshot`](Self::snapshot) was taken. Called when no split is in work.
    fn start(&mut self, split: Self::Split);

    /// The split in work with its position: behind the last record that was *emitted*, however far fetching has come (docs/src/semantics.md#s-4). A reader
    /// that starts with it emits the records that would have followed. Called between calls of [`poll_next`](Self::poll_next), while a split is in work.
    /// Costs little: it is called at every checkpoint.
    fn snapshot(&self) -> Self::Split;

    /// Emits at most `limit` records of the current split, and none while the output is not [ready](ReaderOutput::is_ready). Pending while nothing
    /// can be read; the task is woken when that changes.
    ///
    /// # Errors
    /// If the reader cannot continue: the job fails with this error.
    fn poll_next<O: ReaderOutput<Self::Out>>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>>;
}

/// Takes the records that a reader emits (Flink's `ReaderOutput`).
pub trait ReaderOutput<T: Record> {
    /// Whether another record may be emitted now.
    fn is_ready(&self) -> bool;

    /// Emits a record with its timestamp in milliseconds, or [`NO_TIMESTAMP`](crate::NO_TIMESTAMP).
    fn collect(&mut self, record: T, timestamp: i64);

    /// Emits a record through its view, so that a record that is filtered away is never built.
    fn collect_view(&mut self, view: T::Ref<'_>, timestamp: i64);

    /// Emits to a side output of the source and counts it as an error (`numRecordsInErrors`) (docs/src/semantics.md#s-3).
    fn malformed<S: Record>(&mut self, tag: &OutputTag<S>, record: S);
}
