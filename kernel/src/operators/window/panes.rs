//! The store of independent windows: a [`HotTable`] for each span of time, its *pane*, in order of time.
//!
//! Panes are ordered by their ends, and by their starts where ends are equal, whatever the lengths: so panes that are due, and panes that are over, are
//! always the first ones. A pane that is over is taken off as a whole, and its keys are freed in slices. A pane that is *complete* is not fired as a whole
//! any more: a record that arrives later fires its key alone (docs/src/semantics.md#l-3).
//!
//! A barrier seals each pane; one that is over before it is saved is kept until then (`panes/saving.rs`).
//!
//! Pure: no clock, no I/O. The watermark reaches it as an argument.

mod saving;

use super::store::{Place, RestoredAs, WindowStore};
use crate::checkpoint::CheckpointId;
use crate::record::Key;
use crate::time::{TimeWindow, Watermark};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use thalweg_storage::checkpoint::Namespace;
use thalweg_storage::{HotTable, Position, Remains};

/// Panes in which the keys of the next records are prefetched. For the 32 keys that are looked up together a pane takes two cache lines each at most: eight
/// panes are 32 KiB, a processor's first-level cache. More would evict prefetched lines before they are used.
const PREFETCH_PANES: usize = 8;

/// The contents of one span of time.
pub(super) struct Pane<K, V> {
    table: HotTable<K, V>,
    complete: bool,
    /// Where firing goes on, while the pane is due.
    next: Position,
    /// If not all entries are due, those that are: only in a restored pane.
    only: Option<Vec<(u64, K)>>,
    /// The last group of records of which some went into this pane.
    group: u64,
}

/// The open spans of a subtask, by ascending time. Nearly every record belongs to the span that was last looked up; firing and cleaning up go forward
/// through time and visit no span twice.
pub struct Panes<K, V> {
    panes: VecDeque<(TimeWindow, Pane<K, V>)>,
    last: usize,
    /// All panes before this one are complete.
    first_incomplete: usize,
    /// Tables of panes that are over and not saved yet.
    unsaved: Vec<HotTable<K, V>>,
    /// The order of the pane that is saved next, once [`unsaved`](Self::unsaved) ones are; `None` if all that was sealed is saved.
    save_next: Option<(i64, i64)>,
    /// The spans of the panes that were sealed, until they are saved.
    sealed: Option<Vec<Namespace>>,
    /// What has been saved since then builds on the contents of this checkpoint and later ones.
    builds_on: Option<CheckpointId>,
    /// What is left of panes that are over.
    retired: Vec<Remains<K, V>>,
    /// An empty table as those of panes are at first.
    empty: HotTable<K, V>,
    /// The group of records that is being added, and the panes it has gone to so far, at most [`PREFETCH_PANES`].
    group: u64,
    in_use: Vec<usize>,
}

/// The order of panes.
fn order(window: TimeWindow) -> (i64, i64) {
    (window.end, window.start)
}

impl<K, V> Panes<K, V> {
    /// The pane of `window`, made if there is none.
    #[inline]
    fn get_or_insert(&mut self, window: TimeWindow) -> &mut Pane<K, V> {
        if self.panes.get(self.last).is_none_or(|(last, _)| *last != window) {
            self.last = self.seek(window);
        }
        &mut self.panes[self.last].1
    }

    #[inline(never)]
    fn seek(&mut self, window: TimeWindow) -> usize {
        let place = self.find(window).unwrap_or_else(|place| {
            assert!(window.start < window.end, "a window assigner gave an empty window, from {} to {}", window.start, window.end);
            let pane = Pane { table: self.empty.another(), complete: false, next: Position::default(), only: None, group: 0 };
            self.panes.insert(place, (window, pane));
            self.first_incomplete = self.first_incomplete.min(place);
            self.next_group();
            place
        });
        self.note_use(place);
        place
    }

    /// Where the pane of `window` is, or would be.
    fn find(&self, window: TimeWindow) -> Result<usize, usize> {
        self.panes.binary_search_by_key(&order(window), |(window, _)| order(*window))
    }

    fn get(&self, window: TimeWindow) -> Option<&Pane<K, V>> {
        self.find(window).ok().map(|place| &self.panes[place].1)
    }

    fn get_mut(&mut self, window: TimeWindow) -> Option<&mut Pane<K, V>> {
        self.find(window).ok().map(|place| &mut self.panes[place].1)
    }

    /// Begins a group of records; also called when the places of panes have changed.
    fn next_group(&mut self) {
        self.group += 1;
        self.in_use.clear();
    }

    /// A record of this group goes to the pane at `place`.
    fn note_use(&mut self, place: usize) {
        let Self { panes, group, in_use, .. } = self;
        if let Some((_, pane)) = panes.get_mut(place).filter(|(_, pane)| pane.group != *group && in_use.len() < PREFETCH_PANES) {
            pane.group = *group;
            in_use.push(place);
        }
    }
}

impl<K: Key, V: 'static> WindowStore<K, V> for Panes<K, V> {
    fn new(table: HotTable<K, V>) -> Self {
        Self {
            panes: VecDeque::new(),
            last: 0,
            first_incomplete: 0,
            unsaved: Vec::new(),
            save_next: None,
            sealed: None,
            builds_on: None,
            retired: Vec::new(),
            empty: table,
            group: 1,
            in_use: Vec::with_capacity(PREFETCH_PANES),
        }
    }

    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize {
        let all = hashes.len();
        self.panes.iter_mut().map(|(_, pane)| pane.table.at_hand(hashes.clone())).min().unwrap_or(all)
    }

    fn due_at_hand(&mut self, window: TimeWindow) -> usize {
        self.get(window).map_or(0, |pane| pane.only.as_ref().map_or(pane.table.len(), Vec::len))
    }

    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut has_come = false;
        for (_, pane) in &mut self.panes {
            has_come |= pane.table.poll_at_hand(cx).is_ready();
        }
        if has_come { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Prefetches the keys in the panes that the records of the previous group went to. Other open panes get stragglers at most: looking up every key in
    /// each of them would cost more than it saves.
    fn prefetch(&mut self, hashes: &[u64]) {
        for place in &self.in_use {
            if let Some((_, pane)) = self.panes.get(*place) {
                hashes.iter().for_each(|hash| pane.table.prefetch(*hash));
            }
        }
        self.next_group();
        self.note_use(self.last);
    }

    #[inline]
    fn window_for(&self, window: TimeWindow, _hash: u64, _key: K::Ref<'_>) -> TimeWindow {
        window
    }

    #[inline]
    fn find_or_insert(
        &mut self,
        window: TimeWindow,
        hash: u64,
        key: K::Ref<'_>,
        make: impl FnOnce() -> V,
        _merge: impl FnMut(V, &mut V),
    ) -> (u64, &mut V) {
        let pane = self.get_or_insert(window);
        let (position, value) = pane.table.find_or_insert_with(hash, |stored| stored.matches(key), || (K::from_view(key), make()));
        (position.into(), value)
    }

    fn entries(&self) -> usize {
        self.panes.iter().map(|(_, pane)| pane.table.len()).sum()
    }

    fn entry(&self, place: Place) -> Option<(&K, &V)> {
        self.get(place.window)?.table.entry_at(place.position.into())
    }

    fn set_passed(&mut self, place: Place) {
        if let Some(pane) = self.get_mut(place.window) {
            pane.complete = true;
        }
    }

    fn first_due(&mut self, watermark: Watermark) -> Option<TimeWindow> {
        while self.panes.get(self.first_incomplete).is_some_and(|(_, pane)| pane.complete) {
            self.first_incomplete += 1;
        }
        let (window, _) = self.panes.get(self.first_incomplete)?;
        (window.max_timestamp() <= watermark.0).then_some(*window)
    }

    fn fire_due(&mut self, window: TimeWindow, mut fire: impl FnMut(&K, &V) -> bool) -> bool {
        let Some(pane) = self.get_mut(window) else { return true };
        match &mut pane.only {
            Some(due) => {
                while let Some((hash, key)) = due.last() {
                    let value = pane.table.get(*hash, |stored| stored.matches(key.view()));
                    if value.is_some_and(|value| !fire(key, value)) {
                        return false;
                    }
                    due.pop();
                }
                pane.only = None;
            }
            None => {
                for (position, key, value) in pane.table.entries_from(pane.next) {
                    if !fire(key, value) {
                        pane.next = position;
                        return false;
                    }
                }
            }
        }
        pane.complete = true;
        true
    }

    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool) {
        while self.panes.front().is_some_and(|(window, _)| is_over(*window)) {
            let Some((_, pane)) = self.panes.pop_front() else { break };
            if pane.table.is_sealed() {
                self.unsaved.push(pane.table);
            } else {
                self.retired.push(pane.table.into());
            }
            self.last = self.last.wrapping_sub(1);
            self.first_incomplete = self.first_incomplete.saturating_sub(1);
            self.next_group();
        }
        self.note_use(self.last);
    }

    fn free(&mut self, entries: usize) {
        // The more there are, the faster: entries go at least as fast as they come.
        let mut budget = entries.saturating_mul(self.retired.len());
        while let Some(remains) = self.retired.last_mut() {
            if !remains.free(&mut budget) {
                return;
            }
            self.retired.pop();
        }
    }

    fn restore(&mut self, window: TimeWindow, hash: u64, key: K, value: V, restored: RestoredAs) {
        let pane = self.get_or_insert(window);
        match restored {
            RestoredAs::Open => pane.complete = false,
            RestoredAs::Fired => pane.complete = true,
            RestoredAs::Due => {
                // Keys of it that had fired were restored before.
                if std::mem::replace(&mut pane.complete, false) {
                    pane.only = Some(Vec::new());
                }
                if let Some(due) = &mut pane.only {
                    due.push((hash, key.clone()));
                }
            }
        }
        pane.table.insert_new(hash, key, value);
    }
}

#[cfg(test)]
mod tests;
