//! A coordinator and workers, each on cores of its own in this process, over real sockets.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it looks for a free port")]

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use thalweg::cluster::{ClusterConfig, Heartbeat, Secret, WorkerConfig, WorkerHandle, start_worker};
use thalweg::io::uring::UringCores;
use thalweg::{Collected, EngineSettings, Job, JobError, StreamExecutionEnvironment};

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Counts numbers by their last digit, into a folder.
fn describe(options: &[String]) -> Result<Job, JobError> {
    let [numbers, folder] = options else { return Err(JobError::Invalid("how many numbers, and where to?".to_owned())) };
    let numbers: u64 = numbers.parse().map_err(|_| JobError::Invalid("how many numbers?".to_owned()))?;
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings { metrics_interval_ms: 20, ..EngineSettings::default() });
    let digits = env.from_collection((0..numbers).collect::<Vec<u64>>()).map(|n| Count { digit: n % 10, count: 1 });
    let counts = digits.key_by::<u64>(|count| count.digit).reduce(|a, b| Count { digit: a.digit, count: a.count + b.count });
    counts.sink(FileSink::json_lines(folder));
    env.build("digits")
}

fn worker(config: WorkerConfig) -> WorkerHandle {
    start_worker(&UringCores::new(), config, |options| Ok(describe(options).0)).unwrap()
}

const WORDS: u64 = 1000;

fn options() -> Vec<String> {
    vec![WORDS.to_string()]
}

#[test]
fn two_workers_do_the_work_of_a_job_and_end_with_it() {
    let at = free_port();
    let (job, sums) = describe(&options());
    let secret = Secret::new("the secret of the cluster").unwrap();
    let config = ClusterConfig::new(at, 2).options(options()).secret(secret.clone());
    let handle = job.start_coordinator(&UringCores::new(), config).unwrap();
    let workers = [1, 1].map(|cores| worker(WorkerConfig::new(at, cores).secret(secret.clone())));
    let report = handle.wait().unwrap();
    for worker in workers {
        let report = worker.wait().unwrap();
        assert_eq!((report.failure, report.stopped, report.sessions), (None, false, 1));
    }
    let mut sums = sums.take();
    sums.sort_unstable();
    let last: Vec<_> = (0..10).map(|digit| sums.iter().filter(|(d, _)| *d == digit).map(|(_, n)| *n).max()).collect();
    assert_eq!(last, vec![Some(WORDS / 10); 10]);
    let mut names: Vec<_> = report.metrics.iter().filter_map(|metric| metric.worker.clone()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 2, "both have reported numbers: {names:?}");
}

#[test]
fn a_worker_with_another_binary_or_job_or_secret_is_refused_and_told_why() {
    let at = free_port();
    let (job, _) = describe(&options());
    let config = ClusterConfig::new(at, 1).options(options()).binary(7);
    let handle = job.start_coordinator(&UringCores::new(), config).unwrap();
    let refused = worker(WorkerConfig::new(at, 1).binary(8)).wait().unwrap_err().to_string();
    assert!(refused.contains("0000000000000008") && refused.contains("0000000000000007"), "{refused}");
    let other = start_worker(&UringCores::new(), WorkerConfig::new(at, 1).binary(7), |_| {
        let env = StreamExecutionEnvironment::new();
        let _ = env.from_collection(vec![1u64]).collect();
        env.build("digits")
    });
    let refused = other.unwrap().wait().unwrap_err().to_string();
    assert!(refused.contains("job with the fingerprint"), "{refused}");
    let secret = Secret::new("the secret of the cluster").unwrap();
    let refused = worker(WorkerConfig::new(at, 1).binary(7).secret(secret)).wait().unwrap_err().to_string();
    assert!(refused.contains("has no secret"), "{refused}");
    let good = worker(WorkerConfig::new(at, 1).binary(7));
    handle.wait().unwrap();
    good.wait().unwrap();
}

#[test]
fn an_address_that_is_taken_is_the_failure_of_the_job() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (job, _) = describe(&options());
    let failed = job.start_coordinator(&UringCores::new(), ClusterConfig::new(taken.local_addr().unwrap(), 1)).unwrap().wait();
    let Err(JobError::Invalid(reason)) = failed else { panic!("it is taken") };
    assert!(reason.contains("choose another address or port"), "{reason}");
}

#[test]
fn a_worker_without_a_coordinator_waits_and_can_be_stopped() {
    let waiting = worker(WorkerConfig::new(free_port(), 1));
    std::thread::sleep(Duration::from_millis(200));
    waiting.stop();
    let report = waiting.wait().unwrap();
    assert_eq!((report.failure, report.stopped, report.sessions), (None, true, 0));
}

#[test]
fn contradictions_are_found_before_anything_starts() {
    let heartbeat = Heartbeat { interval: Duration::from_secs(1), timeout: Duration::from_secs(1) };
    let (job, _) = describe(&options());
    assert!(job.start_coordinator(&UringCores::new(), ClusterConfig::new(free_port(), 1).heartbeat(heartbeat)).is_err());
    let open = start_worker(&UringCores::new(), WorkerConfig::new(free_port(), 1).data("0.0.0.0:1".parse().unwrap()), |_| unreachable!());
    assert!(open.is_err());
}
