//! A source of records that are already in memory.
//!
//! The records stay in the source; a split is a range of their positions, and a checkpoint holds only that. So a job that is restored has to be given the
//! same records again.

use crate::record::Record;
use crate::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use crate::time::NO_TIMESTAMP;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use thalweg_io::{Io, LocalBoxFuture};

/// Emits given records, split by split.
pub struct CollectionSource<T> {
    /// All records, split after split. Locked once per split, to copy it: records need not be shareable between threads.
    records: Arc<Mutex<Vec<T>>>,
    /// The position behind the last record of each split.
    ends: Vec<u64>,
}

impl<T> Clone for CollectionSource<T> {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records), ends: self.ends.clone() }
    }
}

impl<T: Record> CollectionSource<T> {
    /// All records in one split: one subtask reads them, in order.
    #[must_use]
    pub fn new(records: Vec<T>) -> Self {
        Self::from_splits(vec![records])
    }

    /// Records in several splits, which are read by several subtasks if there are that many. A subtask reads one split after the other, so splits that
    /// cover the same time want a generous out-of-orderness, or as many subtasks as there are splits (docs/src/semantics.md#w-2).
    #[must_use]
    pub fn from_splits(splits: Vec<Vec<T>>) -> Self {
        let mut records = Vec::new();
        let mut ends = Vec::with_capacity(splits.len());
        for split in splits {
            records.extend(split);
            ends.push(records.len() as u64);
        }
        Self { records: Arc::new(Mutex::new(records)), ends }
    }
}

/// The records at the positions from `next` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record)]
pub struct CollectionSplit {
    /// The position of the next record.
    pub next: u64,
    /// Behind the last position.
    pub end: u64,
}

impl CollectionSplit {
    fn positions(self) -> Option<Range<usize>> {
        Some(usize::try_from(self.next).ok()?..usize::try_from(self.end).ok()?)
    }
}

impl<T: Record> Source for CollectionSource<T> {
    type Out = T;
    type Split = CollectionSplit;
    type Reader = CollectionReader<T>;

    fn name(&self) -> &'static str {
        "collection"
    }

    fn splits(&self, _io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<CollectionSplit>, SourceError>> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let splits = begins.zip(&self.ends).map(|(next, end)| CollectionSplit { next, end: *end }).collect();
        Box::pin(std::future::ready(Ok(splits)))
    }

    fn reader(&self, _context: ReaderContext) -> CollectionReader<T> {
        CollectionReader {
            records: Arc::clone(&self.records),
            rest: Some(Vec::new().into_iter()),
            split: CollectionSplit { next: 0, end: 0 },
        }
    }
}

/// Emits one split after the other.
pub struct CollectionReader<T> {
    records: Arc<Mutex<Vec<T>>>,
    /// A copy of the rest of the split; `None` if the collection does not have it.
    rest: Option<std::vec::IntoIter<T>>,
    split: CollectionSplit,
}

impl<T: Record> SourceReader for CollectionReader<T> {
    type Out = T;
    type Split = CollectionSplit;

    fn start(&mut self, split: CollectionSplit) {
        self.split = split;
        // Copying records may panic, but changes none of them.
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = split.positions().and_then(|positions| records.get(positions));
        self.rest = rest.map(|rest| Vec::from(rest).into_iter());
    }

    fn snapshot(&self) -> CollectionSplit {
        self.split
    }

    fn poll_next<O: ReaderOutput<T>>(
        &mut self,
        _cx: &mut Context<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        let CollectionSplit { next, end } = self.split;
        let Some(rest) = &mut self.rest else {
            let reason = format!(
                "the checkpoint wants the records from {next} to {end} of a collection that has fewer; give the job the collection it began with"
            );
            return Poll::Ready(Err(SourceError::Invalid(reason)));
        };
        for _ in 0..limit {
            if !output.is_ready() {
                break;
            }
            match rest.next() {
                Some(record) => {
                    self.split.next += 1;
                    output.collect(record, NO_TIMESTAMP);
                }
                None => return Poll::Ready(Ok(ReaderStatus::EndOfSplit)),
            }
        }
        Poll::Ready(Ok(ReaderStatus::MoreAvailable))
    }
}
