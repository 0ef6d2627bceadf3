//! A disk that is full declines a checkpoint and harms nothing.

use crate::disk::{Fault, MemoryDisk, run};
use crate::job::{DIR, assert_nothing_left_over, begin, take, with_checkpoints};
use thalweg_storage::checkpoint::CheckpointId;

#[test]
fn a_full_disk_at_any_operation_of_a_checkpoint_leaves_nothing_behind_and_the_last_one_intact() {
    let mut declined = 0;
    for at in 0..60 {
        let (disk, mut store, attempt) = with_checkpoints(2);
        let before = disk.files(DIR);
        disk.inject(at, Fault::Full);
        let outcome = run(&disk, take(&disk, &mut store, attempt, CheckpointId(3))).unwrap();
        disk.heal();
        if let Err(error) = outcome {
            assert!(error.is_storage_full(), "at {at}: {error}");
            assert!(error.to_string().contains(DIR) && error.to_string().contains("make room"), "{error}");
            assert_eq!(disk.files(DIR), before, "at {at}: {error}");
            declined += 1;
        }
        assert_nothing_left_over(&disk);
        run(&disk, take(&disk, &mut store, attempt, CheckpointId(4))).unwrap().unwrap();
        assert_nothing_left_over(&disk);
    }
    // State file, metadata and entry: created, written, synced; and one link.
    assert_eq!(declined, 10);
}

#[test]
fn an_attempt_that_finds_the_disk_full_can_begin_when_there_is_room() {
    for at in 0..40 {
        let (disk, _, before) = with_checkpoints(2);
        disk.inject(at, Fault::Full);
        let outcome = run(&disk, begin(&disk)).unwrap();
        disk.heal();
        if let Err(error) = &outcome {
            assert!(error.is_storage_full(), "at {at}: {error}");
            let (_, attempt, _) = run(&disk, begin(&disk)).unwrap().unwrap();
            assert_eq!(attempt.0, before.0 + 1);
        }
        assert_nothing_left_over(&disk);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_apart_too() {
    let disk = MemoryDisk::new();
    disk.inject(0, Fault::Full);
    assert!(run(&disk, begin(&disk)).unwrap().err().unwrap().is_storage_full());
}
