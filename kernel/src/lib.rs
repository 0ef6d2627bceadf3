//! The engine: what a job is made of, and what runs it.
//!
//! `api/` describes a job, `graph.rs` is the description, `chain.rs` and `operators/` compute, `exchange/` carries frames between subtasks, `runtime/`
//! starts them, takes checkpoints and goes on after failures. Programs depend on the crate `thalweg`, which shows what of this is theirs.

extern crate self as thalweg;

mod api;
mod auth;
mod chain;
pub mod checkpoint;
pub mod cluster;
pub mod connectors;
mod description;
mod erasure;
mod exchange;
mod graph;
mod operators;
mod plan;
mod runtime;
pub mod sink;
pub mod source;
mod time;
mod watermark;

pub use api::{
    ConnectedStreams, DataStream, DataStreamSink, KeyedConnectedStreams, KeyedStream, SharedStream, StreamExecutionEnvironment,
    WindowedStream,
};
pub use chain::{Boxed, Chain};
pub use checkpoint::{
    CheckpointConfig, CheckpointContents, CheckpointDifference, ComparedPart, PartFate, PartKind, PartLayout, RestartStrategy, Restore,
};
pub use connectors::Collected;
pub use description::DESCRIPTION_BYTES_MAX;
pub use exchange::Exchanged;
pub use graph::Job;
pub use operators::{
    AggregateFunction, CoProcessContext, CoProcessFunction, Context, KeyedCoProcessFunction, KeyedOperatorContext, KeyedProcessFunction,
    KeyedStreamOperator, ListAccess, ListState, MapAccess, MapState, OneInputStreamOperator, OpenContext, OperatorContext, Output,
    OutputTag, RunRecords, SlidingEventTimeWindows, StreamOperator, Timer, TimerDomain, TumblingEventTimeWindows, TwoInputStreamOperator,
    ValueAccess, ValueState, WindowAssigner,
};
pub use plan::{JobPlan, PlanDescription, PlanEdge, PlanOperator, PlanOutput, PlanPartitioning, PlanSink, PlanSource, PlanVertex};
pub use record::{Key, Record};
pub use runtime::{
    AttemptOutcome, AttemptRecord, CheckpointFailure, CheckpointOutcome, CheckpointRecord, CheckpointState, EngineSettings, Failure,
    FailureCause, JobControl, JobEnd, JobEnding, JobError, JobHandle, JobHistory, JobMetrics, JobObserver, JobOutcome, JobReport, Metric,
    MetricKind, MetricScope, RequestedCheckpoint, RestoredFrom, SnapshotTimes, SubtaskCheckpoint, TaskCheckpoint, TaskPlacement, Watched,
    WorkerShare,
};
pub use thalweg_io as io;
pub use thalweg_record::record;
pub use time::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};
pub use watermark::{
    BoundedOutOfOrderness, NoWatermarks, RecordTimestamp, TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
