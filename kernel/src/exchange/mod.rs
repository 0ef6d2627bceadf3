//! Moving records between subtasks.
//!
//! An *edge* joins two tasks; it has a *channel* from each sending to each receiving subtask that it connects, in which order is kept
//! (docs/src/semantics.md#k-2). A channel is a pair of single-producer single-consumer rings: full [`Frame`]s go one way, empty ones come
//! back to be filled again. The ring's capacity is the receiver's credit; a sender without credit stops, and the pressure travels up to the
//! source. The receiver says how many records a frame may hold (`debloating.rs`): a channel is bounded by time as well as by count.

mod alignment;
mod alignment_time;
mod arrival;
mod debloating;
mod ends;
mod exchanged;
mod frame;
mod gate;
mod head;
mod inputs;
mod output;
mod record_type;
mod remote;
mod sender;
mod task;
mod watch;

pub use arrival::Arrival;
pub(crate) use debloating::{Debloater, window_of_channel};
pub(crate) use ends::{BroadcastEdge, KeyedBy, PartitionedEdge, TeeEdges};
pub use exchanged::Exchanged;
pub use frame::Ahead;
pub(crate) use frame::{ErasedEnd, InputChannel, Run, typed};
pub use head::Head;
pub(crate) use inputs::{OneInput, TwoInputs};
pub(crate) use output::{ErasedOutputs, OutputNumbers, Outputs};
pub(crate) use record_type::RecordType;
pub(crate) use remote::ErasedChannel;
pub use remote::{
    BUFFER_BYTES_KEPT, Carried, FrameError, FrameHeader, FrameKind, HEADER_BYTES, Lifeline, LifelineEnd, LinkFailure, Links,
    PAYLOAD_BYTES_MAX, Packer, Peer, Place, RemoteChannel, Unpacker,
};
pub(crate) use sender::{FrameSender, SideSender, Spread};
pub(crate) use task::ChannelTask;
pub use watch::{ChannelNumber, ChannelWatch};
