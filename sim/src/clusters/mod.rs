//! Runs a scenario of several processes, in the role of an operator: starts them, restarts dead ones, starts a second leader, stops the job and resumes it
//! with other workers; and heals the world in the end. Judges the outcome, and runs the finished job once more.
//!
//! A [`Course`] runs the cluster and judges. While it runs, a *host*, which belongs to no process, makes things happen: [`supervision`] starts its small
//! tasks, one for each process or fault, and all of them are polled by the one future of the run. All write into the same [`Notes`].
//!
//! Each file depends only on those below it:
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
use crate::oracles::{Coverage, Ledger, Shadows};
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
    let shadows = Shadows::new(world.disk().clone(), &scenario.job, false);
    watchers::watch(&world, job, plan, &windows, &coverage, &notes, &shadows);
    let mut course = Course::new(scenario, plan, job, world, notes.clone());
    let finding = course.run().err();
    let mut marks = notes.marks();
    marks.merge(&coverage.marks());
    let injected = course.world.injected();
    fault_families().filter(|family| injected.contains_key(family)).for_each(|family| marks.note(family));
    course.runs.report(finding, marks, injected, shadows.compared(), &notes.story())
}
