//! The sink into memory: what is committed is handed over once, whatever the attempts.
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use thalweg::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg::connectors::{CollectSink, CollectTransaction};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkWriter};
use thalweg_world::SteppedDisk;

/// Each epoch of one subtask, prepared. `None` stands for an empty one.
fn epochs(sink: &CollectSink<u32>, disk: &SteppedDisk, subtask: usize, attempt: u64, epochs: &[&[u32]]) -> Vec<Option<CollectTransaction>> {
    let context = SinkContext {
        io: disk.io(),
        subtask,
        parallelism: 2,
        write_block_bytes: 1,
        job: JobId(1),
        owner: 1,
        attempt: Attempt(attempt),
        epoch: CheckpointId(1),
    };
    let mut writer = sink.writer(context);
    for (records, checkpoint) in epochs.iter().zip(1..) {
        records.iter().for_each(|record| writer.write(0, *record));
        writer.seal(CheckpointId(checkpoint));
    }
    // Sealing does not wait for what was sealed before.
    epochs.iter().map(|_| disk.run(poll_fn(|cx| writer.poll_prepare(cx))).unwrap().unwrap()).collect()
}

fn commit(sink: &CollectSink<u32>, disk: &SteppedDisk, transactions: &[CollectTransaction]) {
    disk.run(sink.commit(disk.io(), transactions.to_vec())).unwrap().unwrap();
}

#[test]
fn what_is_committed_is_handed_over_once_and_in_the_order_of_each_subtask() {
    let disk = SteppedDisk::new();
    let (sink, collected) = CollectSink::new();
    let mut first = epochs(&sink, &disk, 0, 1, &[&[1, 2], &[], &[3]]);
    assert_eq!(first.remove(1), None, "an empty epoch is nothing to commit");
    let first: Vec<_> = first.into_iter().flatten().collect();
    let second: Vec<_> = epochs(&sink.clone(), &disk, 1, 1, &[&[10], &[20]]).into_iter().flatten().collect();
    assert!(collected.take().is_empty());
    commit(&sink, &disk, &[first[1], second[0], first[0]]);
    assert_eq!(collected.take(), [1, 2, 10, 3]);
    // Again, and with what is new.
    commit(&sink, &disk, &[first[0], second[0], second[1], first[1]]);
    assert_eq!(collected.take(), [20]);
    commit(&sink, &disk, &second);
    assert!(collected.take().is_empty());
}

#[test]
fn a_recovery_commits_what_the_checkpoint_names_and_drops_the_rest() {
    let disk = SteppedDisk::new();
    let (sink, collected) = CollectSink::new();
    let first: Vec<_> = epochs(&sink, &disk, 0, 1, &[&[1], &[2], &[3]]).into_iter().flatten().collect();
    let committed = first[..2].to_vec();
    let restored = Some(CheckpointId(2));
    let recovery = Recovery {
        job: JobId(1),
        attempt: Attempt(2),
        restored,
        committed,
        discard_later_output: false,
        owner: 1,
        checkpoints: None,
        inputs: vec![],
        take_over_output: false,
        is_last: false,
    };
    for _ in 0..2 {
        disk.run(sink.recover(disk.io(), recovery.clone())).unwrap().unwrap();
    }
    assert_eq!(collected.take(), [1, 2]);
    // The epoch that was dropped comes again, in another attempt; a message about the old one changes nothing.
    let again = epochs(&sink, &disk, 0, 2, &[&[], &[], &[3]]).remove(2).unwrap();
    commit(&sink, &disk, &first);
    assert!(collected.take().is_empty());
    commit(&sink, &disk, &[again]);
    assert_eq!(collected.take(), [3]);
}

#[test]
fn nobody_keeps_what_nobody_can_take() {
    let disk = SteppedDisk::new();
    let (sink, collected) = CollectSink::new();
    drop(collected);
    let transactions: Vec<_> = epochs(&sink, &disk, 0, 1, &[&[1]]).into_iter().flatten().collect();
    commit(&sink, &disk, &transactions);
}
