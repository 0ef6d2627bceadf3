//! What a process finds that has a stepped disk and nothing else: time that passes while somebody waits for it, and no tasks, network or date.

use crate::config::ClockConfig;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use thalweg_io::{
    Clock, Disk, Io, IoError, IoParts, Listener, LocalBoxFuture, MonotonicNs, Net, NetRead, NetWrite, ProcessIdentity, Spawner, SplitMix,
    TaskClass, UnixMillis, yield_now,
};

const MS_IN_NS: u64 = 1_000_000;

/// The time of all processes. It goes on by a millisecond whenever somebody who sleeps is polled.
#[derive(Clone, Default)]
pub(super) struct Time {
    now_ms: Rc<Cell<u64>>,
}

impl Time {
    pub(super) async fn sleep_ms(&self, ms: u64) {
        self.sleep_until_ns(self.now_ms.get().saturating_add(ms).saturating_mul(MS_IN_NS)).await;
    }

    async fn sleep_until_ns(&self, deadline_ns: u64) {
        while self.now_ms.get().saturating_mul(MS_IN_NS) < deadline_ns {
            self.now_ms.set(self.now_ms.get() + 1);
            yield_now().await;
        }
    }
}

impl Clock for Time {
    fn now(&self) -> MonotonicNs {
        MonotonicNs(self.now_ms.get() * MS_IN_NS)
    }

    fn wall(&self) -> UnixMillis {
        panic!("there is no date here")
    }

    fn sleep_until(&self, deadline: MonotonicNs) -> LocalBoxFuture<()> {
        let time = self.clone();
        Box::pin(async move { time.sleep_until_ns(deadline.0).await })
    }
}

/// What there is none of.
struct Nothing;

impl Spawner for Nothing {
    fn spawn(&self, _class: TaskClass, name: &str, _future: LocalBoxFuture<()>) {
        panic!("there are no tasks here: {name}")
    }
}

impl Net for Nothing {
    fn listen(&self, address: SocketAddr) -> LocalBoxFuture<Result<Box<dyn Listener>, IoError>> {
        panic!("there is no network here: {address}")
    }

    fn connect(&self, address: SocketAddr) -> LocalBoxFuture<Result<(Box<dyn NetRead>, Box<dyn NetWrite>), IoError>> {
        panic!("there is no network here: {address}")
    }
}

/// The process that most tests have.
pub(super) fn this_process() -> ProcessIdentity {
    ProcessIdentity { host: "here".to_owned(), pid: 1, started: UnixMillis(ClockConfig::default().base_unix_ms) }
}

/// The handle of a process that has this disk and this time.
pub(super) fn io_with(process: &ProcessIdentity, disk: Rc<dyn Disk>, time: &Time) -> Io {
    Io::new(IoParts {
        clock: Rc::new(time.clone()),
        spawner: Rc::new(Nothing),
        disk,
        net: Rc::new(Nothing),
        rng: Rc::new(|name| Box::new(SplitMix::stream(0, name))),
        process: Rc::new(process.clone()),
        probe: None,
        spin_limit: 0,
    })
}
