//! Lets an oracle written for one process judge a cluster: each attempt gets an instance of its own.
//!
//! Within an attempt every subtask exists once, wherever it runs; two attempts may run at the same time, if one belongs to processes that have not yet
//! heard of its end. So an event goes to the oracle of the attempt that its process takes part in: the attempt that a coordinator has begun last, or that
//! was deployed at a worker last.

use std::collections::BTreeMap;
use thalweg_io::ProbeEvent;
use thalweg_world::{Oracle, Origin, Violation};

/// See the module's documentation.
pub struct Apart<O> {
    make: Box<dyn Fn() -> O>,
    /// The oracles by the number of their attempt; 0 before the first.
    of_attempt: BTreeMap<i64, O>,
    processes: Attempts,
}

/// The attempt that each process takes part in.
#[derive(Default)]
pub(super) struct Attempts {
    // Only a handful, so a vector.
    processes: Vec<(String, u64, i64)>,
}

impl Attempts {
    /// Notes an event; returns the attempt of the process that it comes from.
    pub(super) fn observe(&mut self, origin: Origin<'_>, event: &ProbeEvent<'_>) -> i64 {
        let known = self.processes.iter_mut().find(|(name, incarnation, _)| name == origin.process && *incarnation == origin.incarnation);
        let begins = matches!(event.name, "attempt.begin" | "worker.deploy").then_some(event.values[0]);
        match (known, begins) {
            (Some((.., attempt)), Some(begins)) => {
                *attempt = begins;
                begins
            }
            (Some((.., attempt)), None) => *attempt,
            (None, Some(begins)) => {
                self.processes.push((origin.process.to_owned(), origin.incarnation, begins));
                begins
            }
            (None, None) => 0,
        }
    }
}

impl<O: Oracle> Apart<O> {
    /// Judges each attempt with an oracle from `make`.
    pub fn new(make: impl Fn() -> O + 'static) -> Self {
        let of_attempt = BTreeMap::from([(0, make())]);
        Self { make: Box::new(make), of_attempt, processes: Attempts::default() }
    }
}

impl<O: Oracle> Oracle for Apart<O> {
    fn name(&self) -> &str {
        self.of_attempt.values().next().map_or("", Oracle::name)
    }

    fn observe(&mut self, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        self.of_attempt.entry(0).or_insert_with(&self.make).observe(now_ms, event)
    }

    fn observe_in(&mut self, origin: Origin<'_>, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let attempt = self.processes.observe(origin, event);
        let oracle = self.of_attempt.entry(attempt).or_insert_with(&self.make);
        oracle
            .observe(now_ms, event)
            .map_err(|violation| Violation::new(format!("attempt {attempt}, {}#{}: {}", origin.process, origin.incarnation, violation.0)))
    }

    fn at_end(&mut self, now_ms: u64) -> Result<(), Violation> {
        self.of_attempt.values_mut().try_for_each(|oracle| oracle.at_end(now_ms))
    }
}
