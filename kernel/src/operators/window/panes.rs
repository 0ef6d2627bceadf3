//! The open spans of time of one subtask, and what each holds of every key.
//!
//! Windows of one span live together: a [`WindowTable`] a span, in order of time. Panes that are over are the first ones; they are taken off as a
//! whole, and their keys are freed in slices. A pane that is *complete* is not fired as a whole any more: a record that comes later fires its key
//! alone (docs/src/semantics.md#l-3).
//!
//! Pure: no clock, no I/O. The watermark reaches it as an argument.

use crate::time::{TimeWindow, Watermark};
use std::collections::VecDeque;
use thalweg_storage::{TableOwner, WindowTable};

/// The contents of one span of time.
pub(super) struct Pane<K, Acc> {
    pub(super) table: WindowTable<K, Acc>,
    /// Keys that have fired; all of them once the span has.
    pub(super) fired: usize,
    pub(super) complete: bool,
}

/// The open spans of a subtask, by ascending time. Nearly every record belongs to the one that was asked for last; firing and cleaning up go
/// forward through time and look at no span twice.
pub(super) struct Panes<K, Acc> {
    panes: VecDeque<(TimeWindow, Pane<K, Acc>)>,
    last: usize,
    /// All panes before this one are complete.
    first_incomplete: usize,
    /// What is over and still holds keys to be freed.
    retired: Vec<WindowTable<K, Acc>>,
    owner: TableOwner,
}

impl<K, Acc> Panes<K, Acc> {
    /// None yet, of `owner`.
    pub(super) fn new(owner: TableOwner) -> Self {
        Self { panes: VecDeque::new(), last: 0, first_incomplete: 0, retired: Vec::new(), owner }
    }

    /// The pane of `window`, made if there is none.
    #[inline]
    pub(super) fn get_or_insert(&mut self, window: TimeWindow) -> &mut Pane<K, Acc> {
        if self.panes.get(self.last).is_none_or(|(last, _)| *last != window) {
            self.last = self.seek(window);
        }
        &mut self.panes[self.last].1
    }

    #[inline(never)]
    fn seek(&mut self, window: TimeWindow) -> usize {
        self.panes.binary_search_by_key(&window, |(window, _)| *window).unwrap_or_else(|place| {
            self.panes.insert(place, (window, Pane { table: WindowTable::of(self.owner.clone()), fired: 0, complete: false }));
            self.first_incomplete = self.first_incomplete.min(place);
            place
        })
    }

    pub(super) fn get(&self, window: TimeWindow) -> Option<&Pane<K, Acc>> {
        let place = self.panes.binary_search_by_key(&window, |(window, _)| *window).ok()?;
        Some(&self.panes[place].1)
    }

    /// The pane at `place`, in the order of time.
    pub(super) fn nth(&self, place: usize) -> Option<(TimeWindow, &Pane<K, Acc>)> {
        self.panes.get(place).map(|(window, pane)| (*window, pane))
    }

    /// The pane that was asked for last, if it is still open.
    pub(super) fn last(&self) -> Option<&Pane<K, Acc>> {
        Some(&self.panes.get(self.last)?.1)
    }

    /// The pane at a place that [`first_due`](Self::first_due) gave.
    pub(super) fn at(&mut self, place: usize) -> (TimeWindow, &mut Pane<K, Acc>) {
        let (window, pane) = &mut self.panes[place];
        (*window, pane)
    }

    /// The earliest pane that ends at or before `watermark` and has not fired.
    pub(super) fn first_due(&mut self, watermark: Watermark) -> Option<usize> {
        while self.panes.get(self.first_incomplete).is_some_and(|(_, pane)| pane.complete) {
            self.first_incomplete += 1;
        }
        let (window, _) = self.panes.get(self.first_incomplete)?;
        (window.max_timestamp() <= watermark.0).then_some(self.first_incomplete)
    }

    /// Retires the panes for which `is_over` holds; those are the first ones.
    pub(super) fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool) {
        while self.panes.front().is_some_and(|(window, _)| is_over(*window)) {
            let Some((_, pane)) = self.panes.pop_front() else { break };
            self.retired.push(pane.table);
            self.last = self.last.wrapping_sub(1);
            self.first_incomplete = self.first_incomplete.saturating_sub(1);
        }
    }

    /// Whether there are retired panes that still hold keys.
    #[inline]
    pub(super) fn is_freeing(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Frees up to `keys` keys of retired panes. `true` when none are left.
    pub(super) fn free(&mut self, keys: usize) -> bool {
        while let Some(table) = self.retired.last_mut() {
            if !table.free(keys) {
                return false;
            }
            self.retired.pop();
        }
        true
    }
}

/// The panes of a subtask while they are filled from a checkpoint.
///
/// A subtask may take over keys of several, which had been told different watermarks; it starts behind the highest (docs/src/semantics.md#c-5). A window
/// that had fired where its key comes from is complete. One that had not, and is due by now, fires at once: no later watermark may come to do it.
pub(super) struct RestoredPanes<K, Acc> {
    panes: Panes<K, Acc>,
    /// What the subtask starts behind.
    watermark: Watermark,
    /// What fires at once.
    due: Vec<(TimeWindow, u64, K, Acc)>,
}

impl<K, Acc> RestoredPanes<K, Acc> {
    /// None yet, of `owner` in a subtask that starts behind `watermark`.
    pub(super) fn new(watermark: Watermark, owner: TableOwner) -> Self {
        Self { panes: Panes::new(owner), watermark, due: Vec::new() }
    }

    /// Takes what a subtask that had been told the watermark `told` held of a key, whose hash is `hash`.
    pub(super) fn take(&mut self, window: TimeWindow, hash: u64, key: K, accumulator: Acc, told: Watermark) {
        let is_due = window.max_timestamp() <= self.watermark.0;
        if is_due && window.max_timestamp() > told.0 {
            self.due.push((window, hash, key, accumulator));
            return;
        }
        let pane = self.panes.get_or_insert(window);
        pane.complete = is_due;
        pane.table.find_or_insert_with(hash, |_| false, || (key, accumulator));
    }

    /// The panes, and whether some of them are to fire at once.
    pub(super) fn finish(self) -> (Panes<K, Acc>, bool) {
        let Self { mut panes, due, .. } = self;
        let has_due = !due.is_empty();
        for (window, hash, key, accumulator) in due {
            let pane = panes.get_or_insert(window);
            if std::mem::replace(&mut pane.complete, false) {
                pane.fired = pane.table.len();
            }
            pane.table.find_or_insert_with(hash, |_| false, || (key, accumulator));
        }
        (panes, has_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: TimeWindow = TimeWindow { start: 0, end: 10 };
    const SECOND: TimeWindow = TimeWindow { start: 10, end: 20 };
    const THIRD: TimeWindow = TimeWindow { start: 20, end: 30 };

    fn restored(watermark: i64, entries: &[(TimeWindow, u64, i64)]) -> (Panes<u64, ()>, bool) {
        let mut restored = RestoredPanes::new(Watermark(watermark), TableOwner::default());
        entries.iter().for_each(|(window, key, told)| restored.take(*window, *key, *key, (), Watermark(*told)));
        restored.finish()
    }

    fn keys(pane: &Pane<u64, ()>, from: usize) -> Vec<u64> {
        (from..pane.table.len()).filter_map(|position| Some(*pane.table.entry(position)?.0)).collect()
    }

    /// One subtask had been told 15 and another 25: what comes of both starts behind 25, and of the second window only the keys of one had fired.
    #[test]
    fn keys_of_two_subtasks_fire_once_each_whichever_comes_first() {
        let low = [(FIRST, 1, 15), (SECOND, 2, 15), (SECOND, 3, 15), (THIRD, 4, 15)];
        let high = [(SECOND, 5, 25), (THIRD, 6, 25)];
        for entries in [[&low[..], &high].concat(), [&high[..], &low].concat()] {
            let (mut panes, has_due) = restored(25, &entries);
            assert!(has_due);
            let due = panes.first_due(Watermark(25)).unwrap();
            let (window, pane) = panes.at(due);
            assert_eq!((window, pane.fired, keys(pane, pane.fired)), (SECOND, 1, vec![2, 3]));
            assert_eq!(keys(pane, 0), [5, 2, 3]);
            pane.complete = true;
            assert_eq!(panes.first_due(Watermark(25)), None, "the first window had fired, and the third is open");
            assert!(!panes.get(THIRD).unwrap().complete);
        }
    }

    #[test]
    fn a_window_that_had_fired_everywhere_or_nowhere_does_not_fire_at_once() {
        let (mut panes, has_due) = restored(25, &[(SECOND, 1, 25), (SECOND, 2, 20), (THIRD, 3, 15)]);
        assert!(!has_due);
        assert_eq!(panes.first_due(Watermark(25)), None);
        assert_eq!(panes.first_due(Watermark(29)), Some(1));
    }
}
