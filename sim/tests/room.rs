//! A disk that is full when results are written: the job waits for room, however often it has to look.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg::checkpoint::CheckpointId;
use thalweg::connectors::GeneratorSource;
use thalweg::sink::{Sink, SinkContext, SinkWriter};
use thalweg::{CheckpointConfig, JobEnding, JobError, JobReport, RestartStrategy, StreamExecutionEnvironment};
use thalweg_io::IoError;
use thalweg_sim::{World, WorldConfig};

/// Finds the disk full so many times.
#[derive(Clone)]
struct CrampedSink {
    times: Arc<AtomicU32>,
}

impl Sink for CrampedSink {
    type In = u64;
    type Transaction = ();
    type Writer = Self;

    fn name(&self) -> &'static str {
        "cramped"
    }

    fn writer(&self, _context: SinkContext) -> Self {
        self.clone()
    }
}

impl SinkWriter for CrampedSink {
    type In = u64;
    type Transaction = ();

    fn write(&mut self, _timestamp: i64, _record: u64) {}

    fn seal(&mut self, _checkpoint: CheckpointId) {}

    fn poll_prepare(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<()>, IoError>> {
        let is_full = self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| times.checked_sub(1)).is_ok();
        let full = || IoError::at("write to", "/results/part".as_ref(), Error::from(ErrorKind::StorageFull));
        Poll::Ready(if is_full { Err(full()) } else { Ok(None) })
    }
}

fn run(times: u32, checkpoints: bool, strategy: RestartStrategy) -> Result<JobReport, JobError> {
    let outcome = World::new(1, WorldConfig::calm()).run(move |cores| async move {
        let env = StreamExecutionEnvironment::new();
        if checkpoints {
            env.enable_checkpointing(CheckpointConfig::new(PathBuf::from("/checkpoints")).interval(Duration::from_secs(1)));
        }
        env.set_restart_strategy(strategy);
        env.source(GeneratorSource::new(100, |n| n)).sink(CrampedSink { times: Arc::new(AtomicU32::new(times)) });
        env.build("cramped").unwrap().start(&cores, 1).unwrap().await
    });
    outcome.expect_done()
}

#[test]
fn a_job_waits_for_room_for_its_results_beyond_what_the_restart_strategy_allows() {
    let strategy = RestartStrategy::FixedDelay { attempts: 2, delay: Duration::from_millis(10) };
    let report = run(40, true, strategy).unwrap();
    assert_eq!((report.ending, report.restarts), (JobEnding::Finished, 40));
    assert!(report.elapsed >= Duration::from_secs(39 * 5), "it looks now and then: {:?}", report.elapsed);
}

#[test]
fn a_job_that_must_not_be_restarted_or_cannot_go_on_does_not_wait_for_room() {
    let none = run(1, true, RestartStrategy::None).unwrap_err();
    assert!(matches!(none, JobError::Sink { .. }), "{none}");
    assert!(run(2, false, RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(10) }).is_err());
}
