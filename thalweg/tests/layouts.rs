//! One type of records with layouts that are known only when the job runs: they go where the records go, and what was saved with one of them is not read
//! with another.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::{CollectionSource, GeneratorSource};
use thalweg::io::{Io, LocalBoxFuture};
use thalweg::record::{Layout, RecordLayout};
use thalweg::source::{ReaderContext, Source, SourceError};
use thalweg::{
    CheckpointConfig, Context, JobEnding, JobError, KeyedProcessFunction, OpenContext, Output, OutputTag, RestartStrategy,
    StreamExecutionEnvironment, ValueState,
};

/// A row of numbers, whose columns are no part of its type.
type Row = Vec<u64>;

fn schema(columns: &str) -> RecordLayout<Row> {
    RecordLayout::given(Layout::described(&format!("row{{{columns}}}")))
}

fn wait_for_some(seen: &AtomicU64) {
    while seen.load(Ordering::Relaxed) < 10 {
        std::thread::yield_now();
    }
}

/// Sums the second column for each value of the first, over rows of `layout`, and stops with a checkpoint or goes on from one.
fn sum(dir: &Path, layout: RecordLayout<Row>, is_stopped: bool) -> Result<JobEnding, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.enable_checkpointing(CheckpointConfig::new(dir).interval(Duration::from_millis(10)));
    env.set_restart_strategy(RestartStrategy::None);
    env.set_source_rate(is_stopped.then_some(1000));
    let seen = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&seen);
    let rows = env.source(GeneratorSource::new(2000, |n| vec![n % 4, n])).with_layout(layout);
    rows.key_by::<u64>(|row| row.get(0).unwrap_or(0))
        .reduce(|sum, row| vec![sum.get(0).unwrap(), sum.get(1).unwrap() + row.get(1).unwrap()])
        .for_each(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
    let job = env.execute("sum", 1)?;
    if is_stopped {
        wait_for_some(&seen);
        job.stop_with_checkpoint();
    }
    job.wait().map(|report| report.ending)
}

#[test]
fn a_checkpoint_of_rows_with_other_columns_is_refused_with_both_texts() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(sum(dir.path(), schema("id,amount"), true).unwrap(), JobEnding::Stopped { .. }));
    let refused = sum(dir.path(), schema("id,price"), false).unwrap_err().to_string();
    for word in ["operator reduce", "state value", "option{row{id,amount}} then", "option{row{id,price}} now"] {
        assert!(refused.contains(word), "no {word:?} in: {refused}");
    }
    let no_schema = sum(dir.path(), RecordLayout::default(), false).unwrap_err().to_string();
    assert!(no_schema.contains("option{list{u64}} now"), "{no_schema}");
    assert_eq!(sum(dir.path(), schema("id,amount"), false).unwrap(), JobEnding::Finished);
}

#[test]
fn a_row_in_a_checkpoint_that_the_layout_refuses_is_not_restored() {
    let dir = TempDir::new().unwrap();
    sum(dir.path(), schema("id,amount"), true).unwrap();
    let three = schema("id,amount").with_check(|row| if row.len() == 3 { Ok(()) } else { Err(format!("a row of {} columns", row.len())) });
    let refused = sum(dir.path(), three, false).unwrap_err().to_string();
    assert!(refused.contains("state value") && refused.contains("a row of 2 columns"), "{refused}");
}

#[test]
fn a_layout_goes_where_the_records_go() {
    let env = StreamExecutionEnvironment::new();
    let late = OutputTag::<Row>::new("odd").with_layout(schema("odd"));
    let rows = env.from_collection(vec![vec![1, 2]]).with_layout(schema("a,b")).filter(|_| true).shared();
    rows.stream().rebalance().key_by::<u64>(|_| 0).reduce(|_, row| row.to_vec()).rebalance().for_each(|_| {});
    let others = rows.stream().map(|row| row.to_vec()).start_new_chain();
    others.side_output(&late).for_each(|_| {});
    others.with_layout(schema("c")).disable_chaining().filter(|_| true).broadcast().for_each(|_| {});
    let plan = env.build("rows").unwrap().plan();
    let mut layouts: Vec<&str> = plan.edges.iter().map(|edge| edge.layout.as_str()).collect();
    layouts.sort_unstable();
    assert_eq!(layouts, ["row{a,b}"; 5].into_iter().chain(["row{c}"; 2]).chain(["row{odd}"]).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "streams can be united if their records have one layout")]
fn rows_of_two_schemas_are_not_united() {
    let env = StreamExecutionEnvironment::new();
    let [first, second] = ["a", "b"].map(|columns| env.from_collection(vec![vec![1u64]]).with_layout(schema(columns)));
    first.union(second).for_each(|_| {});
}

/// Remembers a number.
#[derive(Clone, Default)]
struct Remember {
    number: ValueState<u64>,
}

impl KeyedProcessFunction for Remember {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        self.number = ctx.value_state("number");
    }

    fn process_element(&mut self, value: u64, ctx: &mut Context<'_, u64>, out: &mut Output<u64>) {
        ctx.value(self.number).set(value);
        out.collect(value);
    }
}

#[test]
fn a_layout_for_a_state_that_is_not_there_or_of_another_type_is_refused_by_name() {
    let run = |name: &str, of_another_type: bool| {
        let env = StreamExecutionEnvironment::new();
        let remembered = env.from_collection(vec![1u64]).key_by::<u64>(|n| *n).process(Remember::default());
        let remembered = match of_another_type {
            false => remembered.with_state_layout::<u64>(name, RecordLayout::given(Layout::described("cents"))),
            true => remembered.with_state_layout::<String>(name, RecordLayout::default()),
        };
        remembered.for_each(|_| {});
        env.execute("remember", 1)?.wait().map(drop)
    };
    run("number", false).unwrap();
    let missing = run("numbre", false).unwrap_err().to_string();
    assert!(missing.contains("a layout is given for a state numbre"), "{missing}");
    let other = run("number", true).unwrap_err().to_string();
    assert!(other.contains("the layout that is given for the state number is one of another type"), "{other}");
}

/// A collection whose positions have a layout of their own, told by their unit.
#[derive(Clone)]
struct Measured {
    inner: CollectionSource<u64>,
    unit: &'static str,
}

impl Source for Measured {
    type Out = u64;
    type Split = <CollectionSource<u64> as Source>::Split;
    type Reader = <CollectionSource<u64> as Source>::Reader;

    fn name(&self) -> &'static str {
        "measured"
    }

    fn split_layout(&self) -> RecordLayout<Self::Split> {
        RecordLayout::given(Layout::described(self.unit))
    }

    fn splits(&self, io: Io, parallelism: usize) -> LocalBoxFuture<Result<Vec<Self::Split>, SourceError>> {
        self.inner.splits(io, parallelism)
    }

    fn reader(&self, context: ReaderContext) -> Self::Reader {
        self.inner.reader(context)
    }
}

#[test]
fn a_position_in_another_unit_is_refused_with_both_texts() {
    let dir = TempDir::new().unwrap();
    let run = |unit: &'static str, is_stopped: bool| {
        let env = StreamExecutionEnvironment::new();
        env.enable_checkpointing(CheckpointConfig::new(dir.path()));
        env.set_source_rate(is_stopped.then_some(1000));
        let seen = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&seen);
        env.source(Measured { inner: CollectionSource::new((0..2000).collect()), unit }).for_each(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let job = env.execute("measured", 1)?;
        if is_stopped {
            wait_for_some(&seen);
            job.stop_with_checkpoint();
        }
        job.wait().map(|report| report.ending)
    };
    assert!(matches!(run("miles", true).unwrap(), JobEnding::Stopped { .. }));
    let refused = run("kilometres", false).unwrap_err().to_string();
    assert!(refused.contains("positions") && refused.contains("miles") && refused.contains("kilometres"), "{refused}");
    assert_eq!(run("miles", false).unwrap(), JobEnding::Finished);
}
