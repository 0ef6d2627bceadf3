//! Starting, watching, stopping and cancelling a job from a program.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use thalweg::connectors::GeneratorSource;
use thalweg::{JobError, JobHandle, StreamExecutionEnvironment};

fn endless(env: &StreamExecutionEnvironment) -> thalweg::Collected<u64> {
    env.source(GeneratorSource::unbounded(|i| i)).filter(|n| n % 1_000_000 == 0).key_by::<u64>(|n| *n).reduce(|a, _| a).collect()
}

fn wait_for_progress(handle: &JobHandle) {
    while handle.metrics().sum("generator", "numRecordsOut") == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_job_finishes_with_what_it_has_read() {
    let env = StreamExecutionEnvironment::new();
    let out = endless(&env);
    let handle = env.execute("test", 2).unwrap();
    wait_for_progress(&handle);
    handle.stop();
    let report = handle.wait().unwrap();
    let read = report.metrics.sum("generator", "numRecordsOut");
    assert!(!out.take().is_empty() && read > 0);
    assert_eq!(report.metrics.sum("collect", "numRecordsSend"), report.metrics.sum("reduce -> collect", "numRecordsIn"));
}

#[test]
fn a_cancelled_job_shows_nothing() {
    let env = StreamExecutionEnvironment::new();
    let out = endless(&env);
    let handle = env.execute("test", 2).unwrap();
    wait_for_progress(&handle);
    handle.cancel();
    assert!(matches!(handle.wait(), Err(JobError::Cancelled)));
    assert!(out.take().is_empty());
}

#[test]
fn a_handle_is_send_and_can_be_awaited_on_another_threads_executor() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let env = StreamExecutionEnvironment::new();
    let out = env.source(GeneratorSource::new(10, |i| i)).collect();
    let handle = send(env.execute("test", 1).unwrap());
    let report = std::thread::spawn(move || thalweg::io::block_on(handle)).join().unwrap().unwrap();
    assert_eq!((report.job.as_str(), out.take().len()), ("test", 10));
}

#[test]
fn jobs_of_one_process_do_not_disturb_each_other() {
    let jobs: Vec<_> = (0..3u64)
        .map(|job| {
            let env = StreamExecutionEnvironment::new();
            let out =
                env.source(GeneratorSource::new(10_000, move |i| i * 3 + job)).key_by::<u64>(|n| *n % 10).reduce(|a, b| a + b).collect();
            (env.execute("test", 2).unwrap(), out)
        })
        .collect();
    for (handle, out) in jobs {
        handle.wait().unwrap();
        assert_eq!(out.take().len(), 10_000);
    }
}

/// Panics wherever a source can.
#[derive(Clone)]
struct Broken {
    in_splits: bool,
}

impl thalweg::source::Source for Broken {
    type Out = u64;
    type Split = ();
    type Reader = Self;

    fn name(&self) -> &'static str {
        "broken"
    }

    fn splits(
        &self,
        _io: thalweg::io::Io,
        _parallelism: usize,
    ) -> thalweg::io::LocalBoxFuture<Result<Vec<()>, thalweg::source::SourceError>> {
        let in_splits = self.in_splits;
        Box::pin(async move {
            assert!(!in_splits, "no splits today");
            Ok(vec![()])
        })
    }

    fn reader(&self, _context: thalweg::source::ReaderContext) -> Self {
        self.clone()
    }
}

impl thalweg::source::SourceReader for Broken {
    type Out = u64;
    type Split = ();

    fn start(&mut self, _split: ()) {
        panic!("no start today");
    }

    fn snapshot(&self) {}

    fn poll_next<O: thalweg::source::ReaderOutput<u64>>(
        &mut self,
        _cx: &mut std::task::Context<'_>,
        _output: &mut O,
        _limit: usize,
    ) -> std::task::Poll<Result<thalweg::source::ReaderStatus, thalweg::source::SourceError>> {
        std::task::Poll::Ready(Ok(thalweg::source::ReaderStatus::EndOfSplit))
    }
}

#[test]
fn a_source_that_panics_outside_its_records_fails_the_job_and_hangs_nothing() {
    for (in_splits, text) in [(true, "no splits today"), (false, "no start today")] {
        let env = StreamExecutionEnvironment::new();
        env.source(Broken { in_splits }).for_each(|_| {});
        let error = env.execute("test", 2).and_then(JobHandle::wait).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn settings_that_can_make_no_progress_are_refused() {
    let refused = |cores: usize, settings: thalweg::EngineSettings| {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(1).set_engine_settings(settings);
        env.source(GeneratorSource::new(1, |i| i)).for_each(|_| {});
        env.execute("test", cores).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(0, thalweg::EngineSettings::default()).contains("at least one core"));
    let no_interval = thalweg::EngineSettings::default().metrics_interval_ms(0);
    assert!(refused(1, no_interval).contains("must be at least 1"));
}

/// A function that takes a millisecond per record: the slices shrink, so a cancellation does not wait for thousands of records.
#[test]
fn a_slow_function_does_not_hold_up_a_cancellation_or_the_numbers() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let env = StreamExecutionEnvironment::new();
    let slow = |n: u64| {
        CALLS.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(1));
        n
    };
    env.source(GeneratorSource::unbounded(|i| i)).map(slow).key_by::<u64>(|n| *n).reduce(|a, _| a).map(slow).for_each(|_| {});
    let handle = env.execute("test", 1).unwrap();
    wait_for_progress(&handle);
    let before = CALLS.load(Ordering::SeqCst);
    handle.cancel();
    assert!(matches!(handle.wait(), Err(JobError::Cancelled)));
    // A full slice has 1,024 records.
    let meanwhile = CALLS.load(Ordering::SeqCst) - before;
    assert!(meanwhile < 500, "{meanwhile} records were worked on after the cancellation");
}

#[test]
fn the_record_of_a_panic_is_shown_in_part_if_it_is_very_long() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(vec!["long ".repeat(100_000)]).map(|text| if text.len() > 5 { panic!("too long") } else { 1u64 }).for_each(|_| {});
    let error = env.execute("test", 1).and_then(JobHandle::wait).unwrap_err().to_string();
    assert!(error.contains("long long") && error.len() < 4096, "{}", error.len());
}

#[test]
fn a_job_whose_input_is_ended_before_it_has_begun_finishes_without_results() {
    let env = StreamExecutionEnvironment::new();
    let numbers = env.from_collection((0..1_000_000u64).collect()).collect();
    let handle = env.execute("stopped early", 1).unwrap();
    handle.stop();
    let report = handle.wait().unwrap();
    assert_eq!(report.ending, thalweg::JobEnding::Finished);
    assert!(numbers.take().len() < 1_000_000);
}
