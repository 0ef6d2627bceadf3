//! A disk that is full declines a checkpoint and harms nothing.

use crate::job::{DIR, assert_nothing_left_over, begin, files, new_disk, take, with_checkpoints};
use thalweg_storage::checkpoint::CheckpointId;
use thalweg_world::{DiskFault, DiskFaultKind, SteppedDisk};

/// For the `n`th operation from now there is no room, if it needs any; a sync may.
fn fill(disk: &SteppedDisk, n: u64) {
    for kind in [DiskFaultKind::Full, DiskFaultKind::FullAtSync] {
        disk.plan_fault(DiskFault::at(n, kind));
    }
}

#[test]
fn a_full_disk_at_any_operation_of_a_checkpoint_leaves_nothing_behind_and_the_last_one_intact() {
    let mut declined = 0;
    for at in 0..60 {
        let (disk, mut store, attempt) = with_checkpoints(2);
        let before = files(&disk);
        fill(&disk, at);
        let outcome = disk.run(take(&disk, &mut store, attempt, CheckpointId(3))).unwrap();
        disk.heal();
        if let Err(error) = outcome {
            assert!(error.is_storage_full(), "at {at}: {error}");
            assert!(error.to_string().contains(DIR) && error.to_string().contains("make room"), "{error}");
            assert_eq!(files(&disk), before, "at {at}: {error}");
            declined += 1;
        }
        assert_nothing_left_over(&disk);
        disk.run(take(&disk, &mut store, attempt, CheckpointId(4))).unwrap().unwrap();
        assert_nothing_left_over(&disk);
    }
    // State file, metadata and entry: created, written, synced; and one link.
    assert_eq!(declined, 10);
}

#[test]
fn an_attempt_that_finds_the_disk_full_can_begin_when_there_is_room() {
    for at in 0..40 {
        let (disk, _, before) = with_checkpoints(2);
        fill(&disk, at);
        let outcome = disk.run(begin(&disk)).unwrap();
        disk.heal();
        if let Err(error) = &outcome {
            assert!(error.is_storage_full(), "at {at}: {error}");
            let (_, attempt, _) = disk.run(begin(&disk)).unwrap().unwrap();
            assert_eq!(attempt.0, before.0 + 1);
        }
        assert_nothing_left_over(&disk);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_apart_too() {
    let disk = new_disk();
    fill(&disk, 0);
    assert!(disk.run(begin(&disk)).unwrap().err().unwrap().is_storage_full());
}
