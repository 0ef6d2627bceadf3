//! A chain whose type does not name its operators: chains that differ by a decision made when the job is described have one type.
//!
//! A boxed chain ends in a [`Joint`]: two loops that call each other once per run of records, and not once per record.

use super::joint::{Joint, RunCollector};
use super::{Chain, Collector};
use crate::graph::Cut;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Subtask;

/// A chain of any operators whose last one emits `Out`. Made by [`DataStream::boxed`](crate::DataStream::boxed).
pub struct Boxed<Out> {
    chain: Box<dyn AnyChain<Out>>,
}

impl<Out: Record> Boxed<Out> {
    pub(crate) fn new(chain: impl Chain<Out = Out>) -> Self {
        Self { chain: Box::new(chain) }
    }
}

impl<Out: Record> Clone for Boxed<Out> {
    fn clone(&self) -> Self {
        Self { chain: self.chain.boxed_clone() }
    }
}

/// The methods of a chain, without its type.
trait AnyChain<Out>: Send {
    fn boxed_clone(&self) -> Box<dyn AnyChain<Out>>;
    fn fuse_any(self: Box<Self>, cx: &mut SubtaskContext, down: Box<dyn RunCollector<Out>>) -> Box<dyn Subtask>;
    fn detach_any(self: Box<Self>, cut: &mut Cut<'_>) -> Boxed<Out>;
    fn unchain_any(self: Box<Self>, cut: &mut Cut<'_>) -> Boxed<Out>;
}

impl<C: Chain> AnyChain<C::Out> for C {
    fn boxed_clone(&self) -> Box<dyn AnyChain<C::Out>> {
        Box::new(self.clone())
    }

    fn fuse_any(self: Box<Self>, cx: &mut SubtaskContext, down: Box<dyn RunCollector<C::Out>>) -> Box<dyn Subtask> {
        let joint = Joint::new(cx, down);
        self.fuse(cx, joint)
    }

    fn detach_any(self: Box<Self>, cut: &mut Cut<'_>) -> Boxed<C::Out> {
        Boxed::new(self.detach(cut))
    }

    fn unchain_any(self: Box<Self>, cut: &mut Cut<'_>) -> Boxed<C::Out> {
        Boxed::new(self.unchain(cut))
    }
}

impl<Out: Record> Chain for Boxed<Out> {
    type Out = Out;
    type Detached = Self;

    fn fuse<D: Collector<Out>>(self, cx: &mut SubtaskContext, down: D) -> Box<dyn Subtask> {
        self.chain.fuse_any(cx, Box::new(down))
    }

    fn detach(self, cut: &mut Cut<'_>) -> Self {
        self.chain.detach_any(cut)
    }

    fn unchain(self, cut: &mut Cut<'_>) -> Self {
        self.chain.unchain_any(cut)
    }
}
