//! The job of a cluster, as every process describes it: from the options that the coordinator was given, and from nothing else.

use crate::scenario::cluster_plan::{ClusterPlan, Phase};
use crate::scenario::elements_job::{self, Place, Poison};
use crate::scenario::elements_plan::ElementsPlan;
use thalweg::{Job, JobError, Restore, StreamExecutionEnvironment};

/// A job and its phases. Clones share the poison, so that it is used up across processes.
#[derive(Clone)]
pub(super) struct PhasedJob {
    job: ElementsPlan,
    phases: Vec<Phase>,
    poison: Option<Poison>,
    roll_at_bytes: u64,
}

impl PhasedJob {
    /// The job in the phases of `plan`.
    pub(super) fn new(job: ElementsPlan, plan: &ClusterPlan, poison: Option<Poison>) -> Self {
        Self { job, phases: plan.phases.clone(), poison, roll_at_bytes: plan.roll_at_bytes }
    }

    /// The coordinator's options, from which all processes describe the phase `number`.
    pub(super) fn options(number: usize) -> Vec<String> {
        vec![number.to_string()]
    }

    /// Describes the job from `options`.
    pub(super) fn build(&self, options: &[String]) -> Result<Job, JobError> {
        let phase = options.first().and_then(|number| self.phases.get(number.parse::<usize>().ok()?));
        let phase = phase.ok_or_else(|| JobError::invalid(format!("no phase {options:?}")))?;
        let env = StreamExecutionEnvironment::new();
        phase.engine.apply(&env);
        env.enable_checkpointing(phase.checkpoints.config(Restore::Latest, false));
        env.set_restart_strategy(phase.restart.clone());
        drop(elements_job::build(&env, &self.job, self.poison.clone(), Place::Files { roll_at_bytes: self.roll_at_bytes }));
        env.build("simulated")
    }
}
