//! A core's ring for files and sockets, which also keeps memory alive while the kernel uses it.
//!
//! An operation's buffer, paths and descriptor move into a *slot* of the ring when it starts, and come out when the kernel reports its completion. The
//! future that waits for it ([`Op`]) holds only the slot's number: dropping it abandons the slot, whose content then lives on until the completion and is
//! freed there. So the kernel never writes into memory that has been reused.
//!
//! Completions that are there as soon as the operation is submitted (a read from the page cache, a send into a socket's buffer) are seen at once. The
//! others are looked for once per turn of the core, in memory, and end its sleep ([`Ring::sleep`]) when no task has work.

use super::descriptor::Descriptor;
use crate::Buffer;
use io_uring::{IoUring, opcode, squeue, types};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The most operations that one system call submits.
pub(super) const SUBMISSION_ENTRIES: u32 = 256;

/// The most operations that the kernel holds; the completion queue has room for all of them, so none is ever lost. Further operations wait here.
pub(super) const IN_FLIGHT_MAX: u32 = 2048;

/// How long the end of a core waits for cancelled operations before it leaks their memory to the kernel.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(5);

/// The pause before operations are offered again for which the kernel had no memory.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// The user data of operations that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// The user data of the watch on the doorbell.
const BELL: u64 = u64::MAX - 1;

/// The memory that an operation points into; all of it lives on the heap and does not move when this is moved.
pub(super) enum Kept {
    /// No memory besides the descriptor.
    Nothing,
    /// Bytes to read or write.
    Buffer(Buffer),
    /// One path.
    Path(#[allow(dead_code, reason = "owned for the kernel")] CString),
    /// Two paths.
    Paths(#[allow(dead_code, reason = "owned for the kernel")] CString, #[allow(dead_code, reason = "as above")] CString),
    /// The result of statx, and the path it looks at.
    Stat(Box<libc::statx>, #[allow(dead_code, reason = "owned for the kernel")] CString),
    /// The address of a peer.
    Address(Box<super::address::RawAddress>),
}

/// The resources that move into the slot with an operation.
pub(super) struct Request {
    /// The file or socket it works on: open until it completes.
    #[allow(dead_code, reason = "owned for the kernel")]
    pub(super) descriptor: Option<Rc<Descriptor>>,
    /// The memory it points into.
    pub(super) kept: Kept,
    /// Whether its result is a new descriptor, to be closed if nobody waits any more.
    pub(super) opens: bool,
}

enum State {
    Waiting(Option<Waker>),
    Abandoned,
    Done(i32),
}

struct Slot {
    request: Request,
    state: State,
}

struct Inner {
    uring: IoUring,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Started operations that are not yet in the submission queue.
    backlog: VecDeque<squeue::Entry>,
    /// Operations in the submission queue or with the kernel.
    in_flight: u32,
    /// Whether the kernel watches the doorbell.
    bell_watched: bool,
    /// Whether the ring is closed: no operation starts any more.
    closed: bool,
}

/// A ring whose completions do not interrupt the core: the kernel signals that there are some, and the core's next turn fetches them. Kernels before 5.19
/// interrupt.
fn set_up() -> io::Result<IoUring> {
    let mut interrupting = IoUring::builder();
    interrupting.setup_cqsize(IN_FLIGHT_MAX).setup_clamp();
    let mut patient = interrupting.clone();
    patient.setup_coop_taskrun().setup_taskrun_flag();
    match patient.build(SUBMISSION_ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => interrupting.build(SUBMISSION_ENTRIES),
        ring => ring,
    }
}

/// The ring of one core. Must not be used from another thread.
pub(super) struct Ring {
    inner: RefCell<Inner>,
}

impl Ring {
    /// Sets a ring up.
    pub(super) fn new() -> io::Result<Rc<Self>> {
        let inner = Inner {
            uring: set_up()?,
            slots: Vec::new(),
            free: Vec::new(),
            backlog: VecDeque::new(),
            in_flight: 0,
            bell_watched: false,
            closed: false,
        };
        Ok(Rc::new(Self { inner: RefCell::new(inner) }))
    }

    /// Starts an operation and submits it.
    ///
    /// # Safety
    /// Everything `entry` points at is owned by `request`, or lives for ever, and its descriptor is that of `request`.
    pub(super) unsafe fn start(self: &Rc<Self>, entry: squeue::Entry, request: Request) -> Op {
        // SAFETY: as promised by the caller.
        let op = unsafe { self.queue(entry, request) };
        self.submit();
        op
    }

    /// Starts an operation that the next [`Ring::submit`] submits.
    ///
    /// # Safety
    /// As for [`Ring::start`].
    pub(super) unsafe fn queue(self: &Rc<Self>, entry: squeue::Entry, request: Request) -> Op {
        let mut inner = self.inner.borrow_mut();
        let state = if inner.closed { State::Done(-libc::ECANCELED) } else { State::Waiting(None) };
        let slot = Some(Slot { request, state });
        let number = match inner.free.pop() {
            Some(number) => {
                if let Some(place) = inner.slots.get_mut(number) {
                    *place = slot;
                }
                number
            }
            None => {
                inner.slots.push(slot);
                inner.slots.len() - 1
            }
        };
        if !inner.closed {
            inner.backlog.push_back(entry.user_data(number as u64));
        }
        Op { ring: Rc::clone(self), number: Some(number) }
    }

    /// Submits the queued operations and takes in completions.
    pub(super) fn submit(&self) {
        loop {
            let result = self.inner.borrow_mut().hand_over();
            let completed = self.collect();
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // The kernel is short of memory, or has completions to deliver first. The core's next turn tries again.
                    if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) {
                        tracing::error!(%error, "the kernel takes no operations");
                    }
                    return;
                }
            }
            if completed == 0 || self.inner.borrow().backlog.is_empty() {
                return;
            }
        }
    }

    /// Takes in completions and wakes the tasks that wait for them. Returns the number of completions.
    fn collect(&self) -> usize {
        let mut wakers = Vec::new();
        let mut freed = Vec::new();
        let mut completed = 0;
        {
            let mut inner = self.inner.borrow_mut();
            let Inner { uring, slots, free, in_flight, bell_watched, .. } = &mut *inner;
            for completion in uring.completion() {
                match completion.user_data() {
                    NOBODY => continue,
                    BELL => {
                        *bell_watched = false;
                        continue;
                    }
                    _ => completed += 1,
                }
                *in_flight -= 1;
                let number = completion.user_data() as usize;
                let Some(place) = slots.get_mut(number) else { continue };
                let Some(slot) = place else { continue };
                match std::mem::replace(&mut slot.state, State::Done(completion.result())) {
                    State::Waiting(waker) => wakers.extend(waker),
                    State::Abandoned => {
                        freed.extend(place.take().map(|slot| (slot, completion.result())));
                        free.push(number);
                    }
                    State::Done(_) => {}
                }
            }
        }
        // Not while the ring is borrowed: closing a descriptor is an operation, too.
        for (slot, result) in freed {
            if slot.request.opens && result >= 0 {
                // SAFETY: the kernel has just made this descriptor for an operation whose future is gone; nobody else knows it.
                drop(unsafe { OwnedFd::from_raw_fd(result) });
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        completed
    }

    /// The ring's part of a core's turn: takes in completions and submits operations that had to wait.
    pub(super) fn turn(&self) {
        self.collect();
        if self.has_backlog() || self.has_undelivered() {
            self.submit();
        }
    }

    /// Whether the kernel has completions that it delivers only in the next system call.
    fn has_undelivered(&self) -> bool {
        self.inner.borrow_mut().uring.submission().taskrun()
    }

    fn has_backlog(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        !inner.backlog.is_empty() || !inner.uring.submission().is_empty()
    }

    /// Sleeps until an operation completes, `bell` becomes readable, or `timeout` is over; `None` waits for ever. May return early.
    pub(super) fn sleep(&self, bell: RawFd, timeout: Option<Duration>) {
        let timeout = if self.has_backlog() { Some(timeout.map_or(RETRY_AFTER, |timeout| timeout.min(RETRY_AFTER))) } else { timeout };
        let mut inner = self.inner.borrow_mut();
        if !inner.bell_watched {
            let watch = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).build().user_data(BELL);
            // SAFETY: the operation points at nothing.
            inner.bell_watched = unsafe { inner.uring.submission().push(&watch) }.is_ok();
            if !inner.bell_watched {
                // There is no room for the watch: the kernel takes nothing now. Come back soon rather than sleep without hearing the bell.
                drop(inner);
                return self.submit();
            }
        }
        let submitter = inner.uring.submitter();
        // All errors mean "look again": the time is over, a signal arrived, completions are to be taken in first.
        let _ = match timeout {
            Some(timeout) => {
                let timeout = types::Timespec::from(timeout);
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
            }
            None => submitter.submit_and_wait(1),
        };
        drop(inner);
        self.collect();
        if !self.inner.borrow().bell_watched {
            // The bell rang. Reading resets it, so that the next watch waits for the next ring.
            let mut count = 0u64;
            // SAFETY: the pointer and the length are those of a live number; the descriptor does not block.
            unsafe { libc::read(bell, (&raw mut count).cast(), size_of::<u64>()) };
        }
    }

    /// Closes `fd` without waiting for it: the last close of a file that has been unlinked frees its blocks, which can take long.
    pub(super) fn close(self: &Rc<Self>, fd: RawFd) {
        if self.inner.borrow().closed {
            // SAFETY: the caller gives the descriptor up.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return;
        }
        let request = Request { descriptor: None, kept: Kept::Nothing, opens: false };
        // SAFETY: the operation points at nothing, and the caller gives the descriptor up.
        drop(unsafe { self.start(opcode::Close::new(types::Fd(fd)).build(), request) });
    }

    /// Cancels the operations under way and waits until the kernel has released all memory. No operation starts any more.
    pub(super) fn shut_down(&self) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.closed = true;
            let never_started: Vec<u64> = inner.backlog.drain(..).map(|entry| entry.get_user_data()).collect();
            for number in never_started {
                if let Some(Some(slot)) = inner.slots.get_mut(number as usize) {
                    slot.state = State::Done(-libc::ECANCELED);
                }
            }
            let numbers: Vec<u64> =
                (0..).zip(&inner.slots).filter(|(_, slot)| slot.as_ref().is_some_and(Slot::is_under_way)).map(|(n, _)| n).collect();
            inner.backlog.extend(numbers.into_iter().map(|number| opcode::AsyncCancel::new(number).build().user_data(NOBODY)));
        }
        let deadline = Instant::now() + SHUT_DOWN_WITHIN;
        loop {
            // The cancellations count as operations that nobody waits for; the limit on those under way does not hold them back for long.
            let _ = self.inner.borrow_mut().hand_over();
            self.collect();
            let mut inner = self.inner.borrow_mut();
            if inner.in_flight == 0 {
                return;
            }
            if Instant::now() > deadline {
                tracing::error!(operations = inner.in_flight, "some operations could not be cancelled: their memory is left to the kernel");
                std::mem::forget(std::mem::take(&mut inner.slots));
                inner.free.clear();
                return;
            }
            let timeout = types::Timespec::new().nsec(10_000_000);
            // It times out, is interrupted, or has something to collect: all the same here.
            let _ = inner.uring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout));
        }
    }
}

impl Slot {
    fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Done(_))
    }
}

impl Inner {
    /// Moves the backlog into the submission queue and submits, until it is empty or the kernel holds as much as it may.
    fn hand_over(&mut self) -> io::Result<()> {
        loop {
            let mut queue = self.uring.submission();
            while let Some(entry) = self.backlog.front() {
                let counts = entry.get_user_data() != NOBODY;
                if counts && self.in_flight >= IN_FLIGHT_MAX {
                    break;
                }
                // SAFETY: what the entry points at is owned by its slot, which is freed only after the completion (`queue`'s contract).
                if unsafe { queue.push(entry) }.is_err() {
                    break;
                }
                self.in_flight += u32::from(counts);
                self.backlog.pop_front();
            }
            let has_work = !queue.is_empty() || queue.taskrun();
            drop(queue);
            if !has_work {
                return Ok(());
            }
            self.uring.submit()?;
            if self.backlog.is_empty() || self.in_flight >= IN_FLIGHT_MAX {
                return Ok(());
            }
        }
    }
}

/// Waits for one operation. Dropping it abandons the operation, which still runs to its end.
#[must_use]
pub(super) struct Op {
    ring: Rc<Ring>,
    /// `None` once the result has been handed out.
    number: Option<usize>,
}

impl Future for Op {
    /// The result of the system call, and the memory that the operation had borrowed.
    type Output = (io::Result<u32>, Kept);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(number) = self.number else { return Poll::Pending };
        let mut inner = self.ring.inner.borrow_mut();
        let Some(place) = inner.slots.get_mut(number) else { return Poll::Pending };
        match place.as_mut().map(|slot| &mut slot.state) {
            Some(State::Done(_)) => {}
            Some(state) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            None => return Poll::Pending,
        }
        let Some(Slot { request, state: State::Done(result) }) = place.take() else { return Poll::Pending };
        inner.free.push(number);
        drop(inner);
        self.number = None;
        let result = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as u32) };
        Poll::Ready((result, request.kept))
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let freed = {
            let mut inner = self.ring.inner.borrow_mut();
            let Some(place) = inner.slots.get_mut(number) else { return };
            match place {
                Some(slot) if slot.is_under_way() => {
                    slot.state = State::Abandoned;
                    return;
                }
                _ => {
                    let freed = place.take();
                    inner.free.push(number);
                    freed
                }
            }
        };
        if let Some(Slot { request: Request { opens: true, .. }, state: State::Done(fd @ 0..) }) = freed {
            // SAFETY: as in `collect`: made for this operation, and nobody has taken it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}
