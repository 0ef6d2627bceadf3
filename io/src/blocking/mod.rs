//! A small backend for tools that read a few files where io_uring is denied: blocking system calls on the calling thread.
//!
//! It offers files, clocks, random streams, and tasks that take turns on the one thread. It has no network, whose calls fail with `Unsupported`, and no
//! cores. While an operation on a file is under way nothing else runs, so it is not for jobs; [`run`] is for an errand that ends. It keeps every promise of
//! the traits about files, and passes the suite that checks them ([`crate::conformance::of_one_core`]).

mod disk;
mod executor;

use crate::uring::{clock::UringClock, identity, random, timers::Timers};
use crate::{Io, IoError, IoParts, Listener, LocalBoxFuture, Net, NetRead, NetWrite, Rng, SplitMix, StartError};
use disk::BlockingDisk;
use executor::Executor;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// Runs `errand` to its end on this thread, which must not be a core; tasks that it has started and that are then under way are dropped.
///
/// # Errors
/// If the kernel provides no random numbers.
pub fn run<T: 'static>(errand: impl FnOnce(Io) -> LocalBoxFuture<T>) -> Result<T, StartError> {
    let root_seed = random::root_seed().map_err(|error| StartError::Other { core: 0, reason: format!("getrandom: {error}") })?;
    let timers = Rc::new(Timers::default());
    let executor = Executor::new(Rc::clone(&timers));
    let io = Io::new(IoParts {
        clock: Rc::new(UringClock { timers }),
        spawner: executor.spawner(),
        disk: Rc::new(BlockingDisk),
        net: Rc::new(NoNet),
        rng: Rc::new(move |name: &str| -> Box<dyn Rng> { Box::new(SplitMix::stream(root_seed, name)) }),
        process: Rc::new(identity::this_process()),
        probe: None,
        spin_limit: 0,
    });
    Ok(executor.run(errand(io)))
}

/// The network of this backend: every call fails.
struct NoNet;

fn unsupported<T: 'static>(operation: &'static str, address: SocketAddr) -> LocalBoxFuture<Result<T, IoError>> {
    Box::pin(std::future::ready(Err(IoError::new(operation, address, io::ErrorKind::Unsupported.into()))))
}

impl Net for NoNet {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        unsupported("listen at", address)
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>), IoError>> {
        unsupported("connect to", address)
    }
}
