//! The interface between the windowed operator and the store of its windows.
//!
//! An *entry* is the state of one key in one window. A store holds entries and knows which are due; it decides nothing: `lateness.rs` says whether a record
//! is added, the trigger what is emitted, a barrier what is saved.
//!
//! [`Panes`](super::panes::Panes) is the store of independent windows. A store of windows that merge (sessions) says in
//! [`window_for`](WindowStore::window_for) what would become of a record's window, and joins entries in [`find_or_insert`](WindowStore::find_or_insert).
//! The store of an operator is part of its type, given where it is described (`api/keyed_stream.rs`): no call per record is dynamic.

use crate::record::Key;
use crate::time::{TimeWindow, Watermark};
use std::task::{Context, Poll};
use thalweg_storage::{HotTable, Sealable};

/// An entry: its window, and a number by which its store finds it there. It is valid until an entry of the window is added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The window.
    pub window: TimeWindow,
    /// The number.
    pub position: u64,
}

/// The state of a window where its entry was saved, seen from the watermark of the subtask that takes it over (docs/src/semantics.md#c-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoredAs {
    /// Its end is still to come.
    Open,
    /// It had fired: it does not fire as a whole any more.
    Fired,
    /// Its end has been reached by the watermark of another subtask: it fires at once.
    Due,
}

/// Holds the entries of one subtask, values `V` of keys `K`. Saved, entries have their windows as namespaces.
pub trait WindowStore<K: Key, V>: Sealable<K, V> + 'static {
    /// An empty store for the keys of `table`, which is empty, too: what it needs tables for can be like that one.
    fn new(table: HotTable<K, V>) -> Self;

    /// The number of next records, whose keys have these hashes, that have their entries at hand, in whichever window (see
    /// [`Head::prepare`](crate::exchange::Head::prepare)).
    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize;

    /// The number of entries of the due `window` that fire next and are at hand.
    fn due_at_hand(&mut self, window: TimeWindow) -> usize;

    /// Ready when an entry has arrived that was not at hand; registers for that otherwise.
    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Prefetches the entries of the next records' keys, which have these hashes. Bounded: whatever the number of windows, no more is touched than fits the
    /// processor's first-level cache.
    fn prefetch(&mut self, hashes: &[u64]);

    /// The window into which a record of `key` that was assigned to `window` would go.
    fn window_for(&self, window: TimeWindow, hash: u64, key: K::Ref<'_>) -> TimeWindow;

    /// The entry of `key` in `window`, its position and its value; `make` makes it if there is none. Entries that end up in one window are joined by
    /// `merge(later, earlier)`.
    fn find_or_insert(
        &mut self,
        window: TimeWindow,
        hash: u64,
        key: K::Ref<'_>,
        make: impl FnOnce() -> V,
        merge: impl FnMut(V, &mut V),
    ) -> (u64, &mut V);

    /// The number of entries of windows that are not over. Costs a look at each window.
    fn entries(&self) -> usize;

    /// The entry at `place`.
    fn entry(&self, place: Place) -> Option<(&K, &V)>;

    /// The entry at `place` was past its end when a record was added to it: it does not become due any more.
    fn set_passed(&mut self, place: Place);

    /// The earliest window that ends at or before `watermark` and has entries that have not fired; by ascending end and then start.
    fn first_due(&mut self, watermark: Watermark) -> Option<TimeWindow>;

    /// Calls `fire` for one entry of the due `window` after the other that has not fired, in any order. If that returns `false`, the entry has not fired, and
    /// the next call begins with it. Returns whether the window is no longer due.
    fn fire_due(&mut self, window: TimeWindow, fire: impl FnMut(&K, &V) -> bool) -> bool;

    /// Takes out the windows for which `is_over` holds. If it holds for a window it holds for all that do not end later.
    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool);

    /// Frees about `entries` entries for each window that was taken out and is not free yet.
    fn free(&mut self, entries: usize);

    /// Takes an entry of a checkpoint. [`Due`](RestoredAs::Due) entries come after all others.
    fn restore(&mut self, window: TimeWindow, hash: u64, key: K, value: V, restored: RestoredAs);
}
