//! Starting cores: all of them, or none and a reason.

use super::core_thread::{ReadyCore, Settings};
use super::placement::usable_cpus;
use super::{availability, open_files, random};
use crate::{CoreGroup, CoreId, CoreMain, Cores, StartError};
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Polls of an idle task before it parks, if every core has a CPU of its own. A poll takes about 40 ns, so this is about as long as waking a parked core
/// takes: a task that spins in vain pays twice at most. (Frames passed round between two cores of a busy machine, two runs, millions per second: 0.9 and
/// 0.8 with 64 polls, 1.5 and 6.0 with 1000.)
const SPIN_LIMIT: u32 = 1024;

/// Threads named `thalweg-core-N`, pinned to the CPUs this process may use.
///
/// More cores than CPUs are possible: they share the CPUs in turn (core `n` runs on the `n mod available`th), which is right for tests and wrong for
/// speed. A panic in a core's main is logged and ends that core alone.
///
/// Starting cores raises this process's limit on open files to its hard limit, once, and says so in the log.
#[derive(Clone, Debug, Default)]
pub struct UringCores {
    spin_limit: Option<u32>,
    pinning: Pinning,
}

/// How the threads of cores are pinned.
#[derive(Clone, Debug, Default)]
enum Pinning {
    /// Each to one of the CPUs that this process may use, from the lowest on.
    #[default]
    Usable,
    /// Each to one of these CPUs.
    On(Vec<usize>),
    /// Not at all: the kernel places them.
    Nowhere,
}

impl UringCores {
    /// Cores with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Pins core `n` to the `n mod len`th of `cpus`: for several processes on one machine, which otherwise would all start at the first CPU. An empty list
    /// pins nothing.
    #[must_use]
    pub fn on_cpus(self, cpus: impl Into<Vec<usize>>) -> Self {
        let cpus = cpus.into();
        Self { pinning: if cpus.is_empty() { Pinning::Nowhere } else { Pinning::On(cpus) }, ..self }
    }

    /// How often an idle task polls again before it parks. Default: 1024 if every core has a CPU of its own, 0 if some share a CPU.
    #[must_use]
    pub fn with_spin_limit(self, polls: u32) -> Self {
        Self { spin_limit: Some(polls), ..self }
    }
}

/// A thread that sets up its ring, reports the outcome, and then waits for the others.
struct Starting {
    thread: JoinHandle<()>,
    ready: mpsc::Receiver<Result<(), StartError>>,
    go: mpsc::SyncSender<CoreMain>,
}

impl Cores for UringCores {
    fn available(&self) -> usize {
        usable_cpus().map_or(1, |cpus| cpus.len().max(1))
    }

    fn start(&self, mains: Vec<CoreMain>) -> Result<Box<dyn CoreGroup>, StartError> {
        open_files::raise_limit();
        availability::check(mains.len())?;
        let other = |core: usize, reason: String| StartError::Other { core, reason };
        let usable = usable_cpus().map_err(|error| other(0, format!("cannot learn which CPUs may be used: {error}")))?;
        let cpus: Vec<Option<usize>> = match &self.pinning {
            Pinning::Usable => usable.iter().map(|cpu| Some(*cpu)).collect(),
            Pinning::On(cpus) => match cpus.iter().find(|cpu| !usable.contains(cpu)) {
                Some(cpu) => return Err(StartError::NoSuchCpu { cpu: *cpu, usable }),
                None => cpus.iter().map(|cpu| Some(*cpu)).collect(),
            },
            Pinning::Nowhere => vec![None; usable.len()],
        };
        let root_seed = random::root_seed().map_err(|error| other(0, format!("getrandom: {error}")))?;
        let spin_limit = self.spin_limit.unwrap_or(if mains.len() > cpus.len() { 0 } else { SPIN_LIMIT });

        let mut starting = Vec::with_capacity(mains.len());
        let mut failure = None;
        for (core, &cpu) in (0..mains.len()).zip(cpus.iter().cycle()) {
            let settings = Settings {
                core: CoreId(core),
                cores: mains.len(),
                cpu,
                cpus: cpus.iter().copied().flatten().collect(),
                spin_limit,
                root_seed,
            };
            match begin(settings) {
                Ok(thread) => starting.push(thread),
                Err(error) => {
                    failure = Some(other(core, format!("cannot create a thread: {error}")));
                    break;
                }
            }
        }
        for (core, thread) in starting.iter().enumerate() {
            let error = match thread.ready.recv() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => other(core, "its thread ended while it was being set up".to_owned()),
            };
            failure.get_or_insert(error);
        }
        if let Some(failure) = failure {
            for Starting { thread, go, .. } in starting {
                drop(go);
                // The thread has panicked, or has already reported its error.
                let _ = thread.join();
            }
            return Err(failure);
        }
        let mut threads = Vec::with_capacity(starting.len());
        for (Starting { thread, go, .. }, main) in starting.into_iter().zip(mains) {
            // The receiver exists: the thread waits for exactly this message.
            let _ = go.send(main);
            threads.push(thread);
        }
        Ok(Box::new(UringGroup { threads }))
    }
}

fn begin(settings: Settings) -> io::Result<Starting> {
    let (report, ready) = mpsc::sync_channel(1);
    let (go, start) = mpsc::sync_channel::<CoreMain>(1);
    let thread = std::thread::Builder::new().name(format!("thalweg-core-{}", settings.core.0)).spawn(move || {
        match ReadyCore::prepare(settings) {
            Ok(core) => {
                let _ = report.send(Ok(()));
                // No main arrives if another core failed.
                if let Ok(main) = start.recv() {
                    core.run(main);
                }
            }
            Err(reason) => {
                let _ = report.send(Err(reason));
            }
        }
    })?;
    Ok(Starting { thread, ready, go })
}

struct UringGroup {
    threads: Vec<JoinHandle<()>>,
}

impl CoreGroup for UringGroup {
    fn join(self: Box<Self>) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a core panicked");
            }
        }
    }
}
