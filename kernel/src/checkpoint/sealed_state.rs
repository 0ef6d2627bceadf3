//! A table of state that is sealed when a barrier comes, and saved into the snapshot of its subtask while records flow.
//!
//! If a later barrier comes first, or the snapshot is given up, what was sealed is dropped: the next barrier seals the whole table again.

use super::operator_state::OperatorState;
use crate::checkpoint::CheckpointId;
use crate::record::{Key, Record};
use thalweg_storage::checkpoint::StateLayout;
use thalweg_storage::{Encode, HotTable, SaveError};

/// What may be kept aside of a table that changes while it is saved, at first: this part of the table, and at least [`SIDE_BYTES_LEAST`].
const SIDE_PART: usize = 8;
const SIDE_BYTES_LEAST: usize = 64 << 20;

/// How many times the usual slice is saved at once when what is kept aside comes near its bound, less one.
const HASTE: usize = 7;

/// How far the saving of one state has come.
pub(crate) struct SealedState {
    name: String,
    layout: StateLayout,
    /// The checkpoint for which the table is sealed and not saved yet.
    checkpoint: Option<CheckpointId>,
    /// How many times the bound of what is kept aside has been doubled, because it was too small.
    doubled: u32,
}

impl SealedState {
    /// The state `name` of an operator, whose values are saved as `W`.
    pub(crate) fn new<K: Key, W: Record>(state: &OperatorState, name: &str) -> Self {
        Self { name: name.to_owned(), layout: state.layout_of::<K, W>(name), checkpoint: None, doubled: 0 }
    }

    /// The barrier of a checkpoint has come: `table` will be saved as it is now.
    pub(crate) fn seal<K, V>(&mut self, state: &OperatorState, table: &mut HotTable<K, V>, encode: Encode<K, V>) {
        let side_bytes = (table.table_bytes() / SIDE_PART).max(SIDE_BYTES_LEAST);
        table.seal(encode, side_bytes.saturating_mul(1 << self.doubled));
        self.checkpoint = Some(state.snapshots.owes());
    }

    /// Saves the next parts of `table`, about `budget` entries, or more if it changes fast. `false` if nothing of it is left to be saved.
    pub(crate) fn save<K, V>(&mut self, state: &OperatorState, table: &mut HotTable<K, V>, budget: usize) -> bool {
        let Some(checkpoint) = self.checkpoint else { return false };
        let snapshots = &state.snapshots;
        if !snapshots.wants(checkpoint) {
            table.unseal();
            self.is_saved(state, checkpoint);
            return false;
        }
        let budget = budget.saturating_mul(1 + table.side_fill(HASTE));
        let saved = table.save(budget, |entries| snapshots.append(checkpoint, (&state.uid, &self.name, &self.layout), entries));
        match saved {
            Ok(false) => {}
            Ok(true) => self.is_saved(state, checkpoint),
            Err(error) => {
                snapshots.give_up(checkpoint, matches!(error, SaveError::SideBuffersFull { .. }));
                self.is_saved(state, checkpoint);
                self.refuse(state, checkpoint, error);
            }
        }
        true
    }

    fn is_saved(&mut self, state: &OperatorState, checkpoint: CheckpointId) {
        self.checkpoint = None;
        state.snapshots.paid(checkpoint);
    }

    fn refuse(&mut self, state: &OperatorState, checkpoint: CheckpointId, error: SaveError) {
        let name = &self.name;
        match error {
            SaveError::Archive(error) => state.info.fail(format!("the state {name} cannot be saved: {error}")),
            SaveError::SideBuffersFull { bytes } => {
                let (operator, mib) = (state.operator(), bytes >> 20);
                tracing::warn!(
                    "checkpoint {checkpoint} is declined: state {name} of operator {operator} has changed so fast while it was saved that {mib} MiB of \
                     what it was had to be kept; the next checkpoint may keep twice as much. A faster disk for checkpoints helps"
                );
                // At worst all of what it was is kept: beyond some doublings the bound is larger than any state.
                self.doubled = (self.doubled + 1).min(20);
            }
        }
    }
}
