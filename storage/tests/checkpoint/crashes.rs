//! A crash, or an error, at every operation of a job's life with checkpoints.

use crate::job::{
    JOB, assert_nothing_left_over, assert_whole, begin, dir, files, metadata, new_disk, newest, open, seeded_disk, take, with_checkpoints,
};
use std::cell::Cell;
use thalweg_io::UnixMillis;
use thalweg_storage::checkpoint::{Attempt, CheckpointError, CheckpointId, load};
use thalweg_world::{DiskFault, DiskFaultKind, Loss, SteppedDisk};

/// What the job has been told.
#[derive(Default)]
struct Progress {
    attempt: Cell<Option<Attempt>>,
    acknowledged: Cell<u64>,
    under_way: Cell<u64>,
}

/// Opens the folder, begins an attempt, and takes three checkpoints, of which two are retained.
async fn life(disk: &SteppedDisk, progress: &Progress) -> Result<(), CheckpointError> {
    let (mut store, attempt, _) = begin(disk).await?;
    progress.attempt.set(Some(attempt));
    for id in 1..=3 {
        progress.under_way.set(id);
        take(disk, &mut store, attempt, CheckpointId(id)).await?;
        progress.acknowledged.set(id);
    }
    Ok(())
}

/// What the next process finds is what was promised, and a checkpoint later nothing of the dead is left.
fn assert_recovers(disk: &SteppedDisk, progress: &Progress, context: &str) {
    let (mut store, history) = disk.run(open(disk)).unwrap().unwrap_or_else(|error| panic!("{context}: {error}"));
    let restorable: Vec<_> = history.restorable().cloned().collect();
    let (acknowledged, under_way) = (progress.acknowledged.get(), progress.under_way.get());
    let found = restorable.first().map_or(0, |retained| retained.id.0);
    assert!(found == acknowledged || found == under_way, "{context}: {found} is newest, {acknowledged} was acknowledged");
    assert_eq!(restorable.len() as u64, found.min(2), "{context}: two are retained");
    for retained in &restorable {
        assert_whole(&disk.run(load(&*disk.door(), dir(), retained)).unwrap().unwrap_or_else(|error| panic!("{context}: {error}")));
    }
    let left = files(disk).len();
    assert!(left <= 16, "{context}: {left} files");
    let attempt = disk.run(store.begin_attempt(JOB, newest(&history), UnixMillis(9))).unwrap().unwrap();
    assert!(Some(attempt) > progress.attempt.get(), "{context}: attempts rise");
    disk.run(take(disk, &mut store, attempt, history.next_checkpoint())).unwrap().unwrap();
    assert!(store.last_cleanup().error.is_none(), "{context}");
    assert_nothing_left_over(disk);
}

fn operations_of_a_life() -> u64 {
    let disk = new_disk();
    disk.run(life(&disk, &Progress::default())).unwrap().unwrap();
    disk.operations()
}

const LOSSES: [Loss; 8] =
    [Loss::Nothing, Loss::Everything, Loss::Drawn(1), Loss::Drawn(2), Loss::Drawn(3), Loss::Drawn(4), Loss::Drawn(5), Loss::Drawn(6)];

/// Before an operation or after it.
type Stop = (&'static str, fn(&SteppedDisk, u64));

const STOPS: [Stop; 2] = [("before", SteppedDisk::stop_before), ("after", SteppedDisk::stop_after)];

#[test]
fn after_a_crash_at_any_operation_the_newest_checkpoint_is_the_last_acknowledged_or_the_one_under_way() {
    let operations = operations_of_a_life();
    assert!(operations >= 50, "{operations} operations");
    for at in 0..operations {
        for (place, stop) in STOPS {
            for loss in LOSSES {
                let (disk, progress) = (new_disk(), Progress::default());
                stop(&disk, at);
                assert!(disk.run(life(&disk, &progress)).is_none());
                disk.restart(loss);
                assert_recovers(&disk, &progress, &format!("stopped {place} {at}, {loss:?} lost"));
            }
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing_either() {
    let operations = operations_of_a_life();
    for at in (0..operations).step_by(3) {
        for again in 0..25 {
            let (disk, progress) = (new_disk(), Progress::default());
            disk.stop_after(at);
            assert!(disk.run(life(&disk, &progress)).is_none());
            disk.restart(Loss::Drawn(at));
            disk.stop_after(again);
            if let Some(begun) = disk.run(begin(&disk)) {
                progress.attempt.set(Some(begun.unwrap().1));
            }
            disk.restart(Loss::Drawn(again));
            assert_recovers(&disk, &progress, &format!("crashes at {at} and {again}"));
        }
    }
}

#[test]
fn after_an_io_error_at_any_operation_the_store_is_out_of_use_or_was_not_harmed() {
    let operations = operations_of_a_life();
    for at in 0..operations {
        for fault in [DiskFaultKind::Error, DiskFaultKind::Cancelled { done: true }] {
            for loss in LOSSES {
                let (disk, progress) = (seeded_disk(at), Progress::default());
                disk.plan_fault(DiskFault::at(at, fault));
                match disk.run(life(&disk, &progress)).unwrap() {
                    Ok(()) => assert_eq!(progress.acknowledged.get(), 3),
                    Err(error) => assert!(matches!(error, CheckpointError::Io { .. }), "{error}"),
                }
                disk.restart(loss);
                assert_recovers(&disk, &progress, &format!("{fault:?} at {at}, {loss:?} lost"));
            }
        }
    }
}

#[test]
fn a_store_that_failed_while_completing_stores_nothing_any_more() {
    let mut failed = 0;
    for at in 0..40 {
        let (disk, mut store, attempt) = with_checkpoints(1);
        disk.plan_fault(DiskFault::at(at, DiskFaultKind::Error));
        let id = CheckpointId(2);
        let outcome = disk.run(store.complete(metadata(attempt, id), vec![], 2)).unwrap();
        disk.heal();
        if let Err(error) = outcome {
            assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
            let after = disk.run(store.complete(metadata(attempt, id), vec![], 2)).unwrap().unwrap_err();
            assert!(matches!(after, CheckpointError::Poisoned { .. }), "{after}");
            failed += 1;
        }
    }
    // Metadata and entry: created, written, synced; the folder listed once and synced twice; one link. Cleaning up may fail.
    assert_eq!(failed, 10);
}
