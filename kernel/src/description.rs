//! Bytes that describe a job beside its options: the text of a query, say, or a plan that another program has made.
//!
//! Only the program knows their meaning. The coordinator of a cluster sends them to its workers with the options, all processes describe the job from both,
//! and both are among the things that they compare before they work together.

use crate::error::JobError;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes that a job may be described by: 1 MiB, which a coordinator sends to each worker once.
pub const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

/// The bytes, at least one: a job without such bytes has no `Description`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description(Arc<[u8]>);

impl Description {
    pub(crate) fn of(bytes: Arc<[u8]>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &Arc<[u8]> {
        &self.0
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        xxh3_64(&self.0)
    }

    /// Refuses more bytes than [`DESCRIPTION_BYTES_MAX`].
    pub(crate) fn check(&self) -> Result<(), JobError> {
        let bytes = self.0.len();
        if bytes > DESCRIPTION_BYTES_MAX {
            return Err(JobError::invalid(format!(
                "it is described by {bytes} bytes beside its options, {DESCRIPTION_BYTES_MAX} are the most: put them into a file that all processes see, and \
                 name that"
            )));
        }
        Ok(())
    }
}
