//! Running a job: subtasks and the loop that drives them, the coordinator, the handle that the user holds.
//!
//! `coordinator.rs`, `checkpoint_coordinator.rs`, `transactions.rs` and `restart.rs` decide (pure). `launch.rs` starts a job, `master.rs` takes it from
//! attempt to attempt: `muster.rs` waits for workers, `beginning.rs` finds what to go on from, `attempt.rs` runs one attempt. `deployment.rs` and `core.rs`
//! bring it onto its cores, `driver.rs` drives a subtask, `chain_loop.rs` is what all subtasks do alike, `handle.rs` is what the user holds.

mod acknowledge;
mod agent;
mod attempt;
mod beginning;
mod callers;
mod chain_loop;
mod checkpoint_coordinator;
mod collecting;
mod context;
mod coordinator;
mod core;
mod crew;
mod deployment;
mod driver;
mod error;
mod folder;
mod handle;
mod history;
mod inbox;
mod journal;
mod launch;
mod load;
mod logbook;
mod master;
mod messages;
mod metrics;
mod muster;
mod observer;
mod operator;
mod origin;
mod outcome;
mod panics;
mod restart;
mod roster;
mod settings;
mod sinks;
mod slice;
mod splits;
mod telling;
mod transactions;

pub(crate) use acknowledge::SnapshotPlace;
pub(crate) use agent::Agent;
pub(crate) use chain_loop::ChainLoop;
pub(crate) use context::SubtaskContext;
pub(crate) use core::{CoreOrder, Shared, run_core};
pub(crate) use crew::{Member, WorkerId};
pub(crate) use deployment::{AttemptPlan, Deployment, Layout, RestorePlan, Seat};
pub(crate) use driver::{Now, Step, Subtask, TaskClock};
pub(crate) use error::FailureSlot;
pub use error::{FailureCause, JobError};
pub use handle::{JobControl, JobEnding, JobHandle, JobReport, RestoredFrom, WorkerShare};
pub use history::{
    AttemptOutcome, AttemptRecord, CheckpointFailure, CheckpointRecord, CheckpointState, Failure, JobHistory, JobOutcome, SnapshotTimes,
    SubtaskCheckpoint, TaskCheckpoint, TaskPlacement,
};
pub(crate) use launch::{Farewell, Recruiting, launch, start};
pub(crate) use messages::{Acknowledgement, FromSubtask, ToCoordinator, ToSubtask, ToWorker};
pub(crate) use metrics::{Counter, Gauge, MetricRegistry, Samples, Subject};
pub use metrics::{JobMetrics, Metric, MetricKind, MetricScope};
pub(crate) use muster::Muster;
pub use observer::{JobObserver, Watched};
pub(crate) use operator::OperatorInfo;
pub use outcome::{CheckpointOutcome, JobEnd, RequestedCheckpoint};
pub(crate) use panics::panic_text;
pub use settings::EngineSettings;
pub(crate) use slice::SliceBudget;
pub(crate) use thalweg_record::KeyGroups;
