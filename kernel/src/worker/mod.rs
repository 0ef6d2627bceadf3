//! The interface between the engine and `thalweg-cluster`, which carries messages and frames from process to process for a job in several processes.
//!
//! *Control.* [`Job::start_coordinator`](crate::Job::start_coordinator) takes a [`Recruiter`]; it finds workers, announces each to the coordinator by a
//! [`ToCoordinator`], and carries each [`ToWorker`] to its worker and each [`FromSubtask`] back. At a worker an [`Agent`] takes those orders and gives them
//! to the cores, each of which runs [`run_core`].
//!
//! *Frames.* A core's [`FrameDoor`] is handed the [`Links`] of each attempt: which channels lead to which core of which worker. Each is a
//! [`RemoteChannel`], which makes bytes of frames ([`Packer`]) or takes them in ([`Unpacker`]), behind a [`FrameHeader`].
//!
//! It is a door between two crates of one version, not an interface for programs: `thalweg` does not export it, and it changes with the engine. A test
//! keeps the list of its items (`thalweg/tests/laws/rooms.rs`).

pub(crate) mod agent;
pub(crate) mod core;
pub(crate) mod frame_door;
pub(crate) mod shared;

pub use crate::attempt::deployment::AttemptPlan;
pub use crate::attempt::deployment::Deployment;
pub use crate::attempt::deployment::Placement;
pub use crate::attempt::deployment::RestorePlan;
pub use crate::attempt::deployment::Seat;
pub use crate::attempt::shape::TaskShape;
pub use crate::attempt::shape::shape_of;
pub use crate::checkpoint::PreparedEpoch;
pub use crate::checkpoint::snapshots::SnapshotPlace;
pub use crate::exchange::{
    BUFFER_BYTES_KEPT, Carried, ChannelNumber, ChannelWatch, FrameError, FrameHeader, FrameKind, HEADER_BYTES, Lifeline, LifelineEnd,
    LinkFailure, Links, PAYLOAD_BYTES_MAX, Packer, Peer, Place, RemoteChannel, Unpacker,
};
pub use crate::graph_ids::OperatorId;
pub use crate::graph_ids::WorkerId;
pub use crate::job::launch::Recruit;
pub use crate::job::launch::Recruiter;
pub use crate::job::launch::Recruiting;
pub use crate::job::muster::Muster;
pub use crate::messages::Acknowledgement;
pub use crate::messages::Farewell;
pub use crate::messages::FromSubtask;
pub use crate::messages::Member;
pub use crate::messages::ToCoordinator;
pub use crate::messages::ToSubtask;
pub use crate::messages::ToWorker;
pub use crate::metrics::Counter;
pub use crate::metrics::MetricRegistry;
pub use crate::metrics::Subject;
pub use crate::subtask::panics::panic_text;
pub use crate::worker::agent::Agent;
pub use crate::worker::core::CoreOrder;
pub use crate::worker::core::run_core;
pub use crate::worker::frame_door::{Announced, FrameDoor};
pub use crate::worker::shared::CoreShared;
