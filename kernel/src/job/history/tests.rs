use super::*;
use crate::checkpoint::SnapshotTimes;
use crate::error::FailureCause;
use proptest::prelude::*;
use std::time::Duration;

fn apply(history: &mut JobHistory, events: impl IntoIterator<Item = JobEvent>) {
    for (at, event) in (100..).zip(events) {
        history.apply(UnixMillis(at), event);
    }
}

fn began(attempt: u64) -> JobEvent {
    JobEvent::AttemptBegan { job: JobId(7), attempt: Attempt(attempt), restored: None }
}

fn deployed(attempt: u64) -> JobEvent {
    let worker = WorkerShare { name: "w".to_owned(), cores: 1, subtasks: 3, key_groups: 128 };
    let task = |uid: &str, subtasks: usize| TaskPlacement { uid: uid.to_owned(), name: uid.to_uppercase(), subtasks: vec![0; subtasks] };
    JobEvent::AttemptDeployed { attempt: Attempt(attempt), workers: vec![worker], tasks: vec![task("reads", 1), task("adds", 2)] }
}

fn failure(reason: &str) -> Failure {
    Failure { cause: FailureCause::StorageFull, ..Failure::unknown(reason) }
}

fn failed(attempt: u64, reason: &str) -> JobEvent {
    JobEvent::AttemptFailed { attempt: Some(Attempt(attempt)), failure: failure(reason) }
}

fn begins(attempt: u64, checkpoint: u64) -> JobEvent {
    JobEvent::CheckpointBegan { attempt: Attempt(attempt), checkpoint: CheckpointId(checkpoint), ends_job: false }
}

fn acknowledged(checkpoint: u64, task: &str, subtask: usize, bytes: u64) -> JobEvent {
    let part =
        SubtaskCheckpoint { acknowledged_at: UnixMillis(5), end_to_end: Duration::from_millis(5), bytes, times: SnapshotTimes::default() };
    JobEvent::SubtaskAcknowledged { checkpoint: CheckpointId(checkpoint), task_uid: task.to_owned(), subtask, part }
}

fn completes(checkpoint: u64) -> JobEvent {
    JobEvent::CheckpointCompleted { checkpoint: CheckpointId(checkpoint), duration: Duration::from_millis(9) }
}

fn gives_up(checkpoint: u64, reason: CheckpointFailure) -> JobEvent {
    JobEvent::CheckpointFailed { checkpoint: CheckpointId(checkpoint), duration: Duration::from_millis(9), reason }
}

#[test]
fn a_checkpoint_gathers_the_parts_of_the_subtasks_of_its_attempt_until_it_is_complete() {
    let mut history = JobHistory::default();
    apply(&mut history, [began(3), deployed(3), begins(3, 8), acknowledged(8, "adds", 1, 40), acknowledged(8, "nobody", 0, 1)]);
    let seen_before = history.clone();
    apply(&mut history, [acknowledged(8, "adds", 7, 1), acknowledged(8, "reads", 0, 2), completes(8), acknowledged(8, "adds", 0, 99)]);
    let record = history.checkpoint(CheckpointId(8)).unwrap();
    assert_eq!((record.attempt, record.began_at, record.duration), (Attempt(3), UnixMillis(102), Duration::from_millis(9)));
    assert_eq!((record.bytes(), record.acknowledged_of()), (42, (2, 3)), "what comes when it is complete does not count");
    assert_eq!(record.tasks[1].subtasks.iter().map(|part| part.map(|part| part.bytes)).collect::<Vec<_>>(), [None, Some(40)]);
    assert_eq!(record.state, CheckpointState::Completed { at: UnixMillis(102) });
    let before = seen_before.checkpoint(CheckpointId(8)).unwrap();
    assert_eq!((before.state, before.bytes()), (CheckpointState::UnderWay, 40), "a snapshot stays as it was");
}

#[test]
fn the_first_failure_of_an_attempt_is_its_failure_and_that_of_the_job() {
    let mut history = JobHistory::default();
    let with_place = Failure { subtask: Some(4), ..failure("the disk is full") };
    let first = JobEvent::AttemptFailed { attempt: Some(Attempt(1)), failure: with_place.clone() };
    let ended = JobEvent::AttemptEnded { attempt: Attempt(1), outcome: AttemptOutcome::Failed };
    apply(&mut history, [began(1), first, failed(1, "closing failed too"), ended, failed(1, "and once more")]);
    let attempt = history.attempts().next().unwrap();
    assert_eq!(attempt.failure.as_deref(), Some(&with_place));
    assert_eq!((history.failures().count(), attempt.ended), (1, Some((UnixMillis(103), AttemptOutcome::Failed))));
    let outcome = JobOutcome::Failed(Arc::new(failure("the disk is full")));
    apply(&mut history, [JobEvent::JobEnded { outcome }, JobEvent::JobEnded { outcome: JobOutcome::Cancelled }]);
    assert_eq!(history.outcome(), Some(&JobOutcome::Failed(Arc::new(with_place))));
    assert_eq!(history.ended_at(), Some(UnixMillis(100)));
}

#[test]
fn a_failure_that_kept_an_attempt_from_beginning_is_told_beside_those_of_attempts() {
    let mut history = JobHistory::default();
    let before = JobEvent::AttemptFailed { attempt: None, failure: failure("no folder") };
    apply(&mut history, [before, began(1), failed(1, "later")]);
    assert_eq!(history.failures().map(|failure| failure.reason.as_str()).collect::<Vec<_>>(), ["no folder", "later"]);
}

#[test]
fn the_latest_complete_checkpoint_is_kept_however_many_fail_after_it() {
    let mut history = JobHistory::default();
    apply(&mut history, [began(1), deployed(1), begins(1, 1), acknowledged(1, "adds", 0, 7), completes(1)]);
    for checkpoint in 2..100 {
        apply(&mut history, [begins(1, checkpoint), gives_up(checkpoint, CheckpointFailure::Expired)]);
    }
    assert_eq!((history.checkpoints().len(), history.checkpoints().next().unwrap().checkpoint), (CHECKPOINTS_MAX, CheckpointId(84)));
    assert_eq!((history.checkpoints_completed(), history.checkpoints_failed()), (1, 98));
    assert_eq!((history.latest_completed().unwrap().bytes(), history.checkpoint(CheckpointId(1)).unwrap().bytes()), (7, 7));
}

#[test]
fn a_number_that_another_attempt_uses_again_is_another_checkpoint() {
    let mut history = JobHistory::default();
    let attempt_ended = CheckpointFailure::AttemptEnded;
    apply(&mut history, [began(1), begins(1, 5), gives_up(5, attempt_ended), began(2), deployed(2), begins(2, 5), completes(5)]);
    assert_eq!(history.checkpoint(CheckpointId(5)).unwrap().attempt, Attempt(2));
    assert_eq!(history.latest_completed().unwrap().attempt, Attempt(2));
    assert_eq!(history.checkpoints().next().unwrap().state, CheckpointState::Failed { at: UnixMillis(102), reason: attempt_ended });
}

fn any_event() -> impl Strategy<Value = JobEvent> {
    let number = 0u64..40;
    prop_oneof![
        number.clone().prop_map(began),
        number.clone().prop_map(deployed),
        number.clone().prop_map(|attempt| failed(attempt, "it failed")),
        Just(JobEvent::AttemptFailed { attempt: None, failure: failure("no attempt") }),
        number.clone().prop_map(|attempt| JobEvent::AttemptEnded { attempt: Attempt(attempt), outcome: AttemptOutcome::Failed }),
        (number.clone(), number.clone()).prop_map(|(attempt, checkpoint)| begins(attempt, checkpoint)),
        (number.clone(), 0usize..4, 0u64..9).prop_map(|(checkpoint, subtask, bytes)| acknowledged(checkpoint, "adds", subtask, bytes)),
        number.clone().prop_map(completes),
        number.prop_map(|checkpoint| gives_up(checkpoint, CheckpointFailure::NoRoom)),
        Just(JobEvent::JobEnded { outcome: JobOutcome::Ended(JobEnding::Finished) }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_history_is_bounded_counts_right_and_changes_nothing_that_is_decided(
        events in prop::collection::vec(any_event(), 0..400)
    ) {
        let mut history = JobHistory::default();
        let (mut begun, mut decided) = (0, 0);
        for event in events {
            let before = history.clone();
            begun += u64::from(matches!(event, JobEvent::AttemptBegan { .. }));
            let is_new = matches!(event, JobEvent::CheckpointBegan { .. });
            apply(&mut history, [event]);
            prop_assert!(history.attempts().len() <= ATTEMPTS_MAX && history.failures().len() <= FAILURES_MAX);
            prop_assert!(history.checkpoints().len() <= CHECKPOINTS_MAX);
            let counted = history.checkpoints_completed() + history.checkpoints_failed();
            prop_assert!(counted == decided || counted == decided + 1);
            decided = counted;
            // A new checkpoint takes the place of the oldest.
            let moved = usize::from(is_new && before.checkpoints.len() == CHECKPOINTS_MAX);
            for (was, is) in before.checkpoints.iter().skip(moved).zip(&history.checkpoints) {
                prop_assert!(was.state == CheckpointState::UnderWay || was == is, "{was:?} has become {is:?}");
            }
            prop_assert!(before.outcome.is_none() || before.outcome == history.outcome);
            prop_assert_eq!(history.attempts_begun(), begun);
            let latest = history.latest_completed().map(|record| record.state);
            let is_complete = matches!(latest, None | Some(CheckpointState::Completed { .. }));
            prop_assert!(is_complete);
        }
    }
}
