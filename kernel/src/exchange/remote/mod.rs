//! Moving records between the cores of different workers.
//!
//! To a subtask a remote channel is like any other: a ring of frames. At the other end of the ring stands, on the same core, a *link*: one for each core
//! of another worker that something is sent to or comes from, with one connection each, for one attempt. The sending link makes bytes of frames as far as
//! the receiver has granted credit; the receiving link checks them and hands them on as they are, to be read in place.
//!
//! A connection that breaks ends the attempt: frames are lost with it, and the last checkpoint is the one place from which all can go on. So nothing is
//! sent again, and a link knows no state of another attempt.

mod archived;
mod credits;
mod door;
mod early;
mod failure;
mod header;
mod incoming;
mod layouts;
mod lifeline;
mod links;
mod outgoing;
mod packing;
mod reader;
mod ready;

pub(crate) use archived::ArchivedFrame;
pub(crate) use door::Door;
pub(crate) use early::Announced;
pub(crate) use lifeline::{Lifeline, LifelineEnd};
pub(crate) use links::{Links, Place, RemoteChannel};
pub(crate) use packing::{Packer, RecordPacker, RecordUnpacker, Unpacker};
