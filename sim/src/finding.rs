//! Findings: the reasons why a run is wrong.

use std::fmt;
use thalweg::JobError;
use thalweg_world::Ending;

/// The kinds of findings, distinguished by exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A result is wrong, or an oracle objects.
    Wrong,
    /// The job makes no progress: a deadlock, spinning, a limit of the world.
    NoProgress,
    /// The engine panicked.
    Crash,
}

/// Why a run is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The name of the oracle that objects.
    pub oracle: String,
    /// The reason, for a person.
    pub reason: String,
}

impl Finding {
    /// The objection of `oracle` to a result.
    pub fn wrong(oracle: &str, reason: impl Into<String>) -> Self {
        Self { kind: FindingKind::Wrong, oracle: oracle.to_owned(), reason: reason.into() }
    }

    /// A job's error that the scenario does not explain.
    #[must_use]
    pub fn unexpected(error: &JobError) -> Self {
        let kind = if matches!(error, JobError::Internal { .. }) { FindingKind::Crash } else { FindingKind::Wrong };
        Self { kind, oracle: "ending".to_owned(), reason: format!("the job failed: {error}") }
    }

    /// The finding for a bad ending, if it is one.
    pub(crate) fn of_ending<T>(ending: &Ending<T>) -> Option<Self> {
        let (kind, oracle) = match ending {
            Ending::Done(_) => return None,
            Ending::Violated { oracle, reason } => return Some(Self::wrong(oracle, reason)),
            Ending::Deadlock { .. } => (FindingKind::NoProgress, "deadlock"),
            Ending::Spinning { .. } => (FindingKind::NoProgress, "spinning"),
            Ending::LimitExceeded { .. } => (FindingKind::NoProgress, "limits"),
            Ending::Panicked { .. } => (FindingKind::Crash, "panic"),
        };
        Some(Self { kind, oracle: oracle.to_owned(), reason: ending.to_string() })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oracle {}: {}", self.oracle, self.reason)
    }
}
