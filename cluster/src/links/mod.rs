//! Moving frames between the cores of different workers.
//!
//! To a subtask a remote channel is like any other: a ring of frames. At the other end of the ring stands, on the same core, a *link*: one for each core
//! of another worker that something is sent to or comes from, with one connection each, for one attempt. The sending link makes bytes of frames as far as
//! the receiver has granted credit; the receiving link checks them and hands them on as they are, to be read in place.
//!
//! A connection that breaks ends the attempt: frames are lost with it, and the last checkpoint is the one place from which all can go on. So nothing is
//! sent again, and a link knows no state of another attempt.
//!
//! What the records of a channel are the engine knows alone: it packs and unpacks them ([`thalweg_kernel::worker::RemoteChannel`]).

mod caller;
mod credits;
mod door;
mod early;
mod incoming;
mod layouts;
mod outgoing;
mod reader;
mod ready;
mod surroundings;

pub(crate) use door::Door;

use caller::Opening;
use incoming::Incoming;
use outgoing::Outgoing;
use std::rc::Rc;
use surroundings::Surroundings;
use thalweg_io::Io;
use thalweg_kernel::worker::{Announced, CoreShared, FrameDoor, Lifeline, Links, MetricRegistry};

impl FrameDoor for Door {
    fn announce(&self, announced: Announced) {
        Self::announce(self, announced);
    }

    fn start(&self, links: Links, io: &Io, shared: &CoreShared, lifeline: &Lifeline) -> Rc<MetricRegistry> {
        let Links { job, attempt, owner, own, sending, receiving } = links;
        self.begin(job, owner, attempt);
        let window = shared.settings.channel_frames;
        // One for all: the numbers of several links to one worker add up.
        let metrics = Rc::new(MetricRegistry::new(own.core));
        for (from, peer) in receiving {
            let opening = Opening { job, attempt, owner, from, to: own };
            let surroundings = Surroundings::new(io, attempt, peer.name, &metrics, shared, lifeline);
            let link = Incoming::new(surroundings.clone(), peer.channels, window);
            surroundings.spawn("link-in", link.run(self.expect(opening)));
        }
        for (to, peer) in sending {
            let opening = Opening { job, attempt, owner, from: own, to };
            let surroundings = Surroundings::new(io, attempt, peer.name, &metrics, shared, lifeline);
            let link = Outgoing::new(surroundings.clone(), peer.channels, window);
            let address = peer.door.expect("invariant: whoever is sent to has a door");
            surroundings.spawn("link-out", link.run(address, self.auth().clone(), opening));
        }
        metrics
    }
}
