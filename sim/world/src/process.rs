//! A process of a run: what its tasks reach the doors through, and where they find them shut once it is dead.
//!
//! A run has one process, with which it stands and falls, or as many as its host starts (see `cluster`). A process that is killed is gone at that
//! instant: no task of it is polled again, the disk settles what it had under way, the network does what the kernel of its machine would do with
//! its sockets, and whatever its destructors ask for later has no effect. One that is paused keeps everything and does nothing.

use crate::clock::sleep_until;
use crate::config::{ClockConfig, WorldConfig};
use crate::disk::{DiskUser, SimulatedDisk};
use crate::kill_plan::{KillKind, KillPoint, KillSwitch, Killed, OperationStage, ProcessFault};
use crate::net::{Farewell, MachineKey, Network, ProcessKey};
use crate::tasks::{CoreKey, Failure, NO_CORE, Tasks};
use crate::trace::Origin;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use thalweg_io::ProbeEvent;

/// What all processes of a run share.
pub(crate) struct Surroundings {
    pub(crate) seed: u64,
    pub(crate) config: WorldConfig,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) disk: SimulatedDisk,
    pub(crate) network: Rc<Network>,
    /// How old the world was when the run began, in nanoseconds: wall clocks go on from there.
    pub(crate) born_ns: u64,
    /// Processes that were started.
    pub(crate) processes: Cell<ProcessKey>,
}

/// How a process is called. The only one of a run has no name, and its tasks and events go without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessName {
    pub(crate) name: String,
    /// How many of that name there were before it.
    pub(crate) incarnation: u64,
}

/// What a process is given at its start.
pub(crate) struct ProcessSetup {
    pub(crate) name: Option<ProcessName>,
    pub(crate) machine: MachineKey,
    pub(crate) cores_available: usize,
    pub(crate) clocks: Vec<ClockConfig>,
    /// Where its monotonic clock stands at the start of the run, in nanoseconds.
    pub(crate) monotonic_origin_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

/// One process.
pub(crate) struct Process {
    pub(crate) around: Rc<Surroundings>,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) key: ProcessKey,
    pub(crate) setup: ProcessSetup,
    pub(crate) user: DiskUser,
    started_ns: u64,
    life: Cell<Life>,
    cores: RefCell<Vec<CoreKey>>,
    /// Cores whose main has not ended.
    cores_running: Cell<usize>,
    switch: KillSwitch,
    killed: Cell<Option<Killed>>,
    mourners: RefCell<Vec<Waker>>,
    /// Asked to die with its machine, by a plan of its own.
    power: RefCell<Option<Box<dyn Fn(KillKind)>>>,
}

impl Process {
    pub(crate) fn new(around: Rc<Surroundings>, setup: ProcessSetup) -> Rc<Self> {
        let key = around.processes.replace(around.processes.get() + 1);
        let (tasks, user) = (Rc::clone(&around.tasks), around.disk.new_user());
        let started_ns = tasks.now_ns();
        Rc::new(Self {
            around,
            tasks,
            key,
            setup,
            user,
            started_ns,
            life: Cell::new(Life::Running),
            cores: RefCell::default(),
            cores_running: Cell::new(0),
            switch: KillSwitch::default(),
            killed: Cell::new(None),
            mourners: RefCell::default(),
            power: RefCell::default(),
        })
    }

    /// When it began, in nanoseconds of the run.
    pub(crate) fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Whether the run stands and falls with it.
    fn is_alone(&self) -> bool {
        self.setup.name.is_none()
    }

    /// Whether nothing that it does has an effect any more: it is dead, or the run is over.
    pub(crate) fn is_gone(&self) -> bool {
        self.life.get() == Life::Dead || self.tasks.is_stopped()
    }

    /// Passes as long as it lives, and never afterwards: what a destructor asks for then remains unanswered.
    pub(crate) async fn unless_gone(&self) {
        if self.is_gone() {
            std::future::pending::<()>().await;
        }
    }

    /// How it died, if it is dead.
    pub(crate) fn killed(&self) -> Option<Killed> {
        self.killed.get()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.life.get() == Life::Paused
    }

    /// Wakes `waker` when it dies.
    pub(crate) fn mourn(&self, waker: &Waker) {
        let mourners = &mut *self.mourners.borrow_mut();
        if !mourners.iter().any(|mourner| mourner.will_wake(waker)) {
            mourners.push(waker.clone());
        }
    }

    /// What happens when one of its plans is a loss of power.
    pub(crate) fn on_power_loss(&self, act: impl Fn(KillKind) + 'static) {
        *self.power.borrow_mut() = Some(Box::new(act));
    }

    /// The name of something of it in traces.
    pub(crate) fn place(&self, of: &str) -> String {
        match &self.setup.name {
            None => of.to_owned(),
            Some(ProcessName { name, .. }) => format!("{name}: {of}"),
        }
    }

    /// Notes an event of a simulated device.
    pub(crate) fn note(&self, name: &'static str, place: &str, values: [i64; 3]) {
        match &self.setup.name {
            None => self.tasks.note(name, place, values),
            Some(_) => self.tasks.note(name, &self.place(place), values),
        }
    }

    /// The current task asks a device for `operation` on `object`.
    pub(crate) fn note_operation(&self, operation: &'static str, object: &str) {
        if !self.is_gone() {
            self.tasks.note_operation(operation, object);
        }
    }

    /// Registers a core of it, which begins as the process is.
    pub(crate) fn new_core(&self) -> CoreKey {
        let core = self.tasks.new_core();
        self.cores.borrow_mut().push(core);
        if self.is_paused() {
            self.tasks.pause_cores(&[core]);
        }
        core
    }

    /// One of its cores has begun to run, or has come to its end.
    pub(crate) fn core_runs(&self, begins: bool) {
        let running = self.cores_running.get();
        self.cores_running.set(if begins { running + 1 } else { running.saturating_sub(1) });
    }

    /// Cores that have not come to their end.
    pub(crate) fn cores_running(&self) -> usize {
        self.cores_running.get()
    }

    /// Cores that it has started so far.
    pub(crate) fn cores_started(&self) -> usize {
        self.cores.borrow().len()
    }

    /// An event of the engine in it: trace, oracles, and whatever is planned at it. The first violation ends the run.
    pub(crate) fn observe(self: &Rc<Self>, event: &ProbeEvent<'_>) {
        if self.is_gone() {
            return;
        }
        let origin = self.setup.name.as_ref().map(|name| Origin { process: &name.name, incarnation: name.incarnation });
        if let Err((oracle, violation)) = self.tasks.trace.observe(self.tasks.now_ns(), origin, event) {
            self.tasks.fail(Failure::Violated { oracle, reason: violation.0 });
        }
        self.around.network.count_event(self.key, self.setup.machine, event.name);
        let fault = if self.is_alone() { self.tasks.kill_switch.count_event(event.name) } else { self.switch.count_event(event.name) };
        if let Some(fault) = fault {
            self.strike(fault, Some(event.name));
        }
    }

    /// Counts an operation of the disk; what happens at it.
    pub(crate) fn count_operation(&self) -> Option<(OperationStage, ProcessFault)> {
        if self.is_alone() { self.tasks.kill_switch.count_operation() } else { self.switch.count_operation() }
    }

    /// Plans something. Events are counted from now on, operations and time from its start.
    pub(crate) fn plan(self: &Rc<Self>, at: KillPoint, fault: ProcessFault) {
        let KillPoint::Time { ms } = at else { return self.switch.add(at, fault) };
        let process = Rc::clone(self);
        let at_ns = self.started_ns.saturating_add(ms.max(1).saturating_mul(1_000_000));
        let when_due = async move {
            sleep_until(&process.tasks, at_ns).await;
            process.strike(fault, None);
        };
        self.tasks.spawn(NO_CORE, "world/process-fault", Box::pin(when_due));
    }

    /// Lets a planned fault come about.
    pub(crate) fn strike(self: &Rc<Self>, fault: ProcessFault, window: Option<&'static str>) {
        match fault {
            ProcessFault::Kill(kind) if self.is_alone() => self.tasks.kill(kind, window),
            ProcessFault::Kill(KillKind::Process) => self.die(KillKind::Process, window, Farewell::OfTheKernel),
            ProcessFault::Kill(kind) => {
                // First this one, to know the window; then whatever else runs on the machine.
                self.die(kind, window, Farewell::None);
                let power = self.power.take();
                power.into_iter().for_each(|act| act(kind));
            }
            ProcessFault::Pause { ms } => {
                if !self.pause() {
                    return;
                }
                let (process, until_ns) = (Rc::clone(self), self.tasks.now_ns().saturating_add(ms.saturating_mul(1_000_000)));
                let goes_on = async move {
                    sleep_until(&process.tasks, until_ns).await;
                    process.resume();
                };
                self.tasks.spawn(NO_CORE, "world/resume-process", Box::pin(goes_on));
            }
        }
    }

    /// It dies, and its peers hear of it as `farewell` says. Nothing happens to the dead.
    pub(crate) fn die(&self, kind: KillKind, window: Option<&'static str>, farewell: Farewell) {
        if self.is_gone() {
            return;
        }
        let at_operation = self.switch.operations();
        let at_ns = self.tasks.now_ns() - self.started_ns;
        self.note("process.killed", window.unwrap_or_default(), [at_operation as i64, self.key as i64, 0]);
        self.around.network.count_process_fault(match (kind, window) {
            (KillKind::PowerLoss(_), _) => "process: power loss",
            (KillKind::Process, Some(_)) => "process: killed in a window",
            (KillKind::Process, None) => "process: killed",
        });
        self.killed.set(Some(Killed { at_ns, at_operation, window, kind }));
        self.life.set(Life::Dead);
        self.around.disk.end_of_user(self.user);
        self.around.network.end_of_process(self.key, farewell);
        self.tasks.kill_cores(&self.cores.take());
        self.mourners.take().into_iter().for_each(Waker::wake);
    }

    /// Stops it until it is resumed. `false` if it was not running.
    pub(crate) fn pause(&self) -> bool {
        if self.is_gone() || self.life.get() != Life::Running {
            return false;
        }
        self.life.set(Life::Paused);
        self.note("process.paused", "", [self.key as i64, 0, 0]);
        self.around.network.count_process_fault("process: paused");
        self.tasks.pause_cores(&self.cores.borrow());
        self.around.disk.carry_on_for(self.user, &self.tasks);
        true
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        if self.is_gone() || !self.is_paused() {
            return;
        }
        self.life.set(Life::Running);
        self.note("process.resumed", "", [self.key as i64, 0, 0]);
        self.tasks.resume_cores(&self.cores.borrow());
    }
}
