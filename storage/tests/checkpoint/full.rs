//! A disk that is full declines a checkpoint and harms nothing.

use crate::job::{DIR, assert_nothing_left_over, begin, dir, files, new_disk, take, with_checkpoints};
use std::task::{Context, Poll};
use thalweg_io::Buffer;
use thalweg_storage::checkpoint::{Attempt, CheckpointId, Piece, Pieces, state_file_name, write_snapshot};
use thalweg_world::{DiskFault, DiskFaultKind, SteppedDisk};

/// For the `n`th operation from now there is no room, if it needs any; a sync may.
fn fill(disk: &SteppedDisk, n: u64) {
    for kind in [DiskFaultKind::Full, DiskFaultKind::FullAtSync] {
        disk.plan_fault(DiskFault::at(n, kind));
    }
}

#[test]
fn a_full_disk_at_any_operation_of_a_checkpoint_leaves_the_last_one_intact_and_nothing_that_the_next_does_not_remove() {
    let (mut declined, mut stored) = (0, 0);
    for at in 0..60 {
        let (disk, mut store, attempt) = with_checkpoints(2);
        let before = files(&disk);
        fill(&disk, at);
        let outcome = disk.run(take(&disk, &mut store, attempt, CheckpointId(3))).unwrap();
        disk.heal();
        if let Err(error) = outcome {
            assert!(error.is_storage_full(), "at {at}: {error}");
            assert!(error.to_string().contains(DIR) && error.to_string().contains("make room"), "{error}");
            // What a subtask has stored stays: its later checkpoints may build on it.
            let mut now = files(&disk);
            stored += usize::from(now.remove(&state_file_name(attempt, CheckpointId(3), "count", 1)).is_some());
            assert_eq!(now, before, "at {at}: {error}");
            declined += 1;
        } else {
            assert_nothing_left_over(&disk);
        }
        disk.run(take(&disk, &mut store, attempt, CheckpointId(4))).unwrap().unwrap();
        assert_nothing_left_over(&disk);
    }
    // State file, metadata and entry: created, written, synced, the state file in three pieces; and one link.
    assert_eq!((declined, stored), (12, 7));
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

/// Two pieces, and then nobody wants the image any more.
struct GivenUp(usize);

impl Pieces for GivenUp {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Piece> {
        self.0 += 1;
        Poll::Ready(if self.0 <= 2 { Piece::Part(Buffer::from(&[7; 64][..])) } else { Piece::GivenUp })
    }

    fn give_back(&mut self, _memory: Buffer) {}
}

#[test]
fn an_image_that_is_given_up_leaves_no_file() {
    let disk = new_disk();
    disk.run(begin(&disk)).unwrap().unwrap();
    let before = files(&disk);
    let name = state_file_name(Attempt(1), CheckpointId(1), "count", 0);
    let mut pieces = GivenUp(0);
    let written = disk.run(write_snapshot(&*disk.door(), dir(), &name, &mut pieces)).unwrap().unwrap();
    assert_eq!((written, pieces.0), (None, 3));
    assert_eq!(files(&disk), before);
}
