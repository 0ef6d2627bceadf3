//! The reception, where workers register with the coordinator, and the list of those present.
//!
//! A caller proves that it knows the secret, and then that it may be a worker (`admission.rs`). Only then it is one: it gets a number, and from then on
//! `membership.rs` carries its messages and orders. A worker that comes back before its loss was noticed replaces its former self.
//!
//! Bounds: at most [`CALLERS_MAX`] connections whose callers are not workers yet, each for at most [`HANDSHAKE`](super::admission::HANDSHAKE) and with at
//! most [`STRANGER_BYTES_MAX`] of memory; when one more arrives, the stranger that has waited longest has to go, or, if there is none, the newcomer. At
//! most [`Terms::workers_max`] workers: a surplus worker is sent away and may call again.

use super::admission::{Admitted, GOODBYE, Registration, Terms, admit, refuse};
use super::connection::{Connection, Talk};
use super::membership::{Membership, Parting, send_home};
use super::share::Share;
use super::turned_away::TurnedAway;
use crate::auth::{Authenticator, Purpose, Side};
use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::within;
use thalweg_io::{Acceptor, Call};
use thalweg_io::{Io, Listener, LocalBoxFuture, Mailbox, MailboxReceiver, TaskClass, mailbox};
use thalweg_kernel::worker::{Farewell, Member, ToCoordinator, WorkerId};

/// The most callers at a time that are not workers yet.
const CALLERS_MAX: usize = 64;

/// The most workers at a time, unless fewer are wanted.
pub(super) const WORKERS_MAX: usize = 1024;

/// The longest message of a caller that is not a worker yet: room for the addresses of some thousand cores.
const STRANGER_BYTES_MAX: usize = 64 << 10;

/// Callers admitted before the core's other tasks have their turn: few enough that a flood does not push off those that are about to identify themselves.
const BATCH: usize = 16;

/// Receives workers until the job has ended, and then until the last of them has heard so, including those that were about to join.
pub(super) async fn receive_workers(
    io: Io,
    listener: Box<dyn Listener>,
    auth: Authenticator,
    terms: Terms,
    coordinator: Mailbox<ToCoordinator>,
    mut job_end: MailboxReceiver<Farewell>,
) {
    let mut acceptor = Acceptor::new(io.clone(), listener, "a worker's call cannot be answered");
    let (membership_lasts, mut memberships_end) = mailbox();
    let mut reception = Reception {
        io: io.clone(),
        terms: Rc::new(terms),
        auth,
        coordinator,
        callers: VecDeque::new(),
        turned_away: TurnedAway::new(&io),
        next_worker: 1,
        workers: Vec::new(),
        farewell: None,
        membership_lasts,
    };
    let farewell = poll_fn(|cx| {
        if let Poll::Ready(farewell) = job_end.poll_recv(cx) {
            return Poll::Ready(farewell);
        }
        acceptor.poll_batch(cx, BATCH, |call| reception.call(call));
        reception.poll_callers(cx);
        Poll::Pending
    })
    .await;
    for worker in reception.workers.drain(..) {
        // If the coordinator does not hear of a worker in time, its membership tells the worker.
        farewell.iter().for_each(|farewell| drop(worker.stay.send(farewell.clone())));
    }
    if farewell.is_some() {
        reception.farewell = farewell;
        // Callers that have already called must hear it, too: they would look for their coordinator for ever.
        let last_callers = poll_fn(|cx| {
            acceptor.poll_batch(cx, BATCH, |call| reception.call(call));
            reception.poll_callers(cx);
            if reception.callers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        if within(&io, GOODBYE, last_callers).await.is_none() {
            tracing::debug!("callers that have not shown what they are do not hear of the end");
        }
    }
    // Memberships last until their workers have heard of the end.
    drop((acceptor, reception.callers, reception.membership_lasts));
    while memberships_end.recv().await.is_some() {}
}

/// A caller that is not a worker yet.
struct Caller {
    /// Whether it has proved that it knows the secret.
    is_known: Rc<Cell<bool>>,
    admission: LocalBoxFuture<Option<Admitted>>,
}

/// A worker as the reception knows it.
struct KnownWorker {
    name: String,
    /// Carries the last word to the membership, which ends when this is dropped.
    stay: Mailbox<Farewell>,
    /// Closes when the membership has reported `Lost`.
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
    workers: Vec<KnownWorker>,
    /// Once the job has ended: the answer to workers that still join.
    farewell: Option<Farewell>,
    /// Every membership holds a clone: shows when the last has ended.
    membership_lasts: Mailbox<Infallible>,
}

impl Reception {
    fn call(&mut self, (mut read, mut write, from): Call) {
        if self.callers.len() == CALLERS_MAX {
            self.turned_away.note(from, &format_args!("more than {CALLERS_MAX} callers stand at the door"));
            let stranger = self.callers.iter().position(|caller| !caller.is_known.get());
            // Callers that know the secret need only a moment more.
            let Some(stranger) = stranger else { return };
            self.callers.remove(stranger);
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
            admit(&io, &terms, Talk::new(read, write, STRANGER_BYTES_MAX), from, &turned_away).await
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
        let Admitted { talk, registration: Registration { name, cores, doors } } = admitted;
        self.workers.retain_mut(|worker| !is_closed(&mut worker.gone));
        if self.workers.len() >= self.terms.workers_max {
            let (io, most) = (self.io.clone(), self.terms.workers_max);
            let refusal = async move { refuse(&io, talk, format!("there are {most} workers already"), false).await };
            return self.io.spawner().spawn(TaskClass::Latency, "refusal", Box::pin(refusal));
        }
        // A worker that comes back before its loss was noticed must not be listed twice.
        let before = self.workers.iter().position(|known| known.name == name).map(|place| self.workers.swap_remove(place));
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        let (stay, stays) = mailbox();
        let (not_gone, gone) = mailbox();
        let (io, terms, coordinator) = (self.io.clone(), Rc::clone(&self.terms), self.coordinator.clone());
        let (lasts, known_as) = (self.membership_lasts.clone(), name.clone());
        if let Some(farewell) = self.farewell.clone() {
            let connection = Connection::new(io.clone(), talk, terms.heartbeat);
            let run = async move {
                send_home(connection, worker, farewell).await;
                drop(lasts);
            };
            return self.io.spawner().spawn(TaskClass::Latency, "farewell", Box::pin(run));
        }
        let run = async move {
            if let Some(KnownWorker { stay, mut gone, .. }) = before {
                drop(stay);
                while gone.recv().await.is_some() {}
            }
            let (orders, inbox) = mailbox();
            let connection = Connection::new(io.clone(), talk, terms.heartbeat);
            let membership = Membership {
                io: io.clone(),
                worker,
                label: name.as_str().into(),
                connection,
                orders: inbox,
                coordinator,
                share: Share::new(Rc::clone(&terms.shape)),
                stays,
                parting: Parting::default(),
            };
            membership.run(Member { id: worker, name, cores, doors, orders }).await;
            drop((not_gone, lasts));
        };
        self.io.spawner().spawn(TaskClass::Latency, "worker session", Box::pin(run));
        self.workers.push(KnownWorker { name: known_as, stay, gone });
    }
}

/// Whether all senders are gone.
fn is_closed(receiver: &mut MailboxReceiver<Infallible>) -> bool {
    matches!(receiver.poll_recv(&mut Context::from_waker(std::task::Waker::noop())), Poll::Ready(None))
}

#[cfg(test)]
mod tests;
