//! Sums up the runs of one scenario, if it takes several of them in one world.

use crate::finding::Finding;
use crate::marks::Marks;
use crate::oracles::Compared;
use crate::run::Report;
use crate::scenario::Scenario;
use thalweg_world::TraceEvent;
use thalweg_world::{Ending, Outcome, RunStats};
use thalweg_world::{FaultCounts, only_faults};

/// An odd multiplier with well spread bits, that of the golden ratio. The rotation before it makes the order of the runs matter.
const HASH_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module's documentation.
pub(crate) struct Runs<'a> {
    scenario: &'a Scenario,
    hash: u64,
    stats: RunStats,
    events: Vec<TraceEvent>,
}

impl<'a> Runs<'a> {
    /// The sum of no runs yet.
    pub(crate) fn of(scenario: &'a Scenario) -> Self {
        Self { scenario, hash: scenario.seed, stats: RunStats::default(), events: vec![] }
    }

    /// Adds the next run; returns how it ended.
    pub(crate) fn take_in<T>(&mut self, outcome: Outcome<T>) -> Ending<T> {
        let Outcome { ending, trace_hash, stats, last_events, .. } = outcome;
        self.hash = (self.hash.rotate_left(7) ^ trace_hash).wrapping_mul(HASH_MULTIPLIER);
        self.stats += stats;
        self.events.extend(last_events);
        let kept = self.scenario.world.trace_events_kept;
        self.events.drain(..self.events.len().saturating_sub(kept));
        ending
    }

    /// The report over all runs. `injected`: the faults of operations, connections and processes; `compared`: the checkpoints; `story`: the events, in
    /// words.
    pub(crate) fn report(
        self,
        finding: Option<Finding>,
        marks: Marks,
        injected: FaultCounts,
        compared: Compared,
        story: &[String],
    ) -> Report {
        let Self { scenario, hash, stats, events } = self;
        Report {
            seed: scenario.seed,
            shape: scenario.shape(),
            finding,
            trace_hash: hash,
            stats,
            marks,
            faults: only_faults(injected),
            compared,
            ending: story.join("; "),
            events,
        }
    }
}
