//! Starts the coordinator of a cluster.

use super::admission::{HANDSHAKE, Terms};
use super::codec::INLINE_BYTES_MAX;
use super::config::ClusterConfig;
use super::reception::{WORKERS_MAX, receive_workers};
use crate::auth::Authenticator;
use thalweg_kernel::Job;
use thalweg_kernel::JobError;
use thalweg_kernel::worker::shape_of;
use thalweg_kernel::worker::{Muster, Recruit, Recruiter, Recruiting, ToCoordinator};

impl Recruiter for ClusterConfig {
    fn recruit(self, job: &Job) -> Result<(Muster, Recruit), JobError> {
        self.check().map_err(JobError::invalid)?;
        if let Some(asked) = job.inline_bytes_max().filter(|asked| *asked > INLINE_BYTES_MAX) {
            return Err(JobError::invalid(format!(
                "state of up to {asked} bytes cannot travel within a checkpoint's metadata in a cluster, {INLINE_BYTES_MAX} are the most: lower \
                 CheckpointConfig::inline_bytes_max"
            )));
        }
        let graph = job.plan().fingerprint();
        let muster = Muster { workers: self.workers, patience: self.worker_wait };
        Ok((muster, Box::new(move |recruiting| Box::pin(recruit(recruiting, self, graph)))))
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
            // The core ends when this function does, and the coordinator has to end first.
            while job_end.recv().await.is_some() {}
            return;
        }
    };
    tracing::info!(target: "thalweg::job", address = %listener.address(), "the coordinator listens for workers");
    let auth = Authenticator::new(&io, core, secret, HANDSHAKE);
    let (here, workers_max, shape) = (listener.address().ip(), WORKERS_MAX, shape_of(&job));
    let description = job.description_bytes().to_vec();
    let terms = Terms { binary, graph, options, description, heartbeat, here, workers_max, shape };
    receive_workers(io, listener, auth, terms, shared.coordinator, job_end).await;
}
