//! What a job tells of itself while it runs and when it has ended: attempts, failures, checkpoints, and what became of commands.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test waits for a job in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thalweg::checkpoint::Attempt;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    AttemptOutcome, CheckpointConfig, CheckpointFailure, CheckpointOutcome, CheckpointState, JobControl, JobEnding, JobHandle, JobHistory,
    JobOutcome, RestartStrategy, StreamExecutionEnvironment,
};

/// No checkpoint comes by itself.
fn only_when_asked(dir: &TempDir) -> CheckpointConfig {
    CheckpointConfig::new(dir.path()).interval(None)
}

/// Sums by key that go on until they are stopped; the map in between panics when it is told to, once.
fn sums(env: &StreamExecutionEnvironment, fails: &Arc<AtomicBool>) {
    let fails = Arc::clone(fails);
    env.set_source_rate(Some(2_000));
    env.source(GeneratorSource::unbounded(|i| i))
        .uid("numbers")
        .key_by::<u64>(|n| *n % 10)
        .reduce(|a, b| a + b)
        .name("add")
        .uid("sums")
        .map(move |n| if fails.swap(false, Ordering::Relaxed) { panic!("it was told to") } else { n })
        .name("break")
        .uid("breaks")
        .for_each(|_| {});
}

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(control: &JobControl, what: impl Fn(&JobHistory) -> bool) -> JobHistory {
    let began = Instant::now();
    loop {
        let history = control.history();
        if what(&history) {
            return history;
        }
        assert!(began.elapsed() < PATIENCE, "{history:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A test that fails does not wait for its job.
struct CancelledWhenDropped(JobControl);

impl Drop for CancelledWhenDropped {
    fn drop(&mut self) {
        drop(self.0.cancel());
    }
}

fn started(handle: &JobHandle) -> JobControl {
    let control = handle.control();
    wait_until(&control, |history| history.attempts().any(|attempt| !attempt.tasks.is_empty()));
    control
}

#[test]
fn another_thread_sees_attempts_checkpoints_and_a_failure_with_its_place() {
    let (dir, fails) = (TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
    let env = StreamExecutionEnvironment::new();
    env.enable_checkpointing(only_when_asked(&dir));
    env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: 1, delay: Duration::ZERO });
    sums(&env, &fails);
    let handle = env.execute("sums", 2).unwrap();
    let control = handle.control();
    let watcher = std::thread::spawn(move || {
        let _in_the_end = CancelledWhenDropped(control.clone());
        let CheckpointOutcome::Completed { checkpoint, bytes, .. } = control.checkpoint().wait() else { panic!("it is complete") };
        fails.store(true, Ordering::Relaxed);
        let history = wait_until(&control, |history| history.attempts().len() == 2);
        // What became of it stays told.
        let record = history.checkpoint(checkpoint).unwrap();
        assert_eq!((record.attempt, record.bytes(), record.acknowledged_of()), (Attempt(1), bytes, (4, 4)));
        assert!(matches!(record.state, CheckpointState::Completed { at } if at >= record.began_at));
        let tasks: Vec<_> = record.tasks.iter().map(|task| (task.uid.as_str(), task.name.as_str(), task.subtasks.len())).collect();
        assert_eq!(tasks, [("numbers", "generator -> key-by", 2), ("sums", "add -> break -> for-each", 2)]);
        for part in record.parts() {
            let times = part.times;
            assert!(part.bytes > 0 && part.end_to_end <= record.duration, "{record:?}");
            assert!(times.saving + times.storing + times.alignment < Duration::from_secs(60), "{part:?}");
            assert!(part.acknowledged_at >= record.began_at);
        }
        let [first, second] = history.attempts().collect::<Vec<_>>()[..] else { panic!("there are two") };
        assert_eq!((first.restored, first.ended.map(|(_, outcome)| outcome)), (None, Some(AttemptOutcome::Failed)));
        assert_eq!((second.attempt, second.restored, &second.failure), (Attempt(2), Some(checkpoint), &None));
        let failure = first.failure.as_ref().unwrap();
        assert!(failure.reason.contains("it was told to"), "{}", failure.reason);
        assert_eq!((failure.operator.as_deref(), failure.operator_uid.as_deref()), (Some("break"), Some("breaks")));
        assert_eq!((failure.task_uid.as_deref(), failure.worker.as_deref()), (Some("sums"), Some("this process")));
        assert!(failure.subtask.is_some_and(|subtask| subtask < 2) && failure.at >= first.began_at);
        assert_eq!(history.failures().map(|failure| failure.attempt).collect::<Vec<_>>(), [Some(Attempt(1))]);
        let history = wait_until(&control, |history| history.attempts().last().is_some_and(|attempt| !attempt.tasks.is_empty()));
        let placed: Vec<_> = history.attempts().last().unwrap().tasks.iter().map(|task| task.subtasks.clone()).collect();
        assert_eq!((placed, &*history.attempts().last().unwrap().workers[0].name), (vec![vec![0, 0]; 2], "this process"));
        let JobOutcome::Ended(JobEnding::Stopped(last)) = control.stop_with_checkpoint().wait() else { panic!("it is stopped") };
        let history = control.history();
        let last = history.checkpoint(last).unwrap();
        assert!(last.ends_job && last.checkpoint > checkpoint && history.latest_completed() == Some(last));
        assert_eq!((history.checkpoints_completed(), history.attempts_begun()), (2, 2));
    });
    let control = handle.control();
    let ended = handle.wait();
    watcher.join().unwrap();
    let report = ended.unwrap();
    assert_eq!(control.history().outcome(), Some(&JobOutcome::Ended(report.ending)));
    assert!(control.history().ended_at().is_some());
}

#[test]
fn a_command_says_what_became_of_it_also_when_the_job_has_ended() {
    let fails = Arc::default();
    let env = StreamExecutionEnvironment::new();
    sums(&env, &fails);
    let handle = env.execute("sums", 1).unwrap();
    let control = started(&handle);
    assert_eq!(control.checkpoint().wait(), CheckpointOutcome::Declined(CheckpointFailure::NotEnabled));
    // It drains, and so ends as whoever waits from before sees it, too.
    let watched = control.ended();
    assert_eq!(control.stop().wait(), JobOutcome::Ended(JobEnding::Finished));
    assert_eq!(watched.wait(), JobOutcome::Ended(JobEnding::Finished));
    assert_eq!(control.cancel().wait(), JobOutcome::Ended(JobEnding::Finished), "it comes too late");
    assert_eq!(control.checkpoint().wait(), CheckpointOutcome::JobEnded);
    handle.wait().unwrap();
}

#[test]
fn a_job_that_fails_for_good_tells_why_to_whoever_waits_for_its_end() {
    let fails = Arc::new(AtomicBool::new(false));
    let env = StreamExecutionEnvironment::new();
    sums(&env, &fails);
    let handle = env.execute("sums", 1).unwrap();
    let end = started(&handle).ended();
    fails.store(true, Ordering::Relaxed);
    let JobOutcome::Failed(failure) = end.wait() else { panic!("it has failed") };
    assert_eq!((failure.operator_uid.as_deref(), failure.subtask, failure.attempt), (Some("breaks"), Some(0), Some(Attempt(1))));
    assert!(failure.reason.starts_with(&handle.wait().unwrap_err().to_string()));
}

#[test]
fn a_checkpoint_that_was_asked_for_does_not_outlive_its_attempt() {
    let dir = TempDir::new().unwrap();
    let env = StreamExecutionEnvironment::new();
    env.enable_checkpointing(only_when_asked(&dir));
    let gate = Arc::new(AtomicBool::new(true));
    let (held, holds) = (Arc::clone(&gate), Arc::new(AtomicBool::new(false)));
    let begun = Arc::clone(&holds);
    // Each task has a core of its own.
    env.set_parallelism(1).set_source_rate(Some(2_000));
    // The map holds the barrier up as long as it is told to.
    let hold = move |n| {
        begun.store(true, Ordering::Relaxed);
        while held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        n
    };
    env.source(GeneratorSource::unbounded(|i: u64| i)).rebalance().map(hold).for_each(|_| {});
    let handle = env.execute("held up", 2).unwrap();
    let control = started(&handle);
    // A barrier that comes before the first record would pass.
    wait_until(&control, |_| holds.load(Ordering::Relaxed));
    let asked = control.checkpoint();
    wait_until(&control, |history| history.checkpoints().len() == 1);
    let cancelled = control.cancel();
    assert_eq!(asked.wait(), CheckpointOutcome::Declined(CheckpointFailure::AttemptEnded));
    let record = control.history().checkpoints().next().unwrap().clone();
    assert!(matches!(record.state, CheckpointState::Failed { reason: CheckpointFailure::AttemptEnded, .. }), "{record:?}");
    gate.store(false, Ordering::Relaxed);
    assert_eq!(cancelled.wait(), JobOutcome::Cancelled);
    assert!(handle.wait().is_err());
}

#[test]
fn two_jobs_of_one_process_have_histories_and_numbers_of_their_own() {
    let (first_dir, fails) = (TempDir::new().unwrap(), Arc::default());
    let start = |checkpoints: Option<CheckpointConfig>| {
        let env = StreamExecutionEnvironment::new();
        if let Some(config) = checkpoints {
            env.enable_checkpointing(config);
        }
        sums(&env, &fails);
        env.execute("the same name", 1).unwrap()
    };
    let handles = [start(Some(only_when_asked(&first_dir))), start(None)];
    let [first, second] = handles.each_ref().map(started);
    assert!(matches!(first.checkpoint().wait(), CheckpointOutcome::Completed { .. }));
    assert_eq!((first.history().checkpoints_completed(), second.history().checkpoints_completed()), (1, 0));
    let ids = [&first, &second].map(|control| control.history().job());
    assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1], "{ids:?}");
    assert_eq!([&first, &second].map(|control| control.metrics().job()), ids);
    assert_eq!(first.cancel().wait(), JobOutcome::Cancelled);
    assert_eq!((second.history().outcome(), second.metrics().total("numberOfCompletedCheckpoints")), (None, 0));
    assert_eq!(second.stop().wait(), JobOutcome::Ended(JobEnding::Finished));
    let metrics = second.metrics();
    let uids = ["generator", "add", "break"].map(|name| metrics.iter().find(|metric| metric.operator.starts_with(name)));
    assert_eq!(uids[0].map(|metric| &*metric.uid), Some("numbers"));
    assert!(metrics.iter().any(|metric| metric.operator == "add -> break -> for-each" && &*metric.uid == "sums"));
    drop(handles);
}
