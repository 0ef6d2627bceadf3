//! A sink into memory, for tests and small results.
//!
//! Exactly once as long as the process lives: records that a job reads again after a failure are not collected twice, because only committed epochs are
//! handed over. The results of a process that has died are gone; results that are to outlive it belong into files.

use crate::checkpoint::{Attempt, CheckpointId};
use crate::record::Record;
use crate::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use thalweg_io::{Io, IoError, LocalBoxFuture};

/// The records that one subtask has collected in one epoch of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Record)]
pub struct CollectTransaction {
    /// The checkpoint that ended the epoch.
    pub epoch: u64,
    /// The subtask.
    pub subtask: u64,
    /// The attempt.
    pub attempt: u64,
}

/// Shared by all clones of a sink and its [`Collected`]: locked once per epoch, never per record.
struct SharedRecords<T> {
    prepared: Vec<(CollectTransaction, Vec<T>)>,
    committed: Vec<T>,
    /// No `Collected` is left to take committed records.
    unwanted: bool,
}

impl<T> SharedRecords<T> {
    fn lock(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        // No code that holds the lock panics.
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction that is not found has been committed before, or the process that had it has died.
    fn commit(&mut self, mut transactions: Vec<CollectTransaction>) {
        // Epochs of one subtask in their order.
        transactions.sort_unstable();
        for transaction in transactions {
            if let Some(found) = self.prepared.iter().position(|(prepared, _)| *prepared == transaction) {
                let (_, records) = self.prepared.swap_remove(found);
                if !self.unwanted {
                    self.committed.extend(records);
                }
            }
        }
    }
}

/// Hands its records over when the job commits: uncommitted records of a job that fails are not shown.
pub struct CollectSink<T> {
    shared: Arc<Mutex<SharedRecords<T>>>,
}

impl<T> Clone for CollectSink<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Receives the records of a [`CollectSink`].
pub struct Collected<T> {
    shared: Arc<Mutex<SharedRecords<T>>>,
}

impl<T: Record> CollectSink<T> {
    /// A sink, and the handle that receives its records.
    #[must_use]
    pub fn new() -> (Self, Collected<T>) {
        let shared = Arc::new(Mutex::new(SharedRecords { prepared: Vec::new(), committed: Vec::new(), unwanted: false }));
        (Self { shared: Arc::clone(&shared) }, Collected { shared })
    }
}

impl<T> Collected<T> {
    /// The records that the job has committed since the last call: without checkpoints all when it has finished, and none before or if it failed; with
    /// them, the records that each complete checkpoint covers. Records of one subtask stand in their order.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut SharedRecords::lock(&self.shared).committed)
    }
}

impl<T> Drop for Collected<T> {
    fn drop(&mut self) {
        let mut shared = SharedRecords::lock(&self.shared);
        shared.unwanted = true;
        shared.committed = Vec::new();
    }
}

impl<T: Record> Sink for CollectSink<T> {
    type In = T;
    type Transaction = CollectTransaction;
    type Writer = CollectWriter<T>;

    fn name(&self) -> &'static str {
        "collect"
    }

    fn recover(&self, _io: Io, recovery: Recovery<CollectTransaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        let mut shared = SharedRecords::lock(&self.shared);
        shared.commit(recovery.committed);
        shared.prepared.clear();
        Box::pin(std::future::ready(Ok(())))
    }

    fn commit(&self, _io: Io, transactions: Vec<CollectTransaction>) -> LocalBoxFuture<Result<(), SinkError>> {
        SharedRecords::lock(&self.shared).commit(transactions);
        Box::pin(std::future::ready(Ok(())))
    }

    fn spans_processes(&self) -> bool {
        false
    }

    fn writer(&self, context: SinkContext) -> CollectWriter<T> {
        CollectWriter {
            shared: Arc::clone(&self.shared),
            subtask: context.subtask as u64,
            attempt: context.attempt,
            records: Vec::new(),
            sealed: VecDeque::new(),
        }
    }
}

/// Gathers the records of one subtask.
pub struct CollectWriter<T> {
    shared: Arc<Mutex<SharedRecords<T>>>,
    subtask: u64,
    attempt: Attempt,
    /// The records of the epoch that is being written.
    records: Vec<T>,
    /// The records of epochs that are sealed and not prepared yet.
    sealed: VecDeque<(CheckpointId, Vec<T>)>,
}

impl<T: Record> SinkWriter for CollectWriter<T> {
    type In = T;
    type Transaction = CollectTransaction;

    #[inline]
    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        self.records.push(T::from_view(record));
    }

    fn seal(&mut self, checkpoint: CheckpointId) {
        self.sealed.push_back((checkpoint, std::mem::take(&mut self.records)));
    }

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<CollectTransaction>, IoError>> {
        let (epoch, records) = self.sealed.pop_front().expect("invariant: preparing is asked for once for each sealed epoch");
        if records.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let transaction = CollectTransaction { epoch: epoch.0, subtask: self.subtask, attempt: self.attempt.0 };
        SharedRecords::lock(&self.shared).prepared.push((transaction, records));
        Poll::Ready(Ok(Some(transaction)))
    }
}
