//! The coordinator's side of the control connections: who may join, and what each worker says and is told.
//!
//! A caller proves that it knows the secret, shows that it runs the same binary, is told the options, and shows that it has built the same job. Only then
//! is it a worker: it gets a number, [`ToCoordinator::Joined`] is said of it, and from then on its messages go to the coordinator and the coordinator's
//! orders to it. When it is gone, for whatever reason, [`ToCoordinator::Lost`] is said once, and nothing of it follows.
//!
//! A message that this worker cannot have sent, were it what it claims to be (of an attempt that it was not given, for a subtask that is another's, or one
//! that its subtask cannot say now: see `share.rs`), ends the connection: what the coordinator asserts about its subtasks, no process can break from
//! outside.
//!
//! A worker is turned away for good if it would be again, and told so; if only time is against it (there are too many, it was too slow), it may call again.
//!
//! Bounds: at most [`CALLERS_MAX`] connections whose callers are not workers yet, each for at most [`HANDSHAKE`] and with at most [`STRANGER_BYTES_MAX`]
//! of memory; at one more the one that has stood there longest goes, strangers first. At most [`Terms::workers_max`] workers.

use super::auth::{Authenticator, Purpose, Side};
use super::config::Heartbeat;
use super::connection::{Connection, ConnectionError, Talk};
use super::deadline::within;
use super::message::{Message, shortened};
use super::share::{Share, TaskShape};
use crate::runtime::{FromSubtask, Member, ToCoordinator, ToWorker, WorkerId};
use core::net::{IpAddr, SocketAddr};
use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{Io, Listener, LocalBoxFuture, Mailbox, MailboxReceiver, NetRead, NetWrite, TaskClass, mailbox};

/// Callers that are not workers yet.
const CALLERS_MAX: usize = 64;

/// The most workers at a time, unless fewer are wanted.
pub(crate) const WORKERS_MAX: usize = 1024;

/// The longest message of one that is not a worker yet: room for the addresses of some thousand cores.
const STRANGER_BYTES_MAX: usize = 64 << 10;

/// The longest name of a worker.
const NAME_BYTES_MAX: usize = 256;

/// The time that the proof, and then the rest of the handshake, may take. A worker builds its job in it.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the last words may take: a worker that does not hear them finds its coordinator gone.
const GOODBYE: Duration = Duration::from_secs(2);

/// A pause after an accept that failed, for want of descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Callers, or messages, that are taken before others on this core have their turn.
const BATCH: usize = 64;

/// What a worker must be, and is told.
pub(crate) struct Terms {
    pub(crate) binary: u64,
    pub(crate) graph: u64,
    pub(crate) options: Vec<String>,
    pub(crate) heartbeat: Heartbeat,
    /// The address at which workers call.
    pub(crate) here: IpAddr,
    /// The most workers at a time.
    pub(crate) workers_max: usize,
    /// The tasks of the job.
    pub(crate) shape: Rc<[TaskShape]>,
}

/// Receives workers until the job has ended, and then until the last of them has heard so.
pub(crate) async fn receive_workers(
    io: Io,
    listener: Box<dyn Listener>,
    auth: Authenticator,
    terms: Terms,
    coordinator: Mailbox<ToCoordinator>,
    mut job_end: MailboxReceiver<Infallible>,
) {
    let terms = Rc::new(terms);
    let (session_is_open, mut sessions_end) = mailbox();
    let mut reception = Reception {
        io,
        terms,
        auth,
        coordinator,
        callers: VecDeque::new(),
        turned_away: TurnedAway::default(),
        next_worker: 1,
        sessions: Vec::new(),
        session_is_open,
    };
    let mut accepting = None;
    let mut pause: Option<LocalBoxFuture<()>> = None;
    poll_fn(|cx| {
        if job_end.poll_recv(cx).is_ready() {
            return Poll::Ready(());
        }
        for taken in 0.. {
            if taken == BATCH {
                cx.waker().wake_by_ref();
                break;
            }
            if let Some(sleep) = &mut pause {
                if sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
                pause = None;
            }
            let accept = accepting.get_or_insert_with(|| listener.accept());
            let Poll::Ready(accepted) = accept.as_mut().poll(cx) else { break };
            accepting = None;
            match accepted {
                Ok((read, write, from)) => reception.call(read, write, from),
                Err(error) => {
                    tracing::warn!(%error, "a worker's call cannot be answered");
                    pause = Some(reception.io.clock().sleep_until(reception.io.clock().now().after(ACCEPT_PAUSE)));
                }
            }
        }
        reception.poll_callers(cx);
        Poll::Pending
    })
    .await;
    // Sessions last until their workers have heard of the end.
    drop((accepting, listener, reception.callers, reception.session_is_open));
    while sessions_end.recv().await.is_some() {}
    drop(reception.sessions);
}

/// One that is not a worker yet.
struct Caller {
    /// It has proved that it knows the secret.
    is_known: Rc<Cell<bool>>,
    admission: LocalBoxFuture<Option<Admitted>>,
}

/// Counts the callers that were turned away, and says so, but not a thousand times.
#[derive(Clone, Default)]
struct TurnedAway(Rc<Cell<u64>>);

impl TurnedAway {
    fn note(&self, from: SocketAddr, reason: &dyn fmt::Display) {
        let count = self.0.get() + 1;
        self.0.set(count);
        // The first, the second, the fourth: a flood of callers is no flood of lines.
        if count.is_power_of_two() {
            tracing::warn!(%from, %reason, count, "a caller was turned away");
        }
    }
}

/// One that may be a worker.
struct Admitted {
    talk: Talk,
    name: String,
    cores: usize,
    doors: Vec<SocketAddr>,
}

/// A worker as it is known at the door.
struct OpenSession {
    name: String,
    /// Ends the session when it is dropped.
    stay: Mailbox<Infallible>,
    /// Ends when `Lost` has been said of it.
    gone: MailboxReceiver<Infallible>,
}

struct Reception {
    io: Io,
    terms: Rc<Terms>,
    auth: Authenticator,
    coordinator: Mailbox<ToCoordinator>,
    callers: VecDeque<Caller>,
    turned_away: TurnedAway,
    next_worker: u64,
    sessions: Vec<OpenSession>,
    /// Held by every session for as long as it lasts.
    session_is_open: Mailbox<Infallible>,
}

impl Reception {
    fn call(&mut self, mut read: Box<dyn NetRead>, mut write: Box<dyn NetWrite>, from: SocketAddr) {
        if self.callers.len() == CALLERS_MAX {
            let stranger = self.callers.iter().position(|caller| !caller.is_known.get());
            self.callers.remove(stranger.unwrap_or(0));
            self.turned_away.note(from, &format_args!("more than {CALLERS_MAX} callers stand at the door"));
        }
        let is_known = Rc::new(Cell::new(false));
        let (io, auth, terms) = (self.io.clone(), self.auth.clone(), Rc::clone(&self.terms));
        let (turned_away, known) = (self.turned_away.clone(), Rc::clone(&is_known));
        let admission = async move {
            if let Err(error) = auth.authenticate(&mut *read, &mut *write, Side::Acceptor, Purpose::Control).await {
                turned_away.note(from, &error);
                return None;
            }
            known.set(true);
            admit(&io, &terms, Talk::new(read, write, STRANGER_BYTES_MAX), from).await
        };
        self.callers.push_back(Caller { is_known, admission: Box::pin(admission) });
    }

    fn poll_callers(&mut self, cx: &mut Context<'_>) {
        let mut admitted = Vec::new();
        self.callers.retain_mut(|caller| match caller.admission.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(worker) => {
                admitted.extend(worker);
                false
            }
        });
        admitted.into_iter().for_each(|admitted| self.welcome(admitted));
    }

    fn welcome(&mut self, admitted: Admitted) {
        let Admitted { talk, name, cores, doors } = admitted;
        self.sessions.retain_mut(|session| !is_closed(&mut session.gone));
        if self.sessions.len() >= self.terms.workers_max {
            let (io, most) = (self.io.clone(), self.terms.workers_max);
            let refusal = async move { refuse(&io, talk, format!("there are {most} workers already"), false).await };
            return self.io.spawner().spawn(TaskClass::Latency, "refusal", Box::pin(refusal));
        }
        // A worker that is back before its loss was noticed is not there twice.
        let before = self.sessions.iter().position(|session| session.name == name).map(|place| self.sessions.swap_remove(place));
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        let (stay, stays) = mailbox();
        let (not_gone, gone) = mailbox();
        let (io, terms, coordinator) = (self.io.clone(), Rc::clone(&self.terms), self.coordinator.clone());
        let is_open = self.session_is_open.clone();
        let session_name = name.clone();
        let run = async move {
            if let Some(OpenSession { stay, mut gone, .. }) = before {
                drop(stay);
                while gone.recv().await.is_some() {}
            }
            let (orders, inbox) = mailbox();
            let connection = Connection::new(io.clone(), talk, terms.heartbeat);
            let session = Session {
                io: io.clone(),
                worker,
                label: name.as_str().into(),
                connection,
                orders: inbox,
                coordinator,
                share: Share::new(Rc::clone(&terms.shape)),
                stays,
            };
            session.run(Member { id: worker, name, cores, doors, orders }).await;
            drop((not_gone, is_open));
        };
        self.io.spawner().spawn(TaskClass::Latency, "worker session", Box::pin(run));
        self.sessions.push(OpenSession { name: session_name, stay, gone });
    }
}

/// Whether nobody will ever send.
fn is_closed(receiver: &mut MailboxReceiver<Infallible>) -> bool {
    matches!(receiver.poll_recv(&mut Context::from_waker(std::task::Waker::noop())), Poll::Ready(None))
}

/// Finds out whether a caller that knows the secret may be a worker. `None` if not; it has been told why.
async fn admit(io: &Io, terms: &Terms, mut talk: Talk, from: SocketAddr) -> Option<Admitted> {
    let refused = match within(io, HANDSHAKE, register(&mut talk, terms, from.ip())).await {
        Some(Ok(Registration { name, cores, doors })) => return Some(Admitted { talk, name, cores, doors }),
        Some(Err(Unfit::Refused(reason))) => reason,
        Some(Err(Unfit::Broken(error))) => {
            tracing::warn!(%from, %error, "a worker did not register");
            return None;
        }
        None => {
            // It may have been busy for once: it finds the connection closed, and calls again.
            tracing::warn!(%from, "a worker did not register within {HANDSHAKE:?}");
            return None;
        }
    };
    tracing::warn!(%from, reason = %refused, "a worker was refused");
    io.observe("worker.refuse", &from.to_string(), [0; 3]);
    refuse(io, talk, refused, true).await;
    None
}

async fn refuse(io: &Io, mut talk: Talk, reason: String, is_final: bool) {
    let said = within(io, GOODBYE, talk.say(&Message::Refused { reason, is_final })).await;
    if let Some(Ok(_)) = said {
        talk.finish(io, GOODBYE).await;
    }
}

/// What a worker says of itself.
struct Registration {
    name: String,
    cores: usize,
    doors: Vec<SocketAddr>,
}

enum Unfit {
    Refused(String),
    Broken(ConnectionError),
}

impl From<ConnectionError> for Unfit {
    fn from(error: ConnectionError) -> Self {
        Self::Broken(error)
    }
}

async fn register(talk: &mut Talk, terms: &Terms, from: IpAddr) -> Result<Registration, Unfit> {
    let unexpected = |message: &Message| Unfit::Refused(format!("{} has no place in a handshake", message.name()));
    let (binary, name) = match talk.hear().await? {
        Message::Hello { binary, name } => (binary, name),
        other => return Err(unexpected(&other)),
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Unfit::Refused(format!("a name has between 1 and {NAME_BYTES_MAX} bytes and no control characters")));
    }
    if binary != terms.binary {
        let own = terms.binary;
        return Err(Unfit::Refused(format!(
            "the worker's program has the fingerprint {binary:016x} and the coordinator's {own:016x}: start the same binary everywhere"
        )));
    }
    let options = Message::Options { options: terms.options.clone(), heartbeat: terms.heartbeat };
    talk.say(&options).await?.map_err(|too_long| Unfit::Refused(too_long.to_string()))?;
    let (graph, cores, doors) = match talk.hear().await? {
        Message::Register { graph, cores, doors } => (graph, cores, doors),
        other => return Err(unexpected(&other)),
    };
    if graph != terms.graph {
        let own = terms.graph;
        return Err(Unfit::Refused(format!(
            "the worker has built a job with the fingerprint {graph:016x} and the coordinator one with {own:016x}: what describes the job must depend on \
             nothing but its options"
        )));
    }
    if cores == 0 || doors.len() != cores {
        return Err(Unfit::Refused(format!("a worker with {cores} cores listens at {} addresses", doors.len())));
    }
    if let Some(door) = doors.iter().find(|door| !can_be_reached(door.ip(), from, terms.here)) {
        return Err(Unfit::Refused(format!(
            "it calls from {from}, and other workers are to reach it at {door}, which leads nowhere from another machine: start it with --data ADDRESS, an \
             address of its machine that the others reach"
        )));
    }
    Ok(Registration { name, cores, doors })
}

/// Whether other workers can be sent to `door` by a worker that has called from `from` at `here`. An address of one machine alone is that of this one.
fn can_be_reached(door: IpAddr, from: IpAddr, here: IpAddr) -> bool {
    let [door, from, here] = [door, from, here].map(|address| address.to_canonical());
    !door.is_loopback() || from.is_loopback() || from == here
}

/// How a session ends.
enum SessionEnd {
    /// The coordinator has nothing more to say.
    Dismissed,
    Lost(String),
}

struct Session {
    io: Io,
    worker: WorkerId,
    /// Its name, on its metrics.
    label: Arc<str>,
    connection: Connection,
    orders: MailboxReceiver<ToWorker>,
    coordinator: Mailbox<ToCoordinator>,
    share: Share,
    /// Ends when the same worker has come back.
    stays: MailboxReceiver<Infallible>,
}

impl Session {
    async fn run(mut self, member: Member) {
        tracing::info!(target: "thalweg::cli", worker = %member.name, cores = member.cores, "a worker has joined");
        let accepted = self.connection.send(&Message::Accepted { worker: self.worker });
        assert!(accepted.is_ok(), "an answer is short");
        self.io.observe("worker.join", &self.label, [self.worker.0 as i64, 0, 0]);
        self.say(ToCoordinator::Joined(member));
        match poll_fn(|cx| self.poll(cx)).await {
            SessionEnd::Dismissed => self.connection.finish(GOODBYE).await,
            SessionEnd::Lost(reason) => {
                // The connection first: when the coordinator hears of it, the worker cannot be told anything any more.
                let Self { io, worker, label, connection, coordinator, .. } = self;
                drop(connection);
                io.observe("worker.gone", &label, [worker.0 as i64, 0, 0]);
                drop(coordinator.send(ToCoordinator::Lost { worker, reason }));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        if self.stays.poll_recv(cx).is_ready() {
            return Poll::Ready(SessionEnd::Lost("it has come back".to_owned()));
        }
        loop {
            let mut order = match self.orders.poll_recv(cx) {
                Poll::Ready(Some(order)) => order,
                Poll::Ready(None) => return Poll::Ready(SessionEnd::Dismissed),
                Poll::Pending => break,
            };
            self.share.told(&order);
            if let ToWorker::End { failure: Some(failure) } = &mut order {
                *failure = shortened(failure);
            }
            if let Err(too_long) = self.connection.send(&Message::Order(order)) {
                return Poll::Ready(SessionEnd::Lost(too_long.to_string()));
            }
        }
        for _ in 0..BATCH {
            let message = match self.connection.poll_next(cx) {
                Poll::Ready(Ok(message)) => message,
                Poll::Ready(Err(error)) => return Poll::Ready(SessionEnd::Lost(error.to_string())),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(reason) = self.take(message) {
                return Poll::Ready(SessionEnd::Lost(reason));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Report { attempt, message } => {
                self.share.hear(attempt, &message).map_err(against_the_protocol)?;
                let message = match message {
                    FromSubtask::Ended { subtask, metrics } => FromSubtask::Ended { subtask, metrics: self.labelled(metrics) },
                    other => other,
                };
                self.say(ToCoordinator::FromSubtask { attempt, message });
            }
            Message::Metrics { attempt, metrics } => {
                self.share.knows(attempt).map_err(against_the_protocol)?;
                let metrics = self.labelled(metrics);
                self.say(ToCoordinator::Metrics { attempt, metrics });
            }
            Message::Leaving => return Err("it was told to stop".to_owned()),
            other => return Err(against_the_protocol(format!("{} has no place here", other.name()))),
        }
        Ok(())
    }

    fn labelled(&self, metrics: Vec<crate::Metric>) -> Vec<crate::Metric> {
        metrics.into_iter().map(|metric| metric.at(&self.label)).collect()
    }

    /// If the coordinator is gone, this core is about to end.
    fn say(&self, message: ToCoordinator) {
        drop(self.coordinator.send(message));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what becomes of an error")]
fn against_the_protocol(fault: String) -> String {
    format!("it does not keep to the protocol: {fault}")
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
