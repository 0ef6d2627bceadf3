//! Thalweg: a stateful stream-processing engine, as a library.
//!
//! A job is described with a typed API whose names are Flink's, and runs on pinned threads, one per core, that share nothing: event time and
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
//!     fn merge(&self, other: u64, count: &mut u64) { *count += other; }
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
//! # Features
//!
//! All are on unless a job says `default-features = false`; a feature that is off brings no dependency.
//!
//! | feature | what |
//! | --- | --- |
//! | `cli` | [`cli`], the command line of a job |
//! | `cluster` | [`cluster`], jobs in several processes |
//! | `files` | [`connectors::FileSink`] |
//! | `csv` | [`connectors::CsvSource`], and rows of CSV as a format of files |
//! | `json` | lines of JSON as a format of files |
//! | `generator` | [`connectors::GeneratorSource`] |
//! | `metrics` | [`MetricsEndpoint`], which shows the numbers of a job to Prometheus |
//!
//! # Where to read on
//!
//! [`StreamExecutionEnvironment`] and [`DataStream`] are the way in, [`KeyedStream`] and [`WindowedStream`] follow; [`Record`] says what can flow;
//! [`KeyedProcessFunction`] is for logic of your own, and [`OneInputStreamOperator`] for operators that hold records or take many at once; [`JobHandle`]
//! steers a running job. The rules of time, windows and lateness are numbered paragraphs in `docs/src/semantics.md`, cited in the code.

pub mod connectors;

#[cfg(feature = "cli")]
#[doc(inline)]
pub use thalweg_cli as cli;
#[cfg(feature = "cluster")]
#[doc(inline)]
pub use thalweg_cluster as cluster;
#[doc(inline)]
pub use thalweg_io as io;
#[doc(inline)]
pub use thalweg_kernel::{
    AggregateFunction, AttemptOutcome, AttemptRecord, BoundedOutOfOrderness, Boxed, Chain, CheckpointConfig, CheckpointContents,
    CheckpointDifference, CheckpointFailure, CheckpointOutcome, CheckpointReader, CheckpointRecord, CheckpointState, CoProcessContext,
    CoProcessFunction, Collected, ComparedPart, ConnectedStreams, Context, Cure, DESCRIPTION_BYTES_MAX, DataStream, DataStreamSink,
    Durations, EngineSettings, Exchanged, Failure, FailureCause, Job, JobControl, JobEnd, JobEnding, JobError, JobHandle, JobHistory,
    JobMetrics, JobObserver, JobOutcome, JobPlan, JobReport, Key, KeyedCoProcessFunction, KeyedConnectedStreams, KeyedEntry,
    KeyedOperatorContext, KeyedProcessFunction, KeyedStream, KeyedStreamOperator, ListAccess, ListState, MapAccess, MapState, Metric,
    MetricKind, MetricScope, NO_TIMESTAMP, NoWatermarks, OneInputStreamOperator, OpenContext, OperatorContext, Output, OutputTag, PartFate,
    PartKind, PartLayout, PlanDescription, PlanEdge, PlanOperator, PlanOutput, PlanPartitioning, PlanSink, PlanSource, PlanVertex, Record,
    RecordTimestamp, Refusal, RequestedCheckpoint, RestartStrategy, Restore, RestoredFrom, RunRecords, SharedStream,
    SlidingEventTimeWindows, SnapshotTimes, StreamExecutionEnvironment, StreamOperator, SubtaskCheckpoint, TaskCheckpoint, TaskPlacement,
    TimeWindow, Timer, TimerDomain, TimestampAssigner, TumblingEventTimeWindows, TwoInputStreamOperator, ValueAccess, ValueState, Watched,
    Watermark, WatermarkGenerator, WatermarkOutput, WatermarkStrategy, WindowAssigner, WindowedStream, WorkerShare, format_millis,
};
#[doc(inline)]
pub use thalweg_kernel::{checkpoint, sink, source};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use thalweg_metrics::{MetricNames, MetricsEndpoint};
#[doc(inline)]
pub use thalweg_record::record;

/// The program of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
