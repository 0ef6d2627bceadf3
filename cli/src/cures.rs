//! What a person can do about a failure, in the words of the command line: the engine names a cure in plain words, and the options for it stand here.

use thalweg_kernel::{Cure, FailureCause, JobError};

/// The message of a failure, with what can be done about it.
pub(super) fn explained(error: &JobError) -> String {
    format!("{error}{}{}", advice(error), by_options(error.cures()))
}

/// What can be done about a failure that is no setting and that its message does not say; nothing for others.
fn advice(error: &JobError) -> &'static str {
    let is_of_results = match error {
        JobError::Sink { .. } => true,
        // At a worker: of the failures with these causes only a sink's has an operator.
        JobError::Remote { operator, .. } => operator.is_some(),
        _ => false,
    };
    match error.cause() {
        FailureCause::StorageFull if is_of_results => "; free some space there or choose another output folder",
        FailureCause::PermissionDenied if is_of_results => "; give this user the right to write there or choose another output folder",
        _ => "",
    }
}

/// The options for `cures`, to be appended to the message; empty if there are none.
pub(super) fn by_options(cures: &[Cure]) -> String {
    let option = |cure: &Cure| match cure {
        Cure::RestoreNothing => "`--restore none`",
        Cure::RestoreOlderCheckpoint => "`--restore PATH` of its metadata file",
        Cure::LeaveStateBehind => "`--allow-non-restored-state`",
        Cure::TakeOverOutput => "`--take-over-output`",
        // The command line of the engine does not know the sinks of a job.
        Cure::ReplaceOutput => "`FileSink::overwrite`, for which the program may have an option (`--help`)",
        Cure::DiscardLaterOutput => "`--discard-later-output`",
    };
    let named: Vec<String> = cures.iter().map(|cure| format!("to {cure}: {}", option(cure))).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_io::IoError;

    #[test]
    fn each_cure_is_named_in_the_words_of_the_message() {
        let options = by_options(&[Cure::LeaveStateBehind, Cure::RestoreNothing]);
        assert_eq!(options, " (to leave it behind: `--allow-non-restored-state`; to restore nothing: `--restore none`)");
        assert_eq!(by_options(&[]), "");
    }

    #[test]
    fn advice_for_a_full_disk_at_results_is_given_wherever_the_sink_runs() {
        let source = || IoError::new("write", "out/part", std::io::ErrorKind::StorageFull.into());
        let here = JobError::Sink { operator: "files".to_owned(), subtask: 0, source: source() };
        let remote = |operator: Option<&str>| JobError::Remote {
            operator: operator.map(str::to_owned),
            subtask: None,
            message: here.to_string(),
            cause: here.cause(),
            cures: Vec::new(),
            is_worth_a_restart: true,
        };
        assert!(advice(&here).contains("another output folder"));
        assert_eq!((advice(&remote(Some("files"))), advice(&remote(None))), (advice(&here), ""));
    }
}
