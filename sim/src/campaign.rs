//! Many seeds: runs them one after the other and sums up their reports.

use crate::finding::{Finding, FindingKind};
use crate::marks::{Marks, RUNS_MIN};
use crate::oracles::Compared;
use crate::run::{Report, run_seed};
use std::collections::BTreeMap;
use std::fmt;
use thalweg_world::cpu;

/// The least share of completed checkpoints that a large set of runs has to compare with the reference, in per cent. Jobs on flights are not compared.
const COMPARED_PER_CENT_MIN: u64 = 50;

/// A failing seed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Its finding.
    pub finding: Finding,
}

/// The totals of a set of runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of seeds that were run.
    pub runs: u64,
    /// The failing seeds.
    pub failures: Vec<Failure>,
    /// The marks that the runs have seen.
    pub marks: Marks,
    /// Runs by the shape of their jobs.
    pub shapes: BTreeMap<&'static str, u64>,
    /// Faults injected by family.
    pub faults: BTreeMap<&'static str, u64>,
    /// Completed checkpoints of all runs, and how many of them were compared with the reference.
    pub compared: Compared,
    /// CPU time of all runs, in microseconds.
    pub cpu_us_total: u64,
    /// CPU time of the most expensive run, in microseconds, and its seed.
    pub cpu_us_max: (u64, u64),
    /// Virtual time of all runs, in nanoseconds.
    pub virtual_ns: u64,
    /// Polls of all runs.
    pub polls: u64,
}

impl Summary {
    /// Runs a seed and adds its report.
    pub fn run(&mut self, seed: u64) -> Report {
        let before_us = cpu::thread_us();
        let report = run_seed(seed);
        let cost_us = cpu::thread_us().saturating_sub(before_us);
        self.runs += 1;
        self.cpu_us_total += cost_us;
        self.cpu_us_max = self.cpu_us_max.max((cost_us, seed));
        self.virtual_ns += report.stats.elapsed_ns;
        self.polls += report.stats.polls;
        self.compared += report.compared;
        self.marks.merge(&report.marks);
        *self.shapes.entry(report.shape).or_default() += 1;
        for (family, count) in &report.faults {
            *self.faults.entry(family).or_default() += count;
        }
        if let Some(finding) = &report.finding {
            self.failures.push(Failure { seed, finding: finding.clone() });
        }
        report
    }

    /// Marks that this set of runs should have seen and has not.
    #[must_use]
    pub fn missing_marks(&self) -> Vec<&'static str> {
        if self.runs >= RUNS_MIN { self.marks.missing() } else { vec![] }
    }

    /// Whether this set of runs is large enough, and compared too few of its checkpoints with the reference.
    #[must_use]
    pub fn compared_too_few(&self) -> bool {
        self.runs >= RUNS_MIN && self.compared.per_cent() < COMPARED_PER_CENT_MIN
    }

    /// The kind of the worst finding: a crash before no progress before a wrong result.
    #[must_use]
    pub fn worst(&self) -> Option<FindingKind> {
        let kinds = [FindingKind::Crash, FindingKind::NoProgress, FindingKind::Wrong];
        let lacks = !self.missing_marks().is_empty() || self.compared_too_few();
        let missing = lacks.then_some(FindingKind::Wrong);
        kinds.into_iter().find(|kind| self.failures.iter().any(|failure| failure.finding.kind == *kind)).or(missing)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, finding } = self;
        write!(f, "seed {seed}: {finding}\n  reproduce: cargo sim --seed {seed}")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<&'static str, u64>| {
            let items: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            if items.is_empty() { "none".to_owned() } else { items.join(", ") }
        };
        let mean_ms = self.cpu_us_total as f64 / 1e3 / self.runs.max(1) as f64;
        let (max_us, max_seed) = self.cpu_us_max;
        writeln!(f, "jobs: {}", list(&self.shapes))?;
        writeln!(f, "injected: {}", list(&self.faults))?;
        writeln!(f, "CPU a scenario: {mean_ms:.2} ms on average, {:.1} ms at most (seed {max_seed})", max_us as f64 / 1e3)?;
        writeln!(f, "simulated: {:.1} s, {} polls", self.virtual_ns as f64 / 1e9, self.polls)?;
        let Compared { seen, exactly } = self.compared;
        let verdict = if self.compared_too_few() { ", too few" } else { "" };
        writeln!(f, "checkpoints: {seen}, of which {exactly} compared with the reference ({} %{verdict})", self.compared.per_cent())?;
        let seen = self.marks.seen().count();
        match self.missing_marks() {
            missing if missing.is_empty() => write!(f, "seen: {seen} of {} marks", crate::marks::REQUIRED.len()),
            missing => write!(f, "never seen, and should have been: {}", missing.join(", ")),
        }
    }
}
