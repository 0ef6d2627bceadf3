//! What an operator knows of itself while it runs, and how calls of user functions are guarded.

use super::context::TaskName;
use super::error::{FailureSlot, JobError};
use std::fmt::Debug;
use std::rc::Rc;

/// Name and failure slot of an operator in one subtask.
pub struct OperatorInfo {
    pub(crate) name: String,
    pub(crate) task: Rc<TaskName>,
    pub(crate) failure: Rc<FailureSlot>,
}

/// Remembers, while a user function runs, what it was called with. Only unwinding drops it, so the way without a panic costs nothing.
struct Guard<'a, V: Debug> {
    info: &'a OperatorInfo,
    record: V,
}

impl<V: Debug> Drop for Guard<'_, V> {
    fn drop(&mut self) {
        self.info.failure.note_panic(&self.info.name, format!("{:?}", self.record));
    }
}

impl OperatorInfo {
    /// Calls a user function with something to show for it if it panics.
    #[inline]
    pub(crate) fn call<V: Debug, R>(&self, record: V, f: impl FnOnce() -> R) -> R {
        let guard = Guard { info: self, record };
        let result = f();
        std::mem::forget(guard);
        result
    }

    /// Fails the subtask for a reason that lies in how the operator is used.
    #[cold]
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        self.failure.set(JobError::Operator { operator: self.name.clone(), subtask: self.task.subtask, reason: reason.into() });
    }
}
