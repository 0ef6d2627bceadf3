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
mod shape;
mod sinks;
mod slice;
mod splits;
mod telling;
mod transactions;

pub use acknowledge::SnapshotPlace;
pub use agent::Agent;
pub(crate) use chain_loop::ChainLoop;
pub(crate) use context::{SubtaskContext, TaskName};
pub use core::{CoreOrder, Shared, run_core};
pub use crew::{Member, WorkerId};
pub use deployment::{AttemptPlan, Deployment, Layout, RestorePlan, Seat};
pub(crate) use driver::{Now, Step, Subtask, TaskClock};
pub(crate) use error::FailureSlot;
pub use error::{FailureCause, JobError};
pub use handle::{JobControl, JobEnding, JobHandle, JobReport, RestoredFrom, WorkerShare};
pub use history::{
    AttemptOutcome, AttemptRecord, CheckpointFailure, CheckpointRecord, CheckpointState, Failure, JobHistory, JobOutcome, SnapshotTimes,
    SubtaskCheckpoint, TaskCheckpoint, TaskPlacement,
};
pub use launch::{Farewell, Recruit, Recruiter, Recruiting};
pub(crate) use launch::{launch, start};
pub use messages::{Acknowledgement, FromSubtask, ToCoordinator, ToSubtask, ToWorker};
pub use metrics::{Counter, JobMetrics, Metric, MetricKind, MetricRegistry, MetricScope, Subject};
pub(crate) use metrics::{Gauge, Samples};
pub use muster::Muster;
pub use observer::{JobObserver, Watched};
pub(crate) use operator::OperatorInfo;
pub use outcome::{CheckpointOutcome, JobEnd, RequestedCheckpoint};
pub use panics::panic_text;
pub use settings::EngineSettings;
pub use shape::{TaskShape, shape_of};
pub(crate) use slice::SliceBudget;
pub(crate) use thalweg_record::KeyGroups;
