//! Answering calls, for as long as there are any.
//!
//! An [`Acceptor`] gives one caller after the other and never ends. A call that cannot be answered, for want of descriptors perhaps, is warned of, and
//! answering goes on after a pause: an error neither ends a listener nor makes it spin, nor fails whatever the listener is for. What becomes of a caller, and how many may be there, is the
//! listener's own affair.

use crate::complaints::Complaints;
use core::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thalweg_io::{Io, IoError, Listener, LocalBoxFuture, NetRead, NetWrite};

/// A pause after an accept that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A connection, and who has called.
pub(crate) type Call = (Box<dyn NetRead>, Box<dyn NetWrite>, SocketAddr);

/// Answers calls at one address.
pub(crate) struct Acceptor {
    io: Io,
    // What was begun goes before the listener does.
    accepting: Option<LocalBoxFuture<Result<Call, IoError>>>,
    listener: Box<dyn Listener>,
    pause: Option<LocalBoxFuture<()>>,
    /// What is said when a call cannot be answered.
    complaint: &'static str,
    complaints: Complaints,
}

impl Acceptor {
    pub(crate) fn new(io: Io, listener: Box<dyn Listener>, complaint: &'static str) -> Self {
        Self { io, listener, accepting: None, pause: None, complaint, complaints: Complaints::default() }
    }

    /// The next caller, when one comes.
    pub(crate) fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Call> {
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

    /// Gives the callers that are there to `take`. After `batch` of them the core's other tasks have their turn first.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>, batch: usize, mut take: impl FnMut(Call)) {
        for _ in 0..batch {
            let Poll::Ready(call) = self.poll_call(cx) else { return };
            take(call);
        }
        cx.waker().wake_by_ref();
    }

    /// Answers nobody for so long.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.pause = Some(self.io.clock().sleep_until(self.io.clock().now().after(time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::World;
    use std::cell::Cell;
    use std::future::poll_fn;

    /// Refuses so many times, and then is called at once each time.
    struct Refusing {
        world: World,
        times: Cell<u32>,
    }

    impl Listener for Refusing {
        fn address(&self) -> SocketAddr {
            SocketAddr::from(([127, 0, 0, 1], 7300))
        }

        fn accept(&self) -> LocalBoxFuture<Result<Call, IoError>> {
            let (address, left) = (self.address(), self.times.get());
            self.times.set(left.saturating_sub(1));
            let ((read, write), _) = self.world.pair(1, 1);
            let error = || IoError::new("accept at", address, std::io::ErrorKind::QuotaExceeded.into());
            Box::pin(std::future::ready(if left > 0 { Err(error()) } else { Ok((read, write, address)) }))
        }
    }

    fn acceptor(world: &World, times: u32) -> Acceptor {
        let listener = Refusing { world: world.clone(), times: Cell::new(times) };
        Acceptor::new(world.io(), Box::new(listener), "a call cannot be answered")
    }

    #[test]
    fn calls_that_cannot_be_answered_delay_the_next_one_and_do_not_end_the_listener() {
        let world = World::default();
        let mut acceptor = acceptor(&world, 3);
        world.run(poll_fn(|cx| acceptor.poll_call(cx)));
        assert_eq!(world.now(), 3 * ERROR_PAUSE);
        world.run(poll_fn(|cx| acceptor.poll_call(cx)));
        assert_eq!(world.now(), 3 * ERROR_PAUSE);
    }

    #[test]
    fn a_flood_of_callers_lets_others_have_their_turn_after_each_batch() {
        let world = World::default();
        let mut acceptor = acceptor(&world, 0);
        let (mut turns, mut calls) = (0, 0);
        world.run(poll_fn(|cx| {
            turns += 1;
            acceptor.poll_batch(cx, 16, |_| calls += 1);
            if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!((calls, world.now()), (3 * 16, Duration::ZERO));
    }
}
