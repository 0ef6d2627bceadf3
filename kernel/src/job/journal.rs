//! Where the coordinator tells what it decides: events go in, with the time, and the history that the user's handle shows comes of them.

use crate::checkpoint::Attempt;
use crate::error::JobError;
use crate::graph::Job;
use crate::job::history::{Failure, FailurePlace, JobEvent, JobHistory};
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::Io;

/// What a job's coordinator shares with whoever holds a handle of the job.
pub(crate) type SharedHistory = Arc<Mutex<JobHistory>>;

/// A snapshot of it.
pub(crate) fn snapshot(history: &SharedHistory) -> JobHistory {
    history.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Tells what is decided. Clones tell of the same job.
#[derive(Clone)]
pub(crate) struct Journal {
    io: Io,
    history: SharedHistory,
}

impl Journal {
    pub(crate) fn new(io: Io, history: SharedHistory) -> Self {
        Self { io, history }
    }

    /// Something has been decided, now.
    pub(crate) fn tell(&self, event: JobEvent) {
        let at = self.io.clock().wall();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).apply(at, event);
    }

    /// The attempt fails, or none could begin. An end that was asked for is no failure.
    pub(crate) fn tell_failure(&self, job: &Job, attempt: Option<Attempt>, error: &JobError, place: FailurePlace) {
        if !matches!(error, JobError::Cancelled | JobError::Rescaled) {
            let failure = self.failure(job, attempt, error, place);
            self.tell(JobEvent::AttemptFailed { attempt, failure });
        }
    }

    /// What is known of `error`.
    pub(crate) fn failure(&self, job: &Job, attempt: Option<Attempt>, error: &JobError, place: FailurePlace) -> Failure {
        Failure::of(error, job, attempt, self.io.clock().wall(), place)
    }
}
