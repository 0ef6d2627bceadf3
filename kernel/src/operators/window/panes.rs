//! The open spans of time of one subtask, and what each holds of every key.
//!
//! Windows of one span live together: a [`WindowTable`] a span, in order of time. Panes that are over are the first ones; they are taken off as a
//! whole, and their keys are freed in slices. A pane that is *complete* is not fired as a whole any more: a record that comes later fires its key
//! alone (docs/src/semantics.md#l-3).
//!
//! Pure: no clock, no I/O. The watermark reaches it as an argument.

use crate::time::{TimeWindow, Watermark};
use std::collections::VecDeque;
use thalweg_storage::WindowTable;

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
}

impl<K, Acc> Panes<K, Acc> {
    pub(super) fn new() -> Self {
        Self { panes: VecDeque::new(), last: 0, first_incomplete: 0, retired: Vec::new() }
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
            self.panes.insert(place, (window, Pane { table: WindowTable::default(), fired: 0, complete: false }));
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
