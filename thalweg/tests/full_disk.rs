//! A job whose results find no room: it waits, shows that it does, and goes on (docs/src/semantics.md#o-7).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test waits for a job in real time")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thalweg::connectors::GeneratorSource;
use thalweg::io::{Io, IoError, LocalBoxFuture};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};
use thalweg::{CheckpointConfig, JobControl, JobEnding, JobError, JobHandle, JobMetrics, RestartStrategy, StreamExecutionEnvironment};

const WAITING: &str = "numberOfSinksWaitingForRoom";

/// A place that is full when it is told to be.
#[derive(Clone, Default)]
struct Place {
    is_full: Arc<AtomicBool>,
    /// How often the next recoveries and commits find no room.
    recoveries: Arc<AtomicU32>,
    commits: Arc<AtomicU32>,
    committed: Arc<AtomicU32>,
}

fn no_room() -> IoError {
    IoError::new("write to", "the/place", std::io::ErrorKind::StorageFull.into())
}

/// Finds no room as often as is left.
fn found_room(left: &AtomicU32) -> Result<(), SinkError> {
    let is_left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    if is_left { Err(SinkError::NoRoom(no_room())) } else { Ok(()) }
}

impl Sink for Place {
    type In = u64;
    type Transaction = u64;
    type Writer = Writer;

    fn name(&self) -> &'static str {
        "place"
    }

    fn recover(&self, _io: Io, _recovery: Recovery<u64>) -> LocalBoxFuture<Result<(), SinkError>> {
        Box::pin(std::future::ready(found_room(&self.recoveries)))
    }

    fn commit(&self, _io: Io, transactions: Vec<u64>) -> LocalBoxFuture<Result<(), SinkError>> {
        let found = found_room(&self.commits);
        if found.is_ok() {
            self.committed.fetch_add(transactions.len() as u32, Ordering::Relaxed);
        }
        Box::pin(std::future::ready(found))
    }

    fn writer(&self, context: SinkContext) -> Writer {
        Writer { place: self.clone(), io: context.io, pause: None, sealed: VecDeque::new() }
    }
}

struct Writer {
    place: Place,
    io: Io,
    pause: Option<LocalBoxFuture<()>>,
    sealed: VecDeque<u64>,
}

impl SinkWriter for Writer {
    type In = u64;
    type Transaction = u64;

    fn write(&mut self, _timestamp: i64, _record: u64) {}

    fn ready(&self) -> bool {
        self.waits_for_room().is_none()
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        while self.place.is_full.load(Ordering::Relaxed) {
            let clock = self.io.clock();
            let pause = self.pause.get_or_insert_with(|| clock.sleep_until(clock.now().after(Duration::from_millis(5))));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Pending
    }

    fn seal(&mut self, checkpoint: thalweg::checkpoint::CheckpointId) {
        self.sealed.push_back(checkpoint.0);
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<u64>, IoError>> {
        let _ = self.poll_progress(cx)?;
        if self.place.is_full.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(self.sealed.pop_front())) }
    }

    fn waits_for_room(&self) -> Option<String> {
        self.place.is_full.load(Ordering::Relaxed).then(|| no_room().to_string())
    }
}

/// A job that ends when it is told to, checkpoints come often, and none may expire.
fn endless(place: &Place, dir: &TempDir) -> JobHandle {
    let env = StreamExecutionEnvironment::new();
    let (interval, timeout) = (Some(Duration::from_millis(20)), Duration::from_millis(60));
    env.enable_checkpointing(CheckpointConfig::new(dir.path()).interval(interval).timeout(timeout).tolerable_failures(0));
    env.set_restart_strategy(RestartStrategy::None);
    env.set_source_rate(Some(10_000));
    env.source(GeneratorSource::unbounded(|i| i)).rebalance().sink(place.clone());
    env.execute("endless", 2).unwrap()
}

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn wait_until(control: &JobControl, what: impl Fn(&JobMetrics) -> bool) {
    let began = Instant::now();
    while !what(&control.metrics()) {
        let has_patience = began.elapsed() < PATIENCE;
        if !has_patience {
            drop(control.cancel());
        }
        assert!(has_patience, "{:#?}", control.metrics());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn writers_without_room_keep_checkpoints_from_completing_and_fail_nothing() {
    let (place, dir) = (Place::default(), TempDir::new().unwrap());
    let handle = endless(&place, &dir);
    let control = handle.control();
    wait_until(&control, |metrics| metrics.total("numberOfCompletedCheckpoints") > 0);
    place.is_full.store(true, Ordering::Relaxed);
    wait_until(&control, |metrics| metrics.total(WAITING) == 2);
    let (completed, failed) =
        (control.metrics().total("numberOfCompletedCheckpoints"), control.metrics().total("numberOfFailedCheckpoints"));
    wait_until(&control, |metrics| metrics.total("numberOfFailedCheckpoints") >= failed + 3);
    // One may have been collected before.
    assert!(control.metrics().total("numberOfCompletedCheckpoints") <= completed + 1);
    place.is_full.store(false, Ordering::Relaxed);
    wait_until(&control, |metrics| metrics.total(WAITING) == 0 && metrics.total("numberOfCompletedCheckpoints") > completed + 1);
    drop(control.stop_with_checkpoint());
    let report = handle.wait().unwrap();
    assert!(matches!(report.ending, JobEnding::Stopped(_)), "{:?}", report.ending);
    assert_eq!(report.restarts, 0);
}

#[test]
fn a_stop_waits_for_room_and_a_cancellation_does_not() {
    for cancels in [true, false] {
        let (place, dir) = (Place::default(), TempDir::new().unwrap());
        place.is_full.store(true, Ordering::Relaxed);
        let handle = endless(&place, &dir);
        let control = handle.control();
        wait_until(&control, |metrics| metrics.total(WAITING) == 2);
        if cancels {
            drop(control.cancel());
            assert!(matches!(handle.wait(), Err(JobError::Cancelled)));
            continue;
        }
        drop(control.stop_with_checkpoint());
        let failed = control.metrics().total("numberOfFailedCheckpoints");
        wait_until(&control, |metrics| metrics.total("numberOfFailedCheckpoints") > failed + 1);
        place.is_full.store(false, Ordering::Relaxed);
        assert!(matches!(handle.wait().unwrap().ending, JobEnding::Stopped(_)));
    }
}

#[test]
fn a_commit_and_a_recovery_without_room_are_asked_again() {
    let (place, dir) = (Place::default(), TempDir::new().unwrap());
    place.recoveries.store(2, Ordering::Relaxed);
    place.commits.store(2, Ordering::Relaxed);
    let handle = endless(&place, &dir);
    let control = handle.control();
    for left in [&place.recoveries, &place.commits] {
        wait_until(&control, |metrics| metrics.total(WAITING) == 1);
        wait_until(&control, |metrics| metrics.total(WAITING) == 0);
        assert_eq!(left.load(Ordering::Relaxed), 0);
    }
    // It is asked before anybody hears that nobody waits, and answers after.
    wait_until(&control, |_| place.committed.load(Ordering::Relaxed) > 0);
    drop(control.stop_with_checkpoint());
    assert_eq!(handle.wait().unwrap().restarts, 0);
}

#[test]
fn a_job_that_waits_for_room_before_it_begins_or_to_commit_can_be_cancelled() {
    for before in [true, false] {
        let (place, dir) = (Place::default(), TempDir::new().unwrap());
        if before { &place.recoveries } else { &place.commits }.store(u32::MAX, Ordering::Relaxed);
        let handle = endless(&place, &dir);
        let control = handle.control();
        wait_until(&control, |metrics| metrics.total(WAITING) == 1);
        drop(control.cancel());
        assert!(matches!(handle.wait(), Err(JobError::Cancelled)), "before: {before}");
        assert_eq!(place.committed.load(Ordering::Relaxed), 0);
    }
}
