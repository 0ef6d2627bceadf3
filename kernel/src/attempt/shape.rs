//! The tasks of a job, for the code that checks messages about them.

use crate::graph::{Job, TaskPlan};
use crate::graph_ids::OperatorId;
use std::rc::Rc;

/// The parts of a task that decide which messages its subtasks may send.
pub struct TaskShape {
    /// The uid of its first operator.
    pub uid: String,
    /// The name that people see.
    pub name: String,
    /// The source that it begins with, if any.
    pub source: Option<OperatorId>,
    /// The sinks in it.
    pub sinks: Vec<OperatorId>,
}

/// The tasks of `job`, in their order.
#[must_use]
pub fn shape_of(job: &Job) -> Rc<[TaskShape]> {
    let is_in = |operator: OperatorId, task: usize| job.operators.get(operator.0).is_some_and(|operator| operator.task == Some(task));
    let shape = |(task, plan): (usize, &TaskPlan)| TaskShape {
        uid: plan.uid.clone(),
        name: plan.name.clone(),
        source: job.sources.iter().find(|(_, of)| *of == task).map(|(source, _)| source.operator),
        sinks: job.sinks.iter().map(|sink| sink.operator).filter(|sink| is_in(*sink, task)).collect(),
    };
    job.tasks.iter().enumerate().map(shape).collect()
}
