//! The interface between the windowed operator and the store of its windows.
//!
//! An *entry* is the state of one key in one window. A store holds entries and knows which are due; it decides nothing: `lateness.rs` says whether a record
//! is added, the trigger what is emitted, `saving.rs` when it is saved.
//!
//! [`Panes`](super::panes::Panes) is the store of independent windows. A store of windows that merge (sessions) says in
//! [`window_for`](WindowStore::window_for) what would become of a record's window, and joins entries in [`find_or_insert`](WindowStore::find_or_insert).
//! The store of an operator is part of its type, given where it is described (`api/keyed_stream.rs`): no call per record is dynamic.

use crate::record::Key;
use crate::time::{TimeWindow, Watermark};
use std::task::{Context, Poll};
use thalweg_storage::TableOwner;

/// An entry: its window, and a number by which its store finds it there. It is valid until the store changes in another way than by adding to entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The window.
    pub window: TimeWindow,
    /// The number; consecutive entries of a [`Due`] have consecutive numbers.
    pub position: usize,
}

/// Entries of a window that are to be fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The first entry.
    pub first: Place,
    /// The position behind the last entry.
    pub end: usize,
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

/// The progress of saving: the entries of a store lie in parts, and have positions there. The default is the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pub(super) part: usize,
    pub(super) position: usize,
}

/// Holds the entries of one subtask, values `V` of keys `K`.
pub trait WindowStore<K: Key, V>: 'static {
    /// An empty store for `owner`.
    fn new(owner: TableOwner) -> Self;

    /// The number of next records, whose keys have these hashes, that have their entries at hand, in whichever window (see
    /// [`Head::prepare`](crate::exchange::Head::prepare)).
    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize;

    /// The number of entries of `due`, from the first on, that are at hand.
    fn due_at_hand(&mut self, due: Due) -> usize;

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
    ) -> (usize, &mut V);

    /// The entry at `place`.
    fn entry(&self, place: Place) -> Option<(&K, &V)>;

    /// The entry at `place` was past its end when a record was added to it: it does not become due any more.
    fn set_passed(&mut self, place: Place);

    /// The earliest entries whose windows end at or before `watermark` and have not fired; of one window, by ascending end and then start.
    fn first_due(&mut self, watermark: Watermark) -> Option<Due>;

    /// The entries of `due` before the position `until` have fired.
    fn set_fired(&mut self, due: Due, until: usize);

    /// Takes out the windows for which `is_over` holds. If it holds for a window it holds for all that do not end later.
    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool);

    /// Whether entries are left of windows that were taken out.
    fn is_freeing(&self) -> bool;

    /// Frees up to `entries` entries of windows that were taken out. `true` when none are left.
    fn free(&mut self, entries: usize) -> bool;

    /// Up to `budget` entries from `cursor` on, each with the hash of its key and its window; the cursor moves behind them. `None` behind the last; every
    /// entry comes once if nothing changes meanwhile.
    fn next_part<'a>(
        &'a self,
        cursor: &mut Cursor,
        budget: usize,
    ) -> Option<impl ExactSizeIterator<Item = (u64, TimeWindow, &'a K, &'a V)>>
    where
        K: 'a,
        V: 'a;

    /// Takes an entry of a checkpoint. [`Due`](RestoredAs::Due) entries come after all others.
    fn restore(&mut self, window: TimeWindow, hash: u64, key: K, value: V, restored: RestoredAs);
}
