//! The loop that drives one subtask.
//!
//! A subtask works in synchronous slices ([`Subtask::step`]) and says why it stopped; the driver saves a slice of what a barrier has sealed
//! ([`Subtask::save`]), lets the core's other tasks run, spins a little, parks, and wakes up for frames, room, split assignments, deadlines or a message of the coordinator. It also catches panics: a panic in a user's function
//! fails the attempt with the operator's name and the record.

use crate::error::{FailureSlot, JobError};
use crate::graph_ids::SubtaskId;
use crate::messages::{FromSubtask, ToSubtask};
use crate::metrics::{MetricRegistry, Subject};
use crate::subtask::acknowledge::Acknowledger;
use crate::subtask::busy_time::{Doing, Load, TaskSampler};
use crate::subtask::clock::TaskClock;
use crate::subtask::driven::{Step, Subtask};
use crate::subtask::panics::panic_text;
use crate::subtask::slice::SliceBudget;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{AdaptiveSpin, Io, LocalBoxFuture, MailboxReceiver, MonotonicNs, yield_now};

/// The goal that a subtask is being driven towards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The input has ended: snapshots and results are being made durable.
    Preparing,
    /// Everything is prepared, or lost; the coordinator decides.
    Waiting,
    Closing,
}

/// The driver of a subtask, with everything that it needs.
pub(crate) struct Driver {
    pub(crate) id: SubtaskId,
    pub(crate) name: String,
    pub(crate) io: Io,
    pub(crate) failure: Rc<FailureSlot>,
    pub(crate) clock: TaskClock,
    pub(crate) budget: Rc<SliceBudget>,
    pub(crate) metrics: Rc<MetricRegistry>,
    /// Metrics of the core's links, if there are any.
    pub(crate) of_links: Option<Rc<MetricRegistry>>,
    pub(crate) operators: String,
    /// The uid of the task's first operator.
    pub(crate) task_uid: String,
    pub(crate) blocked_outputs: Rc<Cell<usize>>,
    pub(crate) acknowledger: Acknowledger,
    pub(crate) inbox: MailboxReceiver<ToSubtask>,
    /// How long the latest slice has saved sealed state: that is no part of the work on records, by which slices are measured.
    pub(crate) saved_for: Duration,
}

impl Driver {
    /// Drives `task` until the attempt is over and it has come to rest, and reports that it has ended.
    pub(crate) async fn drive(mut self, task: Box<dyn Subtask>) {
        let task = Rc::new(RefCell::new(task));
        let load = Rc::new(Load::new(self.io.clock().now()));
        let durations = Rc::clone(self.acknowledger.durations());
        let (io, task_of_sampler) = (self.io.clone(), Rc::downgrade(&task));
        let sampler = TaskSampler { io, load: Rc::clone(&load), durations: Rc::clone(&durations), task: task_of_sampler };
        self.metrics.ask(Subject::task(&self.operators, &self.task_uid), Rc::new(sampler));
        self.io.observe("subtask.start", &self.name, [self.id as i64, 0, 0]);
        let mut spin = AdaptiveSpin::new(self.io.spin_limit());
        let mut phase = Phase::Running;
        let mut pending_message = None;
        let mut parked_until: Option<(MonotonicNs, LocalBoxFuture<()>)> = None;
        loop {
            self.clock.advance(&self.io);
            load.begins(self.clock.now().monotonic);
            let taken = self.take_messages(&mut task.borrow_mut(), pending_message.take(), phase);
            let polled = match taken {
                Ok(next) => {
                    phase = next;
                    poll_fn(|cx| Poll::Ready(self.slice(&mut task.borrow_mut(), phase, cx))).await
                }
                Err(error) => Err(error),
            };
            match polled {
                Ok(Slice::Busy) => {
                    load.is(Doing::Busy);
                    let elapsed = self.elapsed();
                    durations.slice(elapsed);
                    self.budget.took(elapsed.saturating_sub(self.saved_for));
                    spin.found();
                    yield_now().await;
                    continue;
                }
                Ok(Slice::Saving) => {
                    load.is(Doing::Busy);
                    durations.slice(self.elapsed());
                    yield_now().await;
                    continue;
                }
                Ok(Slice::Next(next)) => {
                    phase = next;
                    continue;
                }
                Ok(Slice::Ended) => break,
                Ok(Slice::Park) => {
                    load.is(self.waits_for(&**task.borrow(), phase));
                    durations.last_slice(self.elapsed());
                }
                Err(error) => {
                    if phase == Phase::Closing {
                        tracing::warn!(subtask = %self.name, %error, "closing after a failure failed too");
                        break;
                    }
                    self.acknowledger.report(FromSubtask::Failed { subtask: Some(self.id), error });
                    self.failure.take();
                    phase = Phase::Closing;
                    continue;
                }
            }
            if spin.missed() {
                yield_now().await;
                continue;
            }
            let now = self.clock.now();
            let deadline = if phase == Phase::Running { task.borrow().next_deadline(now) } else { None };
            if parked_until.as_ref().map(|(at, _)| *at) != deadline {
                parked_until = deadline.map(|at| (at, self.io.clock().sleep_until(at)));
            }
            let mut message = None;
            let mut registered = false;
            poll_fn(|cx| {
                if let Poll::Ready(received) = self.inbox.poll_recv(cx) {
                    // A coordinator that is gone has no use for results.
                    message = Some(received.unwrap_or(ToSubtask::Close));
                    return Poll::Ready(());
                }
                // When the task is polled again, the event it registered for, here or in the slice before, has happened.
                if std::mem::replace(&mut registered, true) {
                    return Poll::Ready(());
                }
                if let Some((_, sleep)) = &mut parked_until
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    parked_until = None;
                    return Poll::Ready(());
                }
                if phase != Phase::Running {
                    return Poll::Pending;
                }
                // A panic here shows again, and is reported, in the slice that follows.
                catch_unwind(AssertUnwindSafe(|| task.borrow_mut().poll_park(cx))).unwrap_or_else(|payload| {
                    self.failure.set(self.describe_panic(&*payload));
                    Poll::Ready(())
                })
            })
            .await;
            if let Some(message) = message {
                pending_message = Some(message);
            } else {
                // The park may have been over before it began: the core's other tasks have their turn all the same.
                yield_now().await;
            }
        }
        // While the task is there to be asked. Links end with the last subtask of their core: each subtask reports their metrics.
        let metrics = self.of_links.iter().chain([&self.metrics]).flat_map(|registry| registry.snapshot()).collect();
        // Fields of user functions may panic when they are dropped. The outcome is decided, so the panic is not reported.
        if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
            tracing::warn!(subtask = %self.name, "a user function panicked while it was dropped");
        }
        self.acknowledger.report(FromSubtask::Ended { subtask: self.id, metrics });
    }

    /// The time since the slice began.
    fn elapsed(&self) -> Duration {
        self.io.clock().now().since(self.clock.now().monotonic)
    }

    /// What a subtask waits for that has found nothing to do.
    fn waits_for(&self, task: &dyn Subtask, phase: Phase) -> Doing {
        match phase {
            Phase::Running if self.blocked_outputs.get() > 0 => Doing::BackPressured,
            Phase::Running if !task.awaits_input() => Doing::Busy,
            Phase::Running | Phase::Preparing | Phase::Waiting | Phase::Closing => Doing::Idle,
        }
    }

    /// Building the subtask panicked: reports that, and waits for the end that follows.
    pub(crate) async fn fail_to_build(mut self, payload: &(dyn std::any::Any + Send)) {
        let error = self.failure.take().unwrap_or_else(|| self.describe_panic(payload));
        self.acknowledger.report(FromSubtask::Failed { subtask: Some(self.id), error });
        while !matches!(self.inbox.recv().await, Some(ToSubtask::Close) | None) {}
        self.acknowledger.report(FromSubtask::Ended { subtask: self.id, metrics: vec![] });
    }

    /// Takes `first`, if there is a message, and then all messages that have arrived.
    fn take_messages(&mut self, task: &mut Box<dyn Subtask>, first: Option<ToSubtask>, mut phase: Phase) -> Result<Phase, JobError> {
        let mut next = first.or_else(|| self.inbox.try_recv());
        while let Some(message) = next {
            phase = match message {
                ToSubtask::Close => {
                    // A failure that was noted meanwhile no longer matters, and must not count as a failure of the closing.
                    self.failure.take();
                    Phase::Closing
                }
                message => {
                    let received = catch_unwind(AssertUnwindSafe(|| task.receive(message)));
                    received.map_err(|payload| self.describe_panic(&*payload))?;
                    phase
                }
            };
            next = self.inbox.try_recv();
        }
        Ok(phase)
    }

    /// One slice of work towards the end of `phase`.
    fn slice(&mut self, task: &mut Box<dyn Subtask>, phase: Phase, cx: &mut Context<'_>) -> Result<Slice, JobError> {
        let worked = catch_unwind(AssertUnwindSafe(|| match phase {
            Phase::Running => {
                if self.io.is_probed() {
                    self.io.observe("task.queue", &self.name, [task.queued() as i64, 0, 0]);
                }
                task.advance_processing_time(self.clock.now());
                match task.step(cx) {
                    Step::Busy => Slice::Busy,
                    Step::Waiting => Slice::Park,
                    Step::Finished => Slice::Next(Phase::Preparing),
                }
            }
            Phase::Preparing => match task.poll_prepared(cx) {
                Poll::Ready(()) => Slice::Next(Phase::Waiting),
                Poll::Pending => Slice::Park,
            },
            Phase::Waiting => Slice::Park,
            Phase::Closing => {
                // Both are polled, so that each can wake the task.
                let (closed, stored) = (task.poll_close(cx), self.acknowledger.poll_close(cx));
                if closed.is_ready() && stored.is_ready() { Slice::Ended } else { Slice::Park }
            }
        }));
        let mut slice = worked.map_err(|payload| self.describe_panic(&*payload))?;
        let works = matches!(phase, Phase::Running | Phase::Preparing);
        if works {
            self.save(task)?;
        }
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if works {
            self.acknowledger.poll(cx)?;
        }
        if slice == Slice::Next(Phase::Waiting) && !self.acknowledger.is_idle() {
            slice = Slice::Park;
        }
        // Only now it is known whether there is room for more.
        if works && slice == Slice::Park && self.acknowledger.can_save() {
            return Ok(Slice::Saving);
        }
        if slice == Slice::Next(Phase::Waiting) {
            self.io.observe("subtask.finish", &self.name, [self.id as i64, 0, 0]);
            let prepared = self.acknowledger.take_last_epoch();
            self.acknowledger.report(FromSubtask::Finished { subtask: self.id, prepared });
        }
        Ok(slice)
    }

    /// Saves a slice of sealed state, if there is some and room for it.
    fn save(&mut self, task: &mut Box<dyn Subtask>) -> Result<(), JobError> {
        self.saved_for = Duration::ZERO;
        if !self.acknowledger.can_save() {
            return Ok(());
        }
        let begun = self.io.clock().now();
        catch_unwind(AssertUnwindSafe(|| task.save())).map_err(|payload| self.describe_panic(&*payload))?;
        self.saved_for = self.io.clock().now().since(begun);
        self.io.observe("task.saving", &self.name, [self.id as i64, 0, 0]);
        Ok(())
    }

    fn describe_panic(&self, payload: &(dyn std::any::Any + Send)) -> JobError {
        let message = panic_text(payload);
        match self.failure.take_panic() {
            Some((operator, record)) => JobError::UserPanic { operator, subtask: self.metrics.subtask(), message, record },
            None => JobError::Internal { place: self.name.clone(), message },
        }
    }
}

/// How a slice ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slice {
    Busy,
    /// Nothing to do but to save sealed state.
    Saving,
    Park,
    Next(Phase),
    Ended,
}
