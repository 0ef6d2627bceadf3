//! The checkpoint that an attempt starts from, as its subtasks read it.
//!
//! State is found by operator and name, whichever subtask of whichever task has written it; a subtask takes from all snapshots the key groups that it
//! owns now. So another parallelism, or other chains, make no difference (docs/src/semantics.md#c-6).

use super::snapshots::WATERMARK_STATE;
use crate::checkpoint::CheckpointId;
use crate::time::Watermark;
use std::collections::BTreeSet;
use std::ops::Range;
use thalweg_record::KeyGroups;
use thalweg_storage::checkpoint::{Checkpoint, Layers, Section, Snapshot, SnapshotEntry};

/// The state of one subtask of the attempt that took the checkpoint.
pub(crate) struct RestoredSubtask {
    /// The uid of the first operator of its task.
    task: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    /// The watermark that the subtask had reached.
    pub(crate) watermark: Watermark,
    state: Layers,
}

impl RestoredSubtask {
    /// Takes a snapshot that was read and checked.
    fn new(entry: SnapshotEntry, state: Layers) -> Self {
        let SnapshotEntry { task, subtask, parallelism, .. } = entry;
        let watermark = state.newest().sections(&task, WATERMARK_STATE).next().and_then(|section| section.bytes.first_chunk().copied());
        let watermark = watermark.map_or(Watermark::MIN, |bytes| Watermark(i64::from_le_bytes(bytes)));
        Self { task, subtask: subtask as usize, parallelism: parallelism as usize, watermark, state }
    }

    /// Whether some of these key groups were its own.
    pub(super) fn has_keys_of(&self, groups: &Range<u32>, key_groups: KeyGroups) -> bool {
        let own = key_groups.owned_by(self.subtask, self.parallelism);
        own.start < groups.end && groups.start < own.end
    }
}

/// All snapshots of a checkpoint.
pub(crate) struct Restored {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) subtasks: Vec<RestoredSubtask>,
    /// Whether state that no operator asks for is left behind instead of refused.
    pub(crate) allow_non_restored_state: bool,
}

impl Restored {
    /// Takes a checkpoint that was read and checked.
    pub(crate) fn new(checkpoint: Checkpoint, allow_non_restored_state: bool) -> Self {
        let Checkpoint { metadata, snapshots, .. } = checkpoint;
        let subtasks = snapshots.into_iter().map(|(entry, snapshot)| RestoredSubtask::new(entry, snapshot)).collect();
        Self { checkpoint: metadata.id, subtasks, allow_non_restored_state }
    }

    /// The layers of a state, of all subtasks, each with the subtask that wrote it.
    pub(crate) fn layers<'a>(
        &'a self,
        operator: &'a str,
        state: &'a str,
    ) -> impl Iterator<Item = (&'a RestoredSubtask, impl Iterator<Item = Vec<Section<'a>>>)> {
        self.subtasks.iter().map(move |of| (of, of.state.of_state(operator, state)))
    }

    /// The sections of a state without keys, of all subtasks.
    pub(crate) fn sections<'a>(&'a self, operator: &'a str, state: &'a str) -> impl Iterator<Item = Section<'a>> {
        self.subtasks.iter().flat_map(move |of| of.state.newest().sections(operator, state))
    }

    /// Names of the states of `operator`, without the engine's own.
    pub(crate) fn states_of(&self, operator: &str) -> BTreeSet<String> {
        let of_operator = self.subtasks.iter().flat_map(|of| of.state.newest().states()).filter(|state| state.operator == operator);
        of_operator.map(|state| state.state).filter(|state| state != WATERMARK_STATE).collect()
    }

    /// The newest images of all subtasks, which name all states.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Snapshot> {
        self.subtasks.iter().map(|of| of.state.newest())
    }

    /// The watermark that subtask `subtask` of `parallelism` of the task that begins with the operator `task` starts behind: that of the same subtask, or,
    /// at another parallelism, the highest of all subtasks whose key groups it takes over (docs/src/semantics.md#c-5).
    pub(crate) fn watermark(&self, task: &str, subtask: usize, parallelism: usize, key_groups: KeyGroups) -> Watermark {
        let owned = key_groups.owned_by(subtask, parallelism);
        let hands_over = |of: &&RestoredSubtask| {
            let before = key_groups.owned_by(of.subtask, of.parallelism);
            if of.parallelism == parallelism { of.subtask == subtask } else { before.start < owned.end && owned.start < before.end }
        };
        let of_task = self.subtasks.iter().filter(|of| of.task == task);
        of_task.filter(hands_over).map(|of| of.watermark).max().unwrap_or(Watermark::MIN)
    }
}
