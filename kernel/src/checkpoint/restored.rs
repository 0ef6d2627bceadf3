//! The checkpoint that an attempt starts from, as its subtasks read it.
//!
//! State is found by operator and name, whichever subtask of whichever task has written it; a subtask takes from all snapshots the key groups that it
//! owns now. So another parallelism, or other chains, make no difference (docs/src/semantics.md#c-6).

use super::snapshots::WATERMARK_STATE;
use crate::checkpoint::CheckpointId;
use crate::time::Watermark;
use std::collections::BTreeSet;
use thalweg_storage::checkpoint::{Scope, Section, Snapshot};

/// All snapshots of a checkpoint, read and checked.
pub(crate) struct Restored {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) snapshots: Vec<Snapshot>,
    /// State that no operator asks for is left behind instead of refused.
    pub(crate) allow_non_restored_state: bool,
}

impl Restored {
    /// The sections of a state, over all snapshots.
    pub(crate) fn sections<'a>(&'a self, operator: &'a str, state: &'a str) -> impl Iterator<Item = Section<'a>> {
        self.snapshots.iter().flat_map(move |snapshot| snapshot.sections(operator, state))
    }

    /// Names of the states of `operator`, those of the engine left out.
    pub(crate) fn states_of(&self, operator: &str) -> BTreeSet<String> {
        let of_operator = self.snapshots.iter().flat_map(Snapshot::states).filter(|state| state.operator == operator);
        of_operator.map(|state| state.state).filter(|state| state != WATERMARK_STATE).collect()
    }

    /// The operators that have state, those of the engine's own state left out.
    pub(crate) fn operators(&self) -> BTreeSet<String> {
        let with_state = self.snapshots.iter().flat_map(Snapshot::states).filter(|state| state.state != WATERMARK_STATE);
        with_state.map(|state| state.operator).collect()
    }

    /// What the task that begins with the operator `task_uid` had been told of event time: the least over its subtasks
    /// (docs/src/semantics.md#c-5).
    pub(crate) fn watermark(&self, task_uid: &str) -> Watermark {
        let of_section = |section: Section<'_>| {
            assert!(section.scope == Scope::Subtask, "a task's watermark belongs to a subtask");
            section.bytes.first_chunk().map_or(Watermark::MIN, |bytes| Watermark(i64::from_le_bytes(*bytes)))
        };
        self.sections(task_uid, WATERMARK_STATE).map(of_section).min().unwrap_or(Watermark::MIN)
    }
}
