//! The facts about an operator that the graph, and the subtasks that run it, know.

use crate::checkpoint::{GivenLayouts, WantedStates};
use crate::exchange::{ErasedOutputs, RecordType, SideSender};
use crate::graph_ids::EdgeId;

/// A stream that leaves an operator beside its main output.
#[derive(Clone)]
pub(crate) struct SideEdge {
    pub(crate) tag: String,
    pub(crate) edge: EdgeId,
    pub(crate) sender: fn(ErasedOutputs) -> Box<dyn SideSender>,
}

/// The facts about an operator.
#[derive(Clone)]
pub struct OperatorMeta {
    pub(crate) name: String,
    /// Its kind, whatever its name is.
    pub(crate) kind: String,
    /// Its state is found by this after a restore; derived from its place unless given.
    pub(crate) uid: String,
    /// Whether it keeps state that checkpoints hold.
    pub(crate) has_state: bool,
    /// Finds out which states those are.
    pub(crate) wanted_states: Option<WantedStates>,
    /// The type and layout of its records, unless they have the layout of their type.
    pub(crate) output: Option<RecordType>,
    /// The layouts of its states that were given, where they differ from those of their types.
    pub(crate) layouts: GivenLayouts,
    /// The task it became part of.
    pub(crate) task: Option<usize>,
    /// The streams that branch off from it where it is shared.
    pub(crate) branches: Vec<EdgeId>,
    pub(crate) side_outputs: Vec<SideEdge>,
}
