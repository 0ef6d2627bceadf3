//! What those who watch a job are told of its channels: whoever checks it from outside can count at both ends.
//!
//! Tells nothing, and costs nothing, where nobody watches.

use crate::checkpoint::Attempt;
use thalweg_io::Io;

/// The number of a channel among all of a job, the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelNumber(pub u32);

/// The way to those who watch the channels of an attempt.
#[derive(Clone)]
pub struct ChannelWatch {
    io: Io,
    attempt: Attempt,
}

impl ChannelWatch {
    /// For the channels of `attempt`, on the core with this door.
    #[must_use]
    pub fn new(io: &Io, attempt: Attempt) -> Self {
        Self { io: io.clone(), attempt }
    }

    /// Whether somebody watches.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.io.is_probed()
    }

    /// Tells `what` of `channel`.
    pub fn tell(&self, what: &'static str, channel: ChannelNumber, values: [i64; 3]) {
        if self.is_on() {
            self.io.observe(what, &format!("attempt {} channel {}", self.attempt, channel.0), values);
        }
    }
}
