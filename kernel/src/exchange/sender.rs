//! Which channel a record takes: the ends of a task, as they run. `ends.rs` describes them.

use super::output::Outputs;
use crate::chain::{Collector, Resumed, Stage};
use crate::metrics::Samples;
use crate::record::{Key, Record};
use crate::subtask::clock::Now;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::Control;
use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;
use thalweg_record::KeyGroups;

/// Chooses the channel of a record.
pub trait Partition<T: Record>: 'static {
    /// The channel, below `channels`, and the hash of the key on a keyed edge.
    fn route(&mut self, record: &T, channels: usize) -> (usize, Option<u64>);
}

/// One channel after the other: forward with a single channel, rebalance with several.
#[derive(Clone, Default)]
pub struct Spread {
    next: usize,
}

impl Spread {
    /// Senders begin with different receivers, so that short streams do not all end at the first.
    pub(super) fn starting_at(self, subtask: usize) -> Self {
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

impl<T, K, F> HashBy<T, K, F> {
    pub(super) fn new(key: F, key_groups: KeyGroups, info: Rc<OperatorInfo>) -> Self {
        Self { key, key_groups, info, types: PhantomData }
    }
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

/// The end of a task that sends each record to one channel.
pub struct FrameSender<T, P> {
    outputs: Outputs<T>,
    partition: P,
}

impl<T: Record, P: Partition<T>> FrameSender<T, P> {
    /// A sender into the channels of an edge.
    pub(crate) fn new(outputs: Outputs<T>, partition: P) -> Self {
        Self { outputs, partition }
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
        fn save(&mut self) {}
        fn sample(&self, _samples: &mut Samples<'_>) {}
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
        self.outputs.rebuilt();
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record, P: Partition<T>> Stage for FrameSender<T, P> {
    end_of_task!();
}

/// The sending end of one side output, without its type.
pub(crate) trait SideSender: Stage {
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Record> SideSender for FrameSender<T, Spread> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// The end of a task that sends every record to every channel, each time as a copy.
pub struct Broadcast<T> {
    outputs: Outputs<T>,
}

impl<T> Broadcast<T> {
    pub(super) fn new(outputs: Outputs<T>) -> Self {
        Self { outputs }
    }
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
        self.outputs.rebuilt();
        self.push(timestamp, T::from_view(view));
    }
}

impl<T: Record> Stage for Broadcast<T> {
    end_of_task!();
}

/// The end of a task that several streams branch off from: every record goes into each of them, each time as a copy.
pub struct Tee<T> {
    senders: Vec<FrameSender<T, Spread>>,
}

impl<T> Tee<T> {
    pub(super) fn new(senders: Vec<FrameSender<T, Spread>>) -> Self {
        Self { senders }
    }
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
        self.senders.iter().take(1).for_each(|sender| sender.outputs.rebuilt());
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
        // Every sender is tried, also behind one that stays blocked.
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

    fn save(&mut self) {}

    fn sample(&self, _samples: &mut Samples<'_>) {}

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
