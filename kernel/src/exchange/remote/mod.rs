//! Channels between the cores of different workers, as far as the types of records are concerned.
//!
//! To a subtask a remote channel is like any other: a ring of frames. At the other end of the ring stands the code that carries bytes to the other worker
//! and back, on the same core (`thalweg-cluster`). Here frames become bytes and come out of them again (`packing.rs`, `archived.rs`), behind a header
//! (`header.rs`) that says which channel they belong to; `links.rs` says which channels lead where, and is all that a carrier has to know of an attempt.

mod archived;
mod failure;
mod header;
mod lifeline;
mod links;
mod packing;

pub(crate) use archived::ArchivedFrame;
pub use failure::LinkFailure;
pub use header::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, PAYLOAD_BYTES_MAX};
pub use lifeline::{Lifeline, LifelineEnd};
pub(crate) use links::ErasedChannel;
pub use links::{Links, Peer, Place, RemoteChannel};
pub use packing::{BUFFER_BYTES_KEPT, Carried, Packer, Unpacker};
pub(crate) use packing::{RecordPacker, RecordUnpacker};
