//! A table of keyed state that is saved by slices when a barrier comes, and found by its name after a restore.
//!
//! For operators that keep one value per key and nothing else. While the table is being saved its operator is suspended.

use crate::chain::{Resumed, Stage};
use crate::checkpoint::{CheckpointId, OperatorState, PartialSave, WantedStates};
use crate::graph_ids::OperatorId;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;
use crate::time::Control;
use std::sync::Arc;
use thalweg_storage::HotTable;

/// The name of the only state of such an operator.
pub(crate) const KEYED_STATE: &str = "value";

/// The states of an operator that has only one, of this name.
pub(crate) fn keyed_states<K: Key, V: Record>(name: &'static str) -> WantedStates {
    Arc::new(move |state| {
        state.restore::<K, V>(name, |_, _| {});
        state.into_claimed()
    })
}

/// One value per key, saved and restored.
pub(crate) struct KeyedTable<K, V> {
    pub(crate) table: HotTable<K, V>,
    state: OperatorState,
    saving: Option<PartialSave<usize>>,
    slice: usize,
}

impl<K: Key, V: Record> KeyedTable<K, V> {
    /// The table of `operator` in this subtask, with its content in the restored checkpoint.
    pub(crate) fn new(cx: &SubtaskContext, operator: OperatorId) -> Self {
        let state = cx.state_of(operator);
        let mut table = HotTable::spanning(state.owned_hashes(), state.owner_of(KEYED_STATE));
        state.restore_table(KEYED_STATE, &mut table);
        state.all_claimed();
        Self { table, state, saving: None, slice: cx.settings().slice_timers }
    }

    /// Whether the table is being saved, and must not change.
    #[inline]
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The barrier of `checkpoint` has come; it goes to `down` when everything is saved.
    pub(crate) fn barrier(&mut self, checkpoint: CheckpointId, down: &mut impl Stage) {
        self.saving = Some(PartialSave::new(checkpoint));
        self.save(down);
    }

    /// Saves the next slice. Only while `down` is ready.
    pub(crate) fn save(&mut self, down: &mut impl Stage) -> Resumed {
        let Some(saving) = &mut self.saving else { return Resumed::Done };
        if !self.state.save_table(KEYED_STATE, &self.table, &mut saving.cursor, self.slice) {
            return Resumed::Again;
        }
        let checkpoint = saving.checkpoint;
        self.saving = None;
        down.control(Control::Barrier(checkpoint));
        Resumed::Done
    }
}

/// Implements [`Stage`] for an operator whose state is the [`KeyedTable`] in its field `state`: a barrier goes to the collector in its field `down` when
/// the table is saved, everything else at once.
macro_rules! save_and_pass_on {
    () => {
        fn control(&mut self, control: $crate::time::Control) {
            match control {
                $crate::time::Control::Barrier(checkpoint) => self.state.barrier(checkpoint, &mut self.down),
                control => self.down.control(control),
            }
        }

        #[inline]
        fn ready(&self) -> bool {
            !self.state.is_saving() && self.down.ready()
        }

        fn resume(&mut self) -> $crate::chain::Resumed {
            match self.down.resume() {
                $crate::chain::Resumed::Done => self.state.save(&mut self.down),
                other => other,
            }
        }

        fn poll_progress(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            // Both are polled, so that each can wake the task.
            let (below, state) = (self.down.poll_progress(cx), self.state.table.poll_at_hand(cx));
            if below.is_ready() { below } else { state }
        }

        fn drive(&mut self, cx: &mut std::task::Context<'_>) {
            self.down.drive(cx);
        }

        $crate::chain::pass_on!(batch_end flush processing_time finish);
    };
}
pub(crate) use save_and_pass_on;
