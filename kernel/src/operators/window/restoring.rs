//! Restores the entries of windows from a checkpoint.
//!
//! Nothing here knows how they are stored or when they fire, with one exception: a subtask may take over keys of several subtasks, which had reached
//! different watermarks, and it starts behind the highest (docs/src/semantics.md#c-5). A window that had fired where its key comes from does not fire as a
//! whole again. A window that had not, and is due by now, fires at once: no later watermark may come to do it.

use super::store::{RestoredAs, WindowStore};
use crate::checkpoint::OperatorState;
use crate::record::{Key, Record};
use crate::time::{TimeWindow, Watermark};

/// The state that holds the entries of open windows, with the span of each as namespace.
pub(crate) const CONTENTS: &str = "window-contents";

/// The store with the entries that the checkpoint holds for a subtask that starts behind `watermark`, and whether some are to fire at once.
pub(super) fn restored<K: Key, V: Record, S: WindowStore<K, V>>(state: &OperatorState, watermark: Watermark) -> (S, bool) {
    let mut restoring = Restoring::new(S::new(state.table(CONTENTS)), watermark);
    state.restore::<K, V>(CONTENTS, |hash, saved| {
        let Some((start, end)) = saved.namespace else { return };
        restoring.take(TimeWindow { start, end }, hash, saved.key, saved.value, saved.watermark);
    });
    state.all_claimed();
    restoring.finish()
}

/// A store while it is filled from a checkpoint.
struct Restoring<K, V, S> {
    store: S,
    /// The watermark that the subtask starts behind.
    watermark: Watermark,
    /// Entries that fire at once.
    due: Vec<(TimeWindow, u64, K, V)>,
}

impl<K: Key, V, S: WindowStore<K, V>> Restoring<K, V, S> {
    fn new(store: S, watermark: Watermark) -> Self {
        Self { store, watermark, due: Vec::new() }
    }

    /// Takes an entry from a subtask that had reached the watermark `told`; `hash` is that of its key.
    fn take(&mut self, window: TimeWindow, hash: u64, key: K, value: V, told: Watermark) {
        let has_come = |watermark: Watermark| window.max_timestamp() <= watermark.0;
        match (has_come(self.watermark), has_come(told)) {
            (true, false) => self.due.push((window, hash, key, value)),
            (true, true) => self.store.restore(window, hash, key, value, RestoredAs::Fired),
            (false, _) => self.store.restore(window, hash, key, value, RestoredAs::Open),
        }
    }

    /// The store, and whether some entries are to fire at once.
    fn finish(self) -> (S, bool) {
        let Self { mut store, due, .. } = self;
        let has_due = !due.is_empty();
        due.into_iter().for_each(|(window, hash, key, value)| store.restore(window, hash, key, value, RestoredAs::Due));
        (store, has_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::window::panes::Panes;
    use thalweg_storage::HotTable;

    const FIRST: TimeWindow = TimeWindow { start: 0, end: 10 };
    const SECOND: TimeWindow = TimeWindow { start: 10, end: 20 };
    const THIRD: TimeWindow = TimeWindow { start: 20, end: 30 };

    fn restored(watermark: i64, entries: &[(TimeWindow, u64, i64)]) -> (Panes<u64, ()>, bool) {
        let mut restoring = Restoring::new(Panes::new(HotTable::default()), Watermark(watermark));
        entries.iter().for_each(|(window, key, told)| restoring.take(*window, *key, *key, (), Watermark(*told)));
        restoring.finish()
    }

    /// The keys that fire, `most` at a time.
    fn fired(panes: &mut Panes<u64, ()>, window: TimeWindow, most: usize) -> Vec<u64> {
        let mut keys = vec![];
        loop {
            let before = keys.len();
            let is_done = panes.fire_due(window, |key, ()| {
                let has_room = keys.len() < before + most;
                keys.extend(has_room.then_some(*key));
                has_room
            });
            if is_done {
                keys.sort_unstable();
                return keys;
            }
        }
    }

    /// One subtask had reached 15 and another 25: the merged subtask starts behind 25, and of the second window only the keys of one had fired.
    #[test]
    fn keys_of_two_subtasks_fire_once_each_whichever_comes_first() {
        let low = [(FIRST, 1, 15), (SECOND, 2, 15), (SECOND, 3, 15), (THIRD, 4, 15)];
        let high = [(SECOND, 5, 25), (THIRD, 6, 25)];
        for entries in [[&low[..], &high].concat(), [&high[..], &low].concat()] {
            let (mut panes, has_due) = restored(25, &entries);
            assert!(has_due);
            assert_eq!(panes.first_due(Watermark(25)), Some(SECOND));
            assert_eq!((panes.due_at_hand(SECOND), fired(&mut panes, SECOND, 1)), (2, vec![2, 3]));
            assert_eq!(panes.first_due(Watermark(25)), None, "the first window had fired, and the third is open");
            assert_eq!(panes.first_due(Watermark(29)), Some(THIRD));
        }
    }

    #[test]
    fn a_window_that_had_fired_everywhere_or_nowhere_does_not_fire_at_once() {
        let (mut panes, has_due) = restored(25, &[(SECOND, 1, 25), (SECOND, 2, 20), (THIRD, 3, 15)]);
        assert!(!has_due);
        assert_eq!(panes.first_due(Watermark(25)), None);
        assert_eq!(panes.first_due(Watermark(29)), Some(THIRD));
        assert_eq!(fired(&mut panes, THIRD, 1), [3]);
    }

    #[test]
    fn a_window_that_had_fired_nowhere_and_is_due_fires_whole() {
        let (mut panes, has_due) = restored(25, &[(SECOND, 1, 15), (SECOND, 2, 12)]);
        assert!(has_due);
        assert_eq!(fired(&mut panes, SECOND, 10), [1, 2]);
    }
}
