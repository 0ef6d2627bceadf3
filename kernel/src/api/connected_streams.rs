//! Two streams that one operator takes in, each with its own type of records.

use super::keyed_stream::KeyedStream;
use super::stream::DataStream;
use crate::graph::{ChainMeta, GraphBuilder};
use crate::graph_ids::EdgeId;
use crate::operators::{
    CoProcess, CoProcessFunction, Connected, KeyedCoProcess, KeyedCoProcessFunction, TwoInputFunction, TwoInputStreamOperator,
    TwoInputTransform, wanted_states,
};
use crate::record::{Key, Record, RecordLayout};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// The edges that lead into an operator with two inputs, by input.
pub(super) type TwoInputEdges = [Vec<EdgeId>; 2];

/// Two streams, of `A` and of `B`, that one operator takes in (Flink's `ConnectedStreams`). Made by [`DataStream::connect`].
#[must_use = "a stream that does not end in a sink is not run"]
pub struct ConnectedStreams<A, B> {
    graph: Rc<RefCell<GraphBuilder>>,
    edges: TwoInputEdges,
    records: PhantomData<fn(A, B)>,
}

impl<A: Record, B: Record> ConnectedStreams<A, B> {
    pub(super) fn new(graph: Rc<RefCell<GraphBuilder>>, edges: TwoInputEdges) -> Self {
        Self { graph, edges, records: PhantomData }
    }

    /// A function on the records of both streams, with side outputs. The order between records of the two is not defined; the watermark is the minimum of
    /// both.
    pub fn process<P>(self, function: P) -> DataStream<Connected<A, B, TwoInputTransform<CoProcess<P>>>>
    where
        P: CoProcessFunction<In1 = A, In2 = B>,
    {
        self.transform("co-process", CoProcess(function))
    }

    /// An operator of your own on the records of both streams, which sees watermarks and barriers, too.
    pub fn transform<P>(self, name: &str, operator: P) -> DataStream<Connected<A, B, TwoInputTransform<P>>>
    where
        P: TwoInputStreamOperator<In1 = A, In2 = B>,
    {
        let id = self.graph.borrow_mut().operator(name);
        let meta = ChainMeta::fed_by_two(self.edges, id);
        DataStream::new(self.graph, Connected::new(TwoInputTransform { operator, id }), meta)
    }
}

/// Two streams with one key type that feed one operator: all records of a key, from both, go to the same subtask. Made by [`KeyedStream::connect`].
#[must_use = "a stream that does not end in a sink is not run"]
pub struct KeyedConnectedStreams<A, B, K: Key, KF1, KF2> {
    graph: Rc<RefCell<GraphBuilder>>,
    edges: TwoInputEdges,
    keys: (KF1, KF2),
    key_layout: RecordLayout<K>,
    types: PhantomData<fn(A, B) -> K>,
}

impl<A, B, K, KF1, KF2> KeyedConnectedStreams<A, B, K, KF1, KF2>
where
    A: Record,
    B: Record,
    K: Key,
    KF1: for<'a> FnMut(&'a A::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    KF2: for<'a> FnMut(&'a B::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
{
    pub(super) fn new(graph: Rc<RefCell<GraphBuilder>>, edges: TwoInputEdges, keys: (KF1, KF2), key_layout: RecordLayout<K>) -> Self {
        Self { graph, edges, keys, key_layout, types: PhantomData }
    }

    /// A function on the records of both streams, with state and timers per key, and side outputs.
    pub fn process<P>(self, function: P) -> DataStream<Connected<A, B, KeyedCoProcess<KF1, KF2, P>>>
    where
        P: KeyedCoProcessFunction<Key = K, In1 = A, In2 = B>,
    {
        let id = self.graph.borrow_mut().stateful_operator("co-process", wanted_states(TwoInputFunction(function.clone())));
        self.graph.borrow_mut().operator_mut(id).layouts.give_key(self.key_layout);
        let meta = ChainMeta::fed_by_two(self.edges, id);
        DataStream::new(self.graph, Connected::new(KeyedCoProcess { keys: self.keys, function, id }), meta)
    }
}

impl<T, K, KF> KeyedStream<T, K, KF>
where
    T: Record,
    K: Key,
    KF: for<'a> FnMut(&'a T::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
{
    /// Connects both streams to one operator, which sees the records of a key from either.
    ///
    /// # Panics
    /// If the streams belong to different environments, or their keys have different [layouts](KeyedStream::with_key_layout).
    pub fn connect<U, KU>(self, other: KeyedStream<U, K, KU>) -> KeyedConnectedStreams<T, U, K, KF, KU>
    where
        U: Record,
        KU: for<'a> FnMut(&'a U::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    {
        let (graph, (first_key, key_layout), first) = self.into_parts();
        let (other_graph, (second_key, other_layout), second) = other.into_parts();
        assert!(Rc::ptr_eq(&graph, &other_graph), "streams of different environments cannot be connected");
        assert_eq!(key_layout.layout().text(), other_layout.layout().text(), "streams can be connected by keys of one layout");
        KeyedConnectedStreams::new(graph, [vec![first], vec![second]], (first_key, second_key), key_layout)
    }
}
