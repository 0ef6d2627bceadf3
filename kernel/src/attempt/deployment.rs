//! Wires a job for one attempt: subtasks, the channels between them, and the cores they go to.
//!
//! Every process of a job builds the same graph, so a [`Deployment`] names only numbers: how many subtasks each task has, and which cores there are. From
//! that each worker finds out by itself which subtasks and which ends of channels are its own. Channels are made anew for each attempt, so nothing
//! that an older one has sent can arrive in it.

use crate::checkpoint::{Attempt, CheckpointId, JobId, Restored};
use crate::error::JobError;
use crate::exchange::{ChannelNumber, ErasedChannel, ErasedEnd, Links, Place};
use crate::graph::{EdgePlan, Job, Partitioning, TaskPlan};
use crate::ids::{EdgeId, OperatorId, SubtaskId, TaskName, WorkerId};
use crate::job::crew::Crew;
use crate::job::history::{TaskPlacement, WorkerShare};
use crate::messages::{Member, ToSubtask};
use crate::subtask::acknowledge::SnapshotPlace;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;
use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use thalweg_io::{Mailbox, MailboxReceiver, mailbox};
use thalweg_record::KeyGroups;

/// What every subtask of an attempt is told.
#[derive(Clone)]
pub struct AttemptPlan {
    /// The job, over all its attempts.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The coordinator's process, as the log knows it: attempts of two folders can have one number.
    pub owner: u64,
    /// The first checkpoint it can take.
    pub epoch: CheckpointId,
    /// Where state is saved, if it is.
    pub snapshots: Option<SnapshotPlace>,
}

/// The checkpoint that an attempt goes on from.
#[derive(Clone)]
pub struct RestorePlan {
    /// Its metadata file, in a folder that every worker sees.
    pub path: PathBuf,
    /// Length and CRC-32 of that file: a worker that finds another one sees another folder.
    pub metadata: (u64, u32),
    /// State that no operator asks for is left behind instead of refused.
    pub allow_non_restored_state: bool,
    /// As the coordinator has read it; for a worker in its own process.
    pub(crate) loaded: Option<Arc<Restored>>,
}

impl RestorePlan {
    /// For a worker in another process than the coordinator's: it reads the checkpoint itself. The fields are those of the same names.
    #[must_use]
    pub fn to_be_read(path: PathBuf, metadata: (u64, u32), allow_non_restored_state: bool) -> Self {
        Self { path, metadata, allow_non_restored_state, loaded: None }
    }
}

/// A worker's part in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Who sits there.
    pub worker: WorkerId,
    /// What people know it by.
    pub name: String,
    /// How many cores it has.
    pub cores: usize,
    /// Where each of its cores listens for frames; empty if it is alone.
    pub doors: Vec<SocketAddr>,
}

impl Seat {
    fn of(member: &Member) -> Self {
        Self { worker: member.id, name: member.name.clone(), cores: member.cores, doors: member.doors.clone() }
    }
}

/// Everything a worker has to know to do its part in an attempt.
#[derive(Clone)]
pub struct Deployment {
    /// What every subtask is told.
    pub plan: AttemptPlan,
    /// What the attempt goes on from.
    pub restore: Option<RestorePlan>,
    /// Who runs what.
    pub layout: Placement,
    /// Which seat is the receiver's.
    pub seat: usize,
}

/// A subtask on its way to its core.
pub(crate) struct SubtaskPlan {
    pub(crate) id: SubtaskId,
    pub(crate) operators: String,
    pub(crate) task_uid: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    pub(crate) build: Box<dyn FnOnce(&mut SubtaskContext) -> Box<dyn Subtask> + Send>,
    /// By input the receiving ends of its channels, in the order in which the task names the edges of that input.
    pub(crate) inputs: Vec<Vec<ErasedEnd>>,
    pub(crate) outputs: Vec<(EdgeId, Vec<ErasedEnd>)>,
    pub(crate) inbox: MailboxReceiver<ToSubtask>,
    pub(crate) attempt: AttemptPlan,
    pub(crate) restored: Option<Arc<Restored>>,
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
    /// The seat of the worker that runs it.
    pub(crate) seat: usize,
}

impl SubtaskInfo {
    /// What people call it.
    pub(crate) fn name(&self, job: &Job) -> String {
        let task = job.tasks.iter().find(|task| task.uid == self.task_uid);
        let operators = task.map_or(&self.task_uid, |task| &task.name).clone();
        TaskName { operators, subtask: self.subtask, parallelism: self.parallelism }.to_string()
    }
}

/// How many subtasks each task has, and where they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// By task.
    pub parallelism: Vec<usize>,
    /// All workers of the attempt.
    pub seats: Vec<Seat>,
}

/// A worker's share of an attempt.
pub(crate) struct DeployedShare {
    /// By core.
    pub(crate) subtasks: Vec<Vec<SubtaskPlan>>,
    /// By core.
    pub(crate) links: Vec<Links>,
    /// The way to each of its subtasks, by number.
    pub(crate) ways: Vec<(SubtaskId, Mailbox<ToSubtask>)>,
}

impl Placement {
    /// Decides about every task of `job` on the cores of the workers that are there.
    pub(crate) fn of_crew(job: &Job, crew: &Crew) -> Result<Self, JobError> {
        if crew.members().is_empty() {
            let reason = "no other is left".to_owned();
            return Err(JobError::WorkerLost { worker: "the last one".to_owned(), reason });
        }
        let seats: Vec<Seat> = crew.members().iter().map(Seat::of).collect();
        let core_count: usize = seats.iter().map(|seat| seat.cores).sum();
        Ok(Self { parallelism: parallelism(job, core_count)?, seats })
    }

    fn cores(&self) -> usize {
        self.seats.iter().map(|seat| seat.cores).sum()
    }

    /// Where subtask `subtask` of `task` runs. The cores of all workers are counted through.
    pub fn place(&self, task: usize, subtask: usize) -> Place {
        let mut core = place(task, subtask, self.parallelism[task], self.cores());
        for (seat, of) in self.seats.iter().enumerate() {
            if core < of.cores {
                return Place { seat, core };
            }
            core -= of.cores;
        }
        unreachable!("a core beyond those of all seats")
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

    /// What each worker does.
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

    /// The number of the first subtask of each task.
    fn first_subtasks(&self) -> Vec<SubtaskId> {
        self.parallelism
            .iter()
            .scan(0, |next, p| {
                *next += p;
                Some(*next - p)
            })
            .collect()
    }

    /// What `job` is for the worker at `seat`.
    pub(crate) fn share(&self, job: &Job, seat: usize, plan: &AttemptPlan, restored: Option<&Arc<Restored>>) -> DeployedShare {
        let mut share = DeployedShare {
            subtasks: (0..self.seats[seat].cores).map(|_| Vec::new()).collect(),
            links: (0..self.seats[seat].cores).map(|core| Links::new(plan, Place { seat, core })).collect(),
            ways: Vec::new(),
        };
        let first_subtask = self.first_subtasks();
        for (task, of) in job.tasks.iter().enumerate() {
            for subtask in 0..self.parallelism[task] {
                let at = self.place(task, subtask);
                if at.seat != seat {
                    continue;
                }
                let (way, inbox) = mailbox();
                let id = first_subtask[task] + subtask;
                share.ways.push((id, way));
                share.subtasks[at.core].push(SubtaskPlan {
                    id,
                    operators: of.name.clone(),
                    task_uid: of.uid.clone(),
                    subtask,
                    parallelism: self.parallelism[task],
                    build: (of.instantiate)(),
                    inputs: of.inputs.iter().map(|_| Vec::new()).collect(),
                    outputs: Vec::new(),
                    inbox,
                    attempt: plan.clone(),
                    restored: restored.cloned(),
                });
            }
        }
        self.wire(job, seat, &first_subtask, &mut share);
        share
    }

    /// Whether each sender of an edge into the task `to` has one receiver.
    fn is_one_to_one(&self, edge: &EdgePlan, to: usize) -> bool {
        edge.partitioning == Partitioning::Forward && self.parallelism[feeder(edge)] == self.parallelism[to]
    }

    /// How many send to each subtask of the task `to` on one edge.
    fn senders(&self, edge: &EdgePlan, to: usize) -> usize {
        if self.is_one_to_one(edge, to) { 1 } else { self.parallelism[feeder(edge)] }
    }

    /// Makes the channels that begin or end here. They are numbered through over all workers.
    fn wire(&self, job: &Job, seat: usize, first_subtask: &[SubtaskId], share: &mut DeployedShare) {
        let mut next = 0;
        for (to, task) in job.tasks.iter().enumerate() {
            let window = job.settings.initial_window(task.edges().map(|(_, edge)| self.senders(&job.edges[edge.0], to)).sum());
            for (input, edge) in task.edges() {
                let plan = &job.edges[edge.0];
                let from = feeder(plan);
                let one_to_one = self.is_one_to_one(plan, to);
                for s in 0..self.parallelism[from] {
                    for r in (0..self.parallelism[to]).filter(|r| !one_to_one || s == *r) {
                        let number = ChannelNumber(next);
                        next += 1;
                        let (sender, receiver) = (self.place(from, s), self.place(to, r));
                        if sender.seat != seat && receiver.seat != seat {
                            continue;
                        }
                        // What lies on the way to another worker lies at both ends: the other half there.
                        let leads_away = sender.seat == seat && receiver.seat != seat;
                        let window = if leads_away { window.div_ceil(2) } else { window };
                        let (output, receiving) = (plan.record.channel)(number, job.settings.ring_frames(), window);
                        if sender.seat == seat {
                            share.subtask_mut(sender.core, first_subtask[from] + s).add_output(edge, output);
                        } else {
                            let channel = ErasedChannel { number, end: output, record: plan.record.clone() };
                            share.links[receiver.core].receive(sender, &self.seats[sender.seat].name, channel);
                            share.subtask_mut(receiver.core, first_subtask[to] + r).inputs[input].push(receiving);
                            continue;
                        }
                        if receiver.seat == seat {
                            share.subtask_mut(receiver.core, first_subtask[to] + r).inputs[input].push(receiving);
                        } else {
                            let channel = ErasedChannel { number, end: receiving, record: plan.record.clone() };
                            let door = self.seats[receiver.seat].doors[receiver.core];
                            let peer = &self.seats[receiver.seat].name;
                            share.links[sender.core].send(receiver, peer, door, channel);
                        }
                    }
                }
            }
        }
    }
}

/// The task that feeds an edge.
fn feeder(edge: &EdgePlan) -> usize {
    edge.from.expect("invariant: every edge that is consumed was made by the task that feeds it")
}

impl DeployedShare {
    fn subtask_mut(&mut self, core: usize, id: SubtaskId) -> &mut SubtaskPlan {
        self.subtasks[core].iter_mut().find(|plan| plan.id == id).expect("invariant: a subtask is where its place says")
    }
}

impl SubtaskPlan {
    fn add_output(&mut self, edge: EdgeId, end: ErasedEnd) {
        match self.outputs.iter_mut().find(|(of, _)| *of == edge) {
            Some((_, ends)) => ends.push(end),
            None => self.outputs.push((edge, vec![end])),
        }
    }
}

/// The parallelism of every task of `job` on `core_count` cores.
pub(crate) fn parallelism(job: &Job, core_count: usize) -> Result<Vec<usize>, JobError> {
    if core_count == 0 {
        return Err(JobError::invalid("it needs at least one core"));
    }
    let key_groups: KeyGroups = job.key_groups;
    // More cores than key groups is no mistake of the user's.
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

    #[test]
    fn the_cores_of_all_workers_are_counted_through() {
        let seat = |cores| Seat { worker: WorkerId(0), name: String::new(), cores, doors: vec![] };
        let layout = Placement { parallelism: vec![5], seats: vec![seat(2), seat(1)] };
        let places: Vec<_> = (0..5).map(|s| layout.place(0, s)).map(|place| (place.seat, place.core)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (0, 0), (0, 1)]);
    }
}
