//! The course of one scenario: the cluster runs until its job has finished, its results and leftovers are judged, and then the finished job is run once
//! more, which must change nothing.

use super::notes::Notes;
use super::supervision;
use crate::finding::Finding;
use crate::judge;
use crate::run::{ElementsResults, is_hidden};
use crate::runs::Runs;
use crate::scenario::Scenario;
use crate::scenario::cluster_plan::{ClusterPlan, Phase, Rest};
use crate::scenario::elements_job::Poison;
use crate::scenario::elements_plan::ElementsPlan;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use thalweg::{JobEnding, JobReport};
use thalweg_world::Ending;
use thalweg_world::World;

/// See the module's documentation.
pub(super) struct Course<'a> {
    scenario: &'a Scenario,
    plan: &'a ClusterPlan,
    job: &'a ElementsPlan,
    pub(super) world: World,
    notes: Notes,
    pub(super) runs: Runs<'a>,
}

impl<'a> Course<'a> {
    /// The course of `scenario`, with its `plan` and `job`, in a fresh world.
    pub(super) fn new(scenario: &'a Scenario, plan: &'a ClusterPlan, job: &'a ElementsPlan, world: World, notes: Notes) -> Self {
        Self { scenario, plan, job, world, notes, runs: Runs::of(scenario) }
    }

    /// Runs the course, and judges it.
    pub(super) fn run(&mut self) -> Result<(), Finding> {
        let poison = self.plan.poison.map(|(id, times)| Poison { id, times: Arc::new(AtomicU32::new(times)) });
        let report = self.go(self.plan.clone(), poison)?;
        let disk = self.world.disk().clone();
        disk.heal();
        let faults = disk.faults_injected();
        let violated = |reason| self.notes.told(Finding::wrong("transactions", reason));
        self.notes.ledger().end_of_life(false).map_err(violated)?;
        let is_tidy = faults == 0 && self.plan.has_no_zombies();
        if is_tidy {
            self.notes.ledger().end_of_job().map_err(violated)?;
        }
        let files = self.files();
        let results = ElementsResults::of_files(self.job, &files).map_err(|reason| Finding::wrong("visibility", reason))?;
        let judged = judge::elements_of_lives(self.job, &results, &report, false, &mut self.notes.marks_mut());
        judged.map_err(|finding| self.notes.told(finding))?;
        self.once_more(&files)?;
        let retained_max = self.plan.phases.iter().map(|phase| phase.checkpoints.retained).max().unwrap_or(1);
        judge::checkpoint_folder(self.world.disk(), retained_max, &self.notes.story())
    }

    /// One run of the cluster, until its job has finished.
    fn go(&mut self, plan: ClusterPlan, poison: Option<Poison>) -> Result<JobReport, Finding> {
        let (job, notes) = (self.job.clone(), self.notes.clone());
        let outcome = self.world.run_cluster(move |cluster| supervision::look_after(cluster, plan, job, poison, notes));
        let ending = self.runs.take_in(outcome);
        if let Some(finding) = Finding::of_ending(&ending) {
            return Err(self.notes.told(finding));
        }
        let Ending::Done(result) = ending else { unreachable!("every other ending is a finding") };
        result.map_err(|finding| self.notes.told(finding))
    }

    /// Visible files in the folders of results, with their contents.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.world.disk().files_in(&self.scenario.job.result_folders());
        files.retain(|(path, _)| !is_hidden(path));
        files
    }

    /// Runs the job again, with one worker: nothing is left to do, nothing changes, and leftovers of earlier processes are gone.
    fn once_more(&mut self, before: &[(String, Vec<u8>)]) -> Result<(), Finding> {
        let Some(last) = self.plan.phases.last().cloned() else { return Ok(()) };
        let phase = Phase { workers: vec![1], stop_ms: None, ..last };
        let plan = ClusterPlan {
            phases: vec![phase],
            aims: vec![],
            blows: vec![],
            net: vec![],
            disk: vec![],
            poison: None,
            takeover_ms: None,
            heal_ms: 0,
            rest: vec![Rest::Repaired],
            ..self.plan.clone()
        };
        self.notes.tell("once more");
        let report = self.go(plan, None)?;
        if report.ending != JobEnding::AlreadyFinished || report.checkpoints != 0 {
            return Err(self.notes.told(Finding::wrong("ending", "the job had finished, and is run again")));
        }
        if self.files() != before {
            return Err(self.notes.told(Finding::wrong("transactions", "running the finished job again has changed its results")));
        }
        let mut ledger = self.notes.ledger();
        let judged = ledger.end_of_life(false).and_then(|()| ledger.end_of_job());
        judged.map_err(|reason| self.notes.told(Finding::wrong("transactions", reason)))
    }
}
