//! What a slow sink costs: what lies before it is bounded by time, and so are a checkpoint and a stop.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg::checkpoint::CheckpointId;
use thalweg::connectors::GeneratorSource;
use thalweg::sink::{Sink, SinkContext, SinkWriter};
use thalweg::{CheckpointConfig, JobEnding, StreamExecutionEnvironment};
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

/// Runs a source that could give millions behind three exchanges into a sink of 200 records a second, for a minute, and stops it. How long each checkpoint
/// took, the last of which is the stop's.
fn checkpoints(seed: u64, parallelism: usize) -> Vec<Duration> {
    let mut config = WorldConfig::calm();
    config.poll_cost_ns_max = 2_000;
    let world = World::new(seed, config);
    let took: Rc<RefCell<Vec<Duration>>> = Rc::default();
    world.watch(StopWatch { triggered_ms: 0, took: Rc::clone(&took) });
    let outcome = world.run(move |cores| async move {
        let env = StreamExecutionEnvironment::new();
        env.enable_checkpointing(CheckpointConfig::new(PathBuf::from("/checkpoints")).interval(10 * SECOND));
        env.set_parallelism(parallelism);
        let numbers = env.source(GeneratorSource::unbounded(|n| n));
        let numbers = numbers.rebalance().map(|n| n + 1).rebalance().map(|n| n + 1).rebalance();
        numbers.sink(SlowSink { pause_ms: 5 * parallelism as u64 });
        let handle = env.build("slow").unwrap().start(&cores, 2).unwrap();
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

#[test]
fn a_checkpoint_and_a_stop_wait_seconds_for_a_sink_of_200_records_a_second_behind_three_exchanges() {
    for (seed, parallelism) in [(1, 1), (2, 2), (3, 4), (4, 16)] {
        let took = checkpoints(seed, parallelism);
        assert!(took.len() > 3, "parallelism {parallelism}: {took:?}");
        assert!(took.iter().all(|took| *took <= 10 * SECOND), "parallelism {parallelism}: {took:?}");
    }
}
