//! Wires a job for one attempt: subtasks, the channels between them, and the cores they go to.
//!
//! Channels are made anew for each attempt, so nothing that an older one has sent can arrive in it.

use super::acknowledge::SnapshotPlace;
use super::context::{SubtaskContext, SubtaskId};
use super::driver::Subtask;
use super::error::JobError;
use super::key_groups::KeyGroups;
use super::messages::ToSubtask;
use crate::checkpoint::{Attempt, CheckpointId, JobId, Restored};
use crate::graph::{EdgeId, Job, OperatorId};
use std::any::Any;
use std::sync::Arc;
use thalweg_io::{Mailbox, MailboxReceiver, mailbox};

/// What every subtask of an attempt is told.
#[derive(Clone)]
pub(crate) struct AttemptPlan {
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    /// The first checkpoint it can take.
    pub(crate) epoch: CheckpointId,
    pub(crate) restored: Option<Arc<Restored>>,
    pub(crate) snapshots: Option<SnapshotPlace>,
}

/// A subtask on its way to its core.
pub(crate) struct SubtaskPlan {
    pub(crate) id: SubtaskId,
    pub(crate) operators: String,
    pub(crate) task_uid: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    pub(crate) build: Box<dyn FnOnce(&mut SubtaskContext) -> Box<dyn Subtask> + Send>,
    pub(crate) inputs: Vec<Box<dyn Any + Send>>,
    pub(crate) outputs: Vec<(EdgeId, Box<dyn Any + Send>)>,
    pub(crate) inbox: MailboxReceiver<ToSubtask>,
    pub(crate) attempt: AttemptPlan,
}

/// A subtask as the coordinator knows it.
#[derive(Clone, Debug)]
pub(crate) struct SubtaskInfo {
    /// Of the first operator of its task.
    pub(crate) task_uid: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    /// The source that its task begins with, if it does with one.
    pub(crate) source: Option<OperatorId>,
}

/// How many subtasks each task has, and where they run. The same for every attempt.
pub(crate) struct Layout {
    pub(crate) parallelism: Vec<usize>,
    core_count: usize,
}

impl Layout {
    /// Decides about every task of `job` on `core_count` cores.
    pub(crate) fn new(job: &Job, core_count: usize) -> Result<Self, JobError> {
        if core_count == 0 {
            return Err(JobError::Invalid("it needs at least one core".to_owned()));
        }
        let key_groups: KeyGroups = job.key_groups;
        // More cores than key groups is no mistake of the user's.
        let default_parallelism = job.default_parallelism.unwrap_or(core_count.min(key_groups.count() as usize));
        let parallelism: Vec<usize> = job.tasks.iter().map(|task| task.parallelism.unwrap_or(default_parallelism)).collect();
        if let Some((task, p)) = job.tasks.iter().zip(&parallelism).find(|(_, p)| **p == 0 || **p > key_groups.count() as usize) {
            let (name, count) = (&task.name, key_groups.count());
            let cure = "choose another parallelism or raise the maximum with set_max_parallelism";
            return Err(JobError::Invalid(format!(
                "the parallelism of {name} is {p}, but it must be between 1 and the {count} key groups: {cure}"
            )));
        }
        Ok(Self { parallelism, core_count })
    }

    /// All subtasks, by their number.
    pub(crate) fn subtasks(&self, job: &Job) -> Vec<SubtaskInfo> {
        let of_task = |(task, parallelism): (usize, &usize)| {
            let (plan, parallelism) = (&job.tasks[task], *parallelism);
            let source = job.sources.iter().find(|(_, of)| *of == task).map(|(source, _)| source.operator);
            (0..parallelism).map(move |subtask| SubtaskInfo { task_uid: plan.uid.clone(), subtask, parallelism, source })
        };
        self.parallelism.iter().enumerate().flat_map(of_task).collect()
    }

    /// The subtasks of an attempt by core, and the way to each by its number.
    pub(crate) fn deploy(&self, job: &Job, attempt: &AttemptPlan) -> (Vec<Vec<SubtaskPlan>>, Vec<Mailbox<ToSubtask>>) {
        let mut ways = Vec::new();
        let mut plans: Vec<SubtaskPlan> = Vec::new();
        let mut first_subtask = Vec::new();
        for (task, p) in job.tasks.iter().zip(&self.parallelism) {
            first_subtask.push(plans.len());
            for subtask in 0..*p {
                let (way, inbox) = mailbox();
                ways.push(way);
                plans.push(SubtaskPlan {
                    id: plans.len(),
                    operators: task.name.clone(),
                    task_uid: task.uid.clone(),
                    subtask,
                    parallelism: *p,
                    build: (task.instantiate)(),
                    inputs: Vec::new(),
                    outputs: Vec::new(),
                    inbox,
                    attempt: attempt.clone(),
                });
            }
        }
        self.wire(job, &first_subtask, &mut plans);
        let mut per_core: Vec<Vec<SubtaskPlan>> = (0..self.core_count).map(|_| Vec::new()).collect();
        let of_task = |(task, p): (usize, &usize)| {
            let p = *p;
            (0..p).map(move |s| place(task, s, p, self.core_count))
        };
        let places: Vec<usize> = self.parallelism.iter().enumerate().flat_map(of_task).collect();
        for (plan, place) in plans.into_iter().zip(places) {
            per_core[place].push(plan);
        }
        (per_core, ways)
    }

    /// Makes the channels. Inputs are wired in the order in which the consumer names its edges.
    fn wire(&self, job: &Job, first_subtask: &[SubtaskId], plans: &mut [SubtaskPlan]) {
        for (to, task) in job.tasks.iter().enumerate() {
            for edge in &task.inputs {
                let edge_plan = &job.edges[edge.0];
                let from = edge_plan.from.expect("invariant: every edge that is consumed was made by the task that feeds it");
                let one_to_one = edge_plan.forward && self.parallelism[from] == self.parallelism[to];
                let channels = (edge_plan.channels)(self.parallelism[from], self.parallelism[to], one_to_one, job.settings.channel_frames);
                for (s, sender) in channels.senders.into_iter().enumerate() {
                    plans[first_subtask[from] + s].outputs.push((*edge, sender));
                }
                for (r, receiver) in channels.receivers.into_iter().enumerate() {
                    plans[first_subtask[to] + r].inputs.push(receiver);
                }
            }
        }
    }
}

/// Subtask `s` of every task with at least as many subtasks as cores lives on core `s % cores`, so that forward edges stay on their core; smaller
/// tasks begin at a core of their own each, so that they do not all meet on core 0.
fn place(task: usize, subtask: usize, parallelism: usize, cores: usize) -> usize {
    if parallelism >= cores { subtask % cores } else { (task + subtask) % cores }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_neighbours_share_a_core_and_small_tasks_spread() {
        assert_eq!((0..4).map(|s| place(5, s, 4, 2)).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!((0..3).map(|task| place(task, 0, 1, 2)).collect::<Vec<_>>(), [0, 1, 0]);
    }
}
