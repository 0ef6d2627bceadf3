//! Answering calls (`io/src/acceptor.rs`).

#![allow(clippy::unwrap_used)]

use core::net::SocketAddr;
use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{Acceptor, Call, IoError, Listener, LocalBoxFuture};
use thalweg_small_world::World;

/// The pause after an accept that failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

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
