//! Moving records between subtasks.
//!
//! An *edge* joins two tasks; it has a *channel* from each sending to each receiving subtask that it connects, in which order is kept
//! (docs/src/semantics.md#k-2). A channel is a pair of single-producer single-consumer rings: full [`Frame`]s go one way, empty ones come
//! back to be filled again. The ring's capacity is the receiver's credit; a sender without credit stops, and the pressure travels up to the
//! source.

mod alignment;
mod frame;
mod input;
mod output;
mod sender;
mod task;

pub(crate) use frame::{Channels, erased_channels};
pub(crate) use output::Outputs;
pub(crate) use sender::{BroadcastEdge, FrameSender, KeyedBy, PartitionedEdge, Spread, TeeEdges};
pub use task::Exchanged;
pub(crate) use task::{ChannelTask, Head};
