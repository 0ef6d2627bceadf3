//! Why something is refused as it was described, and which settings would change that.
//!
//! The text names the cure in words that hold wherever the engine runs; how a cure is set depends on the program around the engine. So the cures stand
//! beside the text as values: a program looks at their documentation, a command line names its options.

use std::fmt;
use thalweg_storage::checkpoint::CheckpointError;

/// A decision of a person by which a refused job goes on. The engine makes none of them unasked: each gives something up. The enum is exhaustive, so that
/// the compiler tells code that words them of a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cure {
    /// Restore nothing: begin anew, with [`Restore::None`](crate::Restore::None).
    RestoreNothing,
    /// Restore an older checkpoint, with [`Restore::From`](crate::Restore::From).
    RestoreOlderCheckpoint,
    /// Leave behind the state that the job has no place for, with
    /// [`CheckpointConfig::allow_non_restored_state`](crate::CheckpointConfig::allow_non_restored_state).
    LeaveStateBehind,
    /// Take over a place of results from an owner that cannot be asked, with
    /// [`take_over_output`](crate::StreamExecutionEnvironment::take_over_output).
    TakeOverOutput,
    /// Replace results of other jobs: a setting of the sink.
    ReplaceOutput,
    /// Remove results that are later than the restored checkpoint, with
    /// [`CheckpointConfig::discard_later_output`](crate::CheckpointConfig::discard_later_output).
    DiscardLaterOutput,
}

impl Cure {
    /// The cures of a failure of the checkpoint storage, whose message names them.
    #[must_use]
    pub fn of_checkpoint_error(error: &CheckpointError) -> &'static [Self] {
        if matches!(error, CheckpointError::Corrupt { .. }) { &[Self::RestoreOlderCheckpoint] } else { &[] }
    }
}

impl fmt::Display for Cure {
    /// The words that reasons use for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestoreNothing => "restore nothing",
            Self::RestoreOlderCheckpoint => "restore an older checkpoint",
            Self::LeaveStateBehind => "leave it behind",
            Self::TakeOverOutput => "take the folder over",
            Self::ReplaceOutput => "have them replaced",
            Self::DiscardLaterOutput => "have the later results removed",
        })
    }
}

/// Why something is refused, with the cures that are settings.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::{Cure, Refusal};
/// let refusal = Refusal::from("out already holds results: remove them, or have them replaced").curable_by([Cure::ReplaceOutput]);
/// assert_eq!(refusal.cures(), [Cure::ReplaceOutput]);
/// assert!(refusal.to_string().ends_with(&Cure::ReplaceOutput.to_string()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: String,
    cures: Vec<Cure>,
}

impl Refusal {
    /// Adds cures, which the reason names in its own words.
    #[must_use]
    pub fn curable_by(mut self, cures: impl IntoIterator<Item = Cure>) -> Self {
        self.cures.extend(cures);
        self
    }

    /// The problem, and what can be done.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The cures that are settings, in the order in which the reason names them.
    #[must_use]
    pub fn cures(&self) -> &[Cure] {
        &self.cures
    }

    /// The same, with `whom` in front of the reason.
    pub(crate) fn of(self, whom: impl fmt::Display) -> Self {
        Self { reason: format!("{whom}: {}", self.reason), cures: self.cures }
    }
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), cures: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
