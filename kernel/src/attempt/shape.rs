//! The tasks of a job, for those who judge what is said about them.

use crate::graph::{Job, TaskPlan};
use crate::ids::OperatorId;
use std::rc::Rc;

/// A task as far as it matters what its subtasks may say.
pub struct TaskShape {
    /// The uid of the operator that stands first in it.
    pub uid: String,
    /// What people call it.
    pub name: String,
    /// The source that it begins with, if it does with one.
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
