//! The behaviour that all backends share: one suite, run on io_uring and in the simulator.
//!
//! A [`Case`] is a function over a [`World`]. It panics where the world breaks a promise of the traits. A backend's tests iterate over [`all`] and
//! print each name, so that a failure says which promise was broken:
//!
//! ```no_run
//! # use thalweg_io::{conformance, CoreMain};
//! # struct MyWorld;
//! # impl conformance::World for MyWorld {
//! #     fn run(&self, _mains: Vec<CoreMain>) {}
//! #     fn scratch(&self) -> std::path::PathBuf { std::env::temp_dir() }
//! # }
//! let world = MyWorld;
//! for case in conformance::all() {
//!     println!("{}", case.name);
//!     (case.run)(&world);
//! }
//! ```
//!
//! The cases are independent of the backend: they wait by the door's clock, meet through rings and mailboxes, and touch files only in the directory they
//! are given. None measures speed. A few wait (a fifth of a second) to tell "waits" from "is slow".

mod between_cores;
mod durability;
mod files;
mod locks;
mod names;
mod network;
mod tasks;
mod time;

use crate::{CoreMain, Io, LocalBoxFuture};
use std::fmt::Debug;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// A result that must be a success for a case to go on.
trait Promised {
    type Value;

    /// The value. If there is none, the world has broken a promise, and the case panics at the caller's line with the error.
    fn promised(self) -> Self::Value;
}

impl<T, E: Debug> Promised for Result<T, E> {
    type Value = T;

    #[track_caller]
    fn promised(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("a promise is broken: {error:?}"),
        }
    }
}

impl<T> Promised for Option<T> {
    type Value = T;

    #[track_caller]
    fn promised(self) -> T {
        match self {
            Some(value) => value,
            None => panic!("a promise is broken: nothing came"),
        }
    }
}

/// A place to run cores in.
pub trait World {
    /// Runs one core per element and returns when all have ended. Called several times in a row, also around [`World::crash`]; the disk persists.
    fn run(&self, mains: Vec<CoreMain>);

    /// A new, empty directory on the disk that the cores see. It exists durably: a crash does not take it away.
    fn scratch(&self) -> PathBuf;

    /// Cuts the power of the disk: data that was not made durable may be lost. `false` if this world cannot; then the cases about it check nothing.
    fn crash(&self) -> bool {
        false
    }

    /// An address to listen at, with port 0: the system picks one.
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }
}

/// A case of the suite: one promise.
#[derive(Clone, Copy)]
pub struct Case {
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Panics if the world breaks it.
    pub run: fn(&dyn World),
}

/// Makes the cases of a module, named by their functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[crate::conformance::Case] = &[$(crate::conformance::Case { name: stringify!($name), run: $name }),*];
    };
}
use cases;

/// Every case, the simple ones first.
#[must_use]
pub fn all() -> Vec<Case> {
    [time::CASES, tasks::CASES, names::CASES, files::CASES, locks::CASES, durability::CASES, network::CASES, between_cores::CASES].concat()
}

/// The cases for a world without a network and with a single core: time, tasks and files.
#[must_use]
pub fn of_one_core() -> Vec<Case> {
    [time::CASES, tasks::CASES, names::CASES, files::CASES, durability::CASES].concat()
}

/// The longest time for a step: nothing in the suite takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The output of `future`, or `None` after `patience`; then the future is dropped.
async fn within<T>(io: &Io, patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut alarm = io.clock().sleep_until(io.clock().now().after(patience));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        alarm.as_mut().poll(cx).map(|()| None)
    })
    .await
}

async fn pause(io: &Io, duration: Duration) {
    io.clock().sleep_until(io.clock().now().after(duration)).await;
}

/// The slot for the result of a core.
struct Found<T>(Arc<Mutex<Option<T>>>);

impl<T: Send + 'static> Found<T> {
    /// A main that runs `body`, and the slot of its result.
    fn by<F: Future<Output = T> + 'static>(body: impl FnOnce(Io) -> F + Send + 'static) -> (CoreMain, Self) {
        let place = Arc::new(Mutex::new(None));
        let result = Arc::clone(&place);
        let main: CoreMain = Box::new(move |_, io| -> LocalBoxFuture<()> {
            Box::pin(async move {
                let output = within(&io.clone(), PATIENCE, body(io)).await;
                let output = output.expect("the case hangs: it did not end within a minute");
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
            })
        });
        (main, Self(place))
    }

    fn take(self) -> T {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.expect("the core came to no result: a panic before this one says why")
    }
}

/// Runs `body` on a core of its own.
fn on_one_core<T: Send + 'static, F: Future<Output = T> + 'static>(world: &dyn World, body: impl FnOnce(Io) -> F + Send + 'static) -> T {
    let (main, found) = Found::by(body);
    world.run(vec![main]);
    found.take()
}

/// Runs two bodies, each on a core of its own.
fn on_two_cores<A, B, F, G>(world: &dyn World, a: impl FnOnce(Io) -> F + Send + 'static, b: impl FnOnce(Io) -> G + Send + 'static) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
    F: Future<Output = A> + 'static,
    G: Future<Output = B> + 'static,
{
    let (first, found_first) = Found::by(a);
    let (second, found_second) = Found::by(b);
    world.run(vec![first, second]);
    (found_first.take(), found_second.take())
}

/// `len` bytes that differ from place to place and from seed to seed.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    use crate::Rng;
    let mut numbers = crate::SplitMix::new(seed);
    (0..len).map(|_| numbers.next_u64() as u8).collect()
}
