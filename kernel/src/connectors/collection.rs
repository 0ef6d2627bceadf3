//! A source of records that are already there.

use crate::record::Record;
use crate::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use crate::time::NO_TIMESTAMP;
use std::task::{Context, Poll};
use thalweg_io::{Io, LocalBoxFuture};

/// Emits given records, split by split.
#[derive(Clone)]
pub struct CollectionSource<T> {
    splits: Vec<Vec<T>>,
}

impl<T: Record> CollectionSource<T> {
    /// All records in one split: one subtask reads them, in order.
    #[must_use]
    pub fn new(records: Vec<T>) -> Self {
        Self { splits: vec![records] }
    }

    /// Records in several splits, which are read by several subtasks if there are that many. A subtask reads one split after the other, so splits that
    /// cover the same time want a generous out-of-orderness, or as many subtasks as there are splits (docs/src/semantics.md#w-2).
    #[must_use]
    pub fn from_splits(splits: Vec<Vec<T>>) -> Self {
        Self { splits }
    }
}

impl<T: Record> Source for CollectionSource<T> {
    type Out = T;
    type Split = Vec<T>;
    type Reader = CollectionReader<T>;

    fn name(&self) -> &'static str {
        "collection"
    }

    fn splits(&self, _io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<Vec<T>>, SourceError>> {
        let splits = self.splits.clone();
        Box::pin(async move { Ok(splits) })
    }

    fn reader(&self, _context: ReaderContext) -> CollectionReader<T> {
        CollectionReader { rest: Vec::new().into_iter() }
    }
}

/// Emits one split after the other.
pub struct CollectionReader<T> {
    rest: std::vec::IntoIter<T>,
}

impl<T: Record> SourceReader for CollectionReader<T> {
    type Out = T;
    type Split = Vec<T>;

    fn start(&mut self, split: Vec<T>) {
        self.rest = split.into_iter();
    }

    fn poll_next<O: ReaderOutput<T>>(
        &mut self,
        _cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        for _ in 0..limit {
            if !output.is_ready() {
                break;
            }
            match self.rest.next() {
                Some(record) => output.collect(record, NO_TIMESTAMP),
                None => return Poll::Ready(Ok(ReaderStatus::EndOfSplit)),
            }
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}
