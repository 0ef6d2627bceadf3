//! Accepting connections, for as long as callers come.
//!
//! An [`Acceptor`] returns one caller after the other and never ends. If a call cannot be answered, for want of descriptors perhaps, it logs a warning and
//! goes on after a pause: an error neither ends a listener nor makes it spin, nor fails the job that the listener serves. The listener itself decides what
//! it does with callers, and how many it admits.

use crate::complaints::Complaints;
use crate::{Io, IoError, Listener, LocalBoxFuture, NetRead, NetWrite};
use core::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A pause after an accept that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A connection, and the address of the caller.
pub type Call = (Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr);

/// Answers calls at one address.
pub struct Acceptor {
    io: Io,
    // Before `listener`, so that an accept under way is dropped first.
    accepting: Option<LocalBoxFuture<Result<Call, IoError>>>,
    listener: Box<dyn Listener>,
    pause: Option<LocalBoxFuture<()>>,
    /// The warning when a call cannot be answered.
    complaint: &'static str,
    complaints: Complaints,
}

impl Acceptor {
    /// Answers at `listener`; `complaint` is the warning when a call cannot be answered.
    pub fn new(io: Io, listener: Box<dyn Listener>, complaint: &'static str) -> Self {
        Self { io, listener, accepting: None, pause: None, complaint, complaints: Complaints::default() }
    }

    /// The next caller, when one arrives.
    pub fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Call> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let accepted = ready!(self.accepting.get_or_insert_with(|| self.listener.accept()).as_mut().poll(cx));
            self.accepting = None;
            match accepted {
                Ok(call) => return Poll::Ready(call),
                Err(error) => {
                    if let Some(count) = self.complaints.count(&self.io) {
                        tracing::warn!(%error, count, "{}", self.complaint);
                    }
                    self.pause(ERROR_PAUSE);
                }
            }
        }
    }

    /// Passes the waiting callers to `take`. After `batch` of them the core's other tasks have their turn first.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, batch: usize, mut take: impl FnMut(Call)) {
        for _ in 0..batch {
            let Poll::Ready(call) = self.poll_call(cx) else { return };
            take(call);
        }
        cx.waker().wake_by_ref();
    }

    /// Answers nobody for `time`.
    pub fn pause(&mut self, time: Duration) {
        self.pause = Some(self.io.clock().sleep_until(self.io.clock().now().after(time)));
    }
}
