//! Reports on a job's channels for observers: a check from outside can count at both ends.
//!
//! Without an observer it reports nothing and costs nothing.

use crate::checkpoint::Attempt;
use thalweg_io::Io;

/// The number of a channel among all channels of a job, the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelNumber(pub u32);

/// Reports to those who watch the channels of an attempt.
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

    /// Whether there is an observer.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.io.is_probed()
    }

    /// Reports `values` under the name `what`, for `channel`.
    pub fn tell(&self, what: &'static str, channel: ChannelNumber, values: [i64; 3]) {
        if self.is_on() {
            self.io.observe(what, &format!("attempt {} channel {}", self.attempt, channel.0), values);
        }
    }
}
