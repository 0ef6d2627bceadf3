//! What is known of an operator: by the graph, and by the subtasks that run it.

use crate::checkpoint::{GivenLayouts, WantedStates};
use crate::exchange::{ErasedOutputs, RecordType, SideSender};
use crate::ids::EdgeId;

/// A stream that leaves an operator beside its main output.
#[derive(Clone)]
pub(crate) struct SideEdge {
    pub(crate) tag: String,
    pub(crate) edge: EdgeId,
    pub(crate) sender: fn(ErasedOutputs) -> Box<dyn SideSender>,
}

/// What is known of an operator.
#[derive(Clone)]
pub struct OperatorMeta {
    pub(crate) name: String,
    /// What it is, whatever it is called.
    pub(crate) kind: String,
    /// By which its state is found again; derived from its place unless given.
    pub(crate) uid: String,
    /// Whether it keeps state that checkpoints hold.
    pub(crate) has_state: bool,
    /// Which states those are.
    pub(crate) wanted_states: Option<WantedStates>,
    /// What its records are, unless they have the layout of their type.
    pub(crate) output: Option<RecordType>,
    /// What its states are, where that is not what their types say.
    pub(crate) layouts: GivenLayouts,
    /// The task it became part of.
    pub(crate) task: Option<usize>,
    /// The streams that go on from it where it is shared.
    pub(crate) branches: Vec<EdgeId>,
    pub(crate) side_outputs: Vec<SideEdge>,
}
