//! Why a link ends before its attempt does.

use crate::error::JobError;

/// The reason why a link ended.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkFailure {
    /// The stream of frames broke: another attempt may succeed.
    Broken(String),
    /// A frame does not fit, and will not in any other attempt. The text says the remedy.
    Unsendable(String),
}

impl LinkFailure {
    /// The failure of the job that this failure of a link to the worker `peer` is.
    pub fn of_the_job(self, peer: String) -> JobError {
        match self {
            Self::Broken(reason) => JobError::Exchange { worker: peer, reason },
            Self::Unsendable(reason) => JobError::invalid(format!("the exchange with worker {peer}: {reason}")),
        }
    }
}

impl From<String> for LinkFailure {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_broke_is_worth_a_restart_and_what_cannot_be_sent_is_not() {
        let broken = LinkFailure::from("it closed the connection".to_owned()).of_the_job("w".to_owned());
        let unsendable = LinkFailure::Unsendable("make the records smaller".to_owned()).of_the_job("w".to_owned());
        assert!(broken.is_worth_a_restart() && !unsendable.is_worth_a_restart());
        assert_eq!(unsendable.to_string(), "the job cannot be run: the exchange with worker w: make the records smaller");
    }
}
