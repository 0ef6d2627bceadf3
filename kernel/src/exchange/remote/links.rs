//! The channels of a core that lead to other workers, and those that come from them.

use super::packing::{Packer, Unpacker};
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::frame::ErasedEnd;
use crate::exchange::record_type::RecordType;
use crate::exchange::watch::ChannelNumber;
use crate::record::Layout;
use core::net::SocketAddr;
use std::collections::BTreeMap;

/// A core of an attempt: its worker's seat, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The seat of its worker.
    pub seat: usize,
    /// The number of the core in its worker, from 0.
    pub core: usize,
}

/// A channel with one end elsewhere. The code that carries its bytes takes the place of that end, and need not know the type of its records.
pub trait RemoteChannel: Send {
    /// The channel's number among all channels of the attempt, the same at both ends.
    fn number(&self) -> ChannelNumber;

    /// The layout of its records.
    fn layout(&self) -> &Layout;

    /// For a channel that leads away: makes bytes of its frames.
    ///
    /// # Panics
    /// If the channel does not lead away.
    fn into_packer(self: Box<Self>) -> Box<dyn Packer>;

    /// For a channel that comes from elsewhere: takes in frames that are bytes.
    ///
    /// # Panics
    /// If the channel leads away.
    fn into_unpacker(self: Box<Self>) -> Box<dyn Unpacker>;
}

/// A channel of records whose type is known to `record`; `end` is the end that is elsewhere.
pub(crate) struct ErasedChannel {
    pub(crate) number: ChannelNumber,
    pub(crate) end: ErasedEnd,
    pub(crate) record: RecordType,
}

impl RemoteChannel for ErasedChannel {
    fn number(&self) -> ChannelNumber {
        self.number
    }

    fn layout(&self) -> &Layout {
        &self.record.layout
    }

    fn into_packer(self: Box<Self>) -> Box<dyn Packer> {
        (self.record.packer)(self.end, &self.record)
    }

    fn into_unpacker(self: Box<Self>) -> Box<dyn Unpacker> {
        (self.record.unpacker)(self.end, &self.record)
    }
}

/// The channels to one core of another worker, or from it.
#[derive(Default)]
pub struct Peer {
    /// The name of the worker.
    pub name: String,
    /// Where the core listens; known only of a core that is sent to.
    pub door: Option<SocketAddr>,
    /// The channels between the two cores, in one direction.
    pub channels: Vec<Box<dyn RemoteChannel>>,
}

/// All links of a core in an attempt, before they are started.
pub struct Links {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Identifies the coordinator's process: attempts of two coordinators can have one number.
    pub owner: u64,
    /// The core whose links these are.
    pub own: Place,
    /// Peers by the core that is sent to.
    pub sending: BTreeMap<Place, Peer>,
    /// Peers by the core that sends.
    pub receiving: BTreeMap<Place, Peer>,
}

impl Links {
    pub(crate) fn new(job: JobId, attempt: Attempt, owner: u64, own: Place) -> Self {
        Self { job, attempt, owner, own, sending: BTreeMap::new(), receiving: BTreeMap::new() }
    }

    /// A channel to a subtask on the core `to`, whose worker is called `name` and listens at `door`.
    pub(crate) fn send(&mut self, to: Place, name: &str, door: SocketAddr, channel: ErasedChannel) {
        let peer = self.sending.entry(to).or_default();
        (peer.name, peer.door) = (name.to_owned(), Some(door));
        peer.channels.push(Box::new(channel));
    }

    /// A channel from a subtask on the core `from`, whose worker is called `name`.
    pub(crate) fn receive(&mut self, from: Place, name: &str, channel: ErasedChannel) {
        let peer = self.receiving.entry(from).or_default();
        peer.name = name.to_owned();
        peer.channels.push(Box::new(channel));
    }

    /// Whether no channel leads to other workers or comes from them.
    pub(crate) fn are_none(&self) -> bool {
        self.sending.is_empty() && self.receiving.is_empty()
    }
}
