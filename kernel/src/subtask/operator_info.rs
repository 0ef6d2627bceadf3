//! What an operator knows of itself while it runs, and how calls of user functions are guarded.

use crate::error::{FailureSlot, JobError};
use crate::graph_ids::TaskName;
use crate::refusal::Refusal;
use std::fmt::{Debug, Write};
use std::rc::Rc;

/// Name and failure slot of an operator in one subtask.
pub struct OperatorInfo {
    pub(crate) name: String,
    pub(crate) task: Rc<TaskName>,
    pub(crate) failure: Rc<FailureSlot>,
}

/// Remembers, while a user function runs, the argument of the call. Only unwinding drops it, so the way without a panic costs nothing.
struct Guard<'a, V: Debug> {
    info: &'a OperatorInfo,
    record: V,
}

impl<V: Debug> Drop for Guard<'_, V> {
    fn drop(&mut self) {
        let mut shown = Shown { text: String::new(), room: SHOWN_BYTES };
        if write!(shown, "{:?}", self.record).is_err() {
            shown.text.push_str("...");
        }
        self.info.failure.note_panic(&self.info.name, shown.text);
    }
}

/// Bytes of a record that an error shows: enough to recognise it, not enough to flood a log.
const SHOWN_BYTES: usize = 2048;

/// Takes text until there is no room.
struct Shown {
    text: String,
    room: usize,
}

impl Write for Shown {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let most = part.len().min(self.room);
        let end = (0..=most).rev().find(|end| part.is_char_boundary(*end)).unwrap_or(0);
        let (taken, rest) = part.split_at(end);
        self.text.push_str(taken);
        self.room -= taken.len();
        if rest.is_empty() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

impl OperatorInfo {
    /// Calls a user function; if it panics, the error shows `record`.
    #[inline]
    pub(crate) fn call<V: Debug, R>(&self, record: V, f: impl FnOnce() -> R) -> R {
        let guard = Guard { info: self, record };
        let result = f();
        std::mem::forget(guard);
        result
    }

    /// Fails the job for good: its description does not fit the state that it is to resume from.
    #[cold]
    pub(crate) fn refuse(&self, refusal: impl Into<Refusal>) {
        self.failure.set(JobError::Invalid(refusal.into().of(format_args!("operator {}", self.name))));
    }

    /// Fails the subtask because of the way the operator is used.
    #[cold]
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        self.failure.set(JobError::Operator { operator: self.name.clone(), subtask: self.task.subtask, reason: reason.into() });
    }
}
