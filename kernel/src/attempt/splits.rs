//! The contents of the splits of a job's sources: archives, by source and number. The coordinator decides which of them are still to be assigned.

use crate::error::JobError;
use crate::graph_ids::OperatorId;
use crate::source::SourceError;
use rkyv::util::AlignedVec;
use std::collections::{BTreeMap, BTreeSet};
use thalweg_storage::checkpoint::SplitEntry;

/// The splits of one source that are not assigned.
pub(crate) struct SplitsOfSource {
    pub(crate) source: OperatorId,
    pub(crate) splits: BTreeMap<u32, AlignedVec>,
}

impl SplitsOfSource {
    /// Splits that the source has just found, in their order.
    pub(crate) fn found(source: OperatorId, found: Vec<AlignedVec>) -> Self {
        let number = |i: usize| u32::try_from(i).expect("invariant: there are fewer than 2^32 splits");
        Self { source, splits: found.into_iter().enumerate().map(|(i, split)| (number(i), split)).collect() }
    }

    /// The numbers of the splits.
    pub(crate) fn numbers(&self) -> BTreeSet<u32> {
        self.splits.keys().copied().collect()
    }

    /// The entries by which a checkpoint names them.
    pub(crate) fn entries(&self) -> Vec<SplitEntry> {
        self.splits.iter().map(|(number, split)| SplitEntry { number: *number, position: split.to_vec() }).collect()
    }
}

/// An aligned copy of `bytes`: archives are read in place.
pub(crate) fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}

/// The failure of a source that could not find its splits.
pub(crate) fn cannot_enumerate(operator: String, error: SourceError) -> JobError {
    match error {
        SourceError::Invalid(reason) => JobError::invalid(reason),
        error => JobError::Source { operator, subtask: 0, reason: error.to_string() },
    }
}
