//! The links of one core in one attempt.

use super::door::{Door, Opening};
use super::failure::LinkFailure;
use super::header::FrameError;
use super::incoming::Incoming;
use super::lifeline::{Lifeline, LifelineEnd};
use super::outgoing::Outgoing;
use crate::checkpoint::{Attempt, JobId};
use crate::exchange::frame::{ErasedEnd, RecordType};
use crate::exchange::watch::{ChannelNumber, ChannelWatch};
use crate::runtime::{AttemptPlan, Counter, FromSubtask, MetricRegistry, Shared, Subject, ToCoordinator};
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_io::{Io, Mailbox, TaskClass};
use tracing::Instrument;

/// A core of an attempt: the seat of its worker, and which of its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) seat: usize,
    pub(crate) core: usize,
}

/// A channel of which one end is elsewhere; `end` is the one that a link takes in its stead.
pub(crate) struct RemoteChannel {
    pub(crate) number: ChannelNumber,
    pub(crate) end: ErasedEnd,
    pub(crate) record: RecordType,
}

/// What leads to one core of another worker, or comes from it.
#[derive(Default)]
struct Peer {
    name: String,
    door: Option<SocketAddr>,
    channels: Vec<RemoteChannel>,
}

/// All links of a core, before they are started.
pub(crate) struct Links {
    job: JobId,
    attempt: Attempt,
    owner: u64,
    own: Place,
    sending: BTreeMap<Place, Peer>,
    receiving: BTreeMap<Place, Peer>,
}

impl Links {
    pub(crate) fn new(plan: &AttemptPlan, own: Place) -> Self {
        Self { job: plan.job, attempt: plan.attempt, owner: plan.owner, own, sending: BTreeMap::new(), receiving: BTreeMap::new() }
    }

    /// A channel to a subtask on the core `to`, whose worker is called `name` and listens at `door`.
    pub(crate) fn send(&mut self, to: Place, name: &str, door: SocketAddr, channel: RemoteChannel) {
        let peer = self.sending.entry(to).or_default();
        (peer.name, peer.door) = (name.to_owned(), Some(door));
        peer.channels.push(channel);
    }

    /// A channel from a subtask on the core `from`, whose worker is called `name`.
    pub(crate) fn receive(&mut self, from: Place, name: &str, channel: RemoteChannel) {
        let peer = self.receiving.entry(from).or_default();
        peer.name = name.to_owned();
        peer.channels.push(channel);
    }

    /// Sets them going; they end with the subtasks that hold `lifeline`, or fail the attempt.
    pub(crate) fn start(self, io: &Io, door: Option<&Door>, shared: &Shared, lifeline: &Lifeline) -> Option<Rc<MetricRegistry>> {
        let Self { job, attempt, owner, own, sending, receiving } = self;
        let Some(door) = door else {
            assert!(sending.is_empty() && receiving.is_empty(), "a core without a door has links to others");
            return None;
        };
        door.begin(job, owner, attempt);
        let window = shared.settings.channel_frames;
        // One for all: the numbers of several links to one worker add up.
        let metrics = Rc::new(MetricRegistry::new(own.core));
        for (from, peer) in receiving {
            let opening = Opening { job, attempt, owner, from, to: own };
            let surroundings = Surroundings::new(io, attempt, peer.name, &metrics, shared, lifeline);
            let link = Incoming::new(surroundings.clone(), peer.channels, window);
            surroundings.spawn("link-in", link.run(door.expect(opening)));
        }
        for (to, peer) in sending {
            let opening = Opening { job, attempt, owner, from: own, to };
            let surroundings = Surroundings::new(io, attempt, peer.name, &metrics, shared, lifeline);
            let link = Outgoing::new(surroundings.clone(), peer.channels, window);
            let address = peer.door.expect("invariant: whoever is sent to has a door");
            surroundings.spawn("link-out", link.run(address, door.auth().clone(), opening));
        }
        Some(metrics)
    }
}

/// What a running link knows of the world.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) io: Io,
    pub(super) attempt: Attempt,
    /// Name of the other worker.
    pub(super) peer: String,
    pub(super) watch: ChannelWatch,
    metrics: Rc<MetricRegistry>,
    coordinator: Mailbox<ToCoordinator>,
    life: LifelineEnd,
}

impl Surroundings {
    pub(super) fn new(io: &Io, attempt: Attempt, peer: String, metrics: &Rc<MetricRegistry>, shared: &Shared, lifeline: &Lifeline) -> Self {
        let (metrics, watch) = (Rc::clone(metrics), ChannelWatch::new(io, attempt));
        Self { io: io.clone(), attempt, peer, watch, metrics, coordinator: shared.coordinator.clone(), life: lifeline.end() }
    }

    /// Runs a link until the subtasks are gone. Its failure is the attempt's.
    fn spawn<E: Into<LinkFailure>>(self, name: &str, link: impl Future<Output = Result<(), E>> + 'static) {
        let io = self.io.clone();
        let span = tracing::debug_span!("link", attempt = %self.attempt, peer = %self.peer);
        let run = async move {
            let Some(Err(failure)) = self.life.during(link).await else { return };
            self.fail(failure.into());
        };
        io.spawner().spawn(TaskClass::Latency, name, Box::pin(run.instrument(span)));
    }
}

impl Surroundings {
    /// The other side does not keep to the rules: tells those who watch, and gives the reason.
    pub(super) fn broken(&self, fault: &FrameError) -> String {
        let reason = fault.to_string();
        self.io.observe("protocol.broken", &format!("link with {}: {reason}", self.peer), [self.attempt.0 as i64, 0, 0]);
        reason
    }

    /// Fails the attempt.
    pub(super) fn fail(&self, failure: LinkFailure) {
        let message = FromSubtask::Failed { subtask: None, error: failure.of_the_job(self.peer.clone()) };
        // If the coordinator is gone nobody listens.
        drop(self.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
    }

    /// A number of this link.
    pub(super) fn counter(&self, name: &'static str) -> Counter {
        self.metrics.counter(Subject::task(&format!("exchange with {}", self.peer), ""), name)
    }
}
