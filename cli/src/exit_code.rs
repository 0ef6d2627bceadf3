//! The exit codes, which tell the caller how a process ended (docs/src/running.md, "Exit codes").
//!
//! 1 asks a supervisor to try again, 2 not to: so 1 is for causes that may have passed by the next try, 2 for causes that stay until a person acts.

use std::fmt::Display;
use std::io::{Write, stderr};
use thalweg_io::StartError;
use thalweg_kernel::{FailureCause, JobError};
use thalweg_storage::checkpoint::CheckpointError;

pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const WRONG_USE: u8 = 2;
pub(super) const INTERRUPTED: u8 = 130;

/// The code of a job that has failed with `error`; `names_a_checkpoint`: the command line names a checkpoint to begin with.
pub(super) fn exit_code(error: &JobError, names_a_checkpoint: bool) -> u8 {
    let is_permanent = match error {
        JobError::Cancelled => return INTERRUPTED,
        JobError::Invalid(_) => true,
        JobError::Start(error) => {
            matches!(error, StartError::NoSuchCpu { .. } | StartError::IoUringForbidden { .. } | StartError::MemlockTooLow { .. })
        }
        JobError::Checkpoint { source, .. } => match source {
            // A running job removes checkpoints that newer ones replace: the next look finds the newer ones.
            CheckpointError::NotFound { .. } => names_a_checkpoint,
            _ => source.is_damage() || source.is_unusable(),
        },
        JobError::Remote { cause, is_worth_a_restart, .. } => match cause {
            // A file that existed for the coordinator and is gone for a worker: the worker is merely too late.
            FailureCause::Damage => !is_worth_a_restart,
            // Even if this concerns one worker alone: no folder becomes usable by itself.
            FailureCause::Unusable => true,
            FailureCause::Other | FailureCause::StorageFull | FailureCause::PermissionDenied | FailureCause::Fenced => false,
        },
        _ => false,
    };
    if is_permanent { WRONG_USE } else { FAILED }
}

/// Prints why the process ends, and returns `code`.
pub(super) fn fail(message: impl Display, code: u8) -> u8 {
    let _ = writeln!(stderr(), "error: {message}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::time::Duration;
    use thalweg_io::IoError;

    fn io(kind: ErrorKind) -> IoError {
        IoError::new("open", "somewhere", kind.into())
    }

    fn checkpoint(source: CheckpointError) -> JobError {
        JobError::Checkpoint { place: "coordinator".to_owned(), source }
    }

    fn disk(kind: ErrorKind) -> JobError {
        checkpoint(CheckpointError::Io { source: io(kind) })
    }

    fn listening(kind: ErrorKind) -> JobError {
        JobError::cannot_listen("nobody can call", io(kind), "choose another port")
    }

    fn remote(cause: FailureCause) -> JobError {
        JobError::Remote {
            operator: None,
            subtask: None,
            message: format!("{cause:?}"),
            cause,
            cures: Vec::new(),
            is_worth_a_restart: false,
        }
    }

    fn passing(cause: FailureCause) -> JobError {
        JobError::Remote {
            operator: None,
            subtask: None,
            message: format!("{cause:?}, for now"),
            cause,
            cures: Vec::new(),
            is_worth_a_restart: true,
        }
    }

    #[test]
    fn whatever_may_pass_ends_with_1_and_what_stays_until_somebody_acts_with_2() {
        let text = || "it".to_owned();
        let of_operator = |reason: &str| JobError::Operator { operator: text(), subtask: 0, reason: reason.to_owned() };
        let table = [
            (INTERRUPTED, JobError::Cancelled),
            (FAILED, JobError::UserPanic { operator: text(), subtask: 0, message: text(), record: text() }),
            (FAILED, of_operator("no")),
            (FAILED, JobError::Source { operator: text(), subtask: 0, reason: text() }),
            (FAILED, JobError::Sink { operator: text(), subtask: 0, source: io(ErrorKind::StorageFull) }),
            (WRONG_USE, JobError::invalid(text())),
            (FAILED, listening(ErrorKind::AddrInUse)),
            (WRONG_USE, listening(ErrorKind::AddrNotAvailable)),
            (WRONG_USE, listening(ErrorKind::PermissionDenied)),
            (FAILED, disk(ErrorKind::Other)),
            (FAILED, disk(ErrorKind::Interrupted)),
            (WRONG_USE, checkpoint(CheckpointError::Unusable { source: io(ErrorKind::PermissionDenied) })),
            (FAILED, checkpoint(CheckpointError::StorageFull { source: io(ErrorKind::StorageFull) })),
            (FAILED, checkpoint(CheckpointError::Fenced { folder: text(), entry: 1 })),
            (FAILED, checkpoint(CheckpointError::Poisoned { folder: text() })),
            (WRONG_USE, checkpoint(CheckpointError::Corrupt { file: text(), offset: 0, reason: text() })),
            (WRONG_USE, checkpoint(CheckpointError::UnknownVersion { file: text(), found: 9, known: 1 })),
            (WRONG_USE, checkpoint(CheckpointError::Foreign { file: text(), reason: text() })),
            (FAILED, checkpoint(CheckpointError::NotFound { what: text(), cure: text() })),
            (FAILED, JobError::CheckpointsExpired { failures: 1, timeout: Duration::from_secs(1) }),
            (FAILED, JobError::WorkerLost { worker: text(), reason: text() }),
            (FAILED, JobError::Unfit { worker: text(), reason: text() }),
            (FAILED, JobError::Rescaled),
            (FAILED, JobError::Exchange { worker: text(), reason: text() }),
            (WRONG_USE, remote(FailureCause::Damage)),
            (FAILED, passing(FailureCause::Damage)),
            (WRONG_USE, remote(FailureCause::Unusable)),
            (WRONG_USE, passing(FailureCause::Unusable)),
            (FAILED, passing(FailureCause::Other)),
            (FAILED, remote(FailureCause::Other)),
            (FAILED, remote(FailureCause::StorageFull)),
            (FAILED, remote(FailureCause::PermissionDenied)),
            (FAILED, remote(FailureCause::Fenced)),
            (WRONG_USE, JobError::Start(StartError::NoSuchCpu { cpu: 9, usable: vec![0] })),
            (FAILED, JobError::Start(StartError::Other { core: 0, reason: text() })),
            (FAILED, JobError::Start(StartError::NoRing { reason: text(), cure: text() })),
            (WRONG_USE, JobError::Start(StartError::MemlockTooLow { limit_bytes: 0, needed_bytes: 1 })),
            (WRONG_USE, JobError::Start(StartError::IoUringForbidden { reason: text(), cure: text() })),
            (FAILED, JobError::Internal { place: text(), message: text() }),
        ];
        for (code, error) in table {
            assert_eq!(exit_code(&error, false), code, "{error}");
        }
        let not_found = checkpoint(CheckpointError::NotFound { what: text(), cure: text() });
        assert_eq!(exit_code(&not_found, true), WRONG_USE, "--restore with a path that leads nowhere");
    }

    #[test]
    fn what_the_coordinator_finds_no_use_to_try_again_it_does_not_try_itself() {
        let unusable = checkpoint(CheckpointError::Unusable { source: io(ErrorKind::NotADirectory) });
        for error in [unusable, listening(ErrorKind::AddrNotAvailable)] {
            assert!(exit_code(&error, false) == WRONG_USE && !error.is_worth_a_restart(), "{error}");
        }
        assert!(disk(ErrorKind::Other).is_worth_a_restart());
    }
}
