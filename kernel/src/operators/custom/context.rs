//! The operations that a user-defined operator has while it is called.

use crate::operators::process::Context;
use crate::operators::{OutputTag, SideOutputs};
use crate::record::{Key, Record};
use crate::subtask::clock::TaskClock;
use crate::subtask::context::SubtaskContext;
use crate::time::{NO_TIMESTAMP, Watermark};
use std::ops::{Deref, DerefMut};

/// The place where an operator runs: the same in all calls of a subtask.
pub(in crate::operators) struct Site {
    pub(in crate::operators) clock: TaskClock,
    subtask: usize,
    parallelism: usize,
}

impl Site {
    pub(in crate::operators) fn of(cx: &SubtaskContext) -> Self {
        Self { clock: cx.clock.clone(), subtask: cx.subtask(), parallelism: cx.name.parallelism }
    }
}

/// The operations of an operator in a call that concerns no key.
pub struct OperatorContext<'a> {
    pub(in crate::operators) timestamp: i64,
    pub(in crate::operators) watermark: Watermark,
    pub(in crate::operators) site: &'a Site,
    /// The operator has more to emit.
    pub(in crate::operators) has_more: bool,
    pub(in crate::operators) sides: &'a mut SideOutputs,
}

impl OperatorContext<'_> {
    /// The timestamp of the record in milliseconds; `None` if it has none, and where no record is in work.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        (self.timestamp != NO_TIMESTAMP).then_some(self.timestamp)
    }

    /// The operator's watermark: event time has reached it in all inputs.
    #[must_use]
    pub fn current_watermark(&self) -> Watermark {
        self.watermark
    }

    /// The wall clock at the beginning of this slice of work, in milliseconds since 1970.
    #[must_use]
    pub fn current_processing_time(&self) -> i64 {
        self.site.clock.now().wall.0
    }

    /// The number of this subtask, from 0.
    #[must_use]
    pub fn subtask(&self) -> usize {
        self.site.subtask
    }

    /// How many subtasks there are.
    #[must_use]
    pub fn parallelism(&self) -> usize {
        self.site.parallelism
    }

    /// Emits `record` to the side output `tag`, with the current timestamp. The record is dropped if nobody has taken that output
    /// (docs/src/semantics.md#p-4).
    pub fn output<T: Record>(&mut self, tag: &OutputTag<T>, record: T) {
        self.sides.emit(tag, self.timestamp, record);
    }

    /// Says that there is more to emit than should be held at once: [`resume`](crate::StreamOperator::resume) is called after this call, when the records
    /// it emitted have gone down. So an operator that makes very many records of one holds a part of them at a time. Suspend only while something is
    /// left: an operator that suspends itself without end holds up the job, as an endless loop would.
    pub fn suspend(&mut self) {
        self.has_more = true;
    }

    /// The same for another callee, whose wish to suspend is ignored.
    pub(in crate::operators) fn lent(&mut self) -> OperatorContext<'_> {
        OperatorContext { timestamp: self.timestamp, watermark: self.watermark, site: self.site, has_more: false, sides: self.sides }
    }
}

/// The operations of a keyed operator on the record, or the timer, in work: those of a [`Context`], and suspending itself.
pub struct KeyedOperatorContext<'c, 'a, K: Key> {
    pub(super) context: &'c mut Context<'a, K>,
}

impl<K: Key> KeyedOperatorContext<'_, '_, K> {
    /// See [`OperatorContext::suspend`].
    pub fn suspend(&mut self) {
        self.context.has_more = true;
    }
}

impl<'a, K: Key> Deref for KeyedOperatorContext<'_, 'a, K> {
    type Target = Context<'a, K>;

    fn deref(&self) -> &Context<'a, K> {
        self.context
    }
}

impl<'a, K: Key> DerefMut for KeyedOperatorContext<'_, 'a, K> {
    fn deref_mut(&mut self) -> &mut Context<'a, K> {
        self.context
    }
}
