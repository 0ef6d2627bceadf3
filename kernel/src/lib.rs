//! Thalweg: a stateful stream-processing engine, as a library.
//!
//! A job is described with a typed API whose names are Flink's, and runs on pinned threads, one a core, that share nothing: event time and
//! watermarks, windows, keyed state and timers, side outputs, results that become visible only when they are complete. The same code runs,
//! unchanged, in a deterministic simulator (`thalweg-sim`).
//!
//! # A first job
//!
//! ```
//! use std::time::Duration;
//! use thalweg::{AggregateFunction, Record, StreamExecutionEnvironment, TumblingEventTimeWindows, WatermarkStrategy};
//!
//! #[derive(Clone, Debug, Record)]
//! struct Click { at_ms: i64, page: String }
//!
//! #[derive(Clone)]
//! struct Count;
//! impl AggregateFunction<Click> for Count {
//!     type Accumulator = u64;
//!     type Output = u64;
//!     fn create_accumulator(&self) -> u64 { 0 }
//!     fn add(&self, _click: ClickRef<'_>, count: &mut u64) { *count += 1; }
//!     fn get_result(&self, count: &u64) -> u64 { *count }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = StreamExecutionEnvironment::new();
//! let clicks = [(1_000, "home"), (2_000, "cart"), (61_000, "home"), (3_000, "home")];
//! let counts = env
//!     .from_collection(clicks.map(|(at_ms, page)| Click { at_ms, page: page.to_owned() }).to_vec())
//!     .assign_timestamps_and_watermarks(
//!         WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(60)).with_timestamp_assigner(|click: ClickRef<'_>| click.at_ms),
//!     )
//!     .key_by::<String>(|click| click.page)
//!     .window(TumblingEventTimeWindows::of(Duration::from_secs(60)))
//!     .aggregate(Count, |page, window, count| (page.to_owned(), window.start, count))
//!     .collect();
//! env.execute("clicks a minute", 1)?.wait()?;
//! assert_eq!(counts.take(), [("home".into(), 0, 2), ("cart".into(), 0, 1), ("home".into(), 60_000, 1)]);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! [`StreamExecutionEnvironment`] and [`DataStream`] are the way in, [`KeyedStream`] and [`WindowedStream`] follow; [`Record`] says what can flow;
//! [`KeyedProcessFunction`] is for logic of your own; [`JobHandle`] steers a running job. The rules of time, windows and lateness are numbered
//! paragraphs in `docs/src/semantics.md`, cited in the code.

extern crate self as thalweg;

mod acceptor;
mod api;
mod auth;
pub mod chain;
pub mod checkpoint;
pub mod cli;
pub mod cluster;
mod complaints;
pub mod connectors;
mod deadline;
mod description;
mod erasure;
mod exchange;
mod graph;
mod listening;
mod metrics_http;
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
pub use chain::Chain;
pub use checkpoint::{
    CheckpointConfig, CheckpointContents, CheckpointDifference, ComparedPart, PartFate, PartKind, PartLayout, RestartStrategy, Restore,
};
pub use connectors::Collected;
pub use description::DESCRIPTION_BYTES_MAX;
pub use exchange::Exchanged;
pub use graph::Job;
pub use metrics_http::{MetricNames, MetricsEndpoint};
pub use operators::{
    AggregateFunction, CoProcessContext, CoProcessFunction, Context, KeyedCoProcessFunction, KeyedProcessFunction, ListAccess, ListState,
    MapAccess, MapState, OpenContext, Output, OutputTag, SlidingEventTimeWindows, Timer, TimerDomain, TumblingEventTimeWindows,
    ValueAccess, ValueState, WindowAssigner,
};
pub use plan::{JobPlan, PlanDescription, PlanEdge, PlanOperator, PlanOutput, PlanPartitioning, PlanSink, PlanSource, PlanVertex};
pub use record::{Key, Record};
pub use runtime::{
    AttemptOutcome, AttemptRecord, CheckpointFailure, CheckpointOutcome, CheckpointRecord, CheckpointState, EngineSettings, Failure,
    FailureCause, JobControl, JobEnd, JobEnding, JobError, JobHandle, JobHistory, JobMetrics, JobOutcome, JobReport, Metric, MetricKind,
    MetricScope, RequestedCheckpoint, RestoredFrom, SnapshotTimes, SubtaskCheckpoint, TaskCheckpoint, TaskPlacement, WorkerShare,
};
pub use thalweg_io as io;
pub use thalweg_record::record;
pub use time::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};
pub use watermark::{
    BoundedOutOfOrderness, NoWatermarks, RecordTimestamp, TimestampAssigner, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};

/// The program of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
