//! Firing: due results are emitted, in slices and while there is room, before the watermark that made them due goes on (docs/src/semantics.md#win-2, #w-6).
//!
//! Entries become due in two ways. A watermark makes whole windows due; a record makes a single entry due, if the trigger says so: that of a window whose
//! time has passed already, say (docs/src/semantics.md#l-3). In both the trigger decides, and the store says which entries there are.

use super::aggregate::AggregateFunction;
use super::running::RunningWindow;
use super::store::{Place, WindowStore};
use super::trigger::{Trigger, TriggerResult};
use crate::chain::{Collector, Resumed, Stage};
use crate::operators::side_output::WithSides;
use crate::record::{Key, Record};
use crate::time::{Control, TimeWindow, Watermark};
use std::collections::VecDeque;

/// The firing in progress.
pub(super) struct Firing {
    /// The watermark whose windows are being fired: it goes down the chain after the last of them.
    advancing: Option<Watermark>,
    /// Entries that fire for a record that was added to them, and have not been handed down yet for want of room: at most those of one record.
    again: VecDeque<Place>,
    /// Entries that are fired in one go.
    slice: usize,
}

impl Firing {
    /// The firing of an operator that has `advancing` still to fire at.
    pub(super) fn new(advancing: Option<Watermark>, slice: usize) -> Self {
        Self { advancing, again: VecDeque::new(), slice }
    }

    /// `watermark` has come: entries that it makes due are fired, and it goes on.
    pub(super) fn advance(&mut self, watermark: Watermark) {
        self.advancing = Some(watermark);
    }

    /// The entry at `place`, to which a record was added, fires behind those that fire for the same record already.
    pub(super) fn fire_again(&mut self, place: Place) {
        self.again.push_back(place);
    }

    /// Whether entries are to fire for a record that was added to them.
    #[inline]
    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether nothing is left to be fired.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.advancing.is_none() && self.again.is_empty()
    }
}

impl<In, K, KF, W, T, A, S, RF, Out, D> RunningWindow<In, K, KF, W, T, A, S, RF, Out, D>
where
    In: Record,
    K: Key,
    Out: Record,
    T: Trigger,
    A: AggregateFunction<In>,
    S: WindowStore<K, T::Kept<A::Accumulator>>,
    RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out,
    D: Collector<Out>,
{
    /// Fires due entries until there are none, the output is full, or a slice is over.
    pub(super) fn fire(&mut self) -> Resumed {
        let Self { store, trigger, aggregate, result, info, down, .. } = self;
        let mut emit = |down: &mut WithSides<D>, window: TimeWindow, key: &K, kept: &T::Kept<A::Accumulator>| {
            let key = key.view();
            let out = info.call((key, window), || result(key, window, aggregate.get_result(T::accumulator(kept))));
            down.push(window.max_timestamp(), out);
        };
        while let Some(place) = self.firing.again.pop_front() {
            if !down.ready() {
                self.firing.again.push_front(place);
                return Resumed::Again;
            }
            if let Some((key, kept)) = store.entry(place) {
                emit(down, place.window, key, kept);
            }
        }
        let mut budget = self.firing.slice;
        let Some(watermark) = self.firing.advancing else {
            return Resumed::Done;
        };
        while let Some(window) = store.first_due(watermark) {
            let at_hand = store.due_at_hand(window);
            if at_hand == 0 {
                return Resumed::AwaitsState;
            }
            let mut left = budget.min(at_hand);
            budget -= left;
            let has_fired = store.fire_due(window, |key, kept| {
                if left == 0 || !down.ready() {
                    return false;
                }
                left -= 1;
                if trigger.on_event_time::<A::Accumulator>(window, kept) == TriggerResult::Fire {
                    emit(down, window, key, kept);
                }
                true
            });
            if !has_fired {
                return Resumed::Again;
            }
            budget += left;
            self.io.observe("window.fire", &self.place, [window.end, watermark.0, 0]);
        }
        if !self.down.ready() {
            return Resumed::Again;
        }
        let allowed = self.allowed_lateness;
        self.store.retire(|window| allowed.is_over(window, watermark));
        self.firing.advancing = None;
        self.down.control(Control::Watermark(watermark));
        if self.down.ready() { Resumed::Done } else { Resumed::Again }
    }
}
