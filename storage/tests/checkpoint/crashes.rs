//! A crash, or an error, at every operation of a job's life with checkpoints.

use crate::disk::{Fault, Loss, MemoryDisk, run};
use crate::job::{JOB, assert_nothing_left_over, assert_whole, begin, dir, metadata, newest, open, take, with_checkpoints};
use std::cell::Cell;
use thalweg_io::UnixMillis;
use thalweg_storage::checkpoint::{Attempt, CheckpointError, CheckpointId, load};

/// What the job has been told.
#[derive(Default)]
struct Progress {
    attempt: Cell<Option<Attempt>>,
    acknowledged: Cell<u64>,
    under_way: Cell<u64>,
}

/// Opens the folder, begins an attempt, and takes three checkpoints, of which two are retained.
async fn life(disk: &MemoryDisk, progress: &Progress) -> Result<(), CheckpointError> {
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
fn assert_recovers(disk: &MemoryDisk, progress: &Progress, context: &str) {
    let (mut store, history) = run(disk, open(disk)).unwrap().unwrap_or_else(|error| panic!("{context}: {error}"));
    let restorable: Vec<_> = history.restorable().cloned().collect();
    let (acknowledged, under_way) = (progress.acknowledged.get(), progress.under_way.get());
    let found = restorable.first().map_or(0, |retained| retained.id.0);
    assert!(found == acknowledged || found == under_way, "{context}: {found} is newest, {acknowledged} was acknowledged");
    assert_eq!(restorable.len() as u64, found.min(2), "{context}: two are retained");
    for retained in &restorable {
        assert_whole(&run(disk, load(disk, dir(), retained)).unwrap().unwrap_or_else(|error| panic!("{context}: {error}")));
    }
    let left = disk.files(crate::job::DIR).len();
    assert!(left <= 16, "{context}: {left} files");
    let attempt = run(disk, store.begin_attempt(JOB, newest(&history), UnixMillis(9))).unwrap().unwrap();
    assert!(Some(attempt) > progress.attempt.get(), "{context}: attempts rise");
    run(disk, take(disk, &mut store, attempt, history.next_checkpoint())).unwrap().unwrap();
    assert!(store.last_cleanup().error.is_none(), "{context}");
    assert_nothing_left_over(disk);
}

fn operations_of_a_life() -> u64 {
    let disk = MemoryDisk::new();
    run(&disk, life(&disk, &Progress::default())).unwrap().unwrap();
    disk.operations()
}

const LOSSES: [Loss; 8] =
    [Loss::Nothing, Loss::Everything, Loss::Some(1), Loss::Some(2), Loss::Some(3), Loss::Some(4), Loss::Some(5), Loss::Some(6)];

#[test]
fn after_a_crash_at_any_operation_the_newest_checkpoint_is_the_last_acknowledged_or_the_one_under_way() {
    let operations = operations_of_a_life();
    assert!(operations >= 50, "{operations} operations");
    for at in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            for loss in LOSSES {
                let (disk, progress) = (MemoryDisk::new(), Progress::default());
                disk.inject(at, fault);
                assert!(run(&disk, life(&disk, &progress)).is_none());
                disk.restart(loss);
                assert_recovers(&disk, &progress, &format!("{fault:?} at {at}, {loss:?} lost"));
            }
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing_either() {
    let operations = operations_of_a_life();
    for at in (0..operations).step_by(3) {
        for again in 0..25 {
            let (disk, progress) = (MemoryDisk::new(), Progress::default());
            disk.inject(at, Fault::CrashAfter);
            assert!(run(&disk, life(&disk, &progress)).is_none());
            disk.restart(Loss::Some(at));
            disk.inject(again, Fault::CrashAfter);
            if let Some(begun) = run(&disk, begin(&disk)) {
                progress.attempt.set(Some(begun.unwrap().1));
            }
            disk.restart(Loss::Some(again));
            assert_recovers(&disk, &progress, &format!("crashes at {at} and {again}"));
        }
    }
}

#[test]
fn after_an_io_error_at_any_operation_the_store_is_out_of_use_or_was_not_harmed() {
    let operations = operations_of_a_life();
    for at in 0..operations {
        for fault in [Fault::Error, Fault::ErrorAfter] {
            for loss in LOSSES {
                let (disk, progress) = (MemoryDisk::new(), Progress::default());
                disk.inject(at, fault);
                match run(&disk, life(&disk, &progress)).unwrap() {
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
        disk.inject(at, Fault::Error);
        let id = CheckpointId(2);
        let outcome = run(&disk, store.complete(metadata(attempt, id), vec![], 2)).unwrap();
        disk.heal();
        if let Err(error) = outcome {
            assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
            let after = run(&disk, store.complete(metadata(attempt, id), vec![], 2)).unwrap().unwrap_err();
            assert!(matches!(after, CheckpointError::Poisoned { .. }), "{after}");
            failed += 1;
        }
    }
    // Metadata and entry: created, written, synced; the folder listed once and synced twice; one link. Cleaning up may fail.
    assert_eq!(failed, 10);
}
