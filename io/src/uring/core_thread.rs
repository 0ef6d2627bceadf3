//! What a core's thread does from its birth to its end.

use super::clock::UringClock;
use super::disk::UringDisk;
use super::net::UringNet;
use super::raw::Ring;
use super::spawner::UringSpawner;
use crate::{CoreId, CoreMain, Io, IoParts, Rng, Spawner, SplitMix, TaskClass};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The least that glommio allocates and registers; its own files, which would use it, are not used here.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// How long one class of tasks may keep the core when others wait, as long as its tasks yield. glommio's default of 100 ms is a pause that people see.
const PREEMPT_EVERY: Duration = Duration::from_millis(1);

/// What every core is told.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) core: CoreId,
    /// The CPU to stay on.
    pub(super) cpu: usize,
    pub(super) spin_limit: u32,
    pub(super) root_seed: u64,
}

/// A core that has all it needs and has not begun.
pub(super) struct ReadyCore {
    settings: Settings,
    executor: LocalExecutor,
    ring: Rc<Ring>,
}

impl ReadyCore {
    /// Pins this thread and sets its rings up.
    pub(super) fn prepare(settings: Settings) -> Result<Self, String> {
        pin_to(settings.cpu).map_err(|error| format!("cannot pin the thread to CPU {}: {error}", settings.cpu))?;
        // Not glommio's pinning, which wants to understand the whole machine's topology first.
        let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY_BYTES).preempt_timer(PREEMPT_EVERY);
        let executor = match catch_unwind(AssertUnwindSafe(|| builder.make())) {
            Ok(Ok(executor)) => executor,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("glommio panicked while it set the executor up".to_owned()),
        };
        let ring = Ring::new().map_err(|error| format!("cannot set up the ring for files and sockets: {error}"))?;
        Ok(Self { settings, executor, ring })
    }

    /// Runs `main` to its end, and then drops what it left behind.
    pub(super) fn run(self, main: CoreMain) {
        let Self { settings, executor, ring } = self;
        executor.run(async move {
            let spawner = UringSpawner::new();
            let io = Io::new(IoParts {
                clock: Rc::new(UringClock),
                spawner: Rc::new(spawner.clone()),
                disk: Rc::new(UringDisk::new(Rc::clone(&ring))),
                net: Rc::new(UringNet::new(Rc::clone(&ring))),
                rng: Rc::new(move |name: &str| -> Box<dyn Rng> { Box::new(SplitMix::stream(settings.root_seed, name)) }),
                probe: None,
                spin_limit: settings.spin_limit,
            });
            spawner.spawn(TaskClass::Latency, "reaper", Box::pin(Rc::clone(&ring).reap_for_ever()));
            run_main(&spawner, settings.core, io, main).await;
            spawner.close();
            ring.shut_down();
        });
    }
}

/// Runs `main` as a task like any other and returns when it is done, or has panicked.
async fn run_main(spawner: &UringSpawner, core: CoreId, io: Io, main: CoreMain) {
    /// Set when the task is dropped, which is what its end and its panic have in common.
    #[derive(Default)]
    struct Ended {
        yes: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }
    struct EndOnDrop(Rc<Ended>);
    impl Drop for EndOnDrop {
        fn drop(&mut self) {
            self.0.yes.set(true);
            if let Some(waker) = self.0.waker.take() {
                waker.wake();
            }
        }
    }
    let ended = Rc::new(Ended::default());
    let guard = EndOnDrop(Rc::clone(&ended));
    let task = async move {
        // Dropped after the future of `main`, which is made and finished inside.
        let _guard = guard;
        let future = catch_unwind(AssertUnwindSafe(|| main(core, io)));
        match future {
            Ok(future) => future.await,
            Err(_) => tracing::error!(core = core.0, "the main of a core panicked"),
        }
    };
    spawner.spawn(TaskClass::Throughput, "main", Box::pin(task));
    poll_fn(|cx| {
        if ended.yes.get() {
            return Poll::Ready(());
        }
        ended.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

fn pin_to(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set, CPU_SET checks its bounds, and the kernel only reads the set.
    let pinned = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if pinned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
