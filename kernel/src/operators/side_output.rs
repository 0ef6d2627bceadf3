//! Side outputs: streams that leave an operator beside its main one.

use super::output_tag::OutputTag;
use crate::chain::{Collector, Resumed, Stage};
use crate::exchange::{FrameSender, SideSender, Spread};
use crate::graph_ids::OperatorId;
use crate::metrics::Samples;
use crate::record::Record;
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::time::Control;
use std::task::{Context, Poll};
use thalweg_io::MonotonicNs;

/// The side outputs of one operator in one subtask. Records on them are rare: each costs a lookup of its tag.
pub(crate) struct SideOutputs {
    senders: Vec<(String, Box<dyn SideSender>)>,
    /// One of them has no room. Kept here so that asking costs no dynamic call per record.
    blocked: bool,
}

impl SideOutputs {
    pub(crate) fn connect(cx: &mut SubtaskContext, operator: OperatorId) -> Self {
        let edges = cx.operators[operator.0].side_outputs.clone();
        Self { senders: edges.into_iter().map(|side| (side.tag, (side.sender)(cx.erased_outputs(side.edge)))).collect(), blocked: false }
    }

    /// Sends a record to the outputs that were taken under `tag`. `false` if there is none: the record is dropped.
    pub(crate) fn emit<T: Record>(&mut self, tag: &OutputTag<T>, timestamp: i64, record: T) -> bool {
        let mut taken = false;
        for (_, sender) in self.senders.iter_mut().filter(|(name, _)| name == tag.name()) {
            let Some(sender) = sender.as_any_mut().downcast_mut::<FrameSender<T, Spread>>() else {
                panic!("side output {} is taken as one type and emitted as another", tag.name());
            };
            sender.push(timestamp, record.clone());
            self.blocked |= !sender.ready();
            taken = true;
        }
        taken
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn SideSender>> {
        self.senders.iter_mut().map(|(_, sender)| sender)
    }
}

/// A collector with the side outputs of the operator above it, which share its controls, room and end.
pub(crate) struct WithSides<D> {
    pub(crate) down: D,
    pub(crate) sides: SideOutputs,
}

impl<D> WithSides<D> {
    pub(crate) fn new(cx: &mut SubtaskContext, operator: OperatorId, down: D) -> Self {
        Self { sides: SideOutputs::connect(cx, operator), down }
    }
}

impl<T: Record, D: Collector<T>> Collector<T> for WithSides<D> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: T) {
        self.down.push(timestamp, record);
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: T::Ref<'_>) {
        self.down.push_view(timestamp, view);
    }
}

impl<D: Stage> Stage for WithSides<D> {
    fn control(&mut self, control: Control) {
        self.sides.each().for_each(|side| side.control(control));
        self.down.control(control);
    }

    #[inline]
    fn ready(&self) -> bool {
        self.down.ready() && !self.sides.blocked
    }

    fn resume(&mut self) -> Resumed {
        // Every side output is tried, also behind one that stays blocked.
        let mut blocked = false;
        for side in self.sides.each() {
            blocked |= side.resume() == Resumed::Blocked;
        }
        self.sides.blocked = blocked;
        match self.down.resume() {
            Resumed::Done if blocked => Resumed::Blocked,
            resumed => resumed,
        }
    }

    fn batch_end(&mut self) {
        self.down.batch_end();
    }

    fn flush(&mut self) -> bool {
        let mut held = !self.down.flush();
        for side in self.sides.each() {
            held |= !side.flush();
        }
        !held
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut movable = self.down.poll_progress(cx).is_ready();
        for side in self.sides.each() {
            movable |= side.poll_progress(cx).is_ready();
        }
        if movable { Poll::Ready(()) } else { Poll::Pending }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.down.drive(cx);
    }

    fn advance_processing_time(&mut self, now: Now) {
        self.down.advance_processing_time(now);
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        self.down.next_deadline(now)
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.down.poll_prepared(cx)
    }

    fn save(&mut self) {
        self.down.save();
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        self.down.sample(samples);
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.down.poll_close(cx)
    }
}
