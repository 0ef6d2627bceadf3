//! The door of a core: where the cores of other workers call.
//!
//! A caller proves that it belongs to the cluster and says which link of which attempt it is. A link of the current attempt gets the connection; a caller
//! of an older attempt is turned away (law 10); a caller of an attempt that does not run here yet waits for it (`early.rs`). The cost of strangers is
//! bounded: a few connections at a time, each for a few seconds, and no memory beyond a header. A flood of them may push a caller of our own off the
//! doorstep before it has proved who it is, or before its attempt was announced here; it calls again.

use super::caller::{Caller, OPENING_BYTES, Opening};
use super::early::Early;
use super::reader::FrameReader;
use crate::auth::{Authenticator, Purpose, Side};
use core::net::SocketAddr;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{Acceptor, Call};
use thalweg_io::{Io, IoError, Listener, LocalBoxFuture, TaskClass};
use thalweg_kernel::checkpoint::{Attempt, JobId};
use thalweg_kernel::worker::Announced;

/// Callers that may be on the doorstep at a time; when one more arrives, the caller that has stood there longest has to go.
const CALLERS_MAX: usize = 128;

/// Callers admitted to the doorstep before those already there, and the core's other tasks, have their turn.
const BATCH: usize = 16;

/// How long a caller keeps calling, and how long it may take to say which link it is.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A link's slot for its caller.
#[derive(Default)]
pub(super) struct Awaited {
    caller: RefCell<Option<Caller>>,
    waker: RefCell<Option<Waker>>,
}

impl Awaited {
    fn has_come(&self, caller: Caller) {
        *self.caller.borrow_mut() = Some(caller);
        let waker = self.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The caller, when it arrives.
    pub(super) fn poll_caller(&self, cx: &mut Context<'_>) -> Poll<Caller> {
        match self.caller.take() {
            Some(caller) => Poll::Ready(caller),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[derive(Default)]
struct Doorstep {
    newest: Option<(JobId, u64, Attempt)>,
    /// Links of the current attempt whose caller has not arrived.
    expected: BTreeMap<Opening, Rc<Awaited>>,
    early: Early,
}

/// A core's door. Clones share it.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    auth: Authenticator,
    doorstep: Rc<RefCell<Doorstep>>,
}

impl Door {
    /// Listens at `address` for as long as the core lives.
    pub(crate) async fn open(io: &Io, address: SocketAddr, auth: Authenticator) -> Result<Self, IoError> {
        let listener = thalweg_io::listen(io, address).await?;
        let door = Self { address: listener.address(), auth, doorstep: Rc::default() };
        io.spawner().spawn(TaskClass::Latency, "door", Box::pin(door.clone().answer(io.clone(), listener)));
        Ok(door)
    }

    /// The address at which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn auth(&self) -> &Authenticator {
        &self.auth
    }

    /// Announces an attempt that will begin here: its callers wait for it however long that takes.
    pub(crate) fn announce(&self, announced: Announced) {
        self.doorstep.borrow_mut().early.announce(announced);
    }

    /// From now on turns away callers of other attempts, including those already waiting, unless their attempt may still follow.
    pub(super) fn begin(&self, job: JobId, owner: u64, attempt: Attempt) {
        let doorstep = &mut *self.doorstep.borrow_mut();
        doorstep.newest = Some((job, owner, attempt));
        doorstep.expected.clear();
        doorstep.early.begin(job, owner, attempt);
    }

    /// The slot for the caller of a link of the attempt that was begun last.
    pub(super) fn expect(&self, opening: Opening) -> Rc<Awaited> {
        let awaited = Rc::<Awaited>::default();
        let doorstep = &mut *self.doorstep.borrow_mut();
        match doorstep.early.take(&opening) {
            Some(caller) => awaited.has_come(caller),
            None => drop(doorstep.expected.insert(opening, Rc::clone(&awaited))),
        }
        awaited
    }

    /// Accepts callers and finds out who they are, several at a time.
    async fn answer(self, io: Io, listener: Box<dyn Listener>) {
        let mut acceptor = Acceptor::new(io.clone(), listener, "a call for frames cannot be answered");
        let mut callers: VecDeque<LocalBoxFuture<()>> = VecDeque::new();
        poll_fn(|cx| -> Poll<()> {
            acceptor.poll_batch(cx, BATCH, |call| {
                if callers.len() == CALLERS_MAX {
                    callers.pop_front();
                }
                callers.push_back(Box::pin(self.clone().admit(io.clone(), call)));
            });
            callers.retain_mut(|caller| caller.as_mut().poll(cx).is_pending());
            self.doorstep.borrow_mut().early.poll(cx);
            Poll::Pending
        })
        .await;
    }

    /// Identifies a caller and leads it to its link.
    async fn admit(self, io: Io, (mut read, mut write, from): Call) {
        if let Err(error) = self.auth.authenticate(&mut *read, &mut *write, Side::Acceptor, Purpose::Data).await {
            // At debug level, so that a flood of callers does not flood the log.
            tracing::debug!(%from, %error, "a caller was turned away");
            return;
        }
        let mut reader = FrameReader::new(read, OPENING_BYTES);
        let opening = match within(&io, PATIENCE, poll_fn(|cx| reader.poll_next(cx))).await {
            Some(Ok(Some((header, frame)))) => Opening::decode(&header, &frame),
            Some(Ok(None)) | None => None,
            Some(Err(error)) => {
                tracing::debug!(%from, %error, "a caller was turned away");
                return;
            }
        };
        match opening {
            Some(opening) => self.lead(&io, opening, Caller { reader, write }),
            None => tracing::debug!(%from, "a caller that does not say which link it is was turned away"),
        }
    }

    fn lead(&self, io: &Io, opening: Opening, caller: Caller) {
        let doorstep = &mut *self.doorstep.borrow_mut();
        let is_old = |(job, owner, attempt)| (job, owner) == (opening.job, opening.owner) && opening.attempt <= attempt;
        if let Some(link) = doorstep.expected.remove(&opening) {
            link.has_come(caller);
        } else if doorstep.newest.is_some_and(is_old) {
            // The observation shows that the caller is fenced: the newest attempt, that of the caller.
            let newest = doorstep.newest.map_or(0, |(.., attempt)| attempt.0 as i64);
            io.observe("door.refuse", &self.address.to_string(), [newest, opening.attempt.0 as i64, 0]);
            tracing::debug!(attempt = %opening.attempt, "a caller of an attempt that is over was turned away");
        } else {
            doorstep.early.keep(io, opening, caller);
        }
    }
}

#[cfg(test)]
mod tests;
