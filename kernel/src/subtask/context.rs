//! The surroundings of a subtask when it is built on its core.

use crate::checkpoint::{Attempt, CheckpointId, JobId, OperatorState, Restored, Snapshots};
use crate::error::FailureSlot;
use crate::exchange::{ChannelWatch, ErasedEnd, ErasedOutputs, InputChannel, OutputNumbers, Outputs, typed};
use crate::graph::OperatorMeta;
use crate::graph_ids::{EdgeId, OperatorId, SubtaskId, TaskName};
use crate::messages::ToCoordinator;
use crate::metrics::{Counter, Gauge, MetricRegistry, Subject};
use crate::record::Record;
use crate::settings::EngineSettings;
use crate::subtask::clock::TaskClock;
use crate::subtask::operator_info::OperatorInfo;
use crate::subtask::slice::SliceBudget;
use crate::time::Watermark;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::{Io, Mailbox};
use thalweg_record::KeyGroups;

/// Gives a chain its inputs, outputs and surroundings while it is being fused.
pub struct SubtaskContext {
    pub(crate) io: Io,
    pub(crate) id: SubtaskId,
    pub(crate) name: Rc<TaskName>,
    pub(crate) operators: Arc<[OperatorMeta]>,
    pub(crate) settings: Arc<EngineSettings>,
    pub(crate) key_groups: KeyGroups,
    /// The channels of its edges, by input.
    pub(crate) inputs: Vec<Vec<ErasedEnd>>,
    pub(crate) outputs: Vec<(EdgeId, Vec<ErasedEnd>)>,
    pub(crate) failure: Rc<FailureSlot>,
    pub(crate) clock: TaskClock,
    pub(crate) slice: Rc<SliceBudget>,
    pub(crate) metrics: Rc<MetricRegistry>,
    /// Number of channels that have no room for a full frame.
    pub(crate) blocked_outputs: Rc<Cell<usize>>,
    pub(crate) coordinator: Mailbox<ToCoordinator>,
    pub(crate) job: JobId,
    /// The process that coordinates the job.
    pub(crate) owner: u64,
    pub(crate) attempt: Attempt,
    /// The first checkpoint of this attempt.
    pub(crate) epoch: CheckpointId,
    /// The uid of the task's first operator.
    pub(crate) task_uid: String,
    pub(crate) snapshots: Rc<Snapshots>,
    pub(crate) restored: Option<Arc<Restored>>,
}

impl SubtaskContext {
    pub(crate) fn subtask(&self) -> usize {
        self.name.subtask
    }

    pub(crate) fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    pub(crate) fn key_groups(&self) -> KeyGroups {
        self.key_groups
    }

    /// The merged watermark that this task had been told at the checkpoint it starts from (docs/src/semantics.md#c-5).
    pub(crate) fn restored_watermark(&self) -> Watermark {
        let of_task = |restored: &Arc<Restored>| restored.watermark(&self.task_uid, self.subtask(), self.name.parallelism, self.key_groups);
        self.restored.as_ref().map_or(Watermark::MIN, of_task)
    }

    /// Access of `operator` to snapshots and to the restored checkpoint.
    pub(crate) fn state_of(&self, operator: OperatorId) -> OperatorState {
        OperatorState {
            uid: self.operators[operator.0].uid.clone(),
            snapshots: Rc::clone(&self.snapshots),
            restored: RefCell::new(self.restored.clone()),
            key_groups: self.key_groups,
            owned: self.key_groups.owned_by(self.subtask(), self.name.parallelism),
            info: self.operator(operator),
            layouts: self.operators[operator.0].layouts.clone(),
            part_slots: self.settings.state_part_slots,
            claimed: RefCell::default(),
        }
    }

    /// What a running operator knows of itself, from its description.
    pub(crate) fn operator(&self, operator: OperatorId) -> Rc<OperatorInfo> {
        let name = self.operators[operator.0].name.clone();
        Rc::new(OperatorInfo { name, task: Rc::clone(&self.name), failure: Rc::clone(&self.failure) })
    }

    fn subject(&self, operator: OperatorId) -> Subject<'_> {
        let OperatorMeta { name, uid, .. } = &self.operators[operator.0];
        Subject::operator(name, uid)
    }

    fn subject_of_task(&self) -> Subject<'_> {
        Subject::task(&self.name.operators, &self.task_uid)
    }

    pub(crate) fn counter(&self, operator: OperatorId, name: &'static str) -> Counter {
        self.metrics.counter(self.subject(operator), name)
    }

    pub(crate) fn gauge(&self, operator: OperatorId, name: &'static str) -> Gauge {
        self.metrics.gauge(self.subject(operator), name, i64::MIN)
    }

    pub(crate) fn task_counter(&self, name: &'static str) -> Counter {
        self.metrics.counter(self.subject_of_task(), name)
    }

    pub(crate) fn task_gauge(&self, name: &'static str) -> Gauge {
        self.metrics.gauge(self.subject_of_task(), name, i64::MIN)
    }

    /// The counters that all outputs of this task share.
    fn output_numbers(&self) -> OutputNumbers {
        OutputNumbers {
            frames: self.task_counter("numBuffersOut"),
            records: self.task_counter("numRecordsOutOfTask"),
            credit_waits: self.task_counter("numCreditWaits"),
            blocked: Rc::clone(&self.blocked_outputs),
            rebuilt: self.task_counter("numRecordsRebuilt"),
        }
    }

    /// Reports to the observers of its channels.
    pub(crate) fn watch(&self) -> ChannelWatch {
        ChannelWatch::new(&self.io, self.attempt)
    }

    /// Whether nothing feeds this subtask.
    pub(crate) fn is_source(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The channels of one of its inputs.
    pub(crate) fn take_input<T: Record>(&mut self, input: usize) -> Vec<InputChannel<T>> {
        let ends = std::mem::take(self.inputs.get_mut(input).expect("invariant: the graph gives a task the inputs that its head takes"));
        ends.into_iter().map(typed).collect()
    }

    /// The sending side of `edge`; without channels if nobody consumes it.
    pub(crate) fn outputs<T: Record>(&mut self, edge: EdgeId) -> Outputs<T> {
        self.erased_outputs(edge).typed()
    }

    /// The same, without the type of its records.
    pub(crate) fn erased_outputs(&mut self, edge: EdgeId) -> ErasedOutputs {
        let ends = self.outputs.iter().position(|(id, _)| *id == edge).map(|i| self.outputs.swap_remove(i).1);
        ErasedOutputs {
            ends: ends.unwrap_or_default(),
            frame_records: self.settings.frame_records,
            numbers: self.output_numbers(),
            watch: self.watch(),
        }
    }

    /// The edges that lead from `operator` into several streams.
    pub(crate) fn branches(&self, operator: OperatorId) -> Vec<EdgeId> {
        self.operators[operator.0].branches.clone()
    }
}
