//! Decides whether a caller that knows the secret may be a worker.
//!
//! The caller shows that it runs the same binary, is told the options, and shows that it has built the same job and that others can reach it. A refused
//! caller is told why: finally if it would be refused again; if only the timing is against it, it may call again.

use super::config::Heartbeat;
use super::connection::{ConnectionError, Talk};
use super::message::Message;
use super::turned_away::TurnedAway;
use core::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::Io;
use thalweg_io::within;
use thalweg_kernel::worker::TaskShape;

/// The longest name of a worker.
const NAME_BYTES_MAX: usize = 256;

/// The time limit for the proof, and then for the rest of the handshake, in which a worker builds its job.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The time limit for a farewell: a worker that misses it finds its coordinator gone.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

/// The conditions for a worker, and the data sent to it.
pub(super) struct Terms {
    pub(super) binary: u64,
    pub(super) graph: u64,
    pub(super) options: Vec<String>,
    /// The bytes that describe the job, besides the options.
    pub(super) description: Vec<u8>,
    pub(super) heartbeat: Heartbeat,
    /// The address at which workers call.
    pub(super) here: IpAddr,
    /// The maximum number of workers at a time.
    pub(super) workers_max: usize,
    /// The tasks of the job.
    pub(super) shape: Rc<[TaskShape]>,
}

/// Decides whether a caller that knows the secret may be a worker. `None` if not; it has been told why.
pub(super) async fn admit(io: &Io, terms: &Terms, mut talk: Talk, from: SocketAddr, turned_away: &TurnedAway) -> Option<Admitted> {
    let refused = match within(io, HANDSHAKE, register(&mut talk, terms, from.ip())).await {
        Some(Ok(registration)) => return Some(Admitted { talk, registration }),
        Some(Err(Unfit::Refused(reason))) => reason,
        Some(Err(Unfit::Broken(error))) => {
            turned_away.note(from, &format_args!("it did not register: {error}"));
            return None;
        }
        None => {
            // The worker may have been busy this time: it finds the connection closed, and calls again.
            turned_away.note(from, &format_args!("it did not register within {HANDSHAKE:?}"));
            return None;
        }
    };
    turned_away.note(from, &refused);
    io.observe("worker.refuse", &from.to_string(), [0; 3]);
    refuse(io, talk, refused, true).await;
    None
}

/// Tells a caller why it may not be a worker.
pub(super) async fn refuse(io: &Io, mut talk: Talk, reason: String, is_final: bool) {
    let said = within(io, GOODBYE, talk.say(&Message::Refused { reason, is_final })).await;
    if let Some(Ok(_)) = said {
        talk.finish(io, GOODBYE).await;
    }
}

/// The data with which a worker registers.
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) cores: usize,
    pub(super) doors: Vec<SocketAddr>,
}

/// A caller that may be a worker.
pub(super) struct Admitted {
    pub(super) talk: Talk,
    pub(super) registration: Registration,
}

enum Unfit {
    Refused(String),
    Broken(ConnectionError),
}

impl From<ConnectionError> for Unfit {
    fn from(error: ConnectionError) -> Self {
        Self::Broken(error)
    }
}

async fn register(talk: &mut Talk, terms: &Terms, from: IpAddr) -> Result<Registration, Unfit> {
    let unexpected = |message: &Message| Unfit::Refused(format!("{} has no place in a handshake", message.name()));
    let (binary, name) = match talk.hear().await? {
        Message::Hello { binary, name } => (binary, name),
        other => return Err(unexpected(&other)),
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Unfit::Refused(format!("a name has between 1 and {NAME_BYTES_MAX} bytes and no control characters")));
    }
    if binary != terms.binary {
        let own = terms.binary;
        return Err(Unfit::Refused(format!(
            "the worker's program has the fingerprint {binary:016x} and the coordinator's {own:016x}: start the same binary everywhere"
        )));
    }
    let (options, description) = (terms.options.clone(), terms.description.clone());
    let options = Message::Options { options, description, heartbeat: terms.heartbeat };
    talk.say(&options).await?.map_err(|too_long| Unfit::Refused(too_long.to_string()))?;
    let (graph, cores, doors) = match talk.hear().await? {
        Message::Register { graph, cores, doors } => (graph, cores, doors),
        other => return Err(unexpected(&other)),
    };
    if graph != terms.graph {
        let own = terms.graph;
        return Err(Unfit::Refused(format!(
            "the worker has built a job with the fingerprint {graph:016x} and the coordinator one with {own:016x}: what describes the job must depend on \
             nothing but its options"
        )));
    }
    if cores == 0 || doors.len() != cores {
        return Err(Unfit::Refused(format!("a worker with {cores} cores listens at {} addresses", doors.len())));
    }
    if let Some(door) = doors.iter().find(|door| !can_be_reached(door.ip(), from, terms.here)) {
        return Err(Unfit::Refused(format!(
            "it calls from {from}, and other workers are to reach it at {door}, which leads nowhere from another machine: start it with a data address that \
             the others reach"
        )));
    }
    Ok(Registration { name, cores, doors })
}

/// Whether other workers can be sent to the `door` of a worker that has called from `from` at `here`: to a loopback address only on this machine.
fn can_be_reached(door: IpAddr, from: IpAddr, here: IpAddr) -> bool {
    let [door, from, here] = [door, from, here].map(|address| address.to_canonical());
    !door.is_loopback() || from.is_loopback() || from == here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_that_only_one_machine_reaches_are_of_use_on_this_one() {
        let reached =
            |door: &str, from: &str, here: &str| can_be_reached(door.parse().unwrap(), from.parse().unwrap(), here.parse().unwrap());
        assert!(reached("127.0.0.1", "127.0.0.1", "127.0.0.1"));
        assert!(reached("127.0.0.1", "::ffff:127.0.0.1", "::"));
        assert!(reached("127.0.0.1", "10.0.0.1", "10.0.0.1"), "it called from this machine, at the address that others call");
        assert!(reached("10.0.0.2", "10.0.0.2", "10.0.0.1"));
        assert!(reached("10.0.0.2", "192.168.0.2", "0.0.0.0"));
        assert!(!reached("127.0.0.1", "10.0.0.2", "10.0.0.1"));
        assert!(!reached("::1", "fe80::2", "::"));
    }
}
