//! Which channel a record takes: the ends of a task.

use super::output::Outputs;
use crate::chain::{Collector, Resumed, Stage, Terminal};
use crate::ids::{EdgeId, OperatorId};
use crate::metrics::Counter;
use crate::record::{Key, Record};
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::Control;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;
use thalweg_record::KeyGroups;

/// Records of which only a view was there, and that were made owned to be handed on. Zero where an exchange leads straight into keyed state.
const RECORDS_REBUILT: &str = "numRecordsRebuilt";

/// Chooses the channel of a record.
pub trait Partition<T: Record>: 'static {
    /// The channel, below `channels`, and the hash of the key on a keyed edge.
    fn route(&mut self, record: &T, channels: usize) -> (usize, Option<u64>);
}

/// One channel after the other: forward where there is but one, rebalance where there are several.
#[derive(Clone, Default)]
pub struct Spread {
    next: usize,
}

impl Spread {
    /// Different senders begin with different receivers, lest short streams all end at the first.
    fn starting_at(self, subtask: usize) -> Self {
        Self { next: subtask }
    }
}

impl<T: Record> Partition<T> for Spread {
    #[inline]
    fn route(&mut self, _record: &T, channels: usize) -> (usize, Option<u64>) {
        let target = if self.next < channels { self.next } else { self.next % channels };
        self.next = if target + 1 >= channels { 0 } else { target + 1 };
        (target, None)
    }
}

/// The subtask that owns the key group of the record's key (docs/src/semantics.md#k-1).
pub(crate) struct HashBy<T, K, F> {
    key: F,
    key_groups: KeyGroups,
    info: Rc<OperatorInfo>,
    types: PhantomData<fn(T) -> K>,
}

impl<T: Record, K: Key, F> Partition<T> for HashBy<T, K, F>
where
    F: for<'a> FnMut(&'a T::Ref<'a>) -> K::Ref<'a> + 'static,
{
    #[inline]
    fn route(&mut self, record: &T, channels: usize) -> (usize, Option<u64>) {
        let key = &mut self.key;
        let view = record.view();
        let hash = self.info.call(view, || K::hash(key(&view)));
        (self.key_groups.subtask_of_hash(hash, channels), Some(hash))
    }
}

/// The end of a task whose records go to one channel each.
pub struct FrameSender<T, P> {
    outputs: Outputs<T>,
    partition: P,
    rebuilt: Counter,
}

impl<T: Record, P: Partition<T>> FrameSender<T, P> {
    /// The sender into `edge`.
    pub(crate) fn new(cx: &mut SubtaskContext, edge: EdgeId, partition: P) -> Self {
        Self { outputs: cx.outputs(edge), partition, rebuilt: cx.task_counter(RECORDS_REBUILT) }
    }
}

/// The parts of [`Stage`] that every end of a task with a field `outputs` shares.
macro_rules! end_of_task {
    () => {
        fn control(&mut self, control: Control) {
            self.outputs.control(control);
        }
        #[inline]
        fn ready(&self) -> bool {
            self.outputs.ready()
        }
        fn resume(&mut self) -> Resumed {
            if self.outputs.unblock() { Resumed::Done } else { Resumed::Blocked }
        }
        fn batch_end(&mut self) {}
        fn flush(&mut self) -> bool {
            self.outputs.flush()
        }
        fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.outputs.poll_progress(cx)
        }
        fn drive(&mut self, _cx: &mut Context<'_>) {}
        fn advance_processing_time(&mut self, _now: Now) {}
        fn next_deadline(&self, _now: Now) -> Option<MonotonicNs> {
            None
        }
        fn poll_prepared(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
        fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    };
}

impl<T: Record, P: Partition<T>> Collector<T> for FrameSender<T, P> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: T) {
        let channels = self.outputs.len();
        if channels > 0 {
            let (target, hash) = self.partition.route(&record, channels);
            self.outputs.push(target, hash, timestamp, record);
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>) {
        self.rebuilt.add(1);
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record, P: Partition<T>> Stage for FrameSender<T, P> {
    end_of_task!();
}

/// The end of a task whose records all go to every channel, each as a copy of its own.
pub struct Broadcast<T> {
    outputs: Outputs<T>,
    rebuilt: Counter,
}

impl<T: Record> Collector<T> for Broadcast<T> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: T) {
        if let Some(last) = self.outputs.len().checked_sub(1) {
            for target in 0..last {
                self.outputs.push(target, None, timestamp, record.clone());
            }
            self.outputs.push(last, None, timestamp, record);
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>) {
        self.rebuilt.add(1);
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record> Stage for Broadcast<T> {
    end_of_task!();
}

/// The end of a task that several streams go on from: every record goes into each of them, as a copy of its own.
pub struct Tee<T> {
    senders: Vec<FrameSender<T, Spread>>,
}

impl<T: Record> Collector<T> for Tee<T> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: T) {
        if let Some((last, others)) = self.senders.split_last_mut() {
            for sender in others {
                sender.push(timestamp, record.clone());
            }
            last.push(timestamp, record);
        }
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>) {
        self.senders.iter().take(1).for_each(|sender| sender.rebuilt.add(1));
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record> Stage for Tee<T> {
    fn control(&mut self, control: Control) {
        self.senders.iter_mut().for_each(|sender| sender.control(control));
    }

    #[inline]
    fn ready(&self) -> bool {
        self.senders.iter().all(Stage::ready)
    }

    fn resume(&mut self) -> Resumed {
        // Every sender gets its try, also behind one that stays blocked.
        let mut blocked = false;
        for sender in &mut self.senders {
            blocked |= !sender.outputs.unblock();
        }
        if blocked { Resumed::Blocked } else { Resumed::Done }
    }

    fn batch_end(&mut self) {}

    fn flush(&mut self) -> bool {
        let mut held = false;
        for sender in &mut self.senders {
            held |= !sender.flush();
        }
        !held
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut movable = false;
        for sender in &mut self.senders {
            movable |= sender.poll_progress(cx).is_ready();
        }
        if movable { Poll::Ready(()) } else { Poll::Pending }
    }

    fn drive(&mut self, _cx: &mut Context<'_>) {}

    fn advance_processing_time(&mut self, _now: Now) {}

    fn next_deadline(&self, _now: Now) -> Option<MonotonicNs> {
        None
    }

    fn poll_prepared(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Describes the end of a task before an edge with a partition of its own a subtask.
#[derive(Clone)]
pub(crate) struct PartitionedEdge<P> {
    pub(crate) edge: EdgeId,
    pub(crate) partition: P,
}

impl<T: Record> Terminal<T> for PartitionedEdge<Spread> {
    type Collector = FrameSender<T, Spread>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        let partition = self.partition.starting_at(cx.subtask());
        FrameSender::new(cx, self.edge, partition)
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
        let partition = HashBy { key, key_groups: cx.key_groups(), info: cx.operator(operator), types: PhantomData };
        FrameSender::new(cx, self.edge, partition)
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
        Broadcast { outputs: cx.outputs(self.edge), rebuilt: cx.task_counter(RECORDS_REBUILT) }
    }
}

/// Describes the end of a task that several streams go on from: those that were taken from its last operator.
#[derive(Clone)]
pub(crate) struct TeeEdges {
    pub(crate) operator: OperatorId,
}

impl<T: Record> Terminal<T> for TeeEdges {
    type Collector = Tee<T>;

    fn connect(self, cx: &mut SubtaskContext) -> Self::Collector {
        let edges = cx.branches(self.operator);
        Tee { senders: edges.into_iter().map(|edge| FrameSender::new(cx, edge, Spread::default().starting_at(cx.subtask()))).collect() }
    }
}
