//! What a slow sink costs: what lies before it is bounded by time, and so are a checkpoint and a stop.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg::checkpoint::CheckpointId;
use thalweg::cluster::{ClusterConfig, WorkerConfig, start_worker};
use thalweg::connectors::GeneratorSource;
use thalweg::sink::{Sink, SinkContext, SinkWriter};
use thalweg::{CheckpointConfig, Job, JobEnding, StreamExecutionEnvironment};
use thalweg_io::{Io, IoError, LocalBoxFuture, MonotonicNs, ProbeEvent};
use thalweg_sim::{Ending, Oracle, Violation, World, WorldConfig};

/// Takes a record each `pause_ms`.
#[derive(Clone)]
struct SlowSink {
    pause_ms: u64,
}

struct SlowWriter {
    io: Io,
    pause_ms: u64,
    next: MonotonicNs,
    sleep: Option<LocalBoxFuture<()>>,
}

impl Sink for SlowSink {
    type In = u64;
    type Transaction = ();
    type Writer = SlowWriter;

    fn name(&self) -> &'static str {
        "slow"
    }

    fn writer(&self, context: SinkContext) -> SlowWriter {
        let next = context.io.clock().now();
        SlowWriter { io: context.io, pause_ms: self.pause_ms, next, sleep: None }
    }
}

impl SinkWriter for SlowWriter {
    type In = u64;
    type Transaction = ();

    fn write(&mut self, _timestamp: i64, _record: u64) {
        self.next = self.io.clock().now().after(Duration::from_millis(self.pause_ms));
    }

    fn ready(&self) -> bool {
        self.io.clock().now() >= self.next
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        if self.ready() {
            self.sleep = None;
            return Poll::Ready(Ok(()));
        }
        let (io, next) = (&self.io, self.next);
        let sleep = self.sleep.get_or_insert_with(|| io.clock().sleep_until(next));
        sleep.as_mut().poll(cx).map(|()| {
            self.sleep = None;
            Ok(())
        })
    }

    fn seal(&mut self, _checkpoint: CheckpointId) {}

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<()>, IoError>> {
        Poll::Ready(Ok(None))
    }
}

/// Writes down how long checkpoints take.
struct StopWatch {
    triggered_ms: u64,
    took: Rc<RefCell<Vec<Duration>>>,
}

impl Oracle for StopWatch {
    fn name(&self) -> &str {
        "stop watch"
    }

    fn observe(&mut self, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        match event.name {
            "checkpoint.trigger" => self.triggered_ms = now_ms,
            "checkpoint.complete" => self.took.borrow_mut().push(Duration::from_millis(now_ms - self.triggered_ms)),
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A source that could give millions before three exchanges and a sink that takes so many records a second, all its subtasks together. The sink has a
/// parallelism of its own.
#[derive(Clone, Copy)]
struct Setting {
    parallelism: usize,
    sinks: usize,
    per_second: u64,
}

impl Setting {
    fn job(self) -> Job {
        let env = StreamExecutionEnvironment::new();
        env.enable_checkpointing(CheckpointConfig::new(PathBuf::from("/checkpoints")).interval(10 * SECOND));
        env.set_parallelism(self.parallelism);
        let numbers = env.source(GeneratorSource::unbounded(|n| n));
        let numbers = numbers.rebalance().map(|n| n + 1).rebalance().map(|n| n + 1).rebalance().set_parallelism(self.sinks);
        numbers.sink(SlowSink { pause_ms: 1_000 * self.sinks as u64 / self.per_second });
        env.build("slow").unwrap()
    }
}

fn world(seed: u64) -> (World, Rc<RefCell<Vec<Duration>>>) {
    let mut config = WorldConfig::calm();
    config.poll_cost_ns_max = 2_000;
    let world = World::new(seed, config);
    let took: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let watch = Rc::clone(&took);
    world.watch_each(move || StopWatch { triggered_ms: 0, took: Rc::clone(&watch) });
    (world, took)
}

/// How long each checkpoint took in a minute of this job, the last of which is that of the stop.
fn alone(seed: u64, setting: Setting) -> Vec<Duration> {
    let (world, took) = world(seed);
    let outcome = world.run(move |cores| async move {
        let handle = setting.job().start(&cores, 2).unwrap();
        let control = handle.control();
        cores
            .on_core(move |io| {
                Box::pin(async move {
                    io.clock().sleep_until(io.clock().now().after(60 * SECOND)).await;
                    control.stop_with_checkpoint();
                })
            })
            .await;
        handle.await.map(|report| report.ending)
    });
    assert!(matches!(outcome.ending, Ending::Done(Ok(JobEnding::Stopped(_)))), "{outcome}");
    took.take()
}

/// The same with two workers in processes of their own.
fn in_a_cluster(seed: u64, setting: Setting) -> Vec<Duration> {
    let (world, took) = world(seed);
    let outcome = world.run_cluster(move |cluster| async move {
        let address = ([127, 0, 0, 1], 7100).into();
        let machine = cluster.machine();
        let [coordinator, one, other] = ["coordinator", "one", "other"].map(|name| machine.start(name, 1));
        let handle = setting.job().start_coordinator(&coordinator.cores(), ClusterConfig::new(address, 2)).unwrap();
        let workers =
            [one, other].map(|worker| start_worker(&worker.cores(), WorkerConfig::new(address, 1), move |_| Ok(setting.job())).unwrap());
        cluster.sleep_ms(60_000).await;
        handle.control().stop_with_checkpoint();
        let ended = handle.await.map(|report| report.ending);
        for worker in workers {
            worker.await.unwrap();
        }
        ended
    });
    assert!(matches!(outcome.ending, Ending::Done(Ok(JobEnding::Stopped(_)))), "{outcome}");
    took.take()
}

fn assert_short(took: &[Duration], what: &str) {
    assert!(took.len() > 3, "{what}: {took:?}");
    assert!(took.iter().all(|took| *took <= 10 * SECOND), "{what}: {took:?}");
}

#[test]
fn a_checkpoint_and_a_stop_wait_seconds_for_a_sink_of_200_records_a_second_behind_three_exchanges() {
    for (seed, parallelism) in [(1, 1), (2, 2), (3, 4), (4, 16)] {
        assert_short(&alone(seed, Setting { parallelism, sinks: parallelism, per_second: 200 }), &format!("parallelism {parallelism}"));
    }
}

#[test]
fn so_they_do_where_many_send_to_one() {
    assert_short(&alone(5, Setting { parallelism: 16, sinks: 1, per_second: 200 }), "16 to one");
}

/// Each of 48 sinks has 48 senders. What each of those may have under way was once 64 records at least, which was a minute's work.
#[test]
fn so_they_do_where_many_send_to_many() {
    assert_short(&alone(9, Setting { parallelism: 48, sinks: 48, per_second: 9_600 }), "48 to 48");
}

#[test]
fn so_they_do_where_the_exchanges_lead_to_another_process() {
    for (seed, parallelism, sinks) in [(6, 2, 2), (7, 16, 16), (8, 16, 1)] {
        assert_short(&in_a_cluster(seed, Setting { parallelism, sinks, per_second: 200 }), &format!("{parallelism} to {sinks}"));
    }
}
