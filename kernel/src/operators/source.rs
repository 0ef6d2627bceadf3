//! The head of a chain in a source.

use super::output_tag::OutputTag;
use super::rate_limiter::RateLimiter;
use super::side_output::WithSides;
use crate::chain::{Chain, Collector, Stage};
use crate::checkpoint::{Attempt, CheckpointId};
use crate::error::FailureSlot;
use crate::error::JobError;
use crate::graph::Cut;
use crate::graph_ids::OperatorId;
use crate::messages::FromSubtask;
use crate::messages::ToCoordinator;
use crate::messages::ToSubtask;
use crate::metrics::{Counter, Samples};
use crate::record::{Archiver, Record, RecordLayout};
use crate::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use crate::subtask::chain_loop::ChainLoop;
use crate::subtask::clock::{Now, TaskClock};
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::{Step, Subtask};
use crate::subtask::operator_info::OperatorInfo;
use crate::subtask::slice::SliceBudget;
use crate::time::{Control, Watermark};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{Mailbox, MonotonicNs};

/// Describes a source.
#[derive(Clone)]
pub struct FromSource<S> {
    pub(crate) source: S,
    pub(crate) id: OperatorId,
    /// Records per second and subtask, if limited.
    pub(crate) rate: Option<u64>,
}

impl<S: Source> Chain for FromSource<S> {
    type Out = S::Out;
    type Detached = Self;

    fn fuse<D: Collector<S::Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        let with_sides = WithSides::new(cx, self.id, down);
        let chain = ChainLoop::new(cx, with_sides);
        let context = ReaderContext { io: cx.io.clone(), read_block_bytes: cx.settings().read_block_bytes };
        Box::new(SourceTask {
            split_layout: self.source.split_layout(),
            reader: self.source.reader(context),
            chain,
            state: State::Idle,
            id: self.id,
            subtask: cx.id,
            coordinator: cx.coordinator.clone(),
            attempt: cx.attempt,
            triggers: VecDeque::new(),
            stopped: false,
            draining: false,
            archiver: Archiver::new(),
            batch: cx.settings().source_batch_records,
            slice: Rc::clone(&cx.slice),
            limiter: self.rate.map(|rate| RateLimiter::new(rate, cx.clock.now().monotonic)),
            throttled: false,
            clock: cx.clock.clone(),
            info: cx.operator(self.id),
            failure: Rc::clone(&cx.failure),
            records_out: cx.counter(self.id, "numRecordsOut"),
            errors: cx.counter(self.id, "numRecordsInErrors"),
        })
    }

    fn detach(self, _cut: &mut Cut<'_>) -> Self {
        self
    }

    fn unchain(self, _cut: &mut Cut<'_>) -> Self {
        self
    }
}

/// The state of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has no split and has not asked for one.
    Idle,
    /// It has asked for a split.
    Requested,
    /// It has been given this split.
    Starting(u32),
    /// It reads this split.
    Reading(u32),
    /// It has read this split to its end.
    Finishing(u32),
    /// There are no more splits: the last watermark is to be sent.
    Ending,
    /// The end of input is to be sent.
    LastWatermark,
    /// Open frames are to be handed over.
    Ended,
}

impl State {
    /// A reader that has asked for a split gets none. A reader that was drained meanwhile no longer waits for one, and does not end twice.
    fn without_more_splits(self) -> Self {
        if self == Self::Requested { Self::Ending } else { self }
    }
}

/// A running source.
struct SourceTask<R: SourceReader<Split: Record>, D> {
    reader: R,
    split_layout: RecordLayout<R::Split>,
    chain: ChainLoop<WithSides<D>>,
    state: State,
    id: OperatorId,
    subtask: usize,
    coordinator: Mailbox<ToCoordinator>,
    attempt: Attempt,
    /// Checkpoints whose barriers are to be sent.
    triggers: VecDeque<(CheckpointId, bool)>,
    /// The job stops with the barrier that was sent last: nothing follows.
    stopped: bool,
    /// The input is to end where it is.
    draining: bool,
    archiver: Archiver,
    batch: usize,
    slice: Rc<SliceBudget>,
    limiter: Option<RateLimiter>,
    /// The task waits for the limiter, and for nothing else.
    throttled: bool,
    clock: TaskClock,
    info: Rc<OperatorInfo>,
    failure: Rc<FailureSlot>,
    records_out: Counter,
    errors: Counter,
}

/// Takes the records that a reader emits.
struct Emitter<'a, D> {
    chain: &'a mut WithSides<D>,
    emitted: u64,
    malformed: u64,
}

impl<T: Record, D: Collector<T>> ReaderOutput<T> for Emitter<'_, D> {
    #[inline]
    fn is_ready(&self) -> bool {
        self.chain.ready()
    }

    #[inline]
    fn collect(&mut self, record: T, timestamp: i64) {
        self.emitted += 1;
        self.chain.push(timestamp, record);
    }

    #[inline]
    fn collect_view(&mut self, view: T::Ref<'_>, timestamp: i64) {
        self.emitted += 1;
        Collector::<T>::push_view(self.chain, timestamp, view);
    }

    fn malformed<S: Record>(&mut self, tag: &OutputTag<S>, record: S) {
        self.malformed += 1;
        self.chain.sides.emit(tag, crate::time::NO_TIMESTAMP, record);
    }
}

impl<R: SourceReader<Split: Record>, D: Collector<R::Out>> SourceTask<R, D> {
    fn fail(&self, error: SourceError) {
        let (operator, subtask) = (self.info.name.clone(), self.info.task.subtask);
        self.failure.set(match error {
            SourceError::Invalid(reason) => JobError::invalid(reason),
            error => JobError::Source { operator, subtask, reason: error.to_string() },
        });
    }

    fn read(&mut self, cx: &mut Context<'_>, split: u32) -> Step {
        let mut limit = self.batch.min(self.slice.records());
        if let Some(limiter) = &mut self.limiter {
            limit = limit.min(limiter.allowed(self.clock.now().monotonic));
            self.throttled = limit == 0;
            if self.throttled {
                return self.chain.run_dry();
            }
        }
        let mut output = Emitter { chain: &mut self.chain.head, emitted: 0, malformed: 0 };
        let reader = &mut self.reader;
        let polled = self.info.call("(reading)", || reader.poll_next(cx, &mut output, limit));
        let (emitted, malformed) = (output.emitted, output.malformed);
        self.records_out.add(emitted);
        self.errors.add(malformed);
        if let Some(limiter) = &mut self.limiter {
            limiter.emitted(emitted);
        }
        self.chain.head.batch_end();
        match polled {
            Poll::Pending => self.chain.run_dry(),
            Poll::Ready(Err(error)) => {
                self.fail(error);
                Step::Waiting
            }
            Poll::Ready(Ok(ReaderStatus::MoreAvailable)) => {
                self.chain.count_batch();
                self.chain.flush_now_and_then();
                self.chain.head.drive(cx);
                Step::Busy
            }
            Poll::Ready(Ok(ReaderStatus::EndOfSplit)) => {
                self.state = State::Finishing(split);
                Step::Busy
            }
        }
    }

    /// Tells the chain of the split that it has been given. Only while the chain is ready.
    fn start_split(&mut self, split: u32) {
        self.chain.observe("split.start", [i64::from(split), 0, 0]);
        self.chain.head.control(Control::SplitStarted(split));
        self.state = State::Reading(split);
    }

    /// Sends the next barrier, between two batches, if one is wanted. Only while the chain is ready: everything emitted so far has passed it.
    fn begin_barrier(&mut self) -> bool {
        // Nothing follows the end of input: a checkpoint that is triggered after it finds this subtask finished.
        if self.state == State::Ended {
            return false;
        }
        let Some((checkpoint, stops)) = self.triggers.pop_front() else { return false };
        self.stopped |= stops;
        self.chain.begin_snapshot(checkpoint);
        // Where a split's position is saved, its generator is: nobody else has it, once the subtask that saves those of splits that wait has ended.
        if let State::Starting(split) = self.state {
            self.start_split(split);
            assert!(self.chain.head.ready(), "nothing comes before the first record of a split that could take room");
        }
        if let State::Reading(number) | State::Finishing(number) = self.state {
            let reader = &self.reader;
            let split = self.info.call("(taking a snapshot)", || reader.snapshot());
            match self.archiver.to_bytes(&split) {
                Ok(split) => self.chain.snapshots.split(number, split),
                Err(error) => self.fail(SourceError::Other(format!("the position in split {number} cannot be saved: {error}"))),
            }
        }
        self.chain.observe("checkpoint.barrier", [checkpoint.0 as i64, 0, 0]);
        self.chain.head.control(Control::Barrier(checkpoint));
        true
    }
}

impl<R: SourceReader<Split: Record>, D: Collector<R::Out>> Subtask for SourceTask<R, D> {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        if let Some(step) = self.chain.resume(cx) {
            return step;
        }
        self.chain.end_snapshot();
        if self.begin_barrier() {
            return Step::Busy;
        }
        if self.stopped && self.state != State::Ended {
            return self.chain.run_dry();
        }
        if self.draining && !matches!(self.state, State::Ending | State::LastWatermark | State::Ended) {
            self.state = State::Ending;
        }
        match self.state {
            State::Idle => {
                // The coordinator outlives its subtasks, so the message arrives.
                let message = FromSubtask::SplitRequested { source: self.id, subtask: self.subtask };
                drop(self.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
                self.state = State::Requested;
                self.chain.run_dry()
            }
            State::Requested => self.chain.run_dry(),
            State::Starting(split) => {
                self.start_split(split);
                Step::Busy
            }
            State::Reading(split) => self.read(cx, split),
            State::Finishing(split) => {
                // The split's last records and last watermark, released by the end of their batch, have gone before it: the chain is ready.
                self.chain.observe("split.end", [i64::from(split), 0, 0]);
                self.chain.head.control(Control::SplitFinished(split));
                self.state = State::Idle;
                Step::Busy
            }
            State::Ending => {
                self.state = State::LastWatermark;
                self.chain.head.control(Control::Watermark(Watermark::MAX));
                Step::Busy
            }
            State::LastWatermark => {
                self.state = State::Ended;
                self.chain.head.control(Control::EndOfInput);
                Step::Busy
            }
            State::Ended => self.chain.wind_up(),
        }
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The reader has registered its waker in the slice before.
        self.chain.head.poll_progress(cx)
    }

    fn advance_processing_time(&mut self, now: Now) {
        if self.chain.head.ready() && !matches!(self.state, State::LastWatermark | State::Ended) {
            self.chain.head.advance_processing_time(now);
        }
    }

    fn next_deadline(&self, now: Now) -> Option<MonotonicNs> {
        // Nothing can be done about a deadline while the chain has no room, or after its end: waiting for it would be spinning.
        if !self.chain.head.ready() || matches!(self.state, State::LastWatermark | State::Ended) {
            return None;
        }
        let limited = self
            .limiter
            .as_ref()
            .filter(|_| self.throttled && !self.stopped && matches!(self.state, State::Reading(_)))
            .map(RateLimiter::next);
        limited.into_iter().chain(self.chain.head.next_deadline(now)).min()
    }

    fn awaits_input(&self) -> bool {
        self.chain.head.ready()
    }

    fn receive(&mut self, message: ToSubtask) {
        match message {
            ToSubtask::Split { number, split } if self.state == State::Requested && !self.draining => {
                match self.split_layout.read_owned(&split) {
                    Ok(split) => self.reader.start(split),
                    Err(error) => self.fail(SourceError::Other(format!("split {number} cannot be read: {error}"))),
                }
                self.state = State::Starting(number);
            }
            ToSubtask::Trigger { checkpoint, stops } => self.triggers.push_back((checkpoint, stops)),
            // Drained meanwhile: a split that is not begun is not read.
            ToSubtask::Split { .. } | ToSubtask::Close => {}
            ToSubtask::NoMoreSplits => self.state = self.state.without_more_splits(),
            // The drain comes behind the barriers that were wanted before.
            ToSubtask::Drain => self.draining = true,
        }
    }

    fn sample(&self, samples: &mut Samples<'_>) {
        self.chain.head.sample(samples);
    }

    fn save(&mut self) {
        self.chain.head.save();
    }

    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.chain.head.poll_prepared(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.chain.head.poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the simulator (seed 367232813922): the answer to a request crossed a drain, and the last watermark was sent again, behind the end.
    #[test]
    fn the_end_of_the_splits_does_not_end_a_drained_reader_again() {
        assert_eq!(State::Requested.without_more_splits(), State::Ending);
        for state in [State::Ending, State::LastWatermark, State::Ended] {
            assert_eq!(state.without_more_splits(), state);
        }
    }
}
