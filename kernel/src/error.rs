//! Why a job failed.

use crate::refusal::{Cure, Refusal};
use std::cell::RefCell;
use std::fmt;
use thalweg_io::{IoError, StartError};
use thalweg_storage::checkpoint::CheckpointError;

/// The reason a job did not finish. The message names what failed, where, and what can be done; `Debug` shows the same, since it is what a `main` prints that
/// returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A user's function panicked.
    #[error("operator {operator}, subtask {subtask}: the user function panicked: {message}\n  at record: {record}")]
    UserPanic {
        /// The operator's name.
        operator: String,
        /// The subtask in which it panicked, from 0.
        subtask: usize,
        /// The text of the panic, with its place if that is known.
        message: String,
        /// The record (or timer) with which it was called.
        record: String,
    },
    /// An operator was used in a way that it does not support.
    #[error("operator {operator}, subtask {subtask}: {reason}")]
    Operator {
        /// The operator's name.
        operator: String,
        /// The subtask in which it happened, from 0.
        subtask: usize,
        /// What was wrong.
        reason: String,
    },
    /// Input could not be read, or a row of it is malformed and the job is strict.
    #[error("source {operator}, subtask {subtask}: {reason}")]
    Source {
        /// The source's name.
        operator: String,
        /// The subtask in which it happened, from 0.
        subtask: usize,
        /// What was wrong, with file, line and column where there are any.
        reason: String,
    },
    /// Output could not be written.
    #[error("sink {operator}, subtask {subtask}: {source}")]
    Sink {
        /// The sink's name.
        operator: String,
        /// The subtask in which it happened, from 0.
        subtask: usize,
        /// The system's reason.
        source: IoError,
    },
    /// The place of a sink's results has another owner now.
    #[error("sink {operator}: {reason}")]
    Overtaken {
        /// The sink's name.
        operator: String,
        /// The place, and its owner.
        reason: String,
    },
    /// The job as it is described cannot be run.
    #[error("the job cannot be run: {0}")]
    Invalid(Refusal),
    /// An address cannot be listened at, for now: another process has it, perhaps.
    #[error("{what}: {source}; {cure}")]
    Listen {
        /// The work that cannot be done.
        what: String,
        /// The address, and the system's reason.
        source: IoError,
        /// What the person can do.
        cure: &'static str,
    },
    /// A checkpoint could not be written or read.
    #[error("checkpoint, {place}: {source}")]
    Checkpoint {
        /// The subtask, or the coordinator.
        place: String,
        /// What was wrong, with the file.
        source: CheckpointError,
    },
    /// Too many checkpoints in a row were not complete in time.
    #[error(
        "{failures} checkpoints in a row were not complete within {timeout:?}: give them more time, or find out what holds the barriers up"
    )]
    CheckpointsExpired {
        /// Number of expired checkpoints in a row.
        failures: u32,
        /// The timeout.
        timeout: std::time::Duration,
    },
    /// A worker of the job is gone.
    #[error("worker {worker} is lost: {reason}")]
    WorkerLost {
        /// The worker's name.
        worker: String,
        /// How the loss was noticed.
        reason: String,
    },
    /// A worker cannot do its part; the job goes on without it.
    #[error("worker {worker} cannot take part: {reason}")]
    Unfit {
        /// The worker's name.
        worker: String,
        /// What the worker lacks, and the cure.
        reason: String,
    },
    /// More workers have joined than the attempt runs on; the next one runs on all of them.
    #[error("more workers are there: the job goes on with all of them")]
    Rescaled,
    /// The stream of frames between two workers broke.
    #[error("the exchange with worker {worker}: {reason}")]
    Exchange {
        /// The other worker's name.
        worker: String,
        /// What was wrong.
        reason: String,
    },
    /// A failure at a worker, of a kind that has no variant of its own between processes.
    #[error("{message}")]
    Remote {
        /// The name of the operator in which it happened, if it happened in one.
        operator: Option<String>,
        /// The subtask of that operator, from 0.
        subtask: Option<usize>,
        /// The text of the failure there.
        message: String,
        /// The kind of its cause.
        cause: FailureCause,
        /// The settings that would cure it.
        cures: Vec<Cure>,
        /// Whether another attempt could succeed.
        is_worth_a_restart: bool,
    },
    /// The cores could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The engine broke one of its own rules.
    #[error("internal error in {place}: {message} (this is a defect of the engine; please report it)")]
    Internal {
        /// The place where the rule was broken.
        place: String,
        /// The text of the failed assertion.
        message: String,
    },
}

/// The kind of cause of a failure, for programs that act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureCause {
    /// None of the kinds below.
    #[default]
    Other,
    /// The disk has no room.
    StorageFull,
    /// This user lacks the permission.
    PermissionDenied,
    /// Another attempt has taken over.
    Fenced,
    /// Bytes on disk are damaged, foreign, of another version, or not there.
    Damage,
    /// A folder for checkpoints cannot be used as it is.
    Unusable,
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JobError {
    /// The job as it is described cannot be run, and no setting cures that. `reason` names the cure.
    #[must_use]
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(Refusal::from(reason.into()))
    }

    /// The settings that would cure the error, in the order in which the message names them; [`Cure`] tells how each is set.
    #[must_use]
    pub fn cures(&self) -> &[Cure] {
        match self {
            Self::Invalid(refusal) => refusal.cures(),
            Self::Checkpoint { source, .. } => Cure::of_checkpoint_error(source),
            Self::Remote { cures, .. } => cures,
            _ => &[],
        }
    }

    /// An address cannot be listened at: `what` cannot be done, for the reason `source`, and `cure` says what the person can do. If this machine does not
    /// have the address, or this user may not take it, the error is [`Invalid`](Self::Invalid).
    #[must_use]
    pub fn cannot_listen(what: impl Into<String>, source: IoError, cure: &'static str) -> Self {
        use std::io::ErrorKind::{AddrNotAvailable, PermissionDenied};
        let what = what.into();
        match source.kind() {
            AddrNotAvailable | PermissionDenied => Self::invalid(format!("{what}: {source}; {cure}")),
            _ => Self::Listen { what, source, cure },
        }
    }

    /// The failure of a checkpoint, or of the log, at the coordinator.
    pub(crate) fn of_the_coordinator(source: CheckpointError) -> Self {
        Self::Checkpoint { place: "coordinator".to_owned(), source }
    }

    /// The failure to store a snapshot, at a subtask of this name. If the folder cannot be used there, perhaps only that process may not use it: whether
    /// the whole job cannot, its coordinator finds out with the first log entry of the next attempt.
    pub(crate) fn of_a_snapshot(subtask: &str, source: CheckpointError) -> Self {
        let failure = Self::Checkpoint { place: subtask.to_owned(), source };
        match failure.cause() {
            cause @ FailureCause::Unusable => Self::Remote {
                operator: None,
                subtask: None,
                message: failure.to_string(),
                cause,
                cures: failure.cures().to_vec(),
                is_worth_a_restart: true,
            },
            _ => failure,
        }
    }

    /// The operator in which the error happened, if that is known.
    #[must_use]
    pub fn operator(&self) -> Option<&str> {
        match self {
            Self::UserPanic { operator, .. }
            | Self::Operator { operator, .. }
            | Self::Source { operator, .. }
            | Self::Sink { operator, .. }
            | Self::Overtaken { operator, .. } => Some(operator),
            Self::Remote { operator, .. } => operator.as_deref(),
            _ => None,
        }
    }

    /// The subtask of that operator, if that is known.
    #[must_use]
    pub fn subtask(&self) -> Option<usize> {
        match self {
            Self::UserPanic { subtask, .. }
            | Self::Operator { subtask, .. }
            | Self::Source { subtask, .. }
            | Self::Sink { subtask, .. } => Some(*subtask),
            Self::Remote { subtask, .. } => *subtask,
            _ => None,
        }
    }

    /// The worker that is lost, or unfit.
    pub(crate) fn worker(&self) -> Option<&str> {
        match self {
            Self::WorkerLost { worker, .. } | Self::Unfit { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// Whether another attempt has taken over, even if a worker found that out.
    pub(crate) fn is_fenced(&self) -> bool {
        self.cause() == FailureCause::Fenced
    }

    /// Whether another attempt could succeed.
    #[must_use]
    pub fn is_worth_a_restart(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::Listen { .. } | Self::Start(_) | Self::Cancelled | Self::Overtaken { .. } => false,
            Self::Checkpoint { source, .. } => !source.is_fenced() && !source.is_damage() && !source.is_unusable(),
            Self::Remote { is_worth_a_restart, .. } => *is_worth_a_restart,
            _ => true,
        }
    }

    /// The kind of cause.
    #[must_use]
    pub fn cause(&self) -> FailureCause {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, StorageFull};
        match self {
            Self::Sink { source, .. } => match source.kind() {
                StorageFull | QuotaExceeded => FailureCause::StorageFull,
                PermissionDenied => FailureCause::PermissionDenied,
                _ => FailureCause::Other,
            },
            Self::Checkpoint { source, .. } if source.is_storage_full() => FailureCause::StorageFull,
            Self::Checkpoint { source, .. } if source.is_fenced() => FailureCause::Fenced,
            Self::Checkpoint { source, .. } if source.is_damage() => FailureCause::Damage,
            Self::Checkpoint { source, .. } if source.is_unusable() => FailureCause::Unusable,
            Self::Remote { cause, .. } => *cause,
            _ => FailureCause::Other,
        }
    }
}

/// The first failure of a subtask, noted deep inside its chain and taken out by its driver.
#[derive(Default)]
pub(crate) struct FailureSlot {
    error: RefCell<Option<JobError>>,
    /// Operator and record of the user function that is panicking.
    panicking: RefCell<Option<(String, String)>>,
}

impl FailureSlot {
    pub(crate) fn set(&self, error: JobError) {
        self.error.borrow_mut().get_or_insert(error);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.error.borrow().is_some()
    }

    pub(crate) fn take(&self) -> Option<JobError> {
        self.error.borrow_mut().take()
    }

    pub(crate) fn note_panic(&self, operator: &str, record: String) {
        self.panicking.borrow_mut().get_or_insert_with(|| (operator.to_owned(), record));
    }

    pub(crate) fn take_panic(&self) -> Option<(String, String)> {
        self.panicking.borrow_mut().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_worker_that_may_not_write_its_snapshot_ends_the_attempt_and_not_the_job() {
        let at = |kind: ErrorKind| IoError::new("create", "/checkpoints/1-7.state", kind.into());
        let refused = || CheckpointError::Unusable { source: at(ErrorKind::PermissionDenied) };
        let error = JobError::of_a_snapshot("map(2/2)", refused());
        assert!(error.is_worth_a_restart() && error.cause() == FailureCause::Unusable, "{error}");
        assert_eq!(error.to_string(), JobError::Checkpoint { place: "map(2/2)".to_owned(), source: refused() }.to_string());
        // Where the coordinator may not write, no other attempt succeeds either.
        assert!(!JobError::of_the_coordinator(refused()).is_worth_a_restart());
        let fenced = JobError::of_a_snapshot("map(2/2)", CheckpointError::Fenced { folder: "c".to_owned(), entry: 3 });
        assert!(!fenced.is_worth_a_restart() && fenced.is_fenced());
    }
}
