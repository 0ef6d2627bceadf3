//! Runs a scenario of several processes, as somebody would who looks after them: starts them, starts again what has died, starts a second leader, stops
//! the job and goes on with other workers; and heals the world in the end. Judges what comes of it, and runs the finished job once more.
//!
//! A [`Course`] runs the cluster and judges. What happens while it runs is the business of a *host*, which belongs to no process: [`supervision`] starts
//! its small tasks, one for each thing that is looked after, and all of them are driven by the one future of the run. Everybody writes into the same
//! [`Notes`].
//!
//! Each file knows those below it, and none above:
//!
//! ```text
//! mod -> course -> supervision -> coordinator, worker, blows, healing -> host -> group, job, notes
//!    `-> watchers -> notes         coordinator, worker -> excuses
//! ```

mod blows;
mod coordinator;
mod course;
mod excuses;
mod group;
mod healing;
mod host;
mod job;
mod notes;
mod supervision;
mod watchers;
mod worker;

use crate::marks::fault_families;
use crate::oracles::{Coverage, Ledger};
use crate::run::{Report, windows_of};
use crate::scenario::cluster_plan::ClusterPlan;
use crate::scenario::lives_plan::CHECKPOINTS;
use crate::scenario::{JobPlan, Scenario};
use course::Course;
use notes::Notes;
use thalweg_world::World;

/// Runs a scenario of several processes.
pub(crate) fn run_once(scenario: &Scenario, plan: &ClusterPlan) -> Report {
    let world = World::new(scenario.seed, scenario.world.clone());
    let JobPlan::Elements(job) = &scenario.job else { unreachable!("jobs of several processes are on elements") };
    let notes = Notes::new(Ledger::new(world.disk().clone(), scenario.job.result_folders(), CHECKPOINTS));
    let windows = windows_of(&scenario.job);
    let coverage = Coverage::of_windows(windows.values().map(|plan| plan.lateness_ms).max().unwrap_or(0));
    watchers::watch(&world, job, plan, &windows, &coverage, &notes);
    let mut course = Course::new(scenario, plan, job, world, notes.clone());
    let finding = course.run().err();
    let mut marks = notes.marks();
    marks.merge(&coverage.marks());
    let injected = course.world.injected();
    fault_families().filter(|family| injected.contains_key(family)).for_each(|family| marks.note(family));
    course.runs.report(finding, marks, injected, &notes.story())
}
