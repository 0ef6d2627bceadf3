//! The ends of tasks as a job describes them. Each becomes a sender when a subtask is built on its core (`sender.rs`).

use super::sender::{Broadcast, FrameSender, HashBy, Spread, Tee};
use crate::chain::Terminal;
use crate::graph_ids::{EdgeId, OperatorId};
use crate::record::{Key, Record};
use crate::subtask::context::SubtaskContext;
use std::marker::PhantomData;

/// Describes the end of a task before an edge; each subtask has a partition of its own.
#[derive(Clone)]
pub(crate) struct PartitionedEdge<P> {
    pub(crate) edge: EdgeId,
    pub(crate) partition: P,
}

impl<T: Record> Terminal<T> for PartitionedEdge<Spread> {
    type Collector = FrameSender<T, Spread>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        let partition = self.partition.starting_at(cx.subtask());
        FrameSender::new(cx.outputs(self.edge), partition)
    }
}

/// The key of a keyed edge, before it runs.
pub(crate) struct KeyedBy<K, F> {
    pub(crate) key: F,
    pub(crate) operator: OperatorId,
    pub(crate) types: PhantomData<fn() -> K>,
}

impl<K, F: Clone> Clone for KeyedBy<K, F> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), operator: self.operator, types: PhantomData }
    }
}

impl<T: Record, K: Key, F> Terminal<T> for PartitionedEdge<KeyedBy<K, F>>
where
    F: for<'a> FnMut(&'a T::Ref<'a>) -> K::Ref<'a> + Clone + Send + 'static,
{
    type Collector = FrameSender<T, HashBy<T, K, F>>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        let KeyedBy { key, operator, .. } = self.partition;
        let partition = HashBy::new(key, cx.key_groups(), cx.operator(operator));
        FrameSender::new(cx.outputs(self.edge), partition)
    }
}

/// Describes the end of a task before a broadcast edge.
#[derive(Clone)]
pub(crate) struct BroadcastEdge {
    pub(crate) edge: EdgeId,
}

impl<T: Record> Terminal<T> for BroadcastEdge {
    type Collector = Broadcast<T>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        Broadcast::new(cx.outputs(self.edge))
    }
}

/// Describes the end of a task from whose last operator several streams were taken.
#[derive(Clone)]
pub(crate) struct TeeEdges {
    pub(crate) operator: OperatorId,
}

impl<T: Record> Terminal<T> for TeeEdges {
    type Collector = Tee<T>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        let edges = cx.branches(self.operator);
        Tee::new(edges.into_iter().map(|edge| FrameSender::new(cx.outputs(edge), Spread::default().starting_at(cx.subtask()))).collect())
    }
}
