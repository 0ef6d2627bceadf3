//! Streams without a key.

use super::connected_streams::ConnectedStreams;
use super::keyed_stream::KeyedStream;
use crate::chain::{Boxed, Chain};
use crate::connectors::{CollectSink, Collected};
use crate::erasure::sink_plan;
use crate::exchange::{
    BroadcastEdge, ErasedOutputs, Exchanged, FrameSender, KeyedBy, PartitionedEdge, RecordType, SideSender, Spread, TeeEdges,
};
use crate::graph::{ChainMeta, Cut, GraphBuilder, Partitioning, SideEdge};
use crate::graph_ids::OperatorId;
use crate::operators::{
    AssignTimestamps, Filter, FlatMap, ForEach, Map, OneInputStreamOperator, OutputTag, SinkTerminal, Then, Transform, timestamp_states,
};
use crate::record::{Key, Record, RecordLayout};
use crate::sink::Sink;
use crate::watermark::{TimestampAssigner, WatermarkGenerator, WatermarkStrategy};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// A stream of records of type `C::Out`, described by the chain of operators that makes it.
///
/// Operators that are called one after the other are *chained*: they run as one loop in one task, with one parallelism, and cost no more than the same
/// code written by hand. A chain ends at [`key_by`](Self::key_by), [`rebalance`](Self::rebalance), [`broadcast`](Self::broadcast),
/// [`union`](Self::union), [`connect`](Self::connect), [`shared`](Self::shared) and at sinks; [`set_parallelism`](Self::set_parallelism), [`start_new_chain`](Self::start_new_chain)
/// and [`disable_chaining`](Self::disable_chaining) end it on request.
///
/// The type of a stream names its chain. Where two streams must have one type (the arms of an `if`, the turns of a loop), make both
/// [`boxed`](Self::boxed), or end their chains: [`disable_chaining`](Self::disable_chaining) makes both a `DataStream<Exchanged<T>>`.
///
/// User functions are given a *view* of the record: numbers by value, strings and lists by reference (see [`Record`]).
#[must_use = "a stream that does not end in a sink is not run"]
pub struct DataStream<C> {
    graph: Rc<RefCell<GraphBuilder>>,
    chain: C,
    meta: ChainMeta,
}

fn side_sender<T: Record>(outputs: ErasedOutputs) -> Box<dyn SideSender> {
    Box::new(FrameSender::<T, Spread>::new(outputs.typed(), Spread::default()))
}

impl<C: Chain> DataStream<C> {
    pub(crate) fn new(graph: Rc<RefCell<GraphBuilder>>, chain: C, meta: ChainMeta) -> Self {
        Self { graph, chain, meta }
    }

    /// Adds an operator made by `make` to the chain.
    fn then<O>(self, name: &str, make: impl FnOnce(OperatorId) -> O) -> DataStream<Then<C, O>> {
        let id = self.graph.borrow_mut().operator(name);
        self.then_operator(id, make)
    }

    fn then_operator<O>(mut self, id: OperatorId, make: impl FnOnce(OperatorId) -> O) -> DataStream<Then<C, O>> {
        self.meta.operators.push(id);
        DataStream { chain: Then { upstream: self.chain, operator: make(id) }, graph: self.graph, meta: self.meta }
    }

    /// The same for an operator that emits the records of the operator before it.
    fn then_same<O>(self, id: OperatorId, make: impl FnOnce(OperatorId) -> O) -> DataStream<Then<C, O>> {
        let mut graph = self.graph.borrow_mut();
        let output = graph.output_of::<C::Out>(&self.meta);
        graph.operator_mut(id).output = Some(output);
        drop(graph);
        self.then_operator(id, make)
    }

    /// Emits one record for each record.
    pub fn map<O, F>(self, function: F) -> DataStream<Then<C, Map<F, O>>>
    where
        O: Record,
        F: for<'a> FnMut(<C::Out as Record>::Ref<'a>) -> O + Clone + Send + 'static,
    {
        self.then("map", |id| Map { function, id, out: PhantomData })
    }

    /// Keeps the records for which `predicate` holds.
    pub fn filter<F>(self, predicate: F) -> DataStream<Then<C, Filter<F>>>
    where
        F: for<'a> FnMut(<C::Out as Record>::Ref<'a>) -> bool + Clone + Send + 'static,
    {
        let id = self.graph.borrow_mut().operator("filter");
        self.then_same(id, |id| Filter { predicate, id })
    }

    /// Emits any number of records for each record: those that the returned iterator yields. The iterator is pulled while there is room downstream and
    /// suspended in between, so it may be long; it cannot borrow from the record.
    pub fn flat_map<I, F>(self, function: F) -> DataStream<Then<C, FlatMap<F, I>>>
    where
        I: IntoIterator<Item: Record> + 'static,
        F: for<'a> FnMut(<C::Out as Record>::Ref<'a>) -> I + Clone + Send + 'static,
    {
        self.then("flat-map", |id| FlatMap { function, id, iterator: PhantomData })
    }

    /// An operator of your own, for what a function cannot do: it may hold records, sees watermarks and barriers before they are forwarded, and can take
    /// many records at once. See [`OneInputStreamOperator`].
    pub fn transform<P>(self, name: &str, operator: P) -> DataStream<Then<C, Transform<P>>>
    where
        P: OneInputStreamOperator<In = C::Out>,
    {
        self.then(name, |id| Transform { operator, id })
    }

    /// Assigns event times to the records and watermarks to the stream, in place of any it had before.
    ///
    /// In the chain of a source there is one generator per split, and the watermark is the minimum over the splits being read (docs/src/semantics.md#w-2).
    pub fn assign_timestamps_and_watermarks<G, A>(
        self,
        strategy: WatermarkStrategy<C::Out, G, A>,
    ) -> DataStream<Then<C, AssignTimestamps<C::Out, G, A>>>
    where
        G: WatermarkGenerator<C::Out>,
        A: TimestampAssigner<C::Out>,
    {
        let id = self.graph.borrow_mut().stateful_operator("timestamps", timestamp_states());
        self.then_same(id, |id| AssignTimestamps { strategy, id })
    }

    /// Partitions the stream: all records of a key go to the same subtask, in the order in which their sender emitted them.
    ///
    /// `K`, the owned type of the key, has to be written; `key` returns its view, so that no key is built per record:
    /// `.key_by::<String>(|flight| flight.carrier)`. A key that has to be computed as an owned value (a lower-cased name) is computed in a
    /// [`map`](Self::map) before.
    pub fn key_by<K: Key>(
        mut self,
        key: impl for<'a> FnMut(&'a <C::Out as Record>::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
    ) -> KeyedStream<C::Out, K, impl for<'a> FnMut(&'a <C::Out as Record>::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static> {
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator("key-by");
        self.meta.terminal = Some(operator);
        let record = graph.output_of::<C::Out>(&self.meta);
        let edge = graph.edge(Partitioning::Hash, record);
        let partition = KeyedBy { key: key.clone(), operator, types: PhantomData::<fn() -> K> };
        graph.end(self.meta, self.chain, PartitionedEdge { edge, partition }, &[edge]);
        drop(graph);
        KeyedStream::new(self.graph, key, edge)
    }

    fn exchange(self, partitioning: Partitioning) -> DataStream<Exchanged<C::Out>> {
        let mut graph = self.graph.borrow_mut();
        let record = graph.output_of::<C::Out>(&self.meta);
        let edge = graph.edge(partitioning, record);
        graph.end(self.meta, self.chain, PartitionedEdge { edge, partition: Spread::default() }, &[edge]);
        drop(graph);
        DataStream { graph: self.graph, chain: Exchanged::new(), meta: ChainMeta::fed_by(edge) }
    }

    /// The stream as the input of a later task: unchanged if no operator has been put on it since its last exchange.
    fn into_inputs(self) -> DataStream<Exchanged<C::Out>> {
        if self.meta.operators.is_empty() && self.meta.parallelism.is_none() {
            return DataStream { graph: self.graph, chain: Exchanged::new(), meta: self.meta };
        }
        self.exchange(Partitioning::Forward)
    }

    /// The same stream in a type that does not name its operators: the arms of an `if` and the turns of a loop then have one type, where an option or a
    /// query decides the shape of the job.
    ///
    /// It has all methods of the original stream and runs in the same task. It costs one dynamic call per run of records, of up to a frame, and makes
    /// records that were views owned.
    ///
    /// ```
    /// # extern crate thalweg_kernel as thalweg;
    /// use thalweg::StreamExecutionEnvironment;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamExecutionEnvironment::new();
    /// let mut numbers = env.from_collection(vec![1i64, 2, 3]).boxed();
    /// for step in ["double", "only above 3", "double"] {
    ///     numbers = match step {
    ///         "double" => numbers.map(|n| 2 * n).boxed(),
    ///         _ => numbers.filter(|n| n > 3).boxed(),
    ///     };
    /// }
    /// let collected = numbers.collect();
    /// env.execute("steps", 1)?.wait()?;
    /// assert_eq!(collected.take(), [8, 12]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn boxed(self) -> DataStream<Boxed<C::Out>> {
        DataStream { graph: self.graph, chain: Boxed::new(self.chain), meta: self.meta }
    }

    /// Deals the records out evenly over the subtasks that follow.
    pub fn rebalance(self) -> DataStream<Exchanged<C::Out>> {
        self.exchange(Partitioning::Rebalance)
    }

    /// Sends every record to every subtask that follows.
    pub fn broadcast(self) -> DataStream<Exchanged<C::Out>> {
        let mut graph = self.graph.borrow_mut();
        let record = graph.output_of::<C::Out>(&self.meta);
        let edge = graph.edge(Partitioning::Broadcast, record);
        graph.end(self.meta, self.chain, BroadcastEdge { edge }, &[edge]);
        drop(graph);
        DataStream { graph: self.graph, chain: Exchanged::new(), meta: ChainMeta::fed_by(edge) }
    }

    /// Both streams as one, in no particular order between them. The watermark is the minimum of the two.
    ///
    /// # Panics
    /// If the streams belong to different environments, or their records have different [layouts](Self::with_layout).
    pub fn union<D: Chain<Out = C::Out>>(self, other: DataStream<D>) -> DataStream<Exchanged<C::Out>> {
        assert!(Rc::ptr_eq(&self.graph, &other.graph), "streams of different environments cannot be joined");
        let (mut left, right) = (self.into_inputs(), other.into_inputs());
        let [of_left, of_right] = [&left.meta, &right.meta].map(|meta| left.graph.borrow().output_of::<C::Out>(meta).layout);
        assert_eq!(of_left.text(), of_right.text(), "streams can be united if their records have one layout");
        assert_eq!((left.meta.inputs.len(), right.meta.inputs.len()), (1, 1), "what begins with an exchange has one input");
        for (edges, others) in left.meta.inputs.iter_mut().zip(right.meta.inputs) {
            edges.extend(others);
        }
        left
    }

    /// Connects both streams to one operator, each with its own type of records, in no particular order between them (docs/src/semantics.md#p-5). The
    /// watermark is the minimum of the two. Both chains end here: an exchange lies before the operator. For an operator with state and timers,
    /// [key](Self::key_by) both streams first.
    ///
    /// # Panics
    /// If the streams belong to different environments.
    pub fn connect<D: Chain>(self, other: DataStream<D>) -> ConnectedStreams<C::Out, D::Out> {
        assert!(Rc::ptr_eq(&self.graph, &other.graph), "streams of different environments cannot be connected");
        let (first, second) = (self.into_inputs(), other.into_inputs());
        let edges = [first.meta, second.meta].map(|meta| meta.inputs.into_iter().flatten().collect());
        ConnectedStreams::new(first.graph, edges)
    }

    /// Lets several streams branch off here: each call of [`SharedStream::stream`] gives one of them, with all the records.
    pub fn shared(self) -> SharedStream<C::Out> {
        let mut graph = self.graph.borrow_mut();
        let mut meta = self.meta;
        let operator = graph.operator("shared");
        meta.terminal = Some(operator);
        let record = graph.output_of::<C::Out>(&meta);
        graph.end(meta, self.chain, TeeEdges { operator }, &[]);
        drop(graph);
        SharedStream { graph: self.graph, operator, record, records: PhantomData }
    }

    /// The records that the last operator emits to `tag`.
    ///
    /// # Panics
    /// If the stream has no operator since its last exchange.
    pub fn side_output<T: Record>(&self, tag: &OutputTag<T>) -> DataStream<Exchanged<T>> {
        let operator = self.last_operator("side_output");
        let mut graph = self.graph.borrow_mut();
        let edge = graph.edge_from(operator, RecordType::with(tag.layout()));
        graph.operator_mut(operator).side_outputs.push(SideEdge { tag: tag.name().to_owned(), edge, sender: side_sender::<T> });
        drop(graph);
        DataStream { graph: Rc::clone(&self.graph), chain: Exchanged::new(), meta: ChainMeta::fed_by(edge) }
    }

    fn last_operator(&self, call: &str) -> OperatorId {
        let last = self.meta.last();
        last.unwrap_or_else(|| {
            panic!("{call}() is about the last operator, and there is none since the last exchange: call it right behind one")
        })
    }

    /// Names the last operator; the name appears in metrics, errors and logs. Unless set it is the operator's kind: `map`, `map-2`.
    ///
    /// # Panics
    /// If the stream has no operator since its last exchange.
    pub fn name(self, name: &str) -> Self {
        let operator = self.last_operator("name");
        self.graph.borrow_mut().rename(operator, name);
        self
    }

    /// Gives the last operator an identity that outlasts changes of the job: its state is found by it after a restore.
    ///
    /// # Panics
    /// If the stream has no operator since its last exchange.
    pub fn uid(self, uid: &str) -> Self {
        let operator = self.last_operator("uid");
        uid.clone_into(&mut self.graph.borrow_mut().operator_mut(operator).uid);
        self
    }

    /// Sets the layout of the last operator's records, where their type stands for several layouts: a row whose columns are known only when the job runs,
    /// say. Edges behind the operator carry that layout, and so do operators that pass the records on (`filter`, `assign_timestamps_and_watermarks`, a
    /// `reduce`). Unless set it is the type's own.
    ///
    /// The layout is part of the job's identity: processes that give different layouts do not work together, and neither reads state that the other has
    /// saved.
    ///
    /// ```
    /// # extern crate thalweg_kernel as thalweg;
    /// use thalweg::StreamExecutionEnvironment;
    /// use thalweg::record::{Layout, RecordLayout};
    ///
    /// let columns = ["id", "amount"];
    /// let text = format!("row{{{}}}", columns.map(|column| format!("{column}:i64,")).concat());
    /// let row = RecordLayout::<Vec<i64>>::given(Layout::described(&text))
    ///     .with_check(move |row| if row.len() == columns.len() { Ok(()) } else { Err(format!("a row of {} columns", row.len())) });
    ///
    /// let env = StreamExecutionEnvironment::new();
    /// let rows = env.from_collection(vec![vec![1, 20], vec![2, 35]]).with_layout(row);
    /// rows.rebalance().for_each(|row| assert_eq!(row.len(), 2));
    /// assert_eq!(env.build("rows")?.plan().edges[0].layout, "row{id:i64,amount:i64,}");
    /// # Ok::<(), thalweg::JobError>(())
    /// ```
    ///
    /// # Panics
    /// If the stream has no operator since its last exchange.
    pub fn with_layout(self, layout: RecordLayout<C::Out>) -> Self {
        let operator = self.last_operator("with_layout");
        self.graph.borrow_mut().operator_mut(operator).output = Some(RecordType::with(layout));
        self
    }

    /// Sets the layout of the state `name` of the last operator, per key, where its type `V` stands for several layouts. For list state `V` is a `Vec` of
    /// the values, for map state the type of its values. A `reduce` keeps its result as `value`, a window as `window-contents`, and both take it from the
    /// stream's own [layout](Self::with_layout).
    ///
    /// The job is refused when it starts if the operator has no such state, or one of another type.
    ///
    /// # Panics
    /// If the stream has no operator since its last exchange.
    pub fn with_state_layout<V: Record>(self, name: &str, layout: RecordLayout<V>) -> Self {
        let operator = self.last_operator("with_state_layout");
        self.graph.borrow_mut().operator_mut(operator).layouts.give_value(name, layout);
        self
    }

    /// The parallelism of the last operator and of the operators chained to it from here on. Starts a new chain if there are operators above it.
    pub fn set_parallelism(self, parallelism: usize) -> DataStream<C::Detached> {
        let mut detached = self.start_new_chain();
        detached.meta.parallelism = Some(parallelism);
        detached
    }

    /// Makes the operators above the last one a task of their own.
    pub fn start_new_chain(mut self) -> DataStream<C::Detached> {
        let chain = self.chain.detach(&mut Cut { graph: &mut self.graph.borrow_mut(), meta: &mut self.meta });
        DataStream { graph: self.graph, chain, meta: self.meta }
    }

    /// Makes the last operator a task of its own.
    pub fn disable_chaining(self) -> DataStream<Exchanged<C::Out>> {
        let detached = self.start_new_chain();
        let parallelism = detached.meta.parallelism;
        let mut next = detached.exchange(Partitioning::Forward);
        next.meta.parallelism = parallelism;
        next
    }

    /// Ends the stream in a sink, which can be given a name and an identity.
    pub fn sink<S: Sink<In = C::Out>>(mut self, sink: S) -> DataStreamSink {
        let mut graph = self.graph.borrow_mut();
        let id = graph.operator(sink.name());
        self.meta.terminal = Some(id);
        graph.add_sink(sink_plan(id, &sink));
        graph.end(self.meta, self.chain, SinkTerminal { sink, id }, &[]);
        drop(graph);
        DataStreamSink { graph: self.graph, operator: id }
    }

    /// Ends the stream in a function. Each subtask calls a clone of it.
    pub fn for_each<F>(self, function: F) -> DataStreamSink
    where
        F: for<'a> FnMut(<C::Out as Record>::Ref<'a>) + Clone + Send + 'static,
    {
        self.sink(ForEach::<C::Out, F>::new(function))
    }

    /// Ends the stream in memory: the records can be taken when the job has finished.
    pub fn collect(self) -> Collected<C::Out> {
        let (sink, collected) = CollectSink::new();
        self.sink(sink);
        collected
    }
}

/// The sink at the end of a stream (Flink's `DataStreamSink`).
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::StreamExecutionEnvironment;
///
/// let env = StreamExecutionEnvironment::new();
/// env.from_collection(vec![1, 2, 3]).for_each(|n: i32| println!("{n}")).name("printer").uid("printer");
/// ```
pub struct DataStreamSink {
    graph: Rc<RefCell<GraphBuilder>>,
    operator: OperatorId,
}

impl DataStreamSink {
    /// Names the sink; the name appears in metrics, errors and logs.
    pub fn name(self, name: &str) -> Self {
        self.graph.borrow_mut().rename(self.operator, name);
        self
    }

    /// Gives the sink an identity that outlasts changes of the job: its prepared results that are not visible yet are found by it after a restore. Unless
    /// set it depends on the operators that were added before the sink.
    pub fn uid(self, uid: &str) -> Self {
        uid.clone_into(&mut self.graph.borrow_mut().operator_mut(self.operator).uid);
        self
    }
}

/// A stream that several others branch off from.
pub struct SharedStream<T> {
    graph: Rc<RefCell<GraphBuilder>>,
    operator: OperatorId,
    record: RecordType,
    records: PhantomData<fn() -> T>,
}

impl<T: Record> SharedStream<T> {
    /// One more stream with all the records.
    pub fn stream(&self) -> DataStream<Exchanged<T>> {
        let mut graph = self.graph.borrow_mut();
        let edge = graph.edge_from(self.operator, self.record.clone());
        graph.operator_mut(self.operator).branches.push(edge);
        drop(graph);
        DataStream { graph: Rc::clone(&self.graph), chain: Exchanged::new(), meta: ChainMeta::fed_by(edge) }
    }
}
