//! Starts the coordinator of a cluster.

use super::admission::{HANDSHAKE, Terms};
use super::codec::INLINE_BYTES_MAX;
use super::config::ClusterConfig;
use super::reception::{WORKERS_MAX, receive_workers};
use super::share::shape_of;
use crate::auth::Authenticator;
use crate::graph::Job;
use crate::runtime::{JobError, JobHandle, Muster, Recruiting, ToCoordinator, launch};
use thalweg_io::Cores;

impl Job {
    /// Starts the coordinator of the job on one of `cores`; subtasks run at workers ([`start_worker`](super::start_worker)). The job begins when as many
    /// have reported as `config` asks for.
    ///
    /// # Errors
    /// If the configuration contradicts itself, is not safe, or the core cannot be started. That the address is taken, for longer than some seconds, is the failure of the job.
    pub fn start_coordinator(self, cores: &dyn Cores, config: ClusterConfig) -> Result<JobHandle, JobError> {
        config.check().map_err(JobError::Invalid)?;
        self.check_spans_processes()?;
        if let Some(checkpoints) = self.checkpoints.as_ref().filter(|checkpoints| checkpoints.inline_bytes_max > INLINE_BYTES_MAX) {
            let asked = checkpoints.inline_bytes_max;
            return Err(JobError::Invalid(format!(
                "state of up to {asked} bytes cannot travel within a checkpoint's metadata in a cluster, {INLINE_BYTES_MAX} are the most: lower \
                 CheckpointConfig::inline_bytes_max"
            )));
        }
        let graph = self.plan().fingerprint();
        let muster = Muster { workers: config.workers, patience: config.worker_wait };
        let recruit = Box::new(move |recruiting: Recruiting| Box::pin(recruit(recruiting, config, graph)) as _);
        launch(self, cores, muster, Vec::new(), recruit)
    }
}

async fn recruit(recruiting: Recruiting, config: ClusterConfig, graph: u64) {
    let Recruiting { core, io, job, shared, mut job_end } = recruiting;
    let ClusterConfig { listen, heartbeat, secret, binary, options, .. } = config;
    let listener = match thalweg_io::listen(&io, listen).await {
        Ok(listener) => listener,
        Err(error) => {
            let what = "workers cannot report to the coordinator";
            let error = JobError::cannot_listen(what, error, "choose another address or port");
            drop(shared.coordinator.send(ToCoordinator::Impossible(error)));
            // The core ends when this does, and the coordinator has to come to its end first.
            while job_end.recv().await.is_some() {}
            return;
        }
    };
    tracing::info!(target: "thalweg::job", address = %listener.address(), "the coordinator listens for workers");
    let auth = Authenticator::new(&io, core, secret, HANDSHAKE);
    let (here, workers_max, shape) = (listener.address().ip(), WORKERS_MAX, shape_of(&job));
    let terms = Terms { binary, graph, options, heartbeat, here, workers_max, shape };
    receive_workers(io, listener, auth, terms, shared.coordinator, job_end).await;
}
