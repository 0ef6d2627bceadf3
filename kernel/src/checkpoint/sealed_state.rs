//! Keyed state, windows or timers that are sealed when a barrier comes, and saved into the snapshot of their subtask while records flow.
//!
//! If a later barrier comes first, or the snapshot is given up, what was sealed is dropped: the next barrier seals the whole table again.

use super::operator_state::OperatorState;
use super::snapshots::Owed;
use crate::checkpoint::CheckpointId;
use crate::record::{Key, Parts, Record};
use thalweg_storage::checkpoint::StateLayout;
use thalweg_storage::{Encode, SaveError, Sealable};

/// How many times as many entries are saved in a slice as records are worked off: to save an entry in its turn costs a fraction of what keeping it aside does
/// when it is changed before. What is kept aside counts less.
const PACE: usize = 3;

/// How many times more when what is kept aside comes near its bound.
const HASTE: usize = 7;

/// How far the saving of one state has come.
pub(crate) struct SealedState {
    name: String,
    layout: StateLayout,
    /// The snapshot for which the state is sealed and not saved yet.
    owed: Option<Owed>,
}

impl SealedState {
    /// The state `name` of an operator, whose values are saved as `W`.
    pub(crate) fn new<K: Key, W: Record>(state: &OperatorState, name: &str) -> Self {
        Self { name: name.to_owned(), layout: state.layout_of::<K, W>(name), owed: None }
    }

    /// The same of a state whose keys have several parts each, under a `P`.
    pub(crate) fn of_parts<K: Key, P: Key, W: Record>(state: &OperatorState, name: &str, parts: Parts) -> Self {
        Self { name: name.to_owned(), layout: state.layout_of_parts::<K, P, W>(name, parts), owed: None }
    }

    /// The barrier of a checkpoint has come: `table` will be saved as it is now.
    pub(crate) fn seal<K, V>(&mut self, state: &OperatorState, table: &mut impl Sealable<K, V>, encode: Encode<K, V>) {
        let (owed, saving) = state.snapshots.owes((&state.uid, &self.name, &self.layout), table.table_bytes());
        self.owed = Some(owed);
        table.seal(encode, &saving);
    }

    /// Saves the next parts of `table`, a few times `budget` entries, or more if it changes fast. `false` if nothing of it is left to be saved.
    pub(crate) fn save<K, V>(&mut self, state: &OperatorState, table: &mut impl Sealable<K, V>, budget: usize) -> bool {
        let Some(owed) = self.owed else { return false };
        let (snapshots, checkpoint) = (&state.snapshots, owed.checkpoint);
        if !snapshots.wants(checkpoint) {
            table.unseal();
            self.is_saved(state, checkpoint);
            return false;
        }
        let mut budget = budget.saturating_mul(PACE + snapshots.side_bytes().fill(HASTE));
        let saved = table.save(&mut budget, &mut |entries| snapshots.append(owed, entries));
        if let Some(earlier) = table.builds_on().filter(|_| saved.is_ok()) {
            snapshots.builds_on(owed, earlier);
        }
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
        self.owed = None;
        state.snapshots.paid(checkpoint);
    }

    fn refuse(&mut self, state: &OperatorState, checkpoint: CheckpointId, error: SaveError) {
        let name = &self.name;
        match error {
            SaveError::Archive(error) => state.info.fail(format!("the state {name} cannot be saved: {error}")),
            SaveError::SideBuffersFull { bytes } => {
                let (task, operator, mib) = (&state.info.task, state.operator(), bytes >> 20);
                tracing::warn!(
                    "checkpoint {checkpoint} is declined: the state of task {task} has changed so fast while it was saved, state {name} of operator {operator} at \
                     last, that {mib} MiB of what it was had to be kept; the next checkpoint may keep twice as much. A faster disk for checkpoints helps"
                );
                state.snapshots.double_side_bytes();
            }
        }
    }
}
