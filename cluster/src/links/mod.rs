//! Moving frames between the cores of different workers.
//!
//! To a subtask a remote channel is like any other: a ring of frames. At the other end of the ring, on the same core, is a *link*: one per attempt for each
//! core of another worker that it sends to or receives from, with one connection each. The sending link turns frames into bytes as far as the receiver has
//! granted credit; the receiving link checks them and hands them on as they are, to be read in place.
//!
//! A connection that breaks ends the attempt: frames are lost with it, and the last checkpoint is the only place from which all subtasks can resume. So no
//! frame is sent again, and a link keeps no state of another attempt.
//!
//! Only the engine knows the types of a channel's records: it packs and unpacks them ([`thalweg_kernel::worker::RemoteChannel`]).

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
        // One registry for all links: the numbers of several links to one worker add up.
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
