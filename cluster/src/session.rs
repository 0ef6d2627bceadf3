//! A worker's session with a coordinator: carries orders to the agent of this process, and reports of subtasks and metrics to the coordinator; then stops
//! all subtasks.
//!
//! Reports wait with their subtasks while much waits to be sent: a coordinator that reads slowly is not taken for one that does not read.

use super::codec::TooLong;
use super::connection::{Connection, ConnectionError};
use super::message::Message;
use super::share::Share;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{Io, IoError, LocalBoxFuture, MailboxReceiver};
use thalweg_kernel::Job;
use thalweg_kernel::checkpoint::Attempt;
use thalweg_kernel::worker::shape_of;
use thalweg_kernel::worker::{Agent, Deployment, FromSubtask, ToCoordinator, ToWorker};
use thalweg_kernel::{JobError, JobMetrics, Metric};

/// The time limit for the last messages to a coordinator.
const GOODBYE: Duration = Duration::from_secs(1);

/// The time after which subtasks that were told to close and have not ended are named in the log, again and again.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Messages that are taken before the core's other tasks have their turn.
const BATCH: usize = 64;

/// How a session with a coordinator ends.
pub(super) enum SessionEnd {
    /// The job has ended.
    Ended { failure: Option<String> },
    /// The worker was stopped by its handle.
    Stopped,
    /// Another session would be refused as well.
    Refused(JobError),
    /// The coordinator cannot be reached, or is gone.
    Lost(String),
}

impl From<ConnectionError> for SessionEnd {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<IoError> for SessionEnd {
    fn from(error: IoError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Work for the agent.
enum Work {
    Order(ToWorker),
    Ended(Attempt, usize),
}

/// The agent of this process, its pending work, and the reports of its subtasks.
pub(super) struct Local {
    /// `None` while it works.
    agent: Option<Agent>,
    /// The agent at work: reading a checkpoint may take long, and heartbeats go on meanwhile.
    working: Option<LocalBoxFuture<Agent>>,
    /// Work waiting for the agent; bounded by what the protocol allows to be under way.
    work: VecDeque<Work>,
    /// Reports of the subtasks.
    inbox: MailboxReceiver<ToCoordinator>,
}

impl Local {
    pub(super) fn new(agent: Agent, inbox: MailboxReceiver<ToCoordinator>) -> Self {
        Self { agent: Some(agent), working: None, work: VecDeque::new(), inbox }
    }

    /// Lets the agent do its waiting work, as far as possible now.
    fn poll_agent(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(working) = &mut self.working {
                let Poll::Ready(agent) = working.as_mut().poll(cx) else { return };
                self.working = None;
                self.agent = Some(agent);
            }
            let Some(mut agent) = self.agent.take() else { return };
            match self.work.pop_front() {
                None => return self.agent = Some(agent),
                Some(Work::Ended(attempt, subtask)) => {
                    agent.ended(attempt, subtask);
                    self.agent = Some(agent);
                }
                Some(Work::Order(order)) => {
                    self.working = Some(Box::pin(async move {
                        agent.take(order).await;
                        agent
                    }));
                }
            }
        }
    }

    /// The next report of a subtask, if there is one now.
    fn poll_report(&mut self, cx: &mut Context<'_>) -> Option<(Attempt, FromSubtask)> {
        loop {
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(ToCoordinator::FromSubtask { attempt, message })) => {
                    if let FromSubtask::Ended { subtask, .. } = &message {
                        self.work.push_back(Work::Ended(attempt, *subtask));
                    }
                    return Some((attempt, message));
                }
                // Subtasks send no other messages.
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }

    /// Stops all subtasks; ready when they are gone.
    async fn close(mut self, mut share: Share, mut overdue: Overdue) {
        // Waiting orders concern an attempt that is over here.
        self.work.retain(|work| matches!(work, Work::Ended(..)));
        share.closed();
        let mut is_told = false;
        poll_fn(|cx| {
            loop {
                self.poll_agent(cx);
                if let Some(agent) = self.agent.as_mut().filter(|_| !is_told) {
                    agent.close_all();
                    is_told = true;
                }
                match self.poll_report(cx) {
                    Some((attempt, FromSubtask::Ended { subtask, .. })) => _ = share.ended(attempt, subtask),
                    Some(_) => {}
                    None => break,
                }
            }
            overdue.poll(&share, cx);
            let is_idle = is_told && self.agent.as_ref().is_some_and(Agent::is_idle);
            if is_idle { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Names subtasks that do not end: an attempt lasts as long as they do, and only this worker knows which they are.
struct Overdue {
    io: Io,
    timer: Option<LocalBoxFuture<()>>,
    /// How many times they were named.
    count: u32,
}

impl Overdue {
    fn new(io: Io) -> Self {
        Self { io, timer: None, count: 0 }
    }

    fn poll(&mut self, share: &Share, cx: &mut Context<'_>) {
        if share.closing().next().is_none() {
            (self.timer, self.count) = (None, 0);
            return;
        }
        loop {
            let sleep = || self.io.clock().sleep_until(self.io.clock().now().after(CLOSE_PATIENCE));
            if self.timer.get_or_insert_with(sleep).as_mut().poll(cx).is_pending() {
                return;
            }
            self.timer = None;
            self.count += 1;
            let (subtasks, waited) = (share.closing().collect::<Vec<_>>().join(", "), self.count * CLOSE_PATIENCE);
            tracing::warn!(target: "thalweg::job", %subtasks, "told to close {waited:?} ago and not gone yet: is there a user function that waits?");
        }
    }
}

/// A worker that belongs to a coordinator.
pub(super) struct Session {
    io: Io,
    job: Rc<Job>,
    cores: usize,
    connection: Connection,
    share: Share,
    local: Local,
    overdue: Overdue,
    metrics: Arc<Mutex<JobMetrics>>,
    next_metrics: Option<LocalBoxFuture<()>>,
}

impl Session {
    pub(super) fn new(io: Io, job: Rc<Job>, cores: usize, connection: Connection, local: Local, metrics: Arc<Mutex<JobMetrics>>) -> Self {
        let (share, overdue) = (Share::new(shape_of(&job)), Overdue::new(io.clone()));
        Self { io, job, cores, connection, share, local, overdue, metrics, next_metrics: None }
    }

    /// Works for the coordinator; ready when either side ends the session, or the connection is lost.
    pub(super) fn poll(&mut self, stopped: &mut MailboxReceiver<()>, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        if let Poll::Ready(Some(())) = stopped.poll_recv(cx) {
            return Poll::Ready(SessionEnd::Stopped);
        }
        self.poll_metrics(cx);
        for _ in 0..BATCH {
            let is_all_said = self.poll_reports(cx);
            self.overdue.poll(&self.share, cx);
            match self.connection.poll_next(cx) {
                Poll::Ready(Ok(message)) => {
                    if let Some(end) = self.take(message, cx) {
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending if is_all_said || !self.connection.is_clear() => return Poll::Pending,
                // Messages that had to wait have been sent meanwhile.
                Poll::Pending => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, message: Message, cx: &mut Context<'_>) -> Option<SessionEnd> {
        let broken = |fault: String| Some(SessionEnd::Lost(format!("the coordinator does not keep to the protocol: {fault}")));
        match message {
            Message::Order(ToWorker::End { failure }) => return Some(SessionEnd::Ended { failure }),
            Message::Order(order) => {
                if let ToWorker::Deploy(deployment) = &order {
                    if let Err(fault) = self.check(deployment) {
                        return broken(fault);
                    }
                    self.numbers(|numbers| numbers.begin_attempt(deployment.plan.job));
                }
                self.share.told(&order);
                self.local.work.push_back(Work::Order(order));
                self.local.poll_agent(cx);
            }
            other => return broken(format!("{} has no place here", other.name())),
        }
        None
    }

    /// Refuses a plan that this process cannot carry out: it would break the engine's assertions.
    fn check(&self, deployment: &Deployment) -> Result<(), String> {
        let Deployment { layout, seat, .. } = deployment;
        let tasks = shape_of(&self.job).len();
        if layout.parallelism.len() != tasks {
            return Err(format!("a plan for {} tasks, and the job has {}", layout.parallelism.len(), tasks));
        }
        let key_groups = self.job.max_parallelism() as usize;
        if layout.parallelism.iter().any(|parallelism| *parallelism > key_groups) {
            return Err(format!("a plan with more subtasks than the {key_groups} key groups"));
        }
        if layout.seats.get(*seat).is_none_or(|seat| seat.cores != self.cores) {
            return Err("a plan for a worker with another number of cores".to_owned());
        }
        if layout.seats.len() > 1 && layout.seats.iter().any(|seat| seat.doors.len() != seat.cores) {
            return Err("a plan with workers that cannot be reached".to_owned());
        }
        Ok(())
    }

    /// Passes on reports of subtasks, while little waits to be sent; returns whether that was all.
    fn poll_reports(&mut self, cx: &mut Context<'_>) -> bool {
        self.local.poll_agent(cx);
        while self.connection.is_clear() {
            let Some((attempt, message)) = self.local.poll_report(cx) else { return true };
            self.report(attempt, message);
            self.local.poll_agent(cx);
        }
        false
    }

    /// Passes on a report of a subtask.
    fn report(&mut self, attempt: Attempt, message: FromSubtask) {
        if let FromSubtask::Ended { subtask, .. } = &message
            && self.share.ended(attempt, *subtask)
        {
            // After the last report of the last subtask nobody may listen any more.
            self.send_metrics();
        }
        let ended = if let FromSubtask::Ended { subtask, .. } = &message { Some(*subtask) } else { None };
        let subtask = message.subtask();
        if let Err(too_long) = self.connection.send(&Message::Report { attempt, message }) {
            let message = ended.map_or_else(|| too_much(subtask, &too_long), |subtask| FromSubtask::Ended { subtask, metrics: vec![] });
            let said = self.connection.send(&Message::Report { attempt, message });
            assert!(said.is_ok(), "it is short");
        }
    }

    fn poll_metrics(&mut self, cx: &mut Context<'_>) {
        let interval = Duration::from_millis(self.job.settings().metrics_interval_ms);
        loop {
            let next = self.next_metrics.get_or_insert_with(|| self.io.clock().sleep_until(self.io.clock().now().after(interval)));
            if next.as_mut().poll(cx).is_pending() {
                return;
            }
            self.next_metrics = None;
            self.send_metrics();
        }
    }

    fn send_metrics(&mut self) {
        let metrics: Vec<Metric> = self.numbers(|numbers| numbers.iter().cloned().collect());
        if metrics.is_empty() || !self.connection.is_clear() {
            return;
        }
        if let Err(error) = self.connection.send(&Message::Metrics { attempt: self.share.attempt(), metrics }) {
            tracing::warn!(%error, "the numbers of this worker are not reported");
        }
    }

    fn numbers<R>(&self, change: impl FnOnce(&mut JobMetrics) -> R) -> R {
        change(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends the last messages, stops all subtasks, and waits until they are gone.
    pub(super) async fn close(self, end: SessionEnd) -> SessionEnd {
        let Self { mut connection, local, share, overdue, .. } = self;
        match &end {
            // The coordinator learns of it at once, not from the silence of a worker that is busy closing.
            SessionEnd::Lost(_) | SessionEnd::Refused(_) => drop(connection),
            SessionEnd::Ended { .. } => connection.finish(GOODBYE).await,
            SessionEnd::Stopped => {
                let farewell = connection.send(&Message::Leaving);
                assert!(farewell.is_ok(), "a farewell is short");
                connection.finish(GOODBYE).await;
            }
        }
        local.close(share, overdue).await;
        end
    }
}

/// The failure of a subtask whose state, positions or transactions exceed a message: another attempt would have as much of them.
fn too_much(subtask: Option<usize>, error: &TooLong) -> FromSubtask {
    FromSubtask::Failed { subtask, error: JobError::invalid(error.to_string()) }
}

#[cfg(test)]
mod tests;
