//! Starting, watching, stopping and cancelling a job from a program.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

mod common;

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
