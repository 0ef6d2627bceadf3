//! Those who watch a job from within its process.

use crate::error::JobError;
use crate::metrics::JobMetrics;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_io::{Io, LocalBoxFuture};

/// Watches a job: shows its numbers to somebody, for instance ([`add_observer`](crate::StreamExecutionEnvironment::add_observer)).
///
/// It lives on core 0 among the job's own tasks. What it does there it does in slices, as they do: a core that it holds up stands still.
pub trait JobObserver: fmt::Debug + Send + Sync + 'static {
    /// The job begins; called once, before its first attempt. A worker calls it when it has joined its first coordinator. What is to go on for as long as
    /// the core lives is a task of its own, spawned with [`Watched::io`].
    ///
    /// # Errors
    /// What makes it impossible to watch: the job fails with it.
    fn begin(&self, watched: Watched) -> LocalBoxFuture<Result<(), JobError>>;
}

/// What an observer sees of a job.
#[derive(Clone)]
pub struct Watched {
    job: String,
    io: Io,
    metrics: Arc<Mutex<JobMetrics>>,
}

impl Watched {
    /// The numbers of the job of this name, on the core with this door.
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

    /// The numbers of what runs, at most some tenths of a second old; at a worker those of its own subtasks.
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
