use super::*;
use proptest::prelude::*;

const CADENCE: Cadence = Cadence {
    interval: Some(Duration::from_secs(10)),
    timeout: Duration::from_secs(4),
    min_pause: Duration::from_secs(2),
    tolerable_failures: 1,
};

const fn at_s(seconds: u64) -> MonotonicNs {
    MonotonicNs(seconds * 1_000_000_000)
}

const fn id(number: u64) -> CheckpointId {
    CheckpointId(number)
}

/// Two subtasks, the first one a source.
fn coordinator() -> CheckpointCoordinator {
    CheckpointCoordinator::new(CADENCE, vec![true, false], id(1), at_s(0))
}

fn acknowledged(subtask: SubtaskId, checkpoint: u64) -> CheckpointInput {
    CheckpointInput::Acknowledged { subtask, checkpoint: id(checkpoint) }
}

/// Inputs with their time in seconds, and the actions after each.
fn check(coordinator: &mut CheckpointCoordinator, table: &[(u64, CheckpointInput, &[Action])]) {
    for (second, input, expected) in table {
        assert_eq!(coordinator.step(at_s(*second), *input), *expected, "at {second} s, {input:?}");
    }
}

#[test]
fn a_checkpoint_is_durable_before_anything_is_committed() {
    check(
        &mut coordinator(),
        &[
            (9, CheckpointInput::Tick, &[]),
            (10, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(1), stops: false }]),
            (11, acknowledged(0, 1), &[]),
            (12, acknowledged(1, 1), &[Action::Persist { checkpoint: id(1), is_last: false }]),
            (13, CheckpointInput::Persisted { checkpoint: id(1) }, &[Action::Commit { checkpoint: id(1) }]),
            (14, CheckpointInput::Committed { checkpoint: id(1) }, &[]),
            (19, CheckpointInput::Tick, &[]),
            (20, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(2), stops: false }]),
        ],
    );
}

#[test]
fn a_checkpoint_that_is_asked_for_begins_at_once_or_when_the_one_under_way_is_decided_and_waits_for_no_pause() {
    check(
        &mut coordinator(),
        &[
            (1, CheckpointInput::Request, &[Action::Trigger { checkpoint: id(1), stops: false }]),
            (1, CheckpointInput::Request, &[]),
            (2, acknowledged(0, 1), &[]),
            (2, acknowledged(1, 1), &[Action::Persist { checkpoint: id(1), is_last: false }]),
            (
                3,
                CheckpointInput::Persisted { checkpoint: id(1) },
                &[Action::Trigger { checkpoint: id(2), stops: false }, Action::Commit { checkpoint: id(1) }],
            ),
            (3, CheckpointInput::Committed { checkpoint: id(1) }, &[]),
            (4, CheckpointInput::Request, &[]),
            (
                4,
                CheckpointInput::Declined { checkpoint: id(2), is_outpaced: false },
                &[Action::GiveUp { checkpoint: id(2), reason: GivenUp::NoRoom }, Action::Trigger { checkpoint: id(3), stops: false }],
            ),
            // Each checkpoint is tried once; then the interval counts from the last one that began.
            (
                5,
                CheckpointInput::Declined { checkpoint: id(3), is_outpaced: false },
                &[Action::GiveUp { checkpoint: id(3), reason: GivenUp::NoRoom }],
            ),
            (13, CheckpointInput::Tick, &[]),
            (14, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(4), stops: false }]),
        ],
    );
}

#[test]
fn where_no_source_is_left_the_last_checkpoint_is_the_one_that_was_asked_for() {
    let mut coordinator = coordinator();
    check(
        &mut coordinator,
        &[
            (1, CheckpointInput::Finished { subtask: 0 }, &[]),
            (2, CheckpointInput::Request, &[]),
            (3, CheckpointInput::Finished { subtask: 1 }, &[Action::Persist { checkpoint: id(1), is_last: true }]),
        ],
    );
    assert_eq!(coordinator.next_deadline(), None);
}

#[test]
fn a_checkpoint_under_way_knows_whom_it_waits_for() {
    let mut coordinator = coordinator();
    assert_eq!(coordinator.awaited(), None);
    coordinator.step(at_s(0), CheckpointInput::Stop);
    assert_eq!(coordinator.awaited(), Some((id(1), vec![0, 1])));
    coordinator.step(at_s(1), acknowledged(0, 1));
    assert_eq!(coordinator.awaited(), Some((id(1), vec![1])));
    coordinator.step(at_s(1), acknowledged(1, 1));
    assert_eq!(coordinator.awaited(), Some((id(1), vec![])), "it is made durable");
    coordinator.step(at_s(2), CheckpointInput::Persisted { checkpoint: id(1) });
    assert_eq!(coordinator.awaited(), None);
}

/// A caller that would restart the attempt, only to run it on more workers, lets it end instead.
#[test]
fn an_attempt_is_ending_from_when_its_end_is_decided() {
    let mut finishing = coordinator();
    finishing.step(at_s(0), CheckpointInput::Finished { subtask: 0 });
    assert!(!finishing.is_ending(), "others have work");
    finishing.step(at_s(0), CheckpointInput::Finished { subtask: 1 });
    assert!(finishing.is_ending(), "only the last checkpoint is left");
    finishing.step(at_s(1), CheckpointInput::Persisted { checkpoint: id(1) });
    finishing.step(at_s(1), CheckpointInput::Committed { checkpoint: id(1) });
    assert!(finishing.is_ending());
    for input in [CheckpointInput::Stop, CheckpointInput::Drain] {
        let mut asked = coordinator();
        asked.step(at_s(0), input);
        assert!(asked.is_ending(), "{input:?}");
    }
}

#[test]
fn an_expired_checkpoint_is_given_up_and_late_acknowledgements_count_for_no_other() {
    let mut coordinator = coordinator();
    check(
        &mut coordinator,
        &[
            (10, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(1), stops: false }]),
            (11, acknowledged(0, 1), &[]),
            (14, CheckpointInput::Tick, &[Action::GiveUp { checkpoint: id(1), reason: GivenUp::Expired }]),
            (20, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(2), stops: false }]),
            (21, acknowledged(1, 1), &[]),
            (21, acknowledged(0, 2), &[]),
            (24, CheckpointInput::Tick, &[Action::GiveUp { checkpoint: id(2), reason: GivenUp::Expired }, Action::Fail { failures: 2 }]),
        ],
    );
}

#[test]
fn a_full_disk_is_waited_for() {
    check(
        &mut coordinator(),
        &[
            (10, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(1), stops: false }]),
            (
                11,
                CheckpointInput::Declined { checkpoint: id(1), is_outpaced: false },
                &[Action::GiveUp { checkpoint: id(1), reason: GivenUp::NoRoom }],
            ),
            (11, acknowledged(1, 1), &[]),
            (20, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(2), stops: false }]),
            (21, acknowledged(0, 2), &[]),
            (21, acknowledged(1, 2), &[Action::Persist { checkpoint: id(2), is_last: false }]),
            (22, CheckpointInput::PersistDeclined { checkpoint: id(2) }, &[Action::GiveUp { checkpoint: id(2), reason: GivenUp::NoRoom }]),
            (30, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(3), stops: false }]),
        ],
    );
}

#[test]
fn finished_subtasks_count_and_the_last_one_brings_the_last_checkpoint() {
    check(
        &mut coordinator(),
        &[
            (10, CheckpointInput::Tick, &[Action::Trigger { checkpoint: id(1), stops: false }]),
            (11, CheckpointInput::Finished { subtask: 0 }, &[]),
            (12, acknowledged(1, 1), &[Action::Persist { checkpoint: id(1), is_last: false }]),
            (13, CheckpointInput::Finished { subtask: 1 }, &[]),
            (
                14,
                CheckpointInput::Persisted { checkpoint: id(1) },
                &[Action::Persist { checkpoint: id(2), is_last: true }, Action::Commit { checkpoint: id(1) }],
            ),
            (15, CheckpointInput::Persisted { checkpoint: id(2) }, &[]),
            (16, CheckpointInput::Committed { checkpoint: id(1) }, &[Action::Commit { checkpoint: id(2) }]),
            (17, CheckpointInput::Committed { checkpoint: id(2) }, &[Action::Complete(Completion::Finished { checkpoint: id(2) })]),
        ],
    );
}

#[test]
fn a_trigger_that_nobody_could_answer_is_not_waited_for() {
    let mut coordinator = coordinator();
    assert_eq!(coordinator.next_deadline(), Some(at_s(10)));
    coordinator.step(at_s(9), CheckpointInput::Finished { subtask: 0 });
    assert_eq!(coordinator.next_deadline(), None);
    assert_eq!(coordinator.step(at_s(11), CheckpointInput::Tick), []);
}

#[test]
fn a_full_disk_does_not_count_as_a_failure_of_the_job() {
    let mut coordinator = coordinator();
    let (mut now, mut failed) = (0, false);
    for number in 1..=4 {
        now += 10;
        assert_eq!(coordinator.step(at_s(now), CheckpointInput::Tick), [Action::Trigger { checkpoint: id(number), stops: false }]);
        let is_expired = number == 4;
        let input =
            if is_expired { CheckpointInput::Tick } else { CheckpointInput::Declined { checkpoint: id(number), is_outpaced: false } };
        let actions = coordinator.step(at_s(now + if is_expired { 5 } else { 1 }), input);
        failed |= actions.iter().any(|action| matches!(action, Action::Fail { .. }));
    }
    assert!(!failed);
}

/// No more than one checkpoint in a row may expire here, and all of them are late.
#[test]
fn a_checkpoint_that_waits_behind_a_sink_without_room_is_given_up_and_counts_as_none_that_expired() {
    let room = |is_missing| CheckpointInput::Room { subtask: 1, is_missing };
    let trigger = |number| [Action::Trigger { checkpoint: id(number), stops: false }];
    let give_up = |number, reason| Action::GiveUp { checkpoint: id(number), reason };
    check(
        &mut coordinator(),
        &[
            (10, CheckpointInput::Tick, &trigger(1)),
            (11, room(true), &[]),
            (14, CheckpointInput::Tick, &[give_up(1, GivenUp::NoRoom)]),
            (20, CheckpointInput::Tick, &trigger(2)),
            (24, CheckpointInput::Tick, &[give_up(2, GivenUp::NoRoom)]),
            (30, CheckpointInput::Tick, &trigger(3)),
            // It had to wait for room at some time, whatever it waits for now.
            (31, room(false), &[]),
            (34, CheckpointInput::Tick, &[give_up(3, GivenUp::NoRoom)]),
            (40, CheckpointInput::Tick, &trigger(4)),
            (44, CheckpointInput::Tick, &[give_up(4, GivenUp::Expired)]),
            (50, CheckpointInput::Tick, &trigger(5)),
            (54, CheckpointInput::Tick, &[give_up(5, GivenUp::Expired), Action::Fail { failures: 2 }]),
        ],
    );
}

#[test]
fn nothing_is_triggered_once_the_sources_are_to_end() {
    let mut coordinator = coordinator();
    assert_eq!(coordinator.step(at_s(9), CheckpointInput::Drain), []);
    assert_eq!((coordinator.next_deadline(), coordinator.step(at_s(11), CheckpointInput::Tick)), (None, vec![]));
}

#[test]
fn without_an_interval_there_is_one_checkpoint_at_the_end_and_one_that_stops_the_job() {
    let cadence = Cadence { interval: None, ..CADENCE };
    let mut ends = CheckpointCoordinator::new(cadence, vec![true], id(7), at_s(0));
    check(
        &mut ends,
        &[
            (999, CheckpointInput::Tick, &[]),
            (1000, CheckpointInput::Finished { subtask: 0 }, &[Action::Persist { checkpoint: id(7), is_last: true }]),
            (
                1001,
                CheckpointInput::PersistDeclined { checkpoint: id(7) },
                &[Action::GiveUp { checkpoint: id(7), reason: GivenUp::NoRoom }],
            ),
            (1001, CheckpointInput::Tick, &[]),
            (1002, CheckpointInput::Tick, &[Action::Persist { checkpoint: id(8), is_last: true }]),
        ],
    );
    let mut stops = CheckpointCoordinator::new(cadence, vec![true], id(7), at_s(0));
    check(
        &mut stops,
        &[
            (5, CheckpointInput::Stop, &[Action::Trigger { checkpoint: id(7), stops: true }]),
            (6, acknowledged(0, 7), &[Action::Persist { checkpoint: id(7), is_last: false }]),
            (7, CheckpointInput::Persisted { checkpoint: id(7) }, &[Action::Commit { checkpoint: id(7) }]),
            (8, CheckpointInput::Committed { checkpoint: id(7) }, &[Action::Complete(Completion::Stopped { checkpoint: id(7) })]),
        ],
    );
}

proptest! {
    /// A driver that takes the actions in any order and at any speed: nothing is committed that is not durable, nothing is durable unless every subtask has
    /// acknowledged it or finished, and one checkpoint is under way at a time.
    #[test]
    fn whatever_happens_the_order_is_kept(choices in prop::collection::vec((0..7u8, 0..3usize, 0..5u64), 1..200)) {
        let mut coordinator = CheckpointCoordinator::new(CADENCE, vec![true, true, false], id(1), at_s(0));
        let mut now = 0;
        let mut triggered = Vec::new();
        let mut acknowledged = std::collections::BTreeSet::new();
        let mut finished = [false; 3];
        let (mut persisting, mut committing) = (None, None);
        let mut durable = id(0);
        let mut ended = false;
        for (choice, subtask, seconds) in choices {
            now += seconds;
            let input = match choice {
                0 if !finished[subtask] && seconds == 4 => {
                    finished[subtask] = true;
                    CheckpointInput::Finished { subtask }
                }
                1 | 2 if !finished[subtask] => match triggered.iter().rev().find(|c| acknowledged.insert((subtask, **c))) {
                    Some(checkpoint) => CheckpointInput::Acknowledged { subtask, checkpoint: *checkpoint },
                    None => CheckpointInput::Tick,
                },
                3 => match persisting.take() {
                    Some(checkpoint) if seconds == 0 => CheckpointInput::PersistDeclined { checkpoint },
                    Some(checkpoint) => {
                        durable = checkpoint;
                        CheckpointInput::Persisted { checkpoint }
                    }
                    None => CheckpointInput::Tick,
                },
                4 => committing.take().map_or(CheckpointInput::Tick, |checkpoint| CheckpointInput::Committed { checkpoint }),
                6 => CheckpointInput::Request,
                _ => CheckpointInput::Tick,
            };
            for action in coordinator.step(at_s(now), input) {
                prop_assert!(!ended, "{action:?} after the end");
                match action {
                    Action::Trigger { checkpoint, .. } => {
                        prop_assert!(persisting.is_none());
                        triggered.push(checkpoint);
                    }
                    Action::Persist { checkpoint, is_last } => {
                        prop_assert!(persisting.is_none());
                        prop_assert!((0..3).all(|s| finished[s] || (!is_last && acknowledged.contains(&(s, checkpoint)))));
                        persisting = Some(checkpoint);
                    }
                    Action::Commit { checkpoint } => {
                        prop_assert!(committing.is_none() && checkpoint <= durable);
                        committing = Some(checkpoint);
                    }
                    Action::Complete(Completion::Finished { checkpoint } | Completion::Stopped { checkpoint }) => {
                        prop_assert_eq!(checkpoint, durable);
                        ended = true;
                    }
                    Action::GiveUp { .. } => {}
                    Action::Fail { .. } => return Ok(()),
                }
            }
        }
    }
}
