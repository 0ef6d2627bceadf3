//! The numbers and names that identify the parts of a job: operators, edges, subtasks, workers.

use std::fmt;

/// The number of an operator within its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub usize);

/// The number of an edge within its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub(crate) usize);

/// The number of a subtask within its job, over all tasks.
pub(crate) type SubtaskId = usize;

/// `source -> map(2/3)`: the operators of a task, and the subtask.
pub(crate) struct TaskName {
    pub(crate) operators: String,
    pub(crate) subtask: usize,
    pub(crate) parallelism: usize,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}/{})", self.operators, self.subtask + 1, self.parallelism)
    }
}

/// The number of a worker among all that a coordinator has seen. A worker that comes back gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
