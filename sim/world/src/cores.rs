//! Simulated cores: groups of tasks on the one thread of the world.
//!
//! A handle to the cores must be `Send + Sync`, as the engine's trait demands, while everything behind it lives on one thread. So the handle
//! is only the sending end of a mailbox; a task of the world receives the requests and starts the cores, one by one, at moments that the
//! schedule chooses.

use crate::clock::{SimClock, wall_ms};
use crate::disk::DiskHandle;
use crate::net::SimNet;
use crate::process::Process;
use crate::rng::TracedRng;
use crate::tasks::{CoreKey, NO_CORE};
use std::rc::Rc;
use thalweg_io::{
    CoreGroup, CoreId, CoreMain, Cores, Io, IoParts, LocalBoxFuture, Mailbox, MailboxReceiver, Probe, ProbeEvent, ProcessIdentity, Rng,
    Spawner, StartError, TaskClass, UnixMillis, mailbox,
};

/// The cores of a simulated process: what the engine is given in place of threads.
#[derive(Clone)]
pub struct SimCores {
    available: usize,
    requests: Mailbox<Vec<CoreMain>>,
}

impl SimCores {
    /// Runs `body` on a core of its own and waits for what it returns. For tests and drivers; the engine starts its cores itself.
    ///
    /// # Panics
    /// If the core ends without a result, which only the end of the world or of its process causes; [`SimCores::try_on_core`] says so instead.
    pub async fn on_core<T: Send + 'static>(&self, body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> T {
        self.try_on_core(body).await.expect("invariant: a core ends after it has sent its result")
    }

    /// Runs `body` on a core of its own and waits for what it returns; `None` if its process is killed before.
    pub async fn try_on_core<T: Send + 'static>(&self, body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> Option<T> {
        let (sender, mut receiver) = mailbox();
        let main: CoreMain = Box::new(move |_, io| {
            let result = body(io);
            Box::pin(async move {
                // The receiver waits for exactly this message; if it is gone, so is the world.
                let _ = sender.send(result.await);
            })
        });
        self.request(vec![main]);
        receiver.recv().await
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

impl Process {
    /// A handle to the cores of this process. Takes effect while the world's starter task runs.
    pub(crate) fn cores(self: &Rc<Self>) -> SimCores {
        let (requests, receiver) = mailbox();
        let process = Rc::clone(self);
        self.tasks.spawn(NO_CORE, "world/start-cores", Box::pin(process.start_cores(receiver)));
        SimCores { available: self.setup.cores_available, requests }
    }

    async fn start_cores(self: Rc<Self>, mut requests: MailboxReceiver<Vec<CoreMain>>) {
        while let Some(mains) = requests.recv().await {
            if self.is_gone() {
                continue;
            }
            for (number, main) in mains.into_iter().enumerate() {
                self.start_core(CoreId(number), main);
            }
        }
    }

    fn start_core(self: &Rc<Self>, id: CoreId, main: CoreMain) {
        let number = self.cores_started();
        let core = self.new_core();
        // What follows from a seed does not depend on what other processes have started before.
        let name: Rc<str> = match &self.setup.name {
            None => format!("core-{core}").into(),
            Some(process) => format!("{}#{}/core-{number}", process.name, process.incarnation).into(),
        };
        let io = self.io(id, core, &name);
        let (tasks, process) = (Rc::clone(&self.tasks), Rc::clone(self));
        self.core_runs(true);
        let body = async move {
            main(id, io).await;
            process.core_runs(false);
            tasks.end_core(core);
        };
        self.tasks.spawn(core, &format!("{name}/main"), Box::pin(body));
    }

    fn io(self: &Rc<Self>, id: CoreId, core: CoreKey, name: &Rc<str>) -> Io {
        let (seed, trace, rng_name) = (self.around.seed, Rc::clone(&self.tasks.trace), Rc::clone(name));
        let clocks = &self.setup.clocks;
        let clock = clocks.get(id.0 % clocks.len().max(1)).cloned().unwrap_or_default();
        Io::new(IoParts {
            clock: Rc::new(SimClock::new(Rc::clone(self), clock)),
            spawner: Rc::new(SimSpawner { process: Rc::clone(self), core, name: Rc::clone(name) }),
            disk: Rc::new(DiskHandle::new(Rc::clone(self))),
            net: Rc::new(SimNet::new(Rc::clone(self))),
            rng: Rc::new(move |name| Box::new(TracedRng::new(seed, &rng_name, name, Rc::clone(&trace))) as Box<dyn Rng>),
            process: Rc::new(self.identity()),
            probe: Some(Rc::new(SimProbe { process: Rc::clone(self) })),
            spin_limit: self.around.config.spin_limit,
        })
    }
}

impl Process {
    /// Who it is. Of the processes of a world no two have the same number.
    fn identity(&self) -> ProcessIdentity {
        let clock = self.setup.clocks.first().cloned().unwrap_or_default();
        let started = UnixMillis(wall_ms(&clock, self.around.born_ns + self.started_ns()));
        ProcessIdentity { host: format!("machine-{}", self.setup.machine), pid: self.user.number(), started }
    }
}

/// Starts tasks on one simulated core. The class is left to the schedule, which knows better how to be unfair.
struct SimSpawner {
    process: Rc<Process>,
    core: CoreKey,
    name: Rc<str>,
}

impl Spawner for SimSpawner {
    fn spawn(&self, _class: TaskClass, name: &str, future: LocalBoxFuture<()>) {
        self.process.tasks.spawn(self.core, &format!("{}/{name}", self.name), future);
    }
}

/// Carries the engine's events to the trace, the oracles and the plans.
struct SimProbe {
    process: Rc<Process>,
}

impl Probe for SimProbe {
    fn observe(&self, event: ProbeEvent<'_>) {
        self.process.observe(&event);
    }
}
