//! What a job in several processes needs of the engine: the part of `thalweg-cluster`, which brings messages and frames from process to process.
//!
//! *Control.* [`Job::start_coordinator`](crate::Job::start_coordinator) is given a [`Recruiter`]; it finds workers, tells the coordinator of each by a
//! [`ToCoordinator`], and carries a [`ToWorker`] to it and a [`FromSubtask`] back. At a worker an [`Agent`] takes those orders and brings them onto the
//! cores, each of which does [`run_core`].
//!
//! *Frames.* A core's [`FrameDoor`] is handed the [`Links`] of each attempt: which channels lead to which core of which worker. Each is a
//! [`RemoteChannel`], which makes bytes of frames ([`Packer`]) or takes them in ([`Unpacker`]), behind a [`FrameHeader`].
//!
//! This is a door between two crates of one version and no interface for programs: `thalweg` does not show it, and it changes as the engine does. A test
//! keeps the list of what it shows (`thalweg/tests/laws/rooms.rs`).

pub use crate::checkpoint::PreparedEpoch;
pub use crate::exchange::{
    Announced, BUFFER_BYTES_KEPT, Carried, ChannelNumber, ChannelWatch, FrameDoor, FrameError, FrameHeader, FrameKind, HEADER_BYTES,
    Lifeline, LifelineEnd, LinkFailure, Links, PAYLOAD_BYTES_MAX, Packer, Peer, Place, RemoteChannel, Unpacker,
};
pub use crate::graph::OperatorId;
pub use crate::runtime::{
    Acknowledgement, Agent, AttemptPlan, CoreOrder, Counter, Deployment, Farewell, FromSubtask, Layout, Member, MetricRegistry, Muster,
    Recruit, Recruiter, Recruiting, RestorePlan, Seat, Shared, SnapshotPlace, Subject, TaskShape, ToCoordinator, ToSubtask, ToWorker,
    WorkerId, panic_text, run_core, shape_of,
};
