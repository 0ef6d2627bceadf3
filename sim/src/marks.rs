//! Marks: conditions that a set of runs must have reached at least once.
//!
//! A simulator that never reaches a state proves nothing about it, and nobody notices. So conditions worth reaching are marked where they can be observed,
//! `sometimes!(marks, condition, "name")`, and a large enough set of runs fails if one of [`REQUIRED`] was not seen.

use std::collections::BTreeSet;

/// The marks that a set of [`RUNS_MIN`] runs must have seen.
pub const REQUIRED: [&str; 74] = [
    "EIO",
    "ENOSPC",
    "a cancellation before the commit",
    "a checkpoint added to an earlier one",
    "a checkpoint completed while the one before was being committed",
    "a checkpoint expired and a later one completed",
    "a commit waited for room",
    "a damaged checkpoint refused",
    "a file of one part",
    "a job rescaled",
    "a late record",
    "a malformed row",
    "a processing-time timer on the dot",
    "a reader without a split",
    "a record within the allowed lateness",
    "a restart within a life",
    "a restored job",
    "a restored window that had fired",
    "a snapshot in slices",
    "a stop that cut the input short",
    "a suspended flat map",
    "a timer with records of two inputs",
    "a user's panic",
    "a window that fired again",
    "a worker came back with other cores",
    "a worker joined again",
    "a worker lost in an attempt",
    "a zombie came back",
    "an acknowledgement of a checkpoint that was given up",
    "an idle input",
    "blocked output",
    "channels with room for one frame",
    "credit on demand",
    "finished while a part of the cluster stays broken",
    "firing suspended by its slice",
    "frames of one record",
    "gone on from an older checkpoint",
    "killed at attempt.begin",
    "killed at attempt.close",
    "killed at attempt.recovered",
    "killed at checkpoint.acknowledge",
    "killed at checkpoint.barrier",
    "killed at checkpoint.collected",
    "killed at checkpoint.commit",
    "killed at checkpoint.committed",
    "killed at checkpoint.complete",
    "killed at checkpoint.snapshot",
    "killed at checkpoint.trigger",
    "killed at job.restart",
    "killed at sink.prepared",
    "late records impossible, and none",
    "more splits than readers",
    "net: connect hangs",
    "net: connect refused",
    "net: delay",
    "net: half-open",
    "net: one-way partition",
    "net: partition",
    "net: reset",
    "net: swizzle",
    "process: killed",
    "process: killed in a window",
    "process: paused",
    "process: power loss",
    "records taken while their state was being saved",
    "results replaced",
    "results waited for room",
    "results went on when there was room",
    "several struck at once",
    "stopped with a checkpoint",
    "the network healed",
    "the place of the results waited for room",
    "too many checkpoints expired",
    "two leaders",
];

/// The number of runs from which on a set must have seen every mark.
pub const RUNS_MIN: u64 = 1000;

/// The marks that are families of network and process faults, by the names under which they are counted.
pub fn fault_families() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().filter(|mark| mark.starts_with("net: ") || mark.starts_with("process: "))
}

/// The mark of a death in this window of the protocol, if there is one.
pub(crate) fn killed_at(window: &str) -> Option<&'static str> {
    REQUIRED.into_iter().find(|mark| mark.strip_prefix("killed at ") == Some(window))
}

/// The marks a run, or a set of runs, has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    seen: BTreeSet<&'static str>,
}

impl Marks {
    /// Notes that `name` was seen.
    ///
    /// # Panics
    /// If `name` is not in [`REQUIRED`]: nobody would miss it.
    pub fn note(&mut self, name: &'static str) {
        assert!(REQUIRED.contains(&name), "{name} is not in the list of marks");
        self.seen.insert(name);
    }

    /// Notes that `name` was seen if `condition` holds.
    pub fn note_if(&mut self, condition: bool, name: &'static str) {
        if condition {
            self.note(name);
        }
    }

    /// Adds the marks of another run.
    pub fn merge(&mut self, other: &Self) {
        self.seen.extend(&other.seen);
    }

    /// The marks that have been seen.
    pub fn seen(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.seen.iter().copied()
    }

    /// The marks that have not been seen.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.into_iter().filter(|name| !self.seen.contains(name)).collect()
    }
}

/// Marks that a condition was seen to hold.
macro_rules! sometimes {
    ($marks:expr, $condition:expr, $name:literal) => {
        $marks.note_if($condition, $name)
    };
}
pub(crate) use sometimes;
