//! Streams with a key, and windows on them.

use super::stream::DataStream;
use crate::checkpoint::WantedStates;
use crate::graph::{ChainMeta, GraphBuilder};
use crate::graph_ids::{EdgeId, OperatorId};
use crate::operators::{
    Aggregate, AggregateFunction, EventTimeTrigger, KEYED_STATE, Keyed, KeyedProcessFunction, KeyedStreamOperator, OneInputFunction,
    OperatorFunction, OutputTag, Panes, Process, Reduce, ReduceWindow, Trigger, WINDOW_CONTENTS, WindowAssigner, WindowOperator,
    WindowSettings, WindowStore, keyed_states, wanted_states,
};
use crate::record::{Key, Record, RecordLayout};
use crate::time::TimeWindow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A stream of `T` partitioned by a key `K`: the operators that follow see one key at a time, and keep state per key.
#[must_use = "a stream that does not end in a sink is not run"]
pub struct KeyedStream<T, K: Key, KF> {
    graph: Rc<RefCell<GraphBuilder>>,
    key: KF,
    key_layout: RecordLayout<K>,
    edge: EdgeId,
    types: PhantomData<fn(T) -> K>,
}

impl<T, K, KF> KeyedStream<T, K, KF>
where
    T: Record,
    K: Key,
    KF: for<'a> FnMut(&'a T::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
{
    pub(crate) fn new(graph: Rc<RefCell<GraphBuilder>>, key: KF, edge: EdgeId) -> Self {
        Self { graph, key, key_layout: RecordLayout::default(), edge, types: PhantomData }
    }

    /// Sets the layout of the keys, where their type stands for several layouts: the state of the operators that follow is saved with it. Unless set it is
    /// the type's own. See [`DataStream::with_layout`].
    pub fn with_key_layout(self, layout: RecordLayout<K>) -> Self {
        Self { key_layout: layout, ..self }
    }

    /// The graph, the key with its layout, and the edge whose records are partitioned by the key.
    pub(crate) fn into_parts(self) -> (Rc<RefCell<GraphBuilder>>, (KF, RecordLayout<K>), EdgeId) {
        (self.graph, (self.key, self.key_layout), self.edge)
    }

    fn then<O>(self, name: &str, states: WantedStates, make: impl FnOnce(OperatorId, KF) -> O) -> DataStream<Keyed<T, O>>
    where
        Keyed<T, O>: crate::chain::Chain,
    {
        let id = self.graph.borrow_mut().stateful_operator(name, states);
        self.graph.borrow_mut().operator_mut(id).layouts.give_key(self.key_layout);
        let meta = ChainMeta { operators: vec![id], ..ChainMeta::fed_by(self.edge) };
        DataStream::new(self.graph, Keyed::new(make(id, self.key)), meta)
    }

    /// A function with state, timers and side outputs.
    pub fn process<P>(self, function: P) -> DataStream<Keyed<T, Process<KF, OneInputFunction<P>>>>
    where
        P: KeyedProcessFunction<Key = K, In = T>,
    {
        let function = OneInputFunction(function);
        self.then("process", wanted_states(function.clone()), |id, key| Process::new(key, function, id))
    }

    /// An operator of your own with state, timers and side outputs, which sees watermarks and barriers, too.
    pub fn transform<P>(self, name: &str, operator: P) -> DataStream<Keyed<T, Process<KF, OperatorFunction<P>>>>
    where
        P: KeyedStreamOperator<Key = K, In = T>,
    {
        let function = OperatorFunction(operator);
        self.then(name, wanted_states(function.clone()), |id, key| Process::new(key, function, id))
    }

    /// A running result per key: `function(result so far, record)`. The first record of a key is its first result; each record emits one.
    pub fn reduce<F>(self, function: F) -> DataStream<Keyed<T, Reduce<K, KF, F>>>
    where
        F: for<'a, 'b> FnMut(T::Ref<'a>, T::Ref<'b>) -> T + Clone + Send + 'static,
    {
        let record = self.graph.borrow().record_of(self.edge).clone();
        let reduced =
            self.then("reduce", keyed_states::<K, Option<T>>(KEYED_STATE), |id, key| Reduce { key, function, id, key_type: PhantomData });
        let layout = record.typed::<T>();
        reduced.with_state_layout(KEYED_STATE, layout.optional()).with_layout(layout)
    }

    /// A running aggregate per key; each record emits `result(key, aggregate so far)`.
    pub fn aggregate<A, RF, Out>(self, aggregate: A, result: RF) -> DataStream<Keyed<T, Aggregate<K, KF, A, RF>>>
    where
        Out: Record,
        A: AggregateFunction<T>,
        RF: for<'a> FnMut(K::Ref<'a>, A::Output) -> Out + Clone + Send + 'static,
    {
        self.then("aggregate", keyed_states::<K, A::Accumulator>(KEYED_STATE), |id, key| Aggregate {
            key,
            aggregate,
            result,
            id,
            key_type: PhantomData,
        })
    }

    /// Divides each key's records into windows of event time.
    pub fn window<W: WindowAssigner<T>>(self, assigner: W) -> WindowedStream<T, K, KF, W> {
        let settings = WindowSettings { key: self.key, assigner, allowed_lateness_ms: 0, late: None, key_type: PhantomData };
        WindowedStream { graph: self.graph, edge: self.edge, key_layout: self.key_layout, settings }
    }
}

/// Windows that are independent of each other and fire by event time.
type PanesOperator<T, K, KF, W, A, RF> =
    WindowOperator<T, K, KF, W, EventTimeTrigger, A, Panes<K, <A as AggregateFunction<T>>::Accumulator>, RF>;

/// A keyed stream divided into windows.
#[must_use = "a stream that does not end in a sink is not run"]
pub struct WindowedStream<T: Record, K: Key, KF, W> {
    graph: Rc<RefCell<GraphBuilder>>,
    edge: EdgeId,
    key_layout: RecordLayout<K>,
    settings: WindowSettings<T, K, KF, W>,
}

impl<T, K, KF, W> WindowedStream<T, K, KF, W>
where
    T: Record,
    K: Key,
    W: WindowAssigner<T>,
    KF: for<'a> FnMut(&'a T::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
{
    /// Keeps windows for `lateness` after they fired; a record that arrives meanwhile fires its window again (docs/src/semantics.md#l-3).
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.settings.allowed_lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Sends late records to `tag`, to be taken with [`DataStream::side_output`] from the windowed result. Without it they are dropped and counted.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        self.settings.late = Some(tag.clone());
        self
    }

    /// One aggregate per key and window; `result(key, window, aggregate)` makes the record that is emitted when the window fires, with the timestamp
    /// [`TimeWindow::max_timestamp`].
    pub fn aggregate<A, RF, Out>(self, aggregate: A, result: RF) -> DataStream<Keyed<T, PanesOperator<T, K, KF, W, A, RF>>>
    where
        Out: Record,
        A: AggregateFunction<T>,
        RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + Clone + Send + 'static,
    {
        self.aggregate_in(EventTimeTrigger, aggregate, result)
    }

    /// The same with a given trigger and store.
    pub(crate) fn aggregate_in<Tr, A, S, RF, Out>(
        self,
        trigger: Tr,
        aggregate: A,
        result: RF,
    ) -> DataStream<Keyed<T, WindowOperator<T, K, KF, W, Tr, A, S, RF>>>
    where
        Out: Record,
        Tr: Trigger,
        A: AggregateFunction<T>,
        S: WindowStore<K, Tr::Kept<A::Accumulator>>,
        RF: for<'a> FnMut(K::Ref<'a>, TimeWindow, A::Output) -> Out + Clone + Send + 'static,
    {
        let id = self.graph.borrow_mut().stateful_operator("window", keyed_states::<K, Tr::Kept<A::Accumulator>>(WINDOW_CONTENTS));
        self.graph.borrow_mut().operator_mut(id).layouts.give_key(self.key_layout);
        let meta = ChainMeta { operators: vec![id], ..ChainMeta::fed_by(self.edge) };
        let operator = WindowOperator { settings: self.settings, trigger, aggregate, result, id, store: PhantomData };
        DataStream::new(self.graph, Keyed::new(operator), meta)
    }

    /// Combines the records per key and window: `function(result so far, record)`. Where windows merge, `function` combines their results, too, and has to
    /// be associative.
    pub fn reduce<F>(
        self,
        function: F,
    ) -> DataStream<
        Keyed<T, PanesOperator<T, K, KF, W, ReduceWindow<F>, impl for<'a> FnMut(K::Ref<'a>, TimeWindow, T) -> T + Clone + Send + 'static>>,
    >
    where
        F: for<'a, 'b> Fn(T::Ref<'a>, T::Ref<'b>) -> T + Clone + Send + 'static,
    {
        let record = self.graph.borrow().record_of(self.edge).clone();
        let layout = record.typed::<T>();
        let reduced = self.aggregate(ReduceWindow { function }, |_key, _window, reduced| reduced);
        reduced.with_state_layout(WINDOW_CONTENTS, layout.optional()).with_layout(layout)
    }
}
