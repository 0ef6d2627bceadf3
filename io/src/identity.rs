//! Which process this is, so that others can name it to a person.

use crate::UnixMillis;
use std::fmt;

/// A process: the name of its host, its number there, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The name of the machine (or container) it runs on.
    pub host: String,
    /// Its number there, which another process gets one day.
    pub pid: u32,
    /// When it began, by the clock of that machine.
    pub started: UnixMillis,
}

impl fmt::Display for ProcessIdentity {
    /// Without its start, which is shown as people there show times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}
