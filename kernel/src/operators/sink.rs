//! The end of a chain in a sink.

use crate::chain::{Collector, Resumed, Stage, Terminal};
use crate::checkpoint::{CheckpointId, PreparedEpoch, Snapshots};
use crate::error::FailureSlot;
use crate::error::JobError;
use crate::graph_ids::OperatorId;
use crate::metrics::{Counter, Samples};
use crate::record::{Archiver, Record};
use crate::sink::{Sink, SinkContext, SinkWriter};
use crate::subtask::clock::Now;
use crate::subtask::context::SubtaskContext;
use crate::subtask::operator_info::OperatorInfo;
use crate::time::Control;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{Io, IoError, MonotonicNs};

/// Describes the end of a chain in a sink.
#[derive(Clone)]
pub struct SinkTerminal<S> {
    pub(crate) sink: S,
    pub(crate) id: OperatorId,
}

impl<S: Sink> Terminal<S::In> for SinkTerminal<S> {
    type Collector = RunningSink<S::Writer>;

    fn connect(self, cx: &mut SubtaskContext) -> RunningSink<S::Writer> {
        let context = SinkContext {
            io: cx.io.clone(),
            subtask: cx.subtask(),
            parallelism: cx.name.parallelism,
            write_block_bytes: cx.settings().write_block_bytes,
            job: cx.job,
            owner: cx.owner,
            attempt: cx.attempt,
            epoch: cx.epoch,
        };
        cx.snapshots.has_sink.set(true);
        RunningSink {
            id: self.id,
            epoch: cx.epoch,
            sealed: VecDeque::new(),
            snapshots: Rc::clone(&cx.snapshots),
            archiver: Archiver::new(),
            io: cx.io.clone(),
            place: cx.name.to_string(),
            writer: self.sink.writer(context),
            info: cx.operator(self.id),
            failure: Rc::clone(&cx.failure),
            waits_for_room: false,
            // As in Flink; a sink that is a task of its own has a `numRecordsIn` as a task.
            records_sent: cx.counter(self.id, "numRecordsSend"),
        }
    }
}

/// A running sink.
pub struct RunningSink<W> {
    writer: W,
    id: OperatorId,
    /// The epoch of the records that are written now.
    epoch: CheckpointId,
    /// Epochs that have ended and are not prepared yet.
    sealed: VecDeque<CheckpointId>,
    snapshots: Rc<Snapshots>,
    archiver: Archiver,
    io: Io,
    place: String,
    info: Rc<OperatorInfo>,
    failure: Rc<FailureSlot>,
    waits_for_room: bool,
    records_sent: Counter,
}

impl<W: SinkWriter> RunningSink<W> {
    /// Notes a failure; the driver then ends the subtask with it.
    fn fail(&self, source: IoError) {
        let (operator, subtask) = (self.info.name.clone(), self.info.task.subtask);
        self.failure.set(JobError::Sink { operator, subtask, source });
    }

    /// Checks whether the writer waits for room; tells the task if that has changed.
    fn watch_room(&mut self) {
        let reason = self.writer.waits_for_room();
        if reason.is_some() != self.waits_for_room {
            self.waits_for_room = reason.is_some();
            let what = if self.waits_for_room { "sink.no-room" } else { "sink.goes-on" };
            self.io.observe(what, &self.place, [self.epoch.0 as i64, 0, 0]);
            self.snapshots.sink_waits(reason);
        }
    }

    /// Prepares the sealed epochs. Ready on progress: an epoch is prepared, or it failed.
    fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(&checkpoint) = self.sealed.front() else { return Poll::Pending };
        match std::task::ready!(self.writer.poll_prepare(cx)) {
            Ok(prepared) => {
                self.sealed.pop_front();
                self.io.observe("sink.prepared", &self.place, [checkpoint.0 as i64, i64::from(prepared.is_some()), 0]);
                match prepared.map(|transaction| self.archiver.to_bytes(&transaction)).transpose() {
                    Ok(transaction) => self.snapshots.prepared(PreparedEpoch { checkpoint, sink: self.id, transaction }),
                    Err(error) => self.info.fail(format!("the transaction of checkpoint {checkpoint} cannot be saved: {error}")),
                }
            }
            Err(source) => self.fail(source),
        }
        Poll::Ready(())
    }

    /// The records written so far belong to the epoch of `checkpoint`.
    fn seal(&mut self, checkpoint: CheckpointId) {
        self.writer.seal(checkpoint);
        self.sealed.push_back(checkpoint);
        self.epoch = checkpoint.next();
    }
}

impl<W: SinkWriter> Collector<W::In> for RunningSink<W> {
    #[inline]
    fn push(&mut self, timestamp: i64, record: W::In) {
        self.push_view(timestamp, record.view());
    }

    #[inline]
    fn push_view(&mut self, timestamp: i64, view: <W::In as Record>::Ref<'_>) {
        self.records_sent.add(1);
        let writer = &mut self.writer;
        self.info.call(view, || writer.write(timestamp, view));
    }
}

impl<W: SinkWriter> Stage for RunningSink<W> {
    fn control(&mut self, control: Control) {
        match control {
            Control::Barrier(checkpoint) => self.seal(checkpoint),
            Control::EndOfInput => self.seal(self.epoch),
            Control::Watermark(_) | Control::Idle | Control::Active | Control::SplitStarted(_) | Control::SplitFinished(_) => {}
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.writer.ready()
    }

    fn resume(&mut self) -> Resumed {
        if self.writer.ready() { Resumed::Done } else { Resumed::Blocked }
    }

    fn batch_end(&mut self) {}

    fn flush(&mut self) -> bool {
        true
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let prepared = self.poll_sealed(cx);
        let progress = self.writer.poll_progress(cx);
        self.watch_room();
        match progress {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(source)) => {
                self.fail(source);
                Poll::Ready(())
            }
            Poll::Pending => prepared,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // The writer's progress is polled when the chain has no room.
        let _ = self.poll_progress(cx);
    }

    fn advance_processing_time(&mut self, _now: Now) {}

    fn next_deadline(&self, _now: Now) -> Option<MonotonicNs> {
        None
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut polled = Poll::Ready(());
        while !self.sealed.is_empty() && !self.failure.is_set() && polled.is_ready() {
            polled = self.poll_sealed(cx);
        }
        self.watch_room();
        polled
    }

    fn save(&mut self) {}

    fn sample(&self, _samples: &mut Samples<'_>) {}

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.writer.poll_close(cx)
    }
}

/// A function as a sink. Its effects are immediate and cannot be taken back: after a failure it is called again for records since the latest checkpoint:
/// *at least once* (docs/src/semantics.md#o-5).
#[derive(Clone)]
pub struct ForEach<T, F> {
    function: F,
    record: std::marker::PhantomData<fn(T)>,
}

impl<T, F> ForEach<T, F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, record: std::marker::PhantomData }
    }
}

impl<T: Record, F> Sink for ForEach<T, F>
where
    F: for<'a> FnMut(T::Ref<'a>) + Clone + Send + 'static,
{
    type In = T;
    type Transaction = ();
    type Writer = Self;

    fn name(&self) -> &'static str {
        "for-each"
    }

    fn writer(&self, _context: SinkContext) -> Self {
        self.clone()
    }
}

impl<T: Record, F> SinkWriter for ForEach<T, F>
where
    F: for<'a> FnMut(T::Ref<'a>) + 'static,
{
    type In = T;
    type Transaction = ();

    #[inline]
    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        (self.function)(record);
    }

    fn seal(&mut self, _checkpoint: CheckpointId) {}

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<()>, IoError>> {
        Poll::Ready(Ok(None))
    }
}
