//! Wires a worker's share of an attempt: its subtasks, and the channels that begin or end at them.
//!
//! Channels are made anew for each attempt, so nothing sent by an older one can arrive in it.

use crate::attempt::deployment::{AttemptPlan, Placement};
use crate::checkpoint::Restored;
use crate::exchange::{ChannelNumber, ErasedChannel, ErasedEnd, Links, Place};
use crate::graph::{Build, EdgePlan, Job, Partitioning};
use crate::graph_ids::{EdgeId, SubtaskId};
use crate::messages::ToSubtask;
use std::sync::Arc;
use thalweg_io::{Mailbox, MailboxReceiver, mailbox};

/// A subtask on its way to its core.
pub(crate) struct SubtaskPlan {
    pub(crate) id: SubtaskId,
    pub(crate) operators: String,
    pub(crate) task_uid: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
    pub(crate) build: Build,
    /// The receiving ends of its channels, by input, in the order in which the task names the edges of that input.
    pub(crate) inputs: Vec<Vec<ErasedEnd>>,
    pub(crate) outputs: Vec<(EdgeId, Vec<ErasedEnd>)>,
    pub(crate) inbox: MailboxReceiver<ToSubtask>,
    pub(crate) attempt: AttemptPlan,
    pub(crate) restored: Option<Arc<Restored>>,
}

/// A worker's share of an attempt.
pub(crate) struct DeployedShare {
    /// Subtasks, by core.
    pub(crate) subtasks: Vec<Vec<SubtaskPlan>>,
    /// Links to other workers, by core.
    pub(crate) links: Vec<Links>,
    /// The way to each of its subtasks, by number.
    pub(crate) ways: Vec<(SubtaskId, Mailbox<ToSubtask>)>,
}

impl Placement {
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

    /// The share of the worker at `seat` in `job`.
    pub(crate) fn share(&self, job: &Job, seat: usize, plan: &AttemptPlan, restored: Option<&Arc<Restored>>) -> DeployedShare {
        let mut share = DeployedShare {
            subtasks: (0..self.seats[seat].cores).map(|_| Vec::new()).collect(),
            links: (0..self.seats[seat].cores).map(|core| Links::new(plan.job, plan.attempt, plan.owner, Place { seat, core })).collect(),
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

    /// How many subtasks send to each subtask of the task `to` on one edge.
    fn senders(&self, edge: &EdgePlan, to: usize) -> usize {
        if self.is_one_to_one(edge, to) { 1 } else { self.parallelism[feeder(edge)] }
    }

    /// Makes the channels that begin or end here. They are numbered consecutively over all workers.
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
                        // A channel to another worker has a half at either end: the other half is made there.
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
