//! The beginning of a chain that is fed by other tasks.

use super::head::Unkeyed;
use super::inputs::OneInput;
use super::task::ChannelTask;
use crate::chain::{Chain, Collector};
use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;
use std::marker::PhantomData;

/// A chain with no operator yet: the records that other tasks send, unchanged.
pub struct Exchanged<T> {
    record: PhantomData<fn() -> T>,
}

impl<T> Exchanged<T> {
    pub(crate) fn new() -> Self {
        Self { record: PhantomData }
    }
}

impl<T> Clone for Exchanged<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Record> Chain for Exchanged<T> {
    type Out = T;
    type Detached = Self;

    fn fuse<D: Collector<T>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        Box::new(ChannelTask::<OneInput<T>, _>::new(cx, Unkeyed::new(down)))
    }

    fn detach(self, _cut: &mut Cut<'_>) -> Self {
        self
    }

    fn unchain(self, _cut: &mut Cut<'_>) -> Self {
        self
    }
}
