//! Back-pressure over two processes: a sink that takes a hundred records a second, a source that could give millions, and the memory of both workers.
//!
//! Prints a line of CSV a second: seconds, resident memory of the source's worker and of the sink's worker in KiB, records emitted, records shown. A
//! source that is held back emits what the sink takes and a fixed number ahead of it, and memory is flat.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg::checkpoint::CheckpointId;
use thalweg::cluster::{ClusterConfig, WorkerConfig, start_worker};
use thalweg::connectors::GeneratorSource;
use thalweg::io::uring::UringCores;
use thalweg::io::{Io, IoError, LocalBoxFuture};
use thalweg::sink::{Sink, SinkContext, SinkWriter};
use thalweg::{Job, JobError, StreamExecutionEnvironment};

/// Records a second that the sink takes.
const RATE: u64 = 100;

/// Takes a record, and then none for a hundredth of a second.
#[derive(Clone)]
struct SlowSink;

impl Sink for SlowSink {
    type In = (u64, String);
    type Transaction = u64;
    type Writer = SlowWriter;

    fn name(&self) -> &'static str {
        "slow"
    }

    fn writer(&self, context: SinkContext) -> SlowWriter {
        SlowWriter { io: context.io, pause: None }
    }
}

struct SlowWriter {
    io: Io,
    pause: Option<LocalBoxFuture<()>>,
}

impl SinkWriter for SlowWriter {
    type In = (u64, String);
    type Transaction = u64;

    fn write(&mut self, _timestamp: i64, _record: (u64, &str)) {
        let clock = self.io.clock();
        self.pause = Some(clock.sleep_until(clock.now().after(Duration::from_nanos(1_000_000_000 / RATE))));
    }

    fn ready(&self) -> bool {
        self.pause.is_none()
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let Some(pause) = &mut self.pause else { return Poll::Pending };
        pause.as_mut().poll(cx).map(|()| {
            self.pause = None;
            Ok(())
        })
    }

    fn seal(&mut self, _checkpoint: CheckpointId) {}

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<u64>, IoError>> {
        Poll::Ready(Ok(None))
    }
}

fn job() -> Result<Job, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1);
    let record = |i| (i, format!("a record with a string of its own, number {i}"));
    env.source(GeneratorSource::unbounded(record)).rebalance().sink(SlowSink);
    env.build("back-pressure")
}

/// A worker of the job.
pub fn work(coordinator: &str) -> Result<(), String> {
    let coordinator = coordinator.parse().map_err(|error| format!("pressure-worker={coordinator}: {error}"))?;
    let worker = start_worker(&UringCores::new().on_cpus([]), WorkerConfig::new(coordinator, 1), |_| job());
    worker.and_then(|worker| worker.wait()).map(drop).map_err(|error| error.to_string())
}

/// Runs the job for so many seconds.
pub fn measure(seconds: u64) -> Result<(), String> {
    let fail = |error: std::io::Error| error.to_string();
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(fail)?;
    let handle = job().and_then(|job| job.start_coordinator(&UringCores::new().on_cpus([]), ClusterConfig::new(listen, 2)));
    let handle = handle.map_err(|error| error.to_string())?;
    // The first that is there gets the source.
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(start_process(listen).map_err(fail)?);
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("seconds,source_rss_kib,sink_rss_kib,emitted,shown");
    for second in 1..=seconds {
        std::thread::sleep(Duration::from_secs(1));
        let [source, sink] = [0, 1].map(|worker: usize| resident_kib(workers[worker].id()));
        let metrics = handle.metrics();
        let (emitted, shown) = (metrics.sum("generator", "numRecordsOut"), metrics.sum("slow", "numRecordsSend"));
        println!("{second},{source},{sink},{emitted},{shown}");
    }
    handle.cancel();
    drop(handle.wait());
    for mut worker in workers {
        worker.wait().map_err(fail)?;
    }
    Ok(())
}

fn start_process(coordinator: SocketAddr) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).arg(format!("pressure-worker={coordinator}")).spawn()
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
