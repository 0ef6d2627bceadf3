//! Two coordinators on one folder: one of them stops.

use crate::job::{DIR, JOB, assert_nothing_left_over, assert_whole, begin, dir, files, new_disk, newest, open, take, with_checkpoints};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use thalweg_io::UnixMillis;
use thalweg_storage::checkpoint::{CheckpointId, Origin, load};
use thalweg_world::SteppedDisk;

#[test]
fn the_next_attempt_fences_the_one_before_it_for_good() {
    let (disk, mut old, old_attempt) = with_checkpoints(1);
    let (mut new, new_attempt, history) = disk.run(begin(&disk)).unwrap().unwrap();
    assert!(new_attempt > old_attempt);
    assert_eq!(newest(&history), Origin::Checkpoint(CheckpointId(1)));
    for id in [2, 3] {
        let error = disk.run(take(&disk, &mut old, old_attempt, CheckpointId(id))).unwrap().unwrap_err();
        assert!(error.is_fenced(), "{error}");
        assert!(error.to_string().contains(DIR) && error.to_string().contains("must stop"), "{error}");
    }
    assert!(disk.run(old.finish_job(UnixMillis(1))).unwrap().unwrap_err().is_fenced());
    // What the fenced one has left goes.
    disk.run(take(&disk, &mut new, new_attempt, CheckpointId(2))).unwrap().unwrap();
    assert_nothing_left_over(&disk);
}

#[test]
fn of_two_that_know_the_same_past_one_begins() {
    let disk = new_disk();
    let (mut one, _) = disk.run(open(&disk)).unwrap().unwrap();
    let (mut two, _) = disk.run(open(&disk)).unwrap().unwrap();
    disk.run(two.begin_attempt(JOB, Origin::Fresh, UnixMillis(1))).unwrap().unwrap();
    assert!(disk.run(one.begin_attempt(JOB, Origin::Fresh, UnixMillis(1))).unwrap().unwrap_err().is_fenced());
}

#[test]
fn one_that_slept_through_many_checkpoints_finds_its_number_free_and_is_fenced_all_the_same() {
    let (disk, mut old, old_attempt) = with_checkpoints(1);
    let (mut new, new_attempt, _) = disk.run(begin(&disk)).unwrap().unwrap();
    for id in 2..40 {
        disk.run(take(&disk, &mut new, new_attempt, CheckpointId(id))).unwrap().unwrap();
    }
    let entries = |disk: &SteppedDisk| files(disk).into_keys().filter(|name| name.ends_with(".entry")).collect::<Vec<_>>();
    let before = entries(&disk);
    assert_eq!(before.len(), 16);
    assert!(!before.contains(&"log-00000000000000000003.entry".to_owned()), "{before:?}");
    assert!(disk.run(take(&disk, &mut old, old_attempt, CheckpointId(2))).unwrap().unwrap_err().is_fenced());
    assert_eq!(entries(&disk), before);
    disk.run(take(&disk, &mut new, new_attempt, CheckpointId(40))).unwrap().unwrap();
    assert_nothing_left_over(&disk);
}

/// The new coordinator begins between any two operations of the old one's checkpoint, and then takes one itself; the old one goes on before or after
/// that. If the old one is told that its checkpoint is complete, the new one began with it.
#[test]
fn a_checkpoint_that_a_takeover_interrupts_is_seen_by_the_successor_or_is_never_acknowledged() {
    let (mut seen, mut fenced) = (0, 0);
    for at in 0..60 {
        for new_first in [false, true] {
            let (disk, mut old, old_attempt) = with_checkpoints(2);
            let mut context = Context::from_waker(Waker::noop());
            let mut taking = Box::pin(take(&disk, &mut old, old_attempt, CheckpointId(3)));
            let mut outcome = None;
            for _ in 0..at {
                if let Poll::Ready(done) = pin!(&mut taking).poll(&mut context) {
                    outcome = Some(done);
                    break;
                }
            }
            let (mut new, new_attempt, history) = disk.run(begin(&disk)).unwrap().unwrap();
            let next = history.next_checkpoint();
            if new_first {
                disk.run(take(&disk, &mut new, new_attempt, next)).unwrap().unwrap();
            }
            let outcome = outcome.unwrap_or_else(|| disk.run(taking).unwrap());
            if !new_first {
                disk.run(take(&disk, &mut new, new_attempt, next)).unwrap().unwrap();
            }
            match outcome {
                Ok(_) => {
                    assert_eq!(newest(&history), Origin::Checkpoint(CheckpointId(3)), "at {at}");
                    seen += 1;
                }
                Err(error) => {
                    assert!(error.is_fenced(), "at {at}: {error}");
                    fenced += 1;
                }
            }
            for retained in new.retained() {
                assert_whole(&disk.run(load(&*disk.door(), dir(), retained)).unwrap().unwrap());
            }
            disk.run(take(&disk, &mut new, new_attempt, next.next())).unwrap().unwrap();
            assert_nothing_left_over(&disk);
        }
    }
    assert!(seen > 0 && fenced > 0, "{seen} seen, {fenced} fenced");
}

/// As above with two that begin at once: one begins.
#[test]
fn of_two_that_begin_at_once_one_is_fenced_wherever_they_overlap() {
    for at in 0..40 {
        let (disk, _, before) = with_checkpoints(1);
        let mut context = Context::from_waker(Waker::noop());
        let mut one = Box::pin(begin(&disk));
        let mut outcome = None;
        for _ in 0..at {
            if let Poll::Ready(done) = one.as_mut().poll(&mut context) {
                outcome = Some(done);
                break;
            }
        }
        let two = disk.run(begin(&disk)).unwrap();
        let one = outcome.unwrap_or_else(|| disk.run(one).unwrap());
        let attempts: Vec<_> = [&one, &two].into_iter().flatten().map(|(_, attempt, _)| attempt.0).collect();
        for error in [&one, &two].into_iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(error.is_fenced(), "at {at}: {error}");
        }
        assert!(attempts.len() == 1 || attempts[0] != attempts[1], "at {at}: {attempts:?}");
        assert!(attempts.iter().all(|attempt| *attempt > before.0), "at {at}: {attempts:?}");
    }
}
