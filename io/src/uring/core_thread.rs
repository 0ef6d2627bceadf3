//! The thread of a core, from its start to its end.

use super::availability;
use super::clock::UringClock;
use super::disk::UringDisk;
use super::helper::Helper;
use super::identity::this_process;
use super::monotonic::now;
use super::net::UringNet;
use super::placement::{Placement, pin_to};
use super::raw::Ring;
use super::scheduler::Scheduler;
use super::timers::Timers;
use crate::{CoreId, CoreMain, Io, IoParts, Rng, Spawner, SplitMix, StartError, TaskClass};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// How late the kernel may fire a timer so as to combine several; its default of 50 us is most of the delay of a short sleep.
const TIMER_SLACK_NS: libc::c_ulong = 1000;

/// The settings of a core.
pub(super) struct Settings {
    pub(super) core: CoreId,
    /// The number of cores started together.
    pub(super) cores: usize,
    /// The CPU to which it is pinned, if any.
    pub(super) cpu: Option<usize>,
    /// Where its other threads may run if it is pinned.
    pub(super) cpus: Vec<usize>,
    pub(super) spin_limit: u32,
    pub(super) root_seed: u64,
}

/// A core that is set up but has not started its main.
pub(super) struct ReadyCore {
    settings: Settings,
    scheduler: Rc<Scheduler>,
    ring: Rc<Ring>,
    helper: Helper,
}

impl ReadyCore {
    /// Pins this thread and sets up its ring.
    pub(super) fn prepare(settings: Settings) -> Result<Self, StartError> {
        let core = settings.core.0;
        let other = |reason: String| StartError::Other { core, reason };
        if let Some(cpu) = settings.cpu {
            pin_to(cpu).map_err(|error| other(format!("cannot pin the thread to CPU {cpu}: {error}")))?;
        }
        let helper = Helper::new(settings.cpu.map(|_| Placement::of_this_core(&settings.cpus)));
        // SAFETY: the call takes no pointers. If it fails, timers are a little late.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS) };
        let scheduler = Scheduler::new().map_err(|error| other(format!("cannot set the doorbell up: {error}")))?;
        let ring = Ring::new().map_err(|error| availability::no_ring(error, settings.cores))?;
        Ok(Self { settings, scheduler, ring, helper })
    }

    /// Runs `main` to its end, and then drops the tasks that remain.
    pub(super) fn run(self, main: CoreMain) {
        let Self { settings, scheduler, ring, helper } = self;
        let _entered = scheduler.enter();
        let timers = Rc::new(Timers::default());
        let io = Io::new(IoParts {
            clock: Rc::new(UringClock { timers: Rc::clone(&timers) }),
            spawner: Rc::clone(&scheduler) as Rc<dyn Spawner>,
            disk: Rc::new(UringDisk::new(Rc::clone(&ring), helper)),
            net: Rc::new(UringNet::new(Rc::clone(&ring))),
            rng: Rc::new(move |name: &str| -> Box<dyn Rng> { Box::new(SplitMix::stream(settings.root_seed, name)) }),
            process: Rc::new(this_process()),
            probe: None,
            spin_limit: settings.spin_limit,
        });
        let ended = spawn_main(&scheduler, settings.core, io, main);
        while !ended.get() {
            scheduler.open_mail();
            ring.turn();
            if timers.next().is_some() {
                timers.fire(now());
            }
            scheduler.run_turn();
            if scheduler.has_work() || ended.get() {
                continue;
            }
            if scheduler.doze() {
                ring.sleep(scheduler.bell(), timers.next().map(|deadline| deadline.since(now())));
                scheduler.awake();
            }
        }
        scheduler.close();
        ring.shut_down();
    }
}

/// Starts `main` as a task like any other. The returned flag becomes true when the task is dropped, which happens at its end and after a panic alike.
fn spawn_main(scheduler: &Scheduler, core: CoreId, io: Io, main: CoreMain) -> Rc<Cell<bool>> {
    struct EndOnDrop(Rc<Cell<bool>>);
    impl Drop for EndOnDrop {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let ended = Rc::new(Cell::new(false));
    let guard = EndOnDrop(Rc::clone(&ended));
    let task = async move {
        let _guard = guard;
        match catch_unwind(AssertUnwindSafe(|| main(core, io))) {
            Ok(future) => future.await,
            Err(_) => tracing::error!(core = core.0, "the main of a core panicked"),
        }
    };
    scheduler.spawn(TaskClass::Throughput, "main", Box::pin(task));
    ended
}
