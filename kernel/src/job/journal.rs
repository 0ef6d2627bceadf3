//! The coordinator's journal: takes its decisions as events, adds the time, and makes of them the history that the user's handle shows.

use crate::checkpoint::Attempt;
use crate::error::JobError;
use crate::graph::Job;
use crate::job::history::{Failure, FailurePlace, JobEvent, JobHistory};
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::Io;

/// The history, shared between a job's coordinator and the handles of the job.
pub(crate) type SharedHistory = Arc<Mutex<JobHistory>>;

/// A snapshot of the history.
pub(crate) fn snapshot(history: &SharedHistory) -> JobHistory {
    history.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Records decisions. Clones record for the same job.
#[derive(Clone)]
pub(crate) struct Journal {
    io: Io,
    history: SharedHistory,
}

impl Journal {
    pub(crate) fn new(io: Io, history: SharedHistory) -> Self {
        Self { io, history }
    }

    /// Records a decision made now.
    pub(crate) fn tell(&self, event: JobEvent) {
        let at = self.io.clock().wall();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).apply(at, event);
    }

    /// Records that the attempt fails, or none could begin. An end that was asked for is no failure.
    pub(crate) fn tell_failure(&self, job: &Job, attempt: Option<Attempt>, error: &JobError, place: FailurePlace) {
        if !matches!(error, JobError::Cancelled | JobError::Rescaled) {
            let failure = self.failure(job, attempt, error, place);
            self.tell(JobEvent::AttemptFailed { attempt, failure });
        }
    }

    /// The known facts about `error`.
    pub(crate) fn failure(&self, job: &Job, attempt: Option<Attempt>, error: &JobError, place: FailurePlace) -> Failure {
        Failure::of(error, job, attempt, self.io.clock().wall(), place)
    }
}
