//! A table of keyed state that is sealed when a barrier comes and saved by slices while records flow, and found by its name after a restore.
//!
//! For operators that keep one value per key and nothing else.

use crate::checkpoint::{OperatorState, SealedState, WantedStates};
use crate::graph_ids::OperatorId;
use crate::metrics::Samples;
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;
use std::sync::Arc;
use thalweg_storage::HotTable;
use thalweg_storage::checkpoint::append_entry;

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
    sealed: SealedState,
    slice: usize,
}

impl<K: Key, V: Record> KeyedTable<K, V> {
    /// The table of `operator` in this subtask, with its content in the restored checkpoint.
    pub(crate) fn new(cx: &SubtaskContext, operator: OperatorId) -> Self {
        let state = cx.state_of(operator);
        let mut table = state.table(KEYED_STATE);
        state.restore_table(KEYED_STATE, &mut table);
        state.all_claimed();
        let sealed = SealedState::new::<K, V>(&state, KEYED_STATE);
        Self { table, state, sealed, slice: cx.settings().slice_timers }
    }

    /// Adds the metrics of the table.
    pub(crate) fn sample(&self, samples: &mut Samples<'_>) {
        self.state.sample(self.table.size(), samples);
    }

    /// A barrier has come: the table will be saved as it is now.
    pub(crate) fn seal(&mut self) {
        self.sealed.seal(&self.state, &mut self.table, append_entry);
    }

    /// Saves the next slice of what was sealed. `false` if nothing is left.
    pub(crate) fn save(&mut self) -> bool {
        self.sealed.save(&self.state, &mut self.table, self.slice)
    }
}

/// Implements [`Stage`](crate::chain::Stage) for an operator whose state is the [`KeyedTable`] in its field `state`: a barrier seals the table on its way to
/// the collector in its field `down`.
macro_rules! seal_and_pass_on {
    () => {
        fn control(&mut self, control: $crate::time::Control) {
            if let $crate::time::Control::Barrier(_) = control {
                self.state.seal();
            }
            self.down.control(control);
        }

        fn save(&mut self) {
            if !self.state.save() {
                self.down.save();
            }
        }

        fn sample(&self, samples: &mut $crate::metrics::Samples<'_>) {
            self.state.sample(samples);
            self.down.sample(samples);
        }

        fn poll_progress(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            // Both are polled, so that each can wake the task.
            let (below, state) = (self.down.poll_progress(cx), self.state.table.poll_at_hand(cx));
            if below.is_ready() { below } else { state }
        }

        fn drive(&mut self, cx: &mut std::task::Context<'_>) {
            self.down.drive(cx);
        }

        $crate::chain::pass_on!(ready resume batch_end flush processing_time finish);
    };
}
pub(crate) use seal_and_pass_on;
