//! How a run ended, in a form that a test can match on and a person can read.

use crate::trace::TraceEvent;
use std::fmt;
use std::ops::AddAssign;

/// One task, as it stood when the run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Its number in order of creation: the one in the trace.
    pub id: usize,
    /// The name it was spawned with, its core before it: `core-1/window(2/3)`.
    pub name: String,
    /// How often it was polled.
    pub polls: u64,
    /// When it was polled last, in nanoseconds of virtual time; `None` if never.
    pub last_polled_ns: Option<u64>,
    /// What it asked a simulated device for last: `disk.sync out/part-0`, `clock.sleep`; empty if nothing.
    pub last_operation: String,
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} {}: {} polls", self.id, self.name, self.polls)?;
        if let Some(at_ns) = self.last_polled_ns {
            write!(f, ", the last at {:.6} ms", at_ns as f64 / 1e6)?;
        }
        if !self.last_operation.is_empty() {
            write!(f, ", after asking for {}", self.last_operation)?;
        }
        Ok(())
    }
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending<T> {
    /// The main future completed and no oracle objects.
    Done(T),
    /// Nothing can run and no timer is set: these tasks wait for each other, or for a wake-up that was lost.
    Deadlock {
        /// Every task that had not ended.
        tasks: Vec<TaskReport>,
    },
    /// Tasks kept waking without the world ever coming to rest, beyond the budget.
    Spinning {
        /// The task that was polled most since the world last rested.
        task: TaskReport,
        /// Polls of all tasks since then.
        polls: u64,
    },
    /// The run used up its polls or its virtual time though it was making steps: it may be live-locked, or the limit too low.
    LimitExceeded {
        /// Which limit: its name in `WorldConfig`.
        limit: &'static str,
        /// Every task that had not ended.
        tasks: Vec<TaskReport>,
    },
    /// A task panicked.
    Panicked {
        /// Its name.
        task: String,
        /// The panic's message.
        message: String,
        /// The file, line and column of the panic; a backtrace follows if `RUST_BACKTRACE` asks for one.
        location: String,
    },
    /// An oracle objects.
    Violated {
        /// Its name.
        oracle: String,
        /// Why.
        reason: String,
    },
}

impl<T> Ending<T> {
    /// The same ending with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Ending<U> {
        match self {
            Self::Done(value) => Ending::Done(change(value)),
            Self::Deadlock { tasks } => Ending::Deadlock { tasks },
            Self::Spinning { task, polls } => Ending::Spinning { task, polls },
            Self::LimitExceeded { limit, tasks } => Ending::LimitExceeded { limit, tasks },
            Self::Panicked { task, message, location } => Ending::Panicked { task, message, location },
            Self::Violated { oracle, reason } => Ending::Violated { oracle, reason },
        }
    }
}

impl<T> fmt::Display for Ending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, tasks: &[TaskReport]| tasks.iter().try_for_each(|task| write!(f, "\n  {task}"));
        match self {
            Self::Done(_) => write!(f, "done"),
            Self::Deadlock { tasks } => {
                write!(f, "deadlock: nothing can run and no timer is set")?;
                list(f, tasks)
            }
            Self::Spinning { task, polls } => write!(f, "spinning: {polls} polls without rest, most of them of\n  {task}"),
            Self::LimitExceeded { limit, tasks } => {
                write!(f, "limit exceeded: {limit}")?;
                list(f, tasks)
            }
            Self::Panicked { task, message, location } => write!(f, "panic in {task} at {location}: {message}"),
            Self::Violated { oracle, reason } => write!(f, "oracle {oracle}: {reason}"),
        }
    }
}

/// What a run cost, in the world's own units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Polls of tasks, postponed ones not counted.
    pub polls: u64,
    /// Polls that the schedule postponed.
    pub postponed: u64,
    /// Tasks that were spawned.
    pub tasks: u64,
    /// Virtual time of the last step, in nanoseconds.
    pub elapsed_ns: u64,
    /// Faults of the disk that were injected.
    pub disk_faults: u64,
    /// Faults of the network that were injected.
    pub net_faults: u64,
}

impl AddAssign for RunStats {
    fn add_assign(&mut self, other: Self) {
        let Self { polls, postponed, tasks, elapsed_ns, disk_faults, net_faults } = other;
        self.polls += polls;
        self.postponed += postponed;
        self.tasks += tasks;
        self.elapsed_ns += elapsed_ns;
        self.disk_faults += disk_faults;
        self.net_faults += net_faults;
    }
}

/// Everything that is left of a run.
#[derive(Debug)]
pub struct Outcome<T> {
    /// How it ended.
    pub ending: Ending<T>,
    /// The seed of the world.
    pub seed: u64,
    /// Rolling hash of (task, event, time, draws) of this and all earlier runs in its world: equal for equal seeds.
    pub trace_hash: u64,
    /// What it cost.
    pub stats: RunStats,
    /// The last events, oldest first.
    pub last_events: Vec<TraceEvent>,
}

impl<T> Outcome<T> {
    /// The same outcome with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        let Self { ending, seed, trace_hash, stats, last_events } = self;
        Outcome { ending: ending.map(change), seed, trace_hash, stats, last_events }
    }

    /// What the main future returned.
    ///
    /// # Panics
    /// If the run ended otherwise; the message is the whole report.
    #[track_caller]
    pub fn expect_done(self) -> T {
        let report = if matches!(self.ending, Ending::Done(_)) { String::new() } else { self.to_string() };
        match self.ending {
            Ending::Done(value) => value,
            _ => panic!("{report}"),
        }
    }
}

impl<T> fmt::Display for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.ending)?;
        writeln!(
            f,
            "{:.3} virtual ms, {} polls, {} tasks, trace hash {:016x}",
            self.stats.elapsed_ns as f64 / 1e6,
            self.stats.polls,
            self.stats.tasks,
            self.trace_hash
        )?;
        self.last_events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}
