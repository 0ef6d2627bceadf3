//! Which channels of a core lead to other workers, and which come from there.

use super::packing::{Packer, Unpacker};
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::frame::ErasedEnd;
use crate::exchange::record_type::RecordType;
use crate::exchange::watch::ChannelNumber;
use crate::record::Layout;
use core::net::SocketAddr;
use std::collections::BTreeMap;

/// A core of an attempt: the seat of its worker, and which of its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The seat of its worker.
    pub seat: usize,
    /// Which of the worker's cores.
    pub core: usize,
}

/// A channel of which one end is elsewhere. Whoever carries its bytes takes the place of that end, and need not know what its records are.
pub trait RemoteChannel: Send {
    /// Its number among all channels of the attempt, the same at both ends.
    fn number(&self) -> ChannelNumber;

    /// What its records are made of.
    fn layout(&self) -> &Layout;

    /// To be asked of a channel that leads away: makes bytes of its frames.
    ///
    /// # Panics
    /// If it does not lead away.
    fn into_packer(self: Box<Self>) -> Box<dyn Packer>;

    /// To be asked of a channel that comes from elsewhere: takes in frames that are bytes.
    ///
    /// # Panics
    /// If it leads away.
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

/// What leads to one core of another worker, or comes from it.
#[derive(Default)]
pub struct Peer {
    /// The name of the worker.
    pub name: String,
    /// Where the core listens; known of one that is sent to.
    pub door: Option<SocketAddr>,
    /// The channels between here and there, in one direction.
    pub channels: Vec<Box<dyn RemoteChannel>>,
}

/// All links of a core in an attempt, before they are started.
pub struct Links {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The coordinator's process: attempts of two can have one number.
    pub owner: u64,
    /// The core whose links they are.
    pub own: Place,
    /// By the core that is sent to.
    pub sending: BTreeMap<Place, Peer>,
    /// By the core that sends.
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

    /// Whether nothing leads to other workers, and nothing comes from there.
    pub(crate) fn are_none(&self) -> bool {
        self.sending.is_empty() && self.receiving.is_empty()
    }
}
