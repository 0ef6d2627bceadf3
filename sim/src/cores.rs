//! Simulated cores: groups of tasks on the one thread of the world.
//!
//! A handle to the cores must be `Send + Sync`, as the engine's trait demands, while everything behind it lives on one thread. So the handle
//! is only the sending end of a mailbox; a task of the world receives the requests and starts the cores, one by one, at moments that the
//! schedule chooses.

use crate::clock::SimClock;
use crate::config::WorldConfig;
use crate::disk::{DiskHandle, SimulatedDisk};
use crate::net::{Network, SimNet};
use crate::rng::TracedRng;
use crate::tasks::{CoreKey, Failure, NO_CORE, Tasks};
use std::rc::Rc;
use thalweg_io::{
    CoreGroup, CoreId, CoreMain, Cores, Io, IoParts, LocalBoxFuture, Mailbox, MailboxReceiver, Probe, ProbeEvent, Rng, Spawner, StartError,
    TaskClass, mailbox,
};

/// The cores of a simulated machine: what the engine is given in place of threads.
#[derive(Clone)]
pub struct SimCores {
    available: usize,
    requests: Mailbox<Vec<CoreMain>>,
}

impl SimCores {
    /// Runs `body` on a core of its own and waits for what it returns. For tests and drivers; the engine starts its cores itself.
    ///
    /// # Panics
    /// If the core ends without a result, which only the end of the world causes.
    pub async fn on_core<T: Send + 'static>(&self, body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> T {
        let (sender, mut receiver) = mailbox();
        let main: CoreMain = Box::new(move |_, io| {
            let result = body(io);
            Box::pin(async move {
                // The receiver waits for exactly this message; if it is gone, so is the world.
                let _ = sender.send(result.await);
            })
        });
        self.request(vec![main]);
        receiver.recv().await.expect("invariant: a core ends after it has sent its result")
    }

    fn request(&self, mains: Vec<CoreMain>) {
        // Without a receiver the run is over, and nothing is to be started.
        let _ = self.requests.send(mains);
    }
}

impl Cores for SimCores {
    fn available(&self) -> usize {
        self.available
    }

    fn start(&self, mains: Vec<CoreMain>) -> Result<Box<dyn CoreGroup>, StartError> {
        self.request(mains);
        Ok(Box::new(SimCoreGroup))
    }
}

/// Nothing to wait for: a simulated core is no thread, and waiting would stop the world.
struct SimCoreGroup;

impl CoreGroup for SimCoreGroup {
    fn join(self: Box<Self>) {}
}

/// What cores are made of, shared by all of a run.
pub(crate) struct Machine {
    pub(crate) seed: u64,
    pub(crate) config: WorldConfig,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) disk: SimulatedDisk,
    pub(crate) network: Rc<Network>,
    /// How old the world was when the run began, in nanoseconds: wall clocks go on from there.
    pub(crate) born_ns: u64,
}

impl Machine {
    /// A handle to this machine's cores. Takes effect while the machine's starter task runs.
    pub(crate) fn cores(self: &Rc<Self>) -> SimCores {
        let (requests, receiver) = mailbox();
        let machine = Rc::clone(self);
        self.tasks.spawn(NO_CORE, "world/start-cores", Box::pin(machine.start_cores(receiver)));
        SimCores { available: self.config.cores_available, requests }
    }

    async fn start_cores(self: Rc<Self>, mut requests: MailboxReceiver<Vec<CoreMain>>) {
        while let Some(mains) = requests.recv().await {
            for (number, main) in mains.into_iter().enumerate() {
                self.start_core(CoreId(number), main);
            }
        }
    }

    fn start_core(&self, id: CoreId, main: CoreMain) {
        let core = self.tasks.new_core();
        let io = self.io(id, core);
        let tasks = Rc::clone(&self.tasks);
        let body = async move {
            main(id, io).await;
            tasks.end_core(core);
        };
        self.tasks.spawn(core, &format!("core-{core}/main"), Box::pin(body));
    }

    fn io(&self, id: CoreId, core: CoreKey) -> Io {
        let (seed, trace) = (self.seed, Rc::clone(&self.tasks.trace));
        let clock = self.config.clocks.get(id.0 % self.config.clocks.len().max(1)).cloned().unwrap_or_default();
        Io::new(IoParts {
            clock: Rc::new(SimClock::new(Rc::clone(&self.tasks), clock, self.born_ns)),
            spawner: Rc::new(SimSpawner { tasks: Rc::clone(&self.tasks), core }),
            disk: Rc::new(DiskHandle::new(self.disk.clone(), Rc::clone(&self.tasks))),
            net: Rc::new(SimNet::new(Rc::clone(&self.network))),
            rng: Rc::new(move |name| Box::new(TracedRng::new(seed, core, name, Rc::clone(&trace))) as Box<dyn Rng>),
            probe: Some(Rc::new(SimProbe { tasks: Rc::clone(&self.tasks) })),
            spin_limit: self.config.spin_limit,
        })
    }
}

/// Starts tasks on one simulated core. The class is left to the schedule, which knows better how to be unfair.
struct SimSpawner {
    tasks: Rc<Tasks>,
    core: CoreKey,
}

impl Spawner for SimSpawner {
    fn spawn(&self, _class: TaskClass, name: &str, future: LocalBoxFuture<()>) {
        self.tasks.spawn(self.core, &format!("core-{}/{name}", self.core), future);
    }
}

/// Carries the engine's events to the trace and the oracles. The first violation ends the run.
struct SimProbe {
    tasks: Rc<Tasks>,
}

impl Probe for SimProbe {
    fn observe(&self, event: ProbeEvent<'_>) {
        if self.tasks.is_stopped() {
            return;
        }
        if let Err((oracle, violation)) = self.tasks.trace.observe(self.tasks.now_ns(), &event) {
            self.tasks.fail(Failure::Violated { oracle, reason: violation.0 });
        }
        if self.tasks.kill_switch.count_event(event.name) {
            self.tasks.kill(Some(event.name));
        }
    }
}
