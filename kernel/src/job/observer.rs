//! Observers of a job within its process.

use crate::error::JobError;
use crate::metrics::JobMetrics;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::{Io, LocalBoxFuture};

/// Watches a job: exports its metrics, for instance ([`add_observer`](crate::StreamExecutionEnvironment::add_observer)).
///
/// It lives on core 0 among the job's own tasks. It has to work in slices, as they do: while it holds the core up, nothing else there runs.
pub trait JobObserver: fmt::Debug + Send + Sync + 'static {
    /// The job begins; called once, before its first attempt. A worker calls it when it has joined its first coordinator. Work that is to run for as long
    /// as the core lives is a task of its own, spawned with [`Watched::io`].
    ///
    /// # Errors
    /// If the observer cannot watch: the job fails with this error.
    fn begin(&self, watched: Watched) -> LocalBoxFuture<Result<(), JobError>>;
}

/// An observer's view of a job.
#[derive(Clone)]
pub struct Watched {
    job: String,
    io: Io,
    metrics: Arc<Mutex<JobMetrics>>,
}

impl Watched {
    /// The metrics of the job of this name, on the core with this door.
    #[must_use]
    pub fn new(job: &str, io: &Io, metrics: &Arc<Mutex<JobMetrics>>) -> Self {
        Self { job: job.to_owned(), io: io.clone(), metrics: Arc::clone(metrics) }
    }

    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The door of core 0.
    #[must_use]
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The metrics of the running subtasks, at most some tenths of a second old; at a worker those of its own subtasks.
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
