//! A world: one seed, one disk, and any number of runs on it.
//!
//! A run starts with an empty network, a fresh monotonic clock and the disk as the last run (or [`SimulatedDisk::put`], or a crash) left it; wall
//! clocks go on. It ends when its main future does, when it is killed, when an oracle objects, when a task panics, or when nothing can happen any
//! more. From then on nothing is polled, and what is dropped can do nothing at the door: the process is gone, and what its disk was doing was done
//! or was not. All of it takes place on the caller's thread, in virtual time.
//!
//! A job that is killed and started again is a sequence of runs, its *incarnations*. A run has one process, or those that the host of a cluster starts.

use crate::clock::MONOTONIC_ORIGIN_NS;
use crate::cluster::SimCluster;
use crate::config::WorldConfig;
use crate::cores::SimCores;
use crate::disk::{FaultCounts, SimulatedDisk};
use crate::kill_plan::{IncarnationEnd, KillKind, KillPlan, Killed};
use crate::net::Network;
use crate::outcome::{Ending, Outcome, RunStats};
use crate::panics;
use crate::process::{Process, ProcessSetup, Surroundings};
use crate::rng::Draw;
use crate::tasks::{Failure, HOST, Tasks};
use crate::trace::{Oracle, Trace};
use madsim::runtime::Runtime;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use thalweg_io::{Rng, SplitMix};

/// A simulated world.
pub struct World {
    seed: u64,
    config: WorldConfig,
    disk: SimulatedDisk,
    oracles: RefCell<Vec<Box<dyn Oracle>>>,
    #[allow(clippy::type_complexity)]
    oracles_of_each: RefCell<Vec<Box<dyn Fn() -> Box<dyn Oracle>>>>,
    runs: Cell<u64>,
    /// Virtual time of all runs and of the pauses between them.
    age_ns: Cell<u64>,
    /// What the hash of the last run was.
    history: Cell<u64>,
    /// The last run was killed: before the next some time passes.
    is_down: Cell<bool>,
    /// What networks and hosts of all runs have done, by name.
    injected: RefCell<FaultCounts>,
}

/// A job that was killed and started again until it ended by itself.
#[derive(Debug)]
pub struct Lives<T> {
    /// Its deaths.
    pub killed: Vec<Killed>,
    /// How its last incarnation ended.
    pub outcome: Outcome<T>,
}

/// What a run was in the end.
struct RunResult<T> {
    failure: Option<Failure>,
    killed: Option<Killed>,
    value: Option<T>,
    stats: RunStats,
}

impl World {
    /// A world in which everything follows from `seed` and `config`, with an empty disk.
    #[must_use]
    pub fn new(seed: u64, config: WorldConfig) -> Self {
        let disk = SimulatedDisk::new(seed, config.disk.clone());
        Self {
            seed,
            config,
            disk,
            oracles: RefCell::default(),
            oracles_of_each: RefCell::default(),
            runs: Cell::new(0),
            age_ns: Cell::new(0),
            history: Cell::new(0),
            is_down: Cell::new(false),
            injected: RefCell::default(),
        }
    }

    /// Its seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Its disk: to put files there before a run, to read, damage or compare them after it.
    #[must_use]
    pub fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// What was done to operations, connections and processes so far, by name: that of [`SimulatedDisk::injected`], and what begins with `net:` or
    /// `process:`.
    #[must_use]
    pub fn injected(&self) -> FaultCounts {
        let mut all = self.disk.injected();
        all.extend(self.injected.borrow().iter().map(|(name, count)| (*name, *count)));
        all
    }

    /// Adds an oracle that watches the next run.
    pub fn watch(&self, oracle: impl Oracle + 'static) {
        self.oracles.borrow_mut().push(Box::new(oracle));
    }

    /// Adds an oracle that watches each run from the next on, made anew for each. What it is to remember of earlier runs, `make` hands on.
    pub fn watch_each<O: Oracle + 'static>(&self, make: impl Fn() -> O + 'static) {
        self.oracles_of_each.borrow_mut().push(Box::new(move || Box::new(make())));
    }

    /// Runs the future that `main` makes, which is given the machine's cores, and whatever it starts.
    ///
    /// The cost is that of creating a madsim runtime, some tens of microseconds, plus about a microsecond per poll.
    pub fn run<F, T>(&self, main: impl FnOnce(SimCores) -> F + 'static) -> Outcome<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.run_incarnation(None, main).map(|end| end.finished().expect("invariant: only a plan kills"))
    }

    /// As [`World::run`], with a death by `kill` if it does not finish before. Started after a death, it starts after a random pause.
    pub fn run_incarnation<F, T>(&self, kill: Option<KillPlan>, main: impl FnOnce(SimCores) -> F + 'static) -> Outcome<IncarnationEnd<T>>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.run_with(kill, |around| {
            // The one process that a run has unless it is a cluster.
            let setup = ProcessSetup {
                name: None,
                machine: around.network.add_machine(),
                cores_available: around.config.cores_available,
                clocks: around.config.clocks.clone(),
                monotonic_origin_ns: MONOTONIC_ORIGIN_NS,
            };
            main(Process::new(around, setup).cores())
        })
    }

    /// Runs the future that `main` makes and that belongs to no process: it is given a cluster without machines, and drives it.
    ///
    /// The run ends with that future, whatever its processes are doing.
    pub fn run_cluster<F, T>(&self, main: impl FnOnce(SimCluster) -> F + 'static) -> Outcome<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let outcome = self.run_with(None, |around| {
            let cluster = SimCluster::new(around);
            let course = main(cluster.clone());
            async move {
                let value = course.await;
                // Its machines last as long as the run, whatever its host keeps of them.
                drop(cluster);
                value
            }
        });
        outcome.map(|end| end.finished().expect("invariant: only a plan kills"))
    }

    fn run_with<F, T>(&self, kill: Option<KillPlan>, main: impl FnOnce(Rc<Surroundings>) -> F + 'static) -> Outcome<IncarnationEnd<T>>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let run = self.runs.replace(self.runs.get() + 1);
        let seed = SplitMix::stream(self.seed, &format!("run-{run}")).next_u64();
        if self.is_down.take() {
            let pause_ns = SplitMix::stream(seed, "restart").between(0, self.config.restart_delay_ms_max.saturating_mul(1_000_000));
            self.age_ns.set(self.age_ns.get() + pause_ns);
        }
        let mut oracles = self.oracles.take();
        oracles.extend(self.oracles_of_each.borrow().iter().map(|make| make()));
        let trace = Rc::new(Trace::new(seed ^ self.history.get(), self.config.trace_events_kept, oracles));
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let caught = panics::catch(|| runtime.block_on(self.run_inside(seed, Rc::clone(&trace), kill, main)));
        let result = caught.unwrap_or_else(|caught| {
            // Tasks cannot get here, their panics are caught one by one: this is a defect of the simulator itself.
            let failure = Failure::Panicked { task: "the simulator".to_owned(), message: caught.message, location: caught.location };
            RunResult { failure: Some(failure), killed: None, value: None, stats: RunStats::default() }
        });
        let lived_ns = result.killed.map_or(result.stats.elapsed_ns, |killed| killed.at_ns);
        self.age_ns.set(self.age_ns.get() + lived_ns);
        self.is_down.set(result.killed.is_some());
        self.history.set(trace.hash());
        let ending = match (result.failure, result.killed, result.value) {
            (Some(failure), ..) => failure.map(|never| match never {}),
            (None, Some(killed), _) => Ending::Done(IncarnationEnd::Killed(killed)),
            (None, None, Some(value)) => Ending::Done(IncarnationEnd::Finished(value)),
            (None, None, None) => unreachable!("a run without a failure ends with its main future or by its plan"),
        };
        Outcome { ending, seed: self.seed, trace_hash: trace.hash(), stats: result.stats, last_events: trace.take_last() }
    }

    /// Runs one incarnation after the other, each with the number of those before it, until one is not killed: each dies as the next of `kills`
    /// says, the one after the last of them not at all.
    pub fn run_lives<F, T>(&self, kills: &[KillPlan], main: impl Fn(u64, SimCores) -> F + 'static) -> Lives<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let (main, mut killed) = (Rc::new(main), vec![]);
        for number in 0.. {
            let main = Rc::clone(&main);
            let outcome = self.run_incarnation(kills.get(killed.len()).copied(), move |cores| main(number, cores));
            match &outcome.ending {
                Ending::Done(IncarnationEnd::Killed(death)) => killed.push(*death),
                _ => return Lives { killed, outcome: outcome.map(|end| end.finished().expect("invariant: it was not killed")) },
            }
        }
        unreachable!("there are fewer deaths than numbers")
    }

    async fn run_inside<F, T>(
        &self,
        seed: u64,
        trace: Rc<Trace>,
        kill: Option<KillPlan>,
        main: impl FnOnce(Rc<Surroundings>) -> F + 'static,
    ) -> RunResult<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let tasks = Tasks::new(seed, &self.config, Rc::clone(&trace), kill);
        let network = Network::new(seed, self.config.net.clone(), Rc::clone(&tasks));
        let around = Rc::new(Surroundings {
            seed,
            config: self.config.clone(),
            tasks: Rc::clone(&tasks),
            disk: self.disk.clone(),
            network: Rc::clone(&network),
            born_ns: self.age_ns.get(),
            processes: Cell::new(0),
        });
        let future = main(around);
        let value: Rc<Cell<Option<T>>> = Rc::default();
        let (tasks_of_main, value_of_main, faults_before) = (Rc::clone(&tasks), Rc::clone(&value), self.disk.faults_injected());
        let body = async move {
            let value = future.await;
            let tasks = tasks_of_main;
            if tasks.is_stopped() {
                return;
            }
            value_of_main.set(Some(value));
            match tasks.trace.at_end(tasks.now_ns()) {
                Ok(()) => tasks.stop(),
                Err((oracle, violation)) => tasks.fail(Failure::Violated { oracle, reason: violation.0 }),
            }
        };
        tasks.spawn(HOST, "main", Box::pin(body));
        tasks.until_stopped().await;
        let killed = tasks.killed();
        // Before anything is dropped: destructors find a disk that does not know them any more.
        self.disk.end_of_run();
        if let Some(Killed { kind: KillKind::PowerLoss(style), .. }) = killed {
            self.disk.crash(style);
        }
        if killed.is_some() {
            trace.seal(self.disk.model().digest());
        }
        tasks.tear_down().await;
        for (name, count) in network.injected() {
            *self.injected.borrow_mut().entry(name).or_default() += count;
        }
        let (failure, mut stats) = tasks.take_result();
        stats.disk_faults = self.disk.faults_injected() - faults_before;
        stats.net_faults = network.faults_injected();
        RunResult { failure, killed, value: value.take(), stats }
    }
}
