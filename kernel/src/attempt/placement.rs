//! How many subtasks each task of an attempt has, and which worker runs which of them.

use crate::attempt::deployment::{Placement, Seat};
use crate::error::JobError;
use crate::graph::{Job, TaskPlan};
use crate::graph_ids::{OperatorId, TaskName};
use crate::job::crew::Crew;
use crate::job::history::{TaskPlacement, WorkerShare};
use crate::messages::Member;
use std::collections::BTreeSet;
use thalweg_record::KeyGroups;

/// A subtask as the coordinator knows it.
#[derive(Clone, Debug)]
pub(crate) struct SubtaskInfo {
    /// The uid of the task's first operator.
    pub(crate) task_uid: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    /// The source that its task begins with, if any.
    pub(crate) source: Option<OperatorId>,
    /// The seat of the worker that runs it.
    pub(crate) seat: usize,
}

impl SubtaskInfo {
    /// The name that people see.
    pub(crate) fn name(&self, job: &Job) -> String {
        let task = job.tasks.iter().find(|task| task.uid == self.task_uid);
        let operators = task.map_or(&self.task_uid, |task| &task.name).clone();
        TaskName { operators, subtask: self.subtask, parallelism: self.parallelism }.to_string()
    }
}

impl Seat {
    fn of(member: &Member) -> Self {
        Self { worker: member.id, name: member.name.clone(), cores: member.cores, doors: member.doors.clone() }
    }
}

impl Placement {
    /// Places every task of `job` on the cores of the workers that are there.
    pub(crate) fn of_crew(job: &Job, crew: &Crew) -> Result<Self, JobError> {
        if crew.members().is_empty() {
            let reason = "no other is left".to_owned();
            return Err(JobError::WorkerLost { worker: "the last one".to_owned(), reason });
        }
        let seats: Vec<Seat> = crew.members().iter().map(Seat::of).collect();
        let core_count: usize = seats.iter().map(|seat| seat.cores).sum();
        Ok(Self { parallelism: parallelism(job, core_count)?, seats })
    }

    /// All subtasks, by their number.
    pub(crate) fn subtasks(&self, job: &Job) -> Vec<SubtaskInfo> {
        let of_task = |(task, parallelism): (usize, &usize)| {
            let (plan, parallelism) = (&job.tasks[task], *parallelism);
            let source = job.sources.iter().find(|(_, of)| *of == task).map(|(source, _)| source.operator);
            (0..parallelism).map(move |subtask| SubtaskInfo {
                task_uid: plan.uid.clone(),
                subtask,
                parallelism,
                source,
                seat: self.place(task, subtask).seat,
            })
        };
        self.parallelism.iter().enumerate().flat_map(of_task).collect()
    }

    /// Which worker runs which subtask.
    pub(crate) fn tasks(&self, job: &Job) -> Vec<TaskPlacement> {
        let placed = |(number, task): (usize, &TaskPlan)| TaskPlacement {
            uid: task.uid.clone(),
            name: task.name.clone(),
            subtasks: (0..self.parallelism[number]).map(|subtask| self.place(number, subtask).seat).collect(),
        };
        job.tasks.iter().enumerate().map(placed).collect()
    }

    /// The share of each worker.
    pub(crate) fn shares(&self, job: &Job) -> Vec<WorkerShare> {
        let keyed = |task: usize| job.operators.iter().any(|operator| operator.has_state && operator.task == Some(task));
        let share = |(seat, of): (usize, &Seat)| {
            let mut key_groups = BTreeSet::new();
            let mut subtasks = 0;
            for (task, parallelism) in self.parallelism.iter().enumerate() {
                for subtask in (0..*parallelism).filter(|subtask| self.place(task, *subtask).seat == seat) {
                    subtasks += 1;
                    if keyed(task) {
                        key_groups.extend(job.key_groups.owned_by(subtask, *parallelism));
                    }
                }
            }
            WorkerShare { name: of.name.clone(), cores: of.cores, subtasks, key_groups: key_groups.len() as u32 }
        };
        self.seats.iter().enumerate().map(share).collect()
    }
}

/// The parallelism of every task of `job` on `core_count` cores.
pub(crate) fn parallelism(job: &Job, core_count: usize) -> Result<Vec<usize>, JobError> {
    if core_count == 0 {
        return Err(JobError::invalid("it needs at least one core"));
    }
    let key_groups: KeyGroups = job.key_groups;
    // More cores than key groups is not an error of the user's.
    let default_parallelism = job.default_parallelism.unwrap_or(core_count.min(key_groups.count() as usize));
    let parallelism: Vec<usize> = job.tasks.iter().map(|task| task.parallelism.unwrap_or(default_parallelism)).collect();
    if let Some((task, p)) = job.tasks.iter().zip(&parallelism).find(|(_, p)| **p == 0 || **p > key_groups.count() as usize) {
        let (name, count) = (&task.name, key_groups.count());
        let cure = "choose another parallelism or raise the maximum with set_max_parallelism";
        return Err(JobError::invalid(format!(
            "the parallelism of {name} is {p}, but it must be between 1 and the {count} key groups: {cure}"
        )));
    }
    Ok(parallelism)
}
