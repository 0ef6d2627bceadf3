//! The one door between Thalweg and the outside world.
//!
//! Time, randomness, files, sockets, threads and task spawning are reached through the object-safe traits of this crate and nowhere else. Two backends
//! implement them: [`uring`] on Linux's io_uring for production, and the simulator (`thalweg-world`) in virtual time. The engine cannot tell which one it
//! runs on; that is why a simulated run reproduces a real one.
//!
//! The door is crossed once per batch, block or frame, never per record: the cost of a virtual call and a boxed future there is not measurable. A buffer
//! handed to an operation belongs to it until the operation completes, whatever becomes of the future (io_uring may still write into it).
//!
//! This crate contains the traits ([`Clock`], [`Rng`], [`Spawner`], [`Disk`], [`File`], [`Net`], [`Cores`]), the handle [`Io`] that carries one core's set
//! of them, [`blocking`], a makeshift for tools where io_uring is denied, and code that both worlds share unchanged: [`Buffer`], the rings between cores
//! ([`ring()`]), the [`mailbox()`] of the control plane, helpers for listeners ([`listen`], [`Acceptor`], [`within`], [`Complaints`]), and [`conformance`],
//! the suite that each backend must pass.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros, reason = "this is the door itself")]

mod acceptor;
#[cfg(not(loom))]
pub mod blocking;
mod buffer;
mod clock;
mod complaints;
pub mod conformance;
mod cores;
mod deadline;
mod disk;
mod doorbell;
mod error;
mod handle;
mod identity;
mod listening;
mod mailbox;
mod memory;
mod net;
mod panics;
mod probe;
mod ring;
mod rng;
mod spawn;
mod spin;
#[cfg(not(loom))]
pub mod uring;
mod wait;

pub use acceptor::{Acceptor, Call};
pub use buffer::{BUFFER_ALIGN, Buffer, BufferPool};
pub use clock::{Clock, MonotonicNs, UnixMillis};
pub use complaints::Complaints;
pub use cores::{CoreGroup, CoreId, CoreMain, Cores, StartError, block_on};
pub use deadline::within;
pub use disk::{DirEntry, Disk, EntryKind, File, FileLock, OpenMode, ReadRequest};
pub use error::{IoError, WriteError};
pub use handle::{Io, IoParts};
pub use identity::ProcessIdentity;
pub use listening::listen;
pub use mailbox::{Mailbox, MailboxReceiver, mailbox};
pub use memory::out_of_memory;
pub use net::{Listener, Net, NetRead, NetWrite};
pub use panics::{silence_panics, take_panic_place};
pub use probe::{Probe, ProbeEvent};
pub use ring::{Consumer, Producer, ring};
pub use rng::{Rng, SplitMix};
pub use spawn::{Spawner, TaskClass, yield_now};
pub use spin::AdaptiveSpin;
pub use wait::block_on_for;

/// A future that stays on the core it was made on.
pub type LocalBoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + 'static>>;
