//! The coordinator's side of one worker's connection, from its acceptance until it is gone.
//!
//! It first reports [`ToCoordinator::Joined`]; then it passes the worker's messages to the coordinator, and the coordinator's orders to the worker. When
//! the worker is gone, for any reason but the end of the job, it reports [`ToCoordinator::Lost`] once, and nothing after it.
//!
//! A message that a correct worker cannot send (about an attempt that it was not given, for another worker's subtask, or one that its subtask cannot send
//! now: see `share.rs`) ends the connection: no process can break from outside what the coordinator asserts about its subtasks.

use super::admission::GOODBYE;
use super::codec::TooLong;
use super::connection::{Connection, ConnectionError};
use super::message::{Message, shortened};
use super::share::Share;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use thalweg_io::{Io, Mailbox, MailboxReceiver};
use thalweg_kernel::Metric;
use thalweg_kernel::worker::{Farewell, FromSubtask, Member, ToCoordinator, ToWorker, WorkerId};

/// Messages that are taken before the core's other tasks have their turn.
const BATCH: usize = 64;

/// How a membership ends.
enum MembershipEnd {
    /// The coordinator has no more orders.
    Dismissed,
    Lost(String),
}

/// Accepts a worker that arrived too late, only to tell it that the job has ended.
pub(super) async fn send_home(mut connection: Connection, worker: WorkerId, farewell: Farewell) {
    let failure = farewell.failure.map(|failure| shortened(&failure));
    for message in [Message::Accepted { worker }, Message::Order(ToWorker::End { failure })] {
        let said = connection.send(&message);
        assert!(said.is_ok(), "last words are short");
    }
    connection.finish(GOODBYE).await;
}

/// A worker's membership in the job.
pub(super) struct Membership {
    pub(super) io: Io,
    pub(super) worker: WorkerId,
    /// The worker's name, used as a label of its metrics.
    pub(super) label: Arc<str>,
    pub(super) connection: Connection,
    pub(super) orders: MailboxReceiver<ToWorker>,
    pub(super) coordinator: Mailbox<ToCoordinator>,
    pub(super) share: Share,
    /// Delivers the last word of a job that has ended; closes when the worker is to go: it has come back, or another coordinator goes on with the job.
    pub(super) stays: MailboxReceiver<Farewell>,
    /// The progress of its end.
    pub(super) parting: Parting,
}

/// The progress of a membership's end.
#[derive(Default)]
pub(super) struct Parting {
    /// The last word, if the reception has given it.
    farewell: Option<Farewell>,
    /// Whether the worker has been told that there will be no other attempt.
    is_told: bool,
    /// Whether the worker is to go.
    goes: bool,
    /// Whether the coordinator has no more orders.
    is_dismissed: bool,
}

impl Membership {
    pub(super) async fn run(mut self, member: Member) {
        tracing::info!(target: "thalweg::job", worker = %member.name, cores = member.cores, "a worker has joined");
        let accepted = self.connection.send(&Message::Accepted { worker: self.worker });
        assert!(accepted.is_ok(), "an answer is short");
        self.io.observe("worker.join", &self.label, [self.worker.0 as i64, 0, 0]);
        self.say(ToCoordinator::Joined(member));
        match poll_fn(|cx| self.poll(cx)).await {
            MembershipEnd::Dismissed => self.connection.finish(GOODBYE).await,
            MembershipEnd::Lost(reason) => {
                // Close the connection first: when the coordinator hears of the loss, the worker can receive nothing any more.
                let Self { io, worker, label, connection, coordinator, .. } = self;
                drop(connection);
                io.observe("worker.gone", &label, [worker.0 as i64, 0, 0]);
                drop(coordinator.send(ToCoordinator::Lost { worker, reason }));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<MembershipEnd> {
        while let (false, Poll::Ready(order)) = (self.parting.is_dismissed, self.orders.poll_recv(cx)) {
            match order {
                Some(order) => {
                    if let Err(too_long) = self.tell(order) {
                        return Poll::Ready(MembershipEnd::Lost(too_long.to_string()));
                    }
                }
                None => self.parting.is_dismissed = true,
            }
        }
        while let (false, Poll::Ready(word)) = (self.parting.goes, self.stays.poll_recv(cx)) {
            match word {
                Some(farewell) => self.parting.farewell = Some(farewell),
                None => self.parting.goes = true,
            }
        }
        if let Some(end) = self.parts() {
            return Poll::Ready(end);
        }
        for _ in 0..BATCH {
            let message = match self.connection.poll_next(cx) {
                Poll::Ready(Ok(message)) => message,
                Poll::Ready(Err(ConnectionError::Codec(fault))) => {
                    return Poll::Ready(MembershipEnd::Lost(self.against_the_protocol(&fault)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(MembershipEnd::Lost(error.to_string())),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(reason) = self.take(message) {
                return Poll::Ready(MembershipEnd::Lost(reason));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn tell(&mut self, mut order: ToWorker) -> Result<(), TooLong> {
        self.share.told(&order);
        if let ToWorker::End { failure } = &mut order {
            self.parting.is_told = true;
            *failure = failure.as_deref().map(shortened);
        }
        self.connection.send(&Message::Order(order))
    }

    /// The end, if it is reached. A coordinator that ended before it had heard of the worker has not told it, so the reception's word is waited for.
    fn parts(&mut self) -> Option<MembershipEnd> {
        if !self.parting.is_dismissed {
            return self.parting.goes.then(|| MembershipEnd::Lost("it has come back".to_owned()));
        }
        if !self.parting.is_told
            && let Some(Farewell { failure }) = self.parting.farewell.take()
            && let Err(too_long) = self.tell(ToWorker::End { failure })
        {
            return Some(MembershipEnd::Lost(too_long.to_string()));
        }
        (self.parting.is_told || self.parting.goes).then_some(MembershipEnd::Dismissed)
    }

    fn take(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Report { attempt, message } => {
                self.share.hear(attempt, &message).map_err(|fault| self.against_the_protocol(&fault))?;
                let message = match message {
                    FromSubtask::Ended { subtask, metrics } => FromSubtask::Ended { subtask, metrics: self.labelled(metrics) },
                    other => other,
                };
                self.say(ToCoordinator::FromSubtask { attempt, message });
            }
            Message::Metrics { attempt, metrics } => {
                self.share.knows(attempt).map_err(|fault| self.against_the_protocol(&fault))?;
                let metrics = self.labelled(metrics);
                self.say(ToCoordinator::Metrics { attempt, metrics });
            }
            Message::Leaving => return Err("it was told to stop".to_owned()),
            other => return Err(self.against_the_protocol(&format_args!("{} has no place here", other.name()))),
        }
        Ok(())
    }

    /// Tells observers, and returns the reason.
    fn against_the_protocol(&self, fault: &dyn fmt::Display) -> String {
        let reason = format!("it does not keep to the protocol: {fault}");
        self.io.observe("protocol.broken", &format!("worker {}: {reason}", self.label), [self.worker.0 as i64, 0, 0]);
        reason
    }

    fn labelled(&self, metrics: Vec<Metric>) -> Vec<Metric> {
        metrics.into_iter().map(|metric| metric.at(&self.label)).collect()
    }

    /// Reports to the coordinator; if it is gone, this core is about to end.
    fn say(&self, message: ToCoordinator) {
        drop(self.coordinator.send(message));
    }
}
