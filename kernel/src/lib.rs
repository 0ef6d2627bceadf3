//! The engine: the description of a job, and the code that runs it.
//!
//! `api/` describes a job, `graph.rs` is the description, `chain/` and `operators/` compute, `exchange/` carries frames between subtasks. `subtask/` drives
//! one subtask, `attempt/` runs all of them until something fails, and takes checkpoints meanwhile, and `job/` restarts after failures; `worker/` is the
//! part of a process that runs subtasks for a coordinator elsewhere. Programs depend on the crate `thalweg`, which exports the public part.
//!
//! `docs/src/architecture.md` says how it fits together and, at its end, where to look for what.

extern crate self as thalweg;

mod api;
mod attempt;
mod chain;
pub mod checkpoint;
pub mod connectors;
mod description;
mod erasure;
mod error;
mod exchange;
mod graph;
mod graph_ids;
mod job;
mod messages;
mod metrics;
mod operators;
mod plan;
mod refusal;
mod settings;
pub mod sink;
pub mod source;
mod subtask;
mod time;
mod watermark;
pub mod worker;

pub use api::{
    ConnectedStreams, DataStream, DataStreamSink, KeyedConnectedStreams, KeyedStream, SharedStream, StreamExecutionEnvironment,
    WindowedStream,
};
pub use chain::{Boxed, Chain};
pub use checkpoint::snapshots::SnapshotTimes;
pub use checkpoint::{
    CheckpointConfig, CheckpointContents, CheckpointDifference, CheckpointReader, ComparedPart, KeyedEntry, PartFate, PartKind, PartLayout,
    RestartStrategy, Restore,
};
pub use connectors::Collected;
pub use description::DESCRIPTION_BYTES_MAX;
pub use error::{FailureCause, JobError};
pub use exchange::Exchanged;
pub use graph::Job;
pub use job::handle::{JobControl, JobHandle, JobReport, RestoredFrom};
pub use job::history::{
    AttemptOutcome, AttemptRecord, CheckpointFailure, CheckpointRecord, CheckpointState, Failure, JobEnding, JobHistory, JobOutcome,
    SubtaskCheckpoint, TaskCheckpoint, TaskPlacement, WorkerShare,
};
pub use job::observer::{JobObserver, Watched};
pub use job::outcome::{JobEnd, RequestedCheckpoint};
pub use messages::CheckpointOutcome;
pub use metrics::{Durations, JobMetrics, Metric, MetricKind, MetricScope};
pub use operators::{
    AggregateFunction, CoProcessContext, CoProcessFunction, Context, KeyedCoProcessFunction, KeyedOperatorContext, KeyedProcessFunction,
    KeyedStreamOperator, ListAccess, ListState, MapAccess, MapState, OneInputStreamOperator, OpenContext, OperatorContext, Output,
    OutputTag, RunRecords, SlidingEventTimeWindows, StreamOperator, Timer, TimerDomain, TumblingEventTimeWindows, TwoInputStreamOperator,
    ValueAccess, ValueState, WindowAssigner,
};
pub use plan::{JobPlan, PlanDescription, PlanEdge, PlanOperator, PlanOutput, PlanPartitioning, PlanSink, PlanSource, PlanVertex};
pub use record::{Key, Record};
pub use refusal::{Cure, Refusal};
pub use settings::EngineSettings;
pub use thalweg_io as io;
pub use thalweg_record::record;
pub use time::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};
pub use watermark::{
    BoundedOutOfOrderness, NoWatermarks, RecordTimestamp, TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
