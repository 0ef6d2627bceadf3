//! A world: one seed, one disk, and any number of runs on it.
//!
//! A run starts with an empty network, a fresh clock and the disk as the last run (or [`SimulatedDisk::put`], or a crash) left it. It ends when
//! its main future does, when an oracle objects, when a task panics, or when nothing can happen any more; everything that is then still under
//! way is dropped. All of it takes place on the caller's thread, in virtual time.

use crate::config::WorldConfig;
use crate::cores::{Machine, SimCores};
use crate::disk::SimulatedDisk;
use crate::net::Network;
use crate::outcome::{Ending, Outcome, RunStats};
use crate::panics;
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
    runs: Cell<u64>,
}

impl World {
    /// A world in which everything follows from `seed` and `config`, with an empty disk.
    #[must_use]
    pub fn new(seed: u64, config: WorldConfig) -> Self {
        let disk = SimulatedDisk::new(seed, config.disk.clone());
        Self { seed, config, disk, oracles: RefCell::default(), runs: Cell::new(0) }
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

    /// Adds an oracle that watches the next run.
    pub fn watch(&self, oracle: impl Oracle + 'static) {
        self.oracles.borrow_mut().push(Box::new(oracle));
    }

    /// Runs the future that `main` makes, which is given the machine's cores, and whatever it starts.
    ///
    /// The cost is that of creating a madsim runtime, some tens of microseconds, plus about a microsecond a poll.
    pub fn run<F, T>(&self, main: impl FnOnce(SimCores) -> F + 'static) -> Outcome<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let run = self.runs.replace(self.runs.get() + 1);
        let seed = SplitMix::stream(self.seed, &format!("run-{run}")).next_u64();
        let trace = Rc::new(Trace::new(seed, self.config.trace_events_kept, self.oracles.take()));
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let result: Rc<Cell<Option<T>>> = Rc::default();
        let caught = panics::catch(|| runtime.block_on(self.run_inside(seed, Rc::clone(&trace), main, Rc::clone(&result))));
        let (failure, stats) = caught.unwrap_or_else(|caught| {
            // Tasks cannot get here, their panics are caught one by one: this is a defect of the simulator itself.
            let failure = Failure::Panicked { task: "the simulator".to_owned(), message: caught.message, location: caught.location };
            (Some(failure), RunStats::default())
        });
        let ending = match (failure, result.take()) {
            (None, Some(value)) => Ending::Done(value),
            (None, None) => unreachable!("a run without a failure ends with its main future"),
            (Some(failure), _) => failed(failure),
        };
        Outcome { ending, seed: self.seed, trace_hash: trace.hash(), stats, last_events: trace.take_last() }
    }

    async fn run_inside<F, T>(
        &self,
        seed: u64,
        trace: Rc<Trace>,
        main: impl FnOnce(SimCores) -> F + 'static,
        result: Rc<Cell<Option<T>>>,
    ) -> (Option<Failure>, RunStats)
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let tasks = Tasks::new(seed, &self.config, trace);
        let network = Network::new(seed, self.config.net.clone(), Rc::clone(&tasks));
        let machine = Rc::new(Machine {
            seed,
            config: self.config.clone(),
            tasks: Rc::clone(&tasks),
            disk: self.disk.clone(),
            network: Rc::clone(&network),
        });
        let cores = machine.cores();
        let (tasks_of_main, faults_before) = (Rc::clone(&tasks), self.disk.faults_injected());
        let body = async move {
            result.set(Some(main(cores).await));
            let tasks = tasks_of_main;
            match tasks.trace.at_end(tasks.now_ns()) {
                Ok(()) => tasks.stop(),
                Err((oracle, violation)) => tasks.fail(Failure::Violated { oracle, reason: violation.0 }),
            }
        };
        tasks.spawn(HOST, "main", Box::pin(body));
        tasks.until_stopped().await;
        tasks.tear_down().await;
        network.tear_down();
        let (failure, mut stats) = tasks.take_result();
        stats.disk_faults = self.disk.faults_injected() - faults_before;
        (failure, stats)
    }
}

/// The same failure, as the ending of a run that would have returned a `T`.
fn failed<T>(failure: Failure) -> Ending<T> {
    match failure {
        Failure::Done(never) => match never {},
        Failure::Deadlock { tasks } => Ending::Deadlock { tasks },
        Failure::Spinning { task, polls } => Ending::Spinning { task, polls },
        Failure::LimitExceeded { limit, tasks } => Ending::LimitExceeded { limit, tasks },
        Failure::Panicked { task, message, location } => Ending::Panicked { task, message, location },
        Failure::Violated { oracle, reason } => Ending::Violated { oracle, reason },
    }
}
