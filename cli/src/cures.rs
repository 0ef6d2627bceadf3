//! Translates the cures that the engine suggests for a failure, in plain words, into options of the command line.

use thalweg_kernel::Cure;

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

    #[test]
    fn each_cure_is_named_in_the_words_of_the_message() {
        let options = by_options(&[Cure::LeaveStateBehind, Cure::RestoreNothing]);
        assert_eq!(options, " (to leave it behind: `--allow-non-restored-state`; to restore nothing: `--restore none`)");
        assert_eq!(by_options(&[]), "");
    }
}
