//! The history of a job so far, for observers from outside.
//!
//! The coordinator reports each of its decisions as an event (`event.rs`), and [`JobHistory`] is made of events and nothing else: it is a pure reducer,
//! without clock or I/O, and takes any event in any order without a panic. A decision about an attempt or a checkpoint does not change afterwards; the
//! first failure of an attempt is its failure, and failures while it closes are not recorded.
//!
//! It is bounded: the latest [`ATTEMPTS_MAX`] attempts, [`FAILURES_MAX`] failures and [`CHECKPOINTS_MAX`] checkpoints, of each checkpoint one entry per
//! subtask. Older entries are counted and forgotten, except the latest complete checkpoint.

mod attempts;
mod checkpoints;
mod event;
mod failure;

pub use attempts::{AttemptOutcome, AttemptRecord, JobEnding, JobOutcome, TaskPlacement, WorkerShare};
pub use checkpoints::{CheckpointFailure, CheckpointRecord, CheckpointState, SubtaskCheckpoint, TaskCheckpoint};
pub(crate) use event::JobEvent;
pub use failure::Failure;
pub(crate) use failure::FailurePlace;

use crate::checkpoint::{Attempt, CheckpointId, JobId};
use std::collections::VecDeque;
use std::sync::Arc;
use thalweg_io::UnixMillis;

/// Attempts that are remembered.
pub const ATTEMPTS_MAX: usize = 16;

/// Failures that are remembered; as many as Flink shows (`web.exception-history-size`).
pub const FAILURES_MAX: usize = 16;

/// Checkpoints that are remembered; Flink's `web.checkpoints.history` is 10.
pub const CHECKPOINTS_MAX: usize = 16;

/// A snapshot of a job's history. Cloning copies some pointers.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{CheckpointConfig, StreamExecutionEnvironment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("thalweg-history-{}", std::process::id()));
/// let env = StreamExecutionEnvironment::new();
/// env.enable_checkpointing(CheckpointConfig::new(&dir));
/// env.from_collection(vec![1u64, 2, 3]).for_each(|_| {});
/// let handle = env.execute("a job", 1)?;
/// let control = handle.control();
/// handle.wait()?;
/// let history = control.history();
/// let last = history.latest_completed().expect("a job with a folder ends with a checkpoint");
/// println!("checkpoint {} took {:?} and holds {} bytes", last.checkpoint, last.duration, last.bytes());
/// # assert!(history.attempts().count() == 1 && history.failures().count() == 0);
/// # std::fs::remove_dir_all(dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobHistory {
    job: Option<JobId>,
    attempts: VecDeque<Arc<AttemptRecord>>,
    failures: VecDeque<Arc<Failure>>,
    checkpoints: VecDeque<Arc<CheckpointRecord>>,
    latest_completed: Option<Arc<CheckpointRecord>>,
    attempts_begun: u64,
    checkpoints_completed: u64,
    checkpoints_failed: u64,
    outcome: Option<(UnixMillis, JobOutcome)>,
}

impl JobHistory {
    /// The job's number, which also names it in its checkpoints and results; `None` before its first attempt.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.job
    }

    /// The latest attempts of this process, at most 16, the newest last.
    pub fn attempts(&self) -> impl DoubleEndedIterator<Item = &AttemptRecord> + ExactSizeIterator {
        self.attempts.iter().map(|attempt| &**attempt)
    }

    /// The latest failures, at most 16, the newest last: of attempts, and of the beginning of attempts.
    pub fn failures(&self) -> impl DoubleEndedIterator<Item = &Failure> + ExactSizeIterator {
        self.failures.iter().map(|failure| &**failure)
    }

    /// The latest checkpoints, at most 16, the newest last: the one that is under way, and completed or given-up ones.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &CheckpointRecord> + ExactSizeIterator {
        self.checkpoints.iter().map(|checkpoint| &**checkpoint)
    }

    /// One of the remembered checkpoints. If an attempt has given one up and the next has used its number again, the newer one.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: CheckpointId) -> Option<&CheckpointRecord> {
        self.checkpoints().rev().chain(self.latest_completed()).find(|record| record.checkpoint == checkpoint)
    }

    /// The latest complete checkpoint, however many have failed since.
    #[must_use]
    pub fn latest_completed(&self) -> Option<&CheckpointRecord> {
        self.latest_completed.as_deref()
    }

    /// How many attempts have begun, forgotten ones included.
    #[must_use]
    pub fn attempts_begun(&self) -> u64 {
        self.attempts_begun
    }

    /// How many checkpoints were completed, forgotten ones included.
    #[must_use]
    pub fn checkpoints_completed(&self) -> u64 {
        self.checkpoints_completed
    }

    /// How many checkpoints were given up, forgotten ones included.
    #[must_use]
    pub fn checkpoints_failed(&self) -> u64 {
        self.checkpoints_failed
    }

    /// How the job ended; `None` while it runs.
    #[must_use]
    pub fn outcome(&self) -> Option<&JobOutcome> {
        self.outcome.as_ref().map(|(_, outcome)| outcome)
    }

    /// When the job ended; `None` while it runs.
    #[must_use]
    pub fn ended_at(&self) -> Option<UnixMillis> {
        self.outcome.as_ref().map(|(at, _)| *at)
    }

    /// Applies an event of the time `at`.
    pub(crate) fn apply(&mut self, at: UnixMillis, event: JobEvent) {
        match event {
            JobEvent::AttemptBegan { job, attempt, restored } => {
                self.job = Some(job);
                self.attempts_begun += 1;
                push(&mut self.attempts, ATTEMPTS_MAX, AttemptRecord::new(at, attempt, restored));
            }
            JobEvent::AttemptDeployed { attempt, workers, tasks } => {
                if let Some(record) = self.attempt_mut(attempt) {
                    (record.workers, record.tasks) = (workers, tasks);
                }
            }
            JobEvent::AttemptFailed { attempt, failure } => self.failed(attempt, failure),
            JobEvent::AttemptEnded { attempt, outcome } => {
                if let Some(record) = self.attempt_mut(attempt) {
                    record.ended.get_or_insert((at, outcome));
                }
            }
            JobEvent::CheckpointBegan { attempt, checkpoint, ends_job } => {
                let tasks = self.attempts.iter().find(|record| record.attempt == attempt).map_or(&[][..], |record| &record.tasks);
                let record = CheckpointRecord::new(at, attempt, checkpoint, ends_job, tasks);
                push(&mut self.checkpoints, CHECKPOINTS_MAX, record);
            }
            JobEvent::SubtaskAcknowledged { checkpoint, task_uid, subtask, part } => {
                if let Some(record) = self.under_way(checkpoint) {
                    record.acknowledged(&task_uid, subtask, part);
                }
            }
            JobEvent::CheckpointCompleted { checkpoint, duration } => {
                if let Some(record) = self.under_way(checkpoint) {
                    (record.state, record.duration) = (CheckpointState::Completed { at }, duration);
                    self.checkpoints_completed += 1;
                    self.latest_completed = self.checkpoints.iter().rev().find(|record| record.checkpoint == checkpoint).cloned();
                }
            }
            JobEvent::CheckpointFailed { checkpoint, duration, reason } => {
                if let Some(record) = self.under_way(checkpoint) {
                    (record.state, record.duration) = (CheckpointState::Failed { at, reason }, duration);
                    self.checkpoints_failed += 1;
                }
            }
            JobEvent::JobEnded { outcome } => {
                let outcome = match self.failures.back() {
                    Some(latest) => outcome.explained_by(latest),
                    None => outcome,
                };
                self.outcome.get_or_insert((at, outcome));
            }
        }
    }

    fn failed(&mut self, attempt: Option<Attempt>, failure: Failure) {
        let failure = Arc::new(failure);
        if let Some(attempt) = attempt
            && let Some(record) = self.attempt_mut(attempt)
        {
            if record.failure.is_some() || record.ended.is_some() {
                return;
            }
            record.failure = Some(Arc::clone(&failure));
        }
        make_room(&mut self.failures, FAILURES_MAX);
        self.failures.push_back(failure);
    }

    fn attempt_mut(&mut self, attempt: Attempt) -> Option<&mut AttemptRecord> {
        self.attempts.iter_mut().find(|record| record.attempt == attempt).map(Arc::make_mut)
    }

    /// The checkpoint, if it is still under way.
    fn under_way(&mut self, checkpoint: CheckpointId) -> Option<&mut CheckpointRecord> {
        let found = self.checkpoints.iter_mut().rev().find(|record| record.checkpoint == checkpoint);
        found.filter(|record| record.state == CheckpointState::UnderWay).map(Arc::make_mut)
    }
}

fn push<T>(records: &mut VecDeque<Arc<T>>, most: usize, record: T) {
    make_room(records, most);
    records.push_back(Arc::new(record));
}

fn make_room<T>(records: &mut VecDeque<T>, most: usize) {
    while records.len() >= most {
        records.pop_front();
    }
}

#[cfg(test)]
mod tests;
