//! `process` on a keyed stream: a user's function with state, timers and side outputs.

use super::keyed::KeyedOperator;
use super::side_output::{OutputTag, WithSides};
use crate::chain::{Collector, Resumed, Stage, pass_on};
use crate::exchange::Head;
use crate::graph::OperatorId;
use crate::record::{Key, Record};
use crate::runtime::{Now, OperatorInfo, SubtaskContext, TaskClock};
use crate::time::{Control, NO_TIMESTAMP, Watermark};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use thalweg_io::MonotonicNs;
use thalweg_storage::{HotTable, KeyedStates, StateId, TimerQueue};

/// A function on the records of one key at a time, with state and timers of that key (Flink's `KeyedProcessFunction`).
///
/// Each subtask works on a clone. State and timers survive between calls; fields of the function do not belong to a key.
///
/// ```
/// use thalweg::{Context, KeyedProcessFunction, OpenContext, Output, Timer, ValueState};
///
/// /// Emits how often a word was seen, ten seconds after it was seen first.
/// #[derive(Clone, Default)]
/// struct CountThenReport { count: ValueState<u64> }
///
/// impl KeyedProcessFunction for CountThenReport {
///     type Key = String;
///     type In = String;
///     type Out = (String, u64);
///
///     fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
///         self.count = ctx.value_state("count");
///     }
///
///     fn process_element(&mut self, _word: &str, ctx: &mut Context<'_, String>, _out: &mut Output<(String, u64)>) {
///         let first = ctx.value(self.count).get().is_none();
///         *ctx.value(self.count).get_or_insert_with(|| 0) += 1;
///         if first && let Some(timestamp) = ctx.timestamp() {
///             ctx.register_event_time_timer(timestamp + 10_000);
///         }
///     }
///
///     fn on_timer(&mut self, _timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<(String, u64)>) {
///         let count = ctx.value(self.count).take().unwrap_or(0);
///         out.collect((ctx.key().to_owned(), count));
///     }
/// }
/// ```
pub trait KeyedProcessFunction: Clone + Send + 'static {
    /// The type of the key.
    type Key: Key;
    /// What comes in.
    type In: Record;
    /// What goes out.
    type Out: Record;

    /// Called once a subtask, before anything else: the place to register state.
    fn open(&mut self, _ctx: &mut OpenContext<'_, Self::Key>) {}

    /// Called for every record.
    fn process_element(&mut self, value: <Self::In as Record>::Ref<'_>, ctx: &mut Context<'_, Self::Key>, out: &mut Output<Self::Out>);

    /// Called for every timer that comes due.
    fn on_timer(&mut self, _timer: Timer, _ctx: &mut Context<'_, Self::Key>, _out: &mut Output<Self::Out>) {}
}

/// Which clock a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerDomain {
    /// The watermark (docs/src/semantics.md#p-1).
    EventTime,
    /// The wall clock (docs/src/semantics.md#p-2).
    ProcessingTime,
}

/// A timer that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time it was set to, in milliseconds.
    pub timestamp: i64,
    /// The clock it went by.
    pub domain: TimerDomain,
}

/// Takes what a function emits. What one call emits is held until there is room downstream: a call that emits without bound needs memory without bound.
pub struct Output<O> {
    records: VecDeque<(i64, O)>,
    timestamp: i64,
}

impl<O> Output<O> {
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

/// The handle of a state that was registered in `open`; the default belongs to no state.
macro_rules! state_handle {
    ($(#[$doc:meta])* $name:ident<$($p:ident),+>) => {
        $(#[$doc])*
        pub struct $name<$($p),+> {
            index: Option<usize>,
            value: PhantomData<fn() -> ($($p,)+)>,
        }
        impl<$($p),+> Clone for $name<$($p),+> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<$($p),+> Copy for $name<$($p),+> {}
        impl<$($p),+> Default for $name<$($p),+> {
            fn default() -> Self {
                Self { index: None, value: PhantomData }
            }
        }
    };
}

state_handle! {
    /// One value a key.
    ValueState<V>
}
state_handle! {
    /// A list of values a key.
    ListState<V>
}
state_handle! {
    /// An ordered map a key.
    MapState<MK, MV>
}

type ValueTable<K, V> = HotTable<K, V>;
type ListTable<K, V> = HotTable<K, Vec<V>>;
type MapTable<K, MK, MV> = HotTable<K, BTreeMap<MK, MV>>;

/// The ids of registered states by handle. Handles are `Send` and travel with the function; ids are typed and stay here.
struct States<K> {
    store: KeyedStates<K>,
    ids: Vec<Box<dyn std::any::Any>>,
}

impl<K: 'static> States<K> {
    fn register<V: 'static>(&mut self, name: &str) -> usize {
        match self.store.register::<V>(name) {
            Ok(id) => {
                self.ids.push(Box::new(id));
                self.ids.len() - 1
            }
            Err(error) => panic!("state {} was registered as {} before and is {} now", error.name, error.before, error.now),
        }
    }

    #[inline]
    fn table<V: 'static>(&mut self, index: Option<usize>) -> &mut HotTable<K, V> {
        let id = index.and_then(|index| self.ids.get(index)?.downcast_ref::<StateId<HotTable<K, V>>>()).copied();
        let table = id.and_then(|id| self.store.table(id));
        table.expect("a state is used that was not registered: call ctx.value_state(..), list_state(..) or map_state(..) in open()")
    }
}

/// What a function can do when it is opened.
pub struct OpenContext<'a, K> {
    states: &'a mut States<K>,
    subtask: usize,
    parallelism: usize,
}

impl<K: Key> OpenContext<'_, K> {
    /// Registers one value a key, found again by `name`.
    pub fn value_state<V: Record>(&mut self, name: &str) -> ValueState<V> {
        ValueState { index: Some(self.states.register::<V>(name)), value: PhantomData }
    }

    /// Registers a list of values a key, found again by `name`.
    pub fn list_state<V: Record>(&mut self, name: &str) -> ListState<V> {
        ListState { index: Some(self.states.register::<Vec<V>>(name)), value: PhantomData }
    }

    /// Registers an ordered map a key, found again by `name`.
    pub fn map_state<MK: Key, MV: Record>(&mut self, name: &str) -> MapState<MK, MV> {
        MapState { index: Some(self.states.register::<BTreeMap<MK, MV>>(name)), value: PhantomData }
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

/// What a function can do with the record, or the timer, in work: all of it concerns the current key (docs/src/semantics.md#k-3).
pub struct Context<'a, K: Key> {
    key: K::Ref<'a>,
    hash: u64,
    timestamp: i64,
    watermark: Watermark,
    now: Now,
    states: &'a mut States<K>,
    timers: &'a mut Timers<K>,
    sides: &'a mut super::SideOutputs,
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

    /// The wall clock at the beginning of this slice of work, in milliseconds since 1970.
    #[must_use]
    pub fn current_processing_time(&self) -> i64 {
        self.now.wall.0
    }

    /// Access to one value of this key.
    #[inline]
    pub fn value<V: Record>(&mut self, state: ValueState<V>) -> ValueAccess<'_, 'a, K, V> {
        ValueAccess { table: self.states.table(state.index), key: self.key, hash: self.hash }
    }

    /// Access to a list of this key.
    #[inline]
    pub fn list<V: Record>(&mut self, state: ListState<V>) -> ListAccess<'_, 'a, K, V> {
        ListAccess { table: self.states.table(state.index), key: self.key, hash: self.hash }
    }

    /// Access to a map of this key.
    #[inline]
    pub fn map<MK: Key, MV: Record>(&mut self, state: MapState<MK, MV>) -> MapAccess<'_, 'a, K, MK, MV> {
        MapAccess { table: self.states.table(state.index), key: self.key, hash: self.hash }
    }

    /// Calls `on_timer` for this key when the watermark reaches `timestamp`; at once, after this call, if it has. Setting it twice sets it once.
    pub fn register_event_time_timer(&mut self, timestamp: i64) {
        self.timers.event_time.insert(timestamp, K::from_view(self.key));
    }

    /// Takes such a timer back.
    pub fn delete_event_time_timer(&mut self, timestamp: i64) {
        self.timers.event_time.remove(timestamp, K::from_view(self.key));
    }

    /// Calls `on_timer` for this key when the wall clock reaches `timestamp`. Timers that are not due when the input ends are dropped.
    pub fn register_processing_time_timer(&mut self, timestamp: i64) {
        self.timers.processing_time.insert(timestamp, K::from_view(self.key));
    }

    /// Takes such a timer back.
    pub fn delete_processing_time_timer(&mut self, timestamp: i64) {
        self.timers.processing_time.remove(timestamp, K::from_view(self.key));
    }

    /// Emits `record` to the side output `tag`, with the current timestamp. It goes nowhere if nobody has taken that output
    /// (docs/src/semantics.md#p-4).
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, self.timestamp, record);
    }
}

/// One value of the current key.
pub struct ValueAccess<'s, 'k, K: Key, V> {
    table: &'s mut ValueTable<K, V>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, K: Key, V: Record> ValueAccess<'s, '_, K, V> {
    /// The value, if there is one.
    #[inline]
    pub fn get(self) -> Option<&'s V> {
        let key = self.key;
        self.table.get(self.hash, |stored| stored.matches(key))
    }

    /// The value, to be changed, made by `make` if there is none.
    #[inline]
    pub fn get_or_insert_with(self, make: impl FnOnce() -> V) -> &'s mut V {
        let key = self.key;
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), make()))
    }

    /// Replaces the value.
    #[inline]
    pub fn set(self, value: V) {
        let key = self.key;
        match self.table.get_mut(self.hash, |stored| stored.matches(key)) {
            Some(old) => *old = value,
            None => {
                self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), value));
            }
        }
    }

    /// Removes the value and returns it.
    pub fn take(self) -> Option<V> {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key))
    }

    /// Removes the value.
    pub fn clear(self) {
        self.take();
    }
}

/// The list of the current key.
pub struct ListAccess<'s, 'k, K: Key, V> {
    table: &'s mut ListTable<K, V>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, K: Key, V: Record> ListAccess<'s, '_, K, V> {
    /// The values in the order in which they were added.
    pub fn get(self) -> &'s [V] {
        let key = self.key;
        self.table.get(self.hash, |stored| stored.matches(key)).map_or(&[], Vec::as_slice)
    }

    /// Adds a value at the end.
    pub fn add(self, value: V) {
        let key = self.key;
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), Vec::new())).push(value);
    }

    /// Replaces the list.
    pub fn update(self, values: Vec<V>) {
        let key = self.key;
        *self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), || (K::from_view(key), Vec::new())) = values;
    }

    /// Removes the list and returns it.
    pub fn take(self) -> Vec<V> {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key)).unwrap_or_default()
    }

    /// Removes the list.
    pub fn clear(self) {
        self.take();
    }
}

/// The map of the current key.
pub struct MapAccess<'s, 'k, K: Key, MK, MV> {
    table: &'s mut MapTable<K, MK, MV>,
    key: K::Ref<'k>,
    hash: u64,
}

impl<'s, K: Key, MK: Key, MV: Record> MapAccess<'s, '_, K, MK, MV> {
    fn whole(self) -> Option<&'s mut BTreeMap<MK, MV>> {
        let key = self.key;
        self.table.get_mut(self.hash, |stored| stored.matches(key))
    }

    /// The value under `map_key`.
    pub fn get(self, map_key: &MK) -> Option<&'s MV> {
        self.whole()?.get(map_key)
    }

    /// Puts `value` under `map_key` and returns what was there.
    pub fn put(self, map_key: MK, value: MV) -> Option<MV> {
        let key = self.key;
        let make = || (K::from_view(key), BTreeMap::new());
        self.table.get_or_insert_with(self.hash, |stored| stored.matches(key), make).insert(map_key, value)
    }

    /// Removes what is under `map_key` and returns it.
    pub fn remove(self, map_key: &MK) -> Option<MV> {
        self.whole()?.remove(map_key)
    }

    /// The entries in the order of their keys.
    pub fn iter(self) -> impl Iterator<Item = (&'s MK, &'s MV)> {
        self.whole().into_iter().flat_map(|map| map.iter())
    }

    /// Number of entries.
    pub fn len(self) -> usize {
        self.whole().map_or(0, |map| map.len())
    }

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Removes the map.
    pub fn clear(self) {
        let key = self.key;
        self.table.remove(self.hash, |stored| stored.matches(key));
    }
}

/// The timers of one operator in one subtask.
struct Timers<K> {
    event_time: TimerQueue<K>,
    processing_time: TimerQueue<K>,
}

/// Describes a keyed process.
#[derive(Clone)]
pub struct Process<KF, P> {
    pub(crate) key: KF,
    pub(crate) function: P,
    pub(crate) id: OperatorId,
}

impl<KF, P> KeyedOperator<P::In> for Process<KF, P>
where
    P: KeyedProcessFunction,
    KF: for<'a> FnMut(&'a <P::In as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + Clone + Send + 'static,
{
    type Out = P::Out;
    type Running<D: Collector<P::Out>> = Running<KF, P, D>;

    fn start<D: Collector<P::Out>>(self, cx: &mut SubtaskContext, down: D) -> Running<KF, P, D> {
        let mut function = self.function;
        let mut states = States { store: KeyedStates::default(), ids: Vec::new() };
        let info = cx.operator(self.id);
        let mut open = OpenContext { states: &mut states, subtask: cx.subtask(), parallelism: cx.name.parallelism };
        info.call("(open)", || function.open(&mut open));
        Running {
            key: self.key,
            function,
            states,
            timers: Timers { event_time: TimerQueue::default(), processing_time: TimerQueue::default() },
            watermark: Watermark::MIN,
            advancing: None,
            processing_time: None,
            output: Output { records: VecDeque::new(), timestamp: NO_TIMESTAMP },
            slice: cx.settings().slice_timers,
            clock: cx.clock.clone(),
            info,
            down: WithSides::new(cx, self.id, down),
        }
    }
}

/// A running keyed process.
pub struct Running<KF, P: KeyedProcessFunction, D> {
    key: KF,
    function: P,
    states: States<P::Key>,
    timers: Timers<P::Key>,
    watermark: Watermark,
    /// The watermark whose timers are being fired: it goes down the chain after the last of them.
    advancing: Option<Watermark>,
    /// The wall-clock time up to which processing-time timers are being fired.
    processing_time: Option<i64>,
    /// With what the last call emitted and the output had no room for.
    output: Output<P::Out>,
    slice: usize,
    clock: TaskClock,
    info: Rc<OperatorInfo>,
    down: WithSides<D>,
}

impl<KF, P: KeyedProcessFunction, D: Collector<P::Out>> Running<KF, P, D> {
    /// Hands down what the last call emitted. `false` if there is no room for all of it.
    #[inline]
    fn hand_down(&mut self) -> bool {
        while !self.output.records.is_empty() {
            if !self.down.ready() {
                return false;
            }
            if let Some((timestamp, record)) = self.output.records.pop_front() {
                self.down.push(timestamp, record);
            }
        }
        true
    }

    fn fire(&mut self, timestamp: i64, key: &P::Key, domain: TimerDomain) {
        let timer = Timer { timestamp, domain };
        let Self { function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let view = key.view();
        let (watermark, now) = (self.watermark, self.clock.now());
        info.call((timer, view), || {
            let hash = P::Key::hash(view);
            let mut cx = Context { key: view, hash, timestamp, watermark, now, states, timers, sides: &mut down.sides };
            function.on_timer(timer, &mut cx, output);
        });
    }

    /// Fires due timers until there are none, the output is full, or a slice is over (docs/src/semantics.md#p-3, #w-6).
    fn fire_due(&mut self) -> Resumed {
        for _ in 0..self.slice {
            if !self.hand_down() || !self.down.ready() {
                return Resumed::Again;
            }
            if let Some(watermark) = self.advancing {
                match self.timers.event_time.pop_due(watermark.0) {
                    Some((timestamp, key)) => self.fire(timestamp, &key, TimerDomain::EventTime),
                    None => {
                        self.advancing = None;
                        self.down.control(Control::Watermark(watermark));
                    }
                }
            } else if let Some(now) = self.processing_time {
                match self.timers.processing_time.pop_due(now) {
                    Some((timestamp, key)) => self.fire(timestamp, &key, TimerDomain::ProcessingTime),
                    None => self.processing_time = None,
                }
            } else if self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0) {
                // Set for a time that event time has passed already (docs/src/semantics.md#p-1).
                if let Some((timestamp, key)) = self.timers.event_time.pop_due(self.watermark.0) {
                    self.fire(timestamp, &key, TimerDomain::EventTime);
                }
            } else {
                return Resumed::Done;
            }
        }
        Resumed::Again
    }

    fn is_suspended(&self) -> bool {
        !self.output.records.is_empty()
            || self.advancing.is_some()
            || self.processing_time.is_some()
            || self.timers.event_time.next_time().is_some_and(|time| time <= self.watermark.0)
    }
}

impl<KF, P, D> Head<P::In> for Running<KF, P, D>
where
    P: KeyedProcessFunction,
    KF: for<'a> FnMut(&'a <P::In as Record>::Ref<'a>) -> <P::Key as Record>::Ref<'a> + 'static,
    D: Collector<P::Out>,
{
    #[inline]
    fn take(&mut self, hash: u64, timestamp: i64, record: P::In) {
        let Self { key, function, states, timers, output, info, down, .. } = self;
        output.timestamp = timestamp;
        let (watermark, now) = (self.watermark, self.clock.now());
        let view = record.view();
        info.call(view, || {
            let mut cx = Context { key: key(&view), hash, timestamp, watermark, now, states, timers, sides: &mut down.sides };
            function.process_element(view, &mut cx, output);
        });
        self.hand_down();
    }
}

impl<KF: 'static, P: KeyedProcessFunction, D: Collector<P::Out>> Stage for Running<KF, P, D> {
    fn control(&mut self, control: Control) {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = watermark;
                self.advancing = Some(watermark);
                self.fire_due();
            }
            control => self.down.control(control),
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        !self.is_suspended() && self.down.ready()
    }

    fn resume(&mut self) -> Resumed {
        match self.down.resume() {
            Resumed::Done => self.fire_due(),
            other => other,
        }
    }

    fn advance_processing_time(&mut self, now: Now) {
        // docs/src/semantics.md#p-2: after the last watermark only the end of input follows.
        let ended = self.watermark == Watermark::MAX;
        if !ended && self.timers.processing_time.next_time().is_some_and(|time| time <= now.wall.0) {
            self.processing_time = Some(now.wall.0);
            self.fire_due();
        }
        if self.down.ready() {
            self.down.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        let pending = self.timers.processing_time.next_time().filter(|_| self.watermark < Watermark::MAX);
        let timer = pending.map(|time| now.deadline_of(thalweg_io::UnixMillis(time)));
        timer.into_iter().chain(self.down.next_deadline(now)).min()
    }

    pass_on!(batch_end flush poll_progress finish);
}
