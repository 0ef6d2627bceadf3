//! Gathers the parts of the checkpoint under way, and makes its metadata when all are there.

use crate::attempt::deployment::AttemptPlan;
use crate::attempt::placement::SubtaskInfo;
use crate::attempt::transactions::PreparedTransaction;
use crate::checkpoint::CheckpointId;
use crate::graph::{Job, OperatorMeta, SourcePlan};
use crate::graph_ids::{OperatorId, SubtaskId};
use std::time::Duration;
use thalweg_io::{MonotonicNs, UnixMillis};
use thalweg_storage::checkpoint::{
    FinishedSubtask, Metadata, OperatorEntry, SourceEntry, SplitEntry, StateFile, TaskSnapshot, TransactionEntry,
};

/// The parts of a checkpoint that have arrived.
pub(crate) struct Collecting {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) since: MonotonicNs,
    pub(crate) snapshots: Vec<(SubtaskId, Vec<StateFile>)>,
    /// Splits that were not assigned at the trigger, and those that were being read at the barrier, with their positions.
    pub(crate) splits: Vec<(OperatorId, Vec<SplitEntry>)>,
}

/// The other facts about a checkpoint.
pub(crate) struct About<'a> {
    pub(crate) job: &'a Job,
    pub(crate) plan: &'a AttemptPlan,
    pub(crate) infos: &'a [SubtaskInfo],
    /// By subtask: whether it has finished.
    pub(crate) finished: &'a [bool],
    /// The transactions that the checkpoint names.
    pub(crate) transactions: Vec<PreparedTransaction>,
    /// Whether the input has ended everywhere.
    pub(crate) is_last: bool,
    pub(crate) collected_at: UnixMillis,
    /// From the trigger until now.
    pub(crate) duration: Duration,
}

impl Collecting {
    pub(crate) fn metadata(&self, about: About<'_>) -> Metadata {
        let About { job, plan, infos, finished, transactions, is_last, collected_at, duration } = about;
        let has_snapshot = |subtask: SubtaskId| self.snapshots.iter().any(|(of, _)| *of == subtask);
        let ended = (0..infos.len()).filter(|subtask| finished[*subtask] && !has_snapshot(*subtask));
        let ended = ended.map(|subtask| FinishedSubtask { task: infos[subtask].task_uid.clone(), subtask: infos[subtask].subtask as u32 });
        Metadata {
            job: plan.job,
            attempt: plan.attempt,
            id: self.checkpoint,
            completed_at_ms: collected_at.0,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            key_groups: job.key_groups.count(),
            finished: is_last,
            operators: job.operators.iter().filter_map(|operator| entry_of(job, infos, operator)).collect(),
            snapshots: Vec::new(),
            sources: job.sources.iter().map(|(source, _)| self.positions_of(job, source)).collect(),
            transactions: transactions.into_iter().map(|prepared| transaction_of(job, prepared)).collect(),
            finished_subtasks: ended.collect(),
        }
    }

    fn positions_of(&self, job: &Job, source: &SourcePlan) -> SourceEntry {
        let of_source = self.splits.iter().filter(|(operator, _)| *operator == source.operator);
        let mut splits: Vec<SplitEntry> = of_source.flat_map(|(_, splits)| splits.iter().cloned()).collect();
        splits.sort_by_key(|split| split.number);
        SourceEntry { uid: job.operators[source.operator.0].uid.clone(), layout: source.layout.clone(), splits }
    }

    pub(crate) fn size(&self) -> CheckpointSize {
        CheckpointSize {
            written: self.snapshots.iter().map(|(_, state)| written_bytes(state)).sum(),
            full: self.snapshots.iter().flat_map(|(_, state)| state).map(|file| file.image.bytes()).sum(),
        }
    }

    /// The snapshots, by subtask.
    pub(crate) fn into_snapshots(self, infos: &[SubtaskInfo]) -> Vec<TaskSnapshot> {
        let of_subtask = |(subtask, state): (SubtaskId, Vec<StateFile>)| {
            let SubtaskInfo { task_uid, subtask, parallelism, .. } = &infos[subtask];
            let images = state.into_iter().map(|StateFile { image, .. }| image).collect();
            TaskSnapshot { task: task_uid.clone(), subtask: *subtask as u32, parallelism: *parallelism as u32, images }
        };
        self.snapshots.into_iter().map(of_subtask).collect()
    }
}

/// What a subtask has written for a checkpoint, in bytes: the newest of the images that make up its state.
pub(crate) fn written_bytes(state: &[StateFile]) -> u64 {
    state.last().map_or(0, |file| file.image.bytes())
}

/// The size of the state in a checkpoint, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckpointSize {
    /// What was written for it.
    pub(crate) written: u64,
    /// All that it consists of, also what was written for earlier ones.
    pub(crate) full: u64,
}

/// The entry of an operator that runs; `None` if it does not.
fn entry_of(job: &Job, infos: &[SubtaskInfo], operator: &OperatorMeta) -> Option<OperatorEntry> {
    let task_uid = &job.tasks[operator.task?].uid;
    let parallelism = infos.iter().find(|info| info.task_uid == *task_uid).map_or(0, |info| info.parallelism as u32);
    Some(OperatorEntry { uid: operator.uid.clone(), name: operator.name.clone(), parallelism })
}

fn transaction_of(job: &Job, prepared: PreparedTransaction) -> TransactionEntry {
    let plan = job.sinks.iter().find(|sink| sink.operator == prepared.sink);
    let layout = plan.map(|plan| plan.layout.clone()).expect("invariant: a transaction belongs to a sink of the job");
    let sink_uid = job.operators[prepared.sink.0].uid.clone();
    TransactionEntry { sink_uid, checkpoint: prepared.epoch, layout, transaction: prepared.bytes.to_vec() }
}
