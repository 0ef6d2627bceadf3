//! A job in several processes: one coordinator, and workers that run its subtasks.
//!
//! All of them are the same program. The coordinator ([`Job::start_coordinator`](thalweg_kernel::Job::start_coordinator)) listens for workers; a worker
//! ([`start_worker`]) connects, proves that it belongs to the cluster and runs the same binary, is told the options, builds the job from them, and is given
//! its share of every attempt. Each side notices the other's death within a configured time: a coordinator that has lost a worker restarts the job from its
//! last checkpoint, a worker that has lost its coordinator stops its subtasks and looks for the coordinator, or its successor, again.
//!
//! `liveness.rs` and `share.rs` decide (pure), `codec.rs`, `message.rs` and `fields.rs` are the wire, `connection.rs`
//! carries messages, `start.rs`, `reception.rs`, `turned_away.rs`, `admission.rs` and `membership.rs` are the coordinator's side, `worker.rs` and `session.rs` the worker's.
//!
//! **Architecture invariant:** bytes sent by a stranger change nothing and cost a bounded amount of time and memory.

mod admission;
mod auth;
mod codec;
mod config;
mod connection;
mod fields;
mod fingerprint;
mod links;
mod liveness;
mod membership;
mod message;
mod reception;
mod session;
mod share;
mod start;
mod turned_away;
mod worker;

pub use auth::Secret;
pub use config::{ClusterConfig, Heartbeat, WorkerConfig};
pub use fingerprint::binary_fingerprint;
pub use worker::{WorkerControl, WorkerHandle, WorkerReport, start_worker, start_worker_with_description};

/// A subtask's state in the form in which the subtask acknowledges it.
#[cfg(test)]
fn whole(image: thalweg_storage::checkpoint::Image) -> Vec<thalweg_storage::checkpoint::StateFile> {
    vec![thalweg_storage::checkpoint::StateFile { hashes: thalweg_record::HashRange::ALL, image }]
}
