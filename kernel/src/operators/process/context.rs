//! The arguments of a user's function: [`OpenContext`] once, then with every call a [`Context`] to ask and an [`Output`] to emit into.
//!
//! A context borrows from the operator for the length of one call, and all that goes through it concerns the key, the timestamp and the watermark
//! of that call. Nothing here calls a function or waits for room: a timer is set and the operator fires it later, an output is held and the
//! operator hands it down after the call. Only a side output is handed its record at once.

use super::state::{ListAccess, ListState, MapAccess, MapState, States, ValueAccess, ValueState};
use super::timers::Timers;
use crate::chain::Collector;
use crate::operators::{OutputTag, SideOutputs};
use crate::record::{Key, Record};
use crate::time::{NO_TIMESTAMP, Watermark};
use std::collections::VecDeque;

/// Takes the records that a function emits. The records of one call are held until there is room downstream: a call that emits without bound needs memory
/// without bound.
pub struct Output<O> {
    pub(in crate::operators) records: VecDeque<(i64, O)>,
    pub(in crate::operators) timestamp: i64,
}

impl<O> Output<O> {
    pub(in crate::operators) fn new() -> Self {
        Self { records: VecDeque::new(), timestamp: NO_TIMESTAMP }
    }

    /// Hands down what has been emitted. `false` if there is no room for all of it.
    #[inline]
    pub(in crate::operators) fn hand_down(&mut self, down: &mut impl Collector<O>) -> bool
    where
        O: Record,
    {
        while !self.records.is_empty() {
            if !down.ready() {
                return false;
            }
            if let Some((timestamp, record)) = self.records.pop_front() {
                down.push(timestamp, record);
            }
        }
        true
    }

    /// Emits `record` with the timestamp of the input record or timer (docs/src/semantics.md#t-4).
    #[inline]
    pub fn collect(&mut self, record: O) {
        self.records.push_back((self.timestamp, record));
    }

    /// Emits `record` with a timestamp of its own, in milliseconds.
    #[inline]
    pub fn collect_with_timestamp(&mut self, record: O, timestamp: i64) {
        self.records.push_back((timestamp, record));
    }
}

/// The operations of a function when it is opened.
pub struct OpenContext<'a, K> {
    pub(super) states: &'a mut States<K>,
    pub(super) subtask: usize,
    pub(super) parallelism: usize,
}

impl<K: Key> OpenContext<'_, K> {
    /// Registers one value per key, found again by `name`.
    pub fn value_state<V: Record>(&mut self, name: &str) -> ValueState<V> {
        self.states.register_value(name)
    }

    /// Registers a list of values per key, found again by `name`.
    pub fn list_state<V: Record>(&mut self, name: &str) -> ListState<V> {
        self.states.register_list(name)
    }

    /// Registers an ordered map per key, found again by `name`.
    pub fn map_state<MK: Key, MV: Record>(&mut self, name: &str) -> MapState<MK, MV> {
        self.states.register_map(name)
    }

    /// The number of this subtask, from 0.
    #[must_use]
    pub fn subtask(&self) -> usize {
        self.subtask
    }

    /// How many subtasks there are.
    #[must_use]
    pub fn parallelism(&self) -> usize {
        self.parallelism
    }
}

/// The operations of a function on the record, or the timer, in work: all of them concern the current key (docs/src/semantics.md#k-3).
pub struct Context<'a, K: Key> {
    pub(super) key: K::Ref<'a>,
    pub(super) hash: u64,
    pub(super) timestamp: i64,
    pub(super) watermark: Watermark,
    pub(super) processing_time: i64,
    /// The operator has more to emit; only operators of a user's own can say so.
    pub(in crate::operators) has_more: bool,
    pub(super) states: &'a mut States<K>,
    pub(super) timers: &'a mut Timers<K>,
    pub(super) sides: &'a mut SideOutputs,
}

impl<'a, K: Key> Context<'a, K> {
    /// The current key.
    #[inline]
    pub fn key(&self) -> K::Ref<'a> {
        self.key
    }

    /// The timestamp of the record or timer in milliseconds; `None` if nobody has given the record one.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp)
    }

    /// The operator's watermark: event time has come this far.
    #[must_use]
    pub fn current_watermark(&self) -> Watermark {
        self.watermark
    }

    /// The wall clock at the beginning of this slice of work, in milliseconds since 1970. In `on_timer` of a processing-time timer it is never below the
    /// time of the timer, even if the clock was set back meanwhile (docs/src/semantics.md#p-2).
    #[must_use]
    pub fn current_processing_time(&self) -> i64 {
        self.processing_time
    }

    /// Access to one value of this key. It borrows the context: copy or clone what is needed of it before the next call.
    #[inline]
    pub fn value<V: Record>(&mut self, state: ValueState<V>) -> ValueAccess<'_, 'a, K, V> {
        self.states.value(state, self.key, self.hash)
    }

    /// Access to a list of this key.
    #[inline]
    pub fn list<V: Record>(&mut self, state: ListState<V>) -> ListAccess<'_, 'a, K, V> {
        self.states.list(state, self.key, self.hash)
    }

    /// Access to a map of this key.
    #[inline]
    pub fn map<MK: Key, MV: Record>(&mut self, state: MapState<MK, MV>) -> MapAccess<'_, 'a, K, MK, MV> {
        self.states.map(state, self.key, self.hash)
    }

    /// Calls `on_timer` for this key when the watermark reaches `timestamp`; at once, after this call, if it has. Setting it twice sets it once.
    pub fn register_event_time_timer(&mut self, timestamp: i64) {
        self.timers.event_time.insert(timestamp, K::from_view(self.key));
    }

    /// Deletes such a timer.
    pub fn delete_event_time_timer(&mut self, timestamp: i64) {
        self.timers.event_time.remove(timestamp, K::from_view(self.key));
    }

    /// Calls `on_timer` for this key when the wall clock reaches `timestamp`. Timers that are not due when the input ends are dropped.
    pub fn register_processing_time_timer(&mut self, timestamp: i64) {
        self.timers.processing_time.insert(timestamp, K::from_view(self.key));
    }

    /// Deletes such a timer.
    pub fn delete_processing_time_timer(&mut self, timestamp: i64) {
        self.timers.processing_time.remove(timestamp, K::from_view(self.key));
    }

    /// Emits `record` to the side output `tag`, with the current timestamp. The record is dropped if nobody has taken that output
    /// (docs/src/semantics.md#p-4).
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, self.timestamp, record);
    }
}
