//! The end of a chain in a sink.

use crate::chain::{Collector, Resumed, Stage, Terminal};
use crate::graph::OperatorId;
use crate::record::Record;
use crate::runtime::{Counter, FailureSlot, JobError, Now, OperatorInfo, SubtaskContext};
use crate::sink::{Sink, SinkContext, SinkWriter};
use crate::time::Control;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{IoError, MonotonicNs};

/// Describes the end of a chain in a sink.
#[derive(Clone)]
pub struct SinkTerminal<S> {
    pub(crate) sink: S,
    pub(crate) id: OperatorId,
}

impl<S: Sink> Terminal<S::In> for SinkTerminal<S> {
    type Collector = Running<S::Writer>;

    fn connect(self, cx: &mut SubtaskContext) -> Running<S::Writer> {
        let context = SinkContext {
            io: cx.io.clone(),
            subtask: cx.subtask(),
            parallelism: cx.name.parallelism,
            write_block_bytes: cx.settings().write_block_bytes,
        };
        Running {
            writer: self.sink.writer(context),
            info: cx.operator(self.id),
            failure: Rc::clone(&cx.failure),
            // As in Flink; a sink that is a task of its own has a `numRecordsIn` as a task.
            records_sent: cx.counter(self.id, "numRecordsSend"),
        }
    }
}

/// A running sink.
pub struct Running<W> {
    writer: W,
    info: Rc<OperatorInfo>,
    failure: Rc<FailureSlot>,
    records_sent: Counter,
}

impl<W: SinkWriter> Running<W> {
    /// Notes a failure, by which the driver ends the subtask.
    fn check(&self, polled: Poll<Result<(), IoError>>) -> Poll<()> {
        polled.map(|result| {
            if let Err(source) = result {
                let (operator, subtask) = (self.info.name.clone(), self.info.task.subtask);
                self.failure.set(JobError::Sink { operator, subtask, source });
            }
        })
    }
}

impl<W: SinkWriter> Collector<W::In> for Running<W> {
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

impl<W: SinkWriter> Stage for Running<W> {
    fn control(&mut self, _control: Control) {}

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
        let polled = self.writer.poll_progress(cx);
        self.check(polled)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // Whether it has come further is asked when the chain has no room.
        let _ = self.poll_progress(cx);
    }

    fn advance_processing_time(&mut self, _now: Now) {}

    fn next_deadline(&self, _now: Now) -> Option<MonotonicNs> {
        None
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.writer.poll_prepare(cx);
        self.check(polled)
    }

    fn poll_commit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.writer.poll_commit(cx);
        self.check(polled)
    }

    fn poll_abort(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.writer.poll_abort(cx);
        self.check(polled)
    }
}

/// A function as a sink.
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

    #[inline]
    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        (self.function)(record);
    }
}
