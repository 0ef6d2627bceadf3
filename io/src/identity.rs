//! The identity of this process, so that other processes can name it to a person.

use crate::UnixMillis;
use std::fmt;

/// A process: the name of its host, its process id there, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The name of the machine (or container) it runs on.
    pub host: String,
    /// Its process id there, which the system reuses one day.
    pub pid: u32,
    /// When it began, by the clock of that machine.
    pub started: UnixMillis,
}

impl fmt::Display for ProcessIdentity {
    /// Without the start time, whose format is the caller's choice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}
