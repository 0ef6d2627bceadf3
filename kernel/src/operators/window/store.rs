//! What the windowed operator asks of the store of its windows.
//!
//! An *entry* is what is kept of one key in one window. A store holds entries and knows whose time has come; it decides nothing: whether a record is added
//! is for `lateness.rs` to say, what is emitted for the trigger, when it is saved for `saving.rs`.
//!
//! [`Panes`](super::panes::Panes) is the store of windows that stand each for itself. A store of windows that merge (sessions) says in
//! [`window_for`](WindowStore::window_for) what would become of a record's window, and joins entries in [`find_or_insert`](WindowStore::find_or_insert).
//! Which store an operator has is part of its type, given where it is described (`api/keyed_stream.rs`): no call of a record is dynamic.

use crate::record::Key;
use crate::time::{TimeWindow, Watermark};
use std::task::{Context, Poll};
use thalweg_storage::TableOwner;

/// An entry: its window, and a number by which its store finds it there. It holds until the store is changed in another way than by adding to entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The window.
    pub window: TimeWindow,
    /// The number; of those that come one after the other in a [`Due`] each is one more than the one before.
    pub position: usize,
}

/// Entries of a window that are to be fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The first of them.
    pub first: Place,
    /// The position behind the last of them.
    pub end: usize,
}

/// How far a window had come where its entry was saved, seen from the watermark of the subtask that takes it over (docs/src/semantics.md#c-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoredAs {
    /// Its time is still to come.
    Open,
    /// Its time had come: it does not fire as a whole any more.
    Fired,
    /// Its time has come by the watermark of another subtask: it fires at once.
    Due,
}

/// How far saving has come: the entries of a store lie in parts, and have positions there. The default is the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pub(super) part: usize,
    pub(super) position: usize,
}

/// Holds the entries of one subtask, values `V` of keys `K`.
pub trait WindowStore<K: Key, V>: 'static {
    /// Holds nothing yet, for `owner`.
    fn new(owner: TableOwner) -> Self;

    /// Of how many of the next records, whose keys have these hashes, what is stored is at hand, in whichever window (see
    /// [`Head::prepare`](crate::exchange::Head::prepare)).
    fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64> + Clone) -> usize;

    /// How many entries of `due`, from the first on, are at hand.
    fn due_at_hand(&mut self, due: Due) -> usize;

    /// Ready when something has come that was not at hand; registers for that otherwise.
    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Brings near what is stored of the keys of the next records, which have these hashes. Bounded: whatever the number of windows, no more is touched
    /// than fits the processor's first cache.
    fn prefetch(&mut self, hashes: &[u64]);

    /// The window in which a record of `key` that was assigned to `window` would come to lie.
    fn window_for(&self, window: TimeWindow, hash: u64, key: K::Ref<'_>) -> TimeWindow;

    /// The entry of `key` in `window`, its position and its value, made by `make` if there is none. Entries that come to lie in one window are joined by
    /// `merge(later, earlier)`.
    fn find_or_insert(
        &mut self,
        window: TimeWindow,
        hash: u64,
        key: K::Ref<'_>,
        make: impl FnOnce() -> V,
        merge: impl FnMut(V, &mut V),
    ) -> (usize, &mut V);

    /// What lies at `place`.
    fn entry(&self, place: Place) -> Option<(&K, &V)>;

    /// The time of the entry at `place` had come when a record was added to it: it does not become due any more.
    fn set_passed(&mut self, place: Place);

    /// The earliest entries whose windows end at or before `watermark` and have not fired; of one window, by ascending end and then start.
    fn first_due(&mut self, watermark: Watermark) -> Option<Due>;

    /// The entries of `due` before the position `until` have fired.
    fn set_fired(&mut self, due: Due, until: usize);

    /// Takes out the windows for which `is_over` holds. If it holds for one it holds for all that do not end later.
    fn retire(&mut self, is_over: impl Fn(TimeWindow) -> bool);

    /// Whether there is something left of windows that were taken out.
    fn is_freeing(&self) -> bool;

    /// Frees up to `entries` entries of windows that were taken out. `true` when none are left.
    fn free(&mut self, entries: usize) -> bool;

    /// Up to `budget` entries from `cursor` on, which is moved behind them, each with the hash of its key and its window. `None` behind the last; all
    /// entries come once if nothing changes meanwhile.
    fn next_part<'a>(
        &'a self,
        cursor: &mut Cursor,
        budget: usize,
    ) -> Option<impl ExactSizeIterator<Item = (u64, TimeWindow, &'a K, &'a V)>>
    where
        K: 'a,
        V: 'a;

    /// Takes an entry of a checkpoint. Those that are [`Due`](RestoredAs::Due) come after all others.
    fn restore(&mut self, window: TimeWindow, hash: u64, key: K, value: V, restored: RestoredAs);
}
