//! Running a job: subtasks and the loop that drives them, the coordinator, the handle that the user holds.
//!
//! `coordinator.rs` decides (pure), `core.rs` and `driver.rs` carry out, `handle.rs` reports.

mod context;
mod coordinator;
mod core;
mod driver;
mod error;
mod handle;
mod key_groups;
mod metrics;
mod operator;
mod settings;
mod slice;

pub(crate) use self::core::start;
pub(crate) use context::SubtaskContext;
pub(crate) use coordinator::{FromSubtask, ToSubtask};
pub(crate) use driver::{Now, Step, Subtask, TaskClock};
pub(crate) use error::FailureSlot;
pub use error::JobError;
pub use handle::{JobControl, JobHandle, JobReport};
pub(crate) use key_groups::KeyGroups;
pub(crate) use metrics::{Counter, Gauge};
pub use metrics::{JobMetrics, Metric};
pub(crate) use operator::OperatorInfo;
pub use settings::EngineSettings;
pub(crate) use slice::SliceBudget;
