//! A run with several processes on several machines, driven by its host.
//!
//! The main future of the run belongs to no process: it starts them, kills them, pauses them, cuts the network between them, and judges what comes
//! of it. Each process has cores and random streams of its own, and the clocks of its machine; all share one disk, which stands for a file system that
//! every machine has mounted.
//!
//! What is planned instead of done (`plan`) is data: it names an event, an operation or a time, and can be printed, replayed and taken out.
//!
//! ```
//! use thalweg_io::{Buffer, OpenMode};
//! use thalweg_world::{World, WorldConfig};
//!
//! let world = World::new(7, WorldConfig::calm());
//! let outcome = world.run_cluster(|cluster| async move {
//!     let worker = cluster.start("worker");
//!     let dies = worker.on_core(|io| Box::pin(async move {
//!         io.disk().open("file".as_ref(), OpenMode::CreateNew).await.unwrap();
//!         std::future::pending::<()>().await;
//!     }));
//!     let killer = async {
//!         cluster.sleep_ms(1_000).await;
//!         worker.kill();
//!     };
//!     assert_eq!(thalweg_world::both(dies, killer).await.0, None);
//!     worker.restart().on_core(|io| Box::pin(async move { io.disk().list("/".as_ref()).await.unwrap().len() })).await
//! });
//! assert_eq!(outcome.expect_done(), Some(1));
//! ```

use crate::clock::{MONOTONIC_ORIGIN_NS, sleep_until};
use crate::config::ClockConfig;
use crate::cores::SimCores;
use crate::disk::{CrashStyle, DiskUser, SimulatedDisk};
use crate::kill_plan::{KillKind, KillPoint, Killed, ProcessFault};
use crate::net::{Between, Farewell, MachineKey, NetFault, NetFaultKind, address_of};
use crate::process::{Process, ProcessName, ProcessSetup, Surroundings};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use thalweg_io::{Io, LocalBoxFuture, Rng, SplitMix};

/// The machines and processes of a run. Clones are handles to the same ones.
#[derive(Clone)]
pub struct SimCluster {
    inner: Rc<Cluster>,
}

struct Cluster {
    around: Rc<Surroundings>,
    machines: RefCell<Vec<Rc<MachineState>>>,
    /// How many processes of each name there were.
    names: RefCell<BTreeMap<String, u64>>,
}

struct MachineState {
    key: MachineKey,
    clock: ClockConfig,
    /// Those that were started since it last had power, dead ones included: what they wrote and did not sync lies in its page cache.
    users: RefCell<Vec<DiskUser>>,
    processes: RefCell<Vec<Rc<Process>>>,
    monotonic_origin_ns: Cell<u64>,
    boots: Cell<u64>,
}

/// A machine: an address, a clock, and power or none.
#[derive(Clone)]
pub struct SimMachine {
    cluster: Rc<Cluster>,
    state: Rc<MachineState>,
}

/// A process, alive or dead. Clones are handles to the same one; a restarted one is another.
#[derive(Clone)]
pub struct SimProcess {
    machine: SimMachine,
    process: Rc<Process>,
    cores: SimCores,
}

/// The network of a cluster: faults are planned, or happen at once. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimNetwork {
    around: Rc<Surroundings>,
}

impl SimCluster {
    pub(crate) fn new(around: Rc<Surroundings>) -> Self {
        Self { inner: Rc::new(Cluster { around, machines: RefCell::default(), names: RefCell::default() }) }
    }

    /// Adds a machine. Machine `n` has the address `10.0.0.(n + 1)` and, of the configured clocks, number `n` modulo their count.
    #[must_use]
    pub fn machine(&self) -> SimMachine {
        let around = &self.inner.around;
        let key = around.network.add_machine();
        let clocks = &around.config.clocks;
        let state = Rc::new(MachineState {
            key,
            clock: clocks.get(key % clocks.len().max(1)).cloned().unwrap_or_default(),
            users: RefCell::default(),
            processes: RefCell::default(),
            monotonic_origin_ns: Cell::new(0),
            boots: Cell::new(0),
        });
        self.inner.machines.borrow_mut().push(Rc::clone(&state));
        let machine = SimMachine { cluster: Rc::clone(&self.inner), state };
        machine.boot();
        machine
    }

    /// Starts a process on a machine of its own, with as many cores as the configuration says.
    #[must_use]
    pub fn start(&self, name: &str) -> SimProcess {
        self.machine().start(name, self.inner.around.config.cores_available)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> SimNetwork {
        SimNetwork { around: Rc::clone(&self.inner.around) }
    }

    /// The disk that all machines share.
    #[must_use]
    pub fn disk(&self) -> SimulatedDisk {
        self.inner.around.disk.clone()
    }

    /// Virtual time since the start of the run, in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.inner.around.tasks.now_ns()
    }

    /// Lets so much virtual time pass.
    pub async fn sleep_ms(&self, ms: u64) {
        let tasks = &self.inner.around.tasks;
        sleep_until(tasks, tasks.now_ns().saturating_add(ms.saturating_mul(1_000_000))).await;
    }

    /// The random stream of the host with this name.
    #[must_use]
    pub fn rng(&self, name: &str) -> SplitMix {
        SplitMix::stream(self.inner.around.seed, &format!("host/{name}"))
    }

    /// Power fails everywhere, that of the shared disk included: see [`SimulatedDisk::crash`].
    pub fn power_loss(&self, style: CrashStyle) {
        let machines = self.inner.machines.borrow().clone();
        for state in machines {
            SimMachine { cluster: Rc::clone(&self.inner), state }.cut_power(KillKind::PowerLoss(style));
        }
        self.disk().crash(style);
    }
}

impl SimMachine {
    /// Its number: 0 for the first.
    #[must_use]
    pub fn number(&self) -> MachineKey {
        self.state.key
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        address_of(self.state.key)
    }

    /// Starts a process with so many cores. The first after a loss of power finds a machine that has just been switched on.
    #[must_use]
    pub fn start(&self, name: &str, cores_available: usize) -> SimProcess {
        self.boot();
        let incarnation = {
            let mut names = self.cluster.names.borrow_mut();
            let count = names.entry(name.to_owned()).or_insert(0);
            *count += 1;
            *count - 1
        };
        let setup = ProcessSetup {
            name: Some(ProcessName { name: name.to_owned(), incarnation }),
            machine: self.state.key,
            cores_available,
            clocks: vec![self.state.clock.clone()],
            monotonic_origin_ns: self.state.monotonic_origin_ns.get(),
        };
        let process = Process::new(Rc::clone(&self.cluster.around), setup);
        // Weak: the machine holds the process.
        let (cluster, state) = (Rc::downgrade(&self.cluster), Rc::downgrade(&self.state));
        process.on_power_loss(move |kind| {
            if let (Some(cluster), Some(state)) = (cluster.upgrade(), state.upgrade()) {
                Self { cluster, state }.power_loss_of(kind);
            }
        });
        process.note("process.started", "", [process.key as i64, self.state.key as i64, incarnation as i64]);
        self.state.users.borrow_mut().push(process.user);
        self.state.processes.borrow_mut().push(Rc::clone(&process));
        let cores = process.cores();
        SimProcess { machine: self.clone(), process, cores }
    }

    /// Power fails here: its processes are gone, their peers hear nothing, and of what they wrote and did not sync, `style` decides. Names are the file
    /// server's, which lives on.
    pub fn power_loss(&self, style: CrashStyle) {
        self.power_loss_of(KillKind::PowerLoss(style));
    }

    fn power_loss_of(&self, kind: KillKind) {
        self.cut_power(kind);
        if let KillKind::PowerLoss(style) = kind {
            self.cluster.around.disk.crash_of(&self.state.users.take(), style);
        }
    }

    fn cut_power(&self, kind: KillKind) {
        for process in self.state.processes.take() {
            process.die(kind, None, Farewell::None);
        }
        self.state.monotonic_origin_ns.set(0);
        self.cluster.around.network.power_off(self.state.key);
    }

    /// Switches it on, if it has no power. Its monotonic clock begins anew, somewhere.
    fn boot(&self) {
        if self.state.monotonic_origin_ns.get() > 0 {
            return;
        }
        let (key, boot) = (self.state.key, self.state.boots.replace(self.state.boots.get() + 1));
        let mut stream = SplitMix::stream(self.cluster.around.seed, &format!("machine-{key}/boot-{boot}"));
        self.state.monotonic_origin_ns.set(MONOTONIC_ORIGIN_NS / 2 + stream.below(MONOTONIC_ORIGIN_NS));
        self.cluster.around.network.power_on(key);
    }
}

impl SimProcess {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.setup.name.as_ref().map_or("", |name| &name.name)
    }

    /// How many of its name there were before it.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.process.setup.name.as_ref().map_or(0, |name| name.incarnation)
    }

    /// Its machine.
    #[must_use]
    pub fn machine(&self) -> &SimMachine {
        &self.machine
    }

    /// The address of its machine.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.machine.address()
    }

    /// Its cores: what the engine is given in place of threads. What is asked of them when it is dead does not happen.
    #[must_use]
    pub fn cores(&self) -> SimCores {
        self.cores.clone()
    }

    /// Runs `body` on a core of its own and waits for what it returns; `None` if the process is dead before.
    pub async fn on_core<T: Send + 'static>(&self, body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static) -> Option<T> {
        self.cores.try_on_core(body).await
    }

    /// Whether it has not been killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.killed().is_none()
    }

    /// Its death, if it is dead.
    #[must_use]
    pub fn killed(&self) -> Option<Killed> {
        self.process.killed()
    }

    /// Whether all cores that it has started have come to their end: as a program, it has returned.
    #[must_use]
    pub fn has_returned(&self) -> bool {
        self.process.cores_running() == 0
    }

    /// Waits for its death.
    pub async fn died(&self) -> Killed {
        poll_fn(|cx| match self.process.killed() {
            Some(killed) => Poll::Ready(killed),
            None => {
                self.process.mourn(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Kills it, as by `kill -9`: no task of it is polled again, and its kernel closes what it had.
    pub fn kill(&self) {
        self.process.strike(ProcessFault::Kill(KillKind::Process), None);
    }

    /// Stops it, as by SIGSTOP: no task of it is polled, while its connections stay open, buffers fill, operations end, and time goes on.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on after [`SimProcess::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Plans something that happens to it. Events are counted from now on, operations and time from its start; a loss of power is that of its machine.
    pub fn plan(&self, at: KillPoint, fault: ProcessFault) {
        self.process.plan(at, fault);
    }

    /// Kills it if it lives, and starts another of the same name on the same machine.
    #[must_use]
    pub fn restart(&self) -> Self {
        self.kill();
        self.machine.start(self.name(), self.process.setup.cores_available)
    }
}

impl SimNetwork {
    /// Plans a fault. What it counts, it counts from now on; time, from the start of the run.
    pub fn plan(&self, fault: NetFault) {
        self.around.network.plan(fault);
    }

    /// Lets something happen now to all that is `between` two sides. Refusals, hanging connects and flipped bits can only be planned.
    pub fn inject(&self, kind: NetFaultKind, between: Between) {
        self.around.network.inject(kind, between);
    }

    /// Whether what one of the machines says takes long to get anywhere.
    pub fn has_slow_machine(&self) -> bool {
        self.around.config.net.slow_machine.is_some()
    }

    /// Nothing gets from one machine to the other until [`SimNetwork::mend`] has been called as often.
    pub fn cut(&self, from: &SimMachine, to: &SimMachine) {
        self.around.network.cut(&[(from.number(), to.number())]);
    }

    /// Takes back one [`SimNetwork::cut`].
    pub fn mend(&self, from: &SimMachine, to: &SimMachine) {
        self.around.network.mend(&[(from.number(), to.number())]);
    }

    /// All links are open, and no fault that was planned happens any more. Connections that were reset or forgotten stay so.
    pub fn heal(&self) {
        self.around.network.heal();
    }

    /// Faults that were injected so far.
    #[must_use]
    pub fn faults_injected(&self) -> u64 {
        self.around.network.faults_injected()
    }
}

/// Drives two futures at once until both are done: hosts have no tasks of their own.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
