//! The store of independent windows: a [`WindowTable`] for each span of time, its *pane*, in order of time.
//!
//! Panes are ordered by their ends, and by their starts where ends are equal, whatever the lengths: so panes that are due, and panes that are over, are
//! always the first ones. A pane that is over is taken off as a whole, and its keys are freed in slices. A pane that is *complete* is not fired as a whole
//! any more: a record that arrives later fires its key alone (docs/src/semantics.md#l-3).
//!
//! Pure: no clock, no I/O. The watermark reaches it as an argument.

use super::store::{Cursor, Due, Place, RestoredAs, WindowStore};
use crate::record::Key;
use crate::time::{TimeWindow, Watermark};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use thalweg_storage::{TableOwner, WindowTable};

/// Panes in which the keys of the next records are prefetched. For the 32 keys that are looked up together a pane takes two cache lines each, in its index
/// and in its entries: eight panes are 32 KiB, a processor's first-level cache. More would evict prefetched lines before they are used.
const PREFETCH_PANES: usize = 8;

/// The contents of one span of time.
pub(super) struct Pane<K, V> {
    table: WindowTable<K, V>,
    /// Number of keys that have fired; all of them once the span has.
    fired: usize,
    complete: bool,
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
    /// Panes that are over and still hold keys to be freed.
    retired: Vec<WindowTable<K, V>>,
    owner: TableOwner,
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
            let pane = Pane { table: WindowTable::of(self.owner.clone()), fired: 0, complete: false, group: 0 };
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
    fn new(owner: TableOwner) -> Self {
        Self {
            panes: VecDeque::new(),
            last: 0,
            first_incomplete: 0,
            retired: Vec::new(),
            owner,
            group: 1,
            in_use: Vec::with_capacity(PREFETCH_PANES),
        }
    }

    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize {
        let all = hashes.len();
        self.panes.iter_mut().map(|(_, pane)| pane.table.at_hand(hashes.clone())).min().unwrap_or(all)
    }

    fn due_at_hand(&mut self, due: Due) -> usize {
        let pane = self.panes.iter_mut().find(|(window, _)| *window == due.first.window);
        pane.map_or(0, |(_, pane)| pane.table.entries_at_hand(due.first.position))
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
    ) -> (usize, &mut V) {
        let pane = self.get_or_insert(window);
        let position = pane.table.find_or_insert_with(hash, |stored| stored.matches(key), || (K::from_view(key), make()));
        (position, pane.table.value_mut(position))
    }

    fn entry(&self, place: Place) -> Option<(&K, &V)> {
        self.get(place.window)?.table.entry(place.position)
    }

    fn set_passed(&mut self, place: Place) {
        if let Some(pane) = self.get_mut(place.window) {
            pane.complete = true;
        }
    }

    fn first_due(&mut self, watermark: Watermark) -> Option<Due> {
        while self.panes.get(self.first_incomplete).is_some_and(|(_, pane)| pane.complete) {
            self.first_incomplete += 1;
        }
        let (window, pane) = self.panes.get(self.first_incomplete)?;
        let due = Due { first: Place { window: *window, position: pane.fired }, end: pane.table.len() };
        (window.max_timestamp() <= watermark.0).then_some(due)
    }

    fn set_fired(&mut self, due: Due, until: usize) {
        if let Some(pane) = self.get_mut(due.first.window) {
            pane.fired = until;
            pane.complete = until == due.end;
        }
    }

    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool) {
        while self.panes.front().is_some_and(|(window, _)| is_over(*window)) {
            let Some((_, pane)) = self.panes.pop_front() else { break };
            self.retired.push(pane.table);
            self.last = self.last.wrapping_sub(1);
            self.first_incomplete = self.first_incomplete.saturating_sub(1);
            self.next_group();
        }
        self.note_use(self.last);
    }

    #[inline]
    fn is_freeing(&self) -> bool {
        !self.retired.is_empty()
    }

    fn free(&mut self, entries: usize) -> bool {
        while let Some(table) = self.retired.last_mut() {
            if !table.free(entries) {
                return false;
            }
            self.retired.pop();
        }
        true
    }

    fn next_part<'a>(&'a self, cursor: &mut Cursor, budget: usize) -> Option<impl ExactSizeIterator<Item = (u64, TimeWindow, &'a K, &'a V)>>
    where
        K: 'a,
        V: 'a,
    {
        let Cursor { part, position } = *cursor;
        let (window, pane) = self.panes.get(part)?;
        let end = pane.table.len().min(position + budget);
        *cursor = if end == pane.table.len() { Cursor { part: part + 1, position: 0 } } else { Cursor { part, position: end } };
        Some(pane.table.slice(position..end).map(|(hash, key, value)| (hash, *window, key, value)))
    }

    fn restore(&mut self, window: TimeWindow, hash: u64, key: K, value: V, restored: RestoredAs) {
        let pane = self.get_or_insert(window);
        match restored {
            RestoredAs::Open => pane.complete = false,
            RestoredAs::Fired => pane.complete = true,
            // Keys of it that had fired were restored before.
            RestoredAs::Due => {
                if std::mem::replace(&mut pane.complete, false) {
                    pane.fired = pane.table.len();
                }
            }
        }
        pane.table.find_or_insert_with(hash, |_| false, || (key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> TimeWindow {
        TimeWindow { start, end }
    }

    fn add(panes: &mut Panes<u64, ()>, window: TimeWindow) {
        panes.find_or_insert(window, 7, 7, || (), |(), ()| ());
    }

    fn due(panes: &mut Panes<u64, ()>, watermark: i64) -> Vec<TimeWindow> {
        std::iter::from_fn(|| {
            let due = panes.first_due(Watermark(watermark))?;
            panes.set_fired(due, due.end);
            Some(due.first.window)
        })
        .collect()
    }

    #[test]
    fn windows_of_several_lengths_are_due_and_over_by_their_ends() {
        let mut panes = Panes::new(TableOwner::default());
        for (start, end) in [(0, 100), (30, 40), (20, 40), (0, 10), (35, 45)] {
            add(&mut panes, window(start, end));
        }
        assert_eq!(due(&mut panes, 39), [window(0, 10), window(20, 40), window(30, 40)]);
        panes.retire(|window| window.end <= 40);
        assert!(panes.get(window(20, 40)).is_none() && panes.get(window(0, 100)).is_some());
        assert_eq!(due(&mut panes, 99), [window(35, 45), window(0, 100)]);
    }

    fn brought_near(panes: &mut Panes<u64, ()>) -> Vec<TimeWindow> {
        let windows = panes.in_use.iter().map(|place| panes.panes[*place].0).collect();
        panes.prefetch(&[7]);
        windows
    }

    /// Keys are prefetched in each pane that records go to, whichever came last, and in no other.
    #[test]
    fn keys_are_brought_near_in_the_panes_that_records_go_to() {
        let windows: Vec<_> = (0..20).map(|i| window(i, i + 5)).collect();
        let mut panes = Panes::new(TableOwner::default());
        windows.iter().for_each(|window| add(&mut panes, *window));
        brought_near(&mut panes);
        for _ in 0..2 {
            windows[3..8].iter().for_each(|window| add(&mut panes, *window));
        }
        let mut near = brought_near(&mut panes);
        near.sort_unstable();
        assert_eq!(near, [&windows[3..8], &windows[19..]].concat());
        add(&mut panes, windows[7]);
        assert_eq!(brought_near(&mut panes), [windows[7]], "the last one stays");
        panes.retire(|window| window.start < 6);
        add(&mut panes, windows[7]);
        add(&mut panes, windows[8]);
        assert_eq!(brought_near(&mut panes), [windows[7], windows[8]], "places have changed and are noted anew");
    }

    #[test]
    fn no_more_than_eight_panes_are_brought_near() {
        let mut panes = Panes::new(TableOwner::default());
        for _ in 0..2 {
            brought_near(&mut panes);
            (0..20).for_each(|i| add(&mut panes, window(i, i + 5)));
        }
        assert_eq!(brought_near(&mut panes).len(), PREFETCH_PANES);
    }
}
