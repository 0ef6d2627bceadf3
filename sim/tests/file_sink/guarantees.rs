//! A job that is stopped again and again, under each delivery guarantee.

use crate::recovery::interrupted;
use crate::results::{JOB, Numbers, all_files, commit, from, names, new_disk, prepare, recover, sink, visible, write, writer, writer_of};
use std::collections::{BTreeMap, BTreeSet};
use thalweg::checkpoint::{Attempt, CheckpointId};
use thalweg::connectors::{DeliveryGuarantee, FileTransaction};
use thalweg::io::{Rng, SplitMix};
use thalweg::sink::{Recovery, Sink, SinkWriter};
use thalweg_world::{Loss, SteppedDisk};

/// What a coordinator keeps: the last complete checkpoint, how far the input of each subtask was read, and which transactions are not confirmed.
#[derive(Clone, Default)]
struct Checkpoint {
    id: u64,
    read: [u32; 2],
    pending: Vec<FileTransaction>,
}

/// Numbers that each of the two subtasks reads.
const COUNT: u32 = 30;

/// One attempt of a job, from `complete` on; `None` if the process stops. Subtask `s` writes the numbers `s, s + 2, ...`.
fn attempt(disk: &SteppedDisk, sink: &Numbers, number: u64, complete: &mut Checkpoint, dice: &mut SplitMix) -> Option<()> {
    let restored = (complete.id > 0).then_some(complete.id);
    recover(disk, sink, Recovery { attempt: Attempt(number), owner: number, ..from(restored, &complete.pending) })?.unwrap();
    let mut state = Checkpoint { pending: vec![], ..complete.clone() };
    let mut writers: Vec<_> = (0..2).map(|subtask| writer_of(number, disk, sink, subtask, number, state.id + 1, 5)).collect();
    // What was confirmed is known only from the next complete checkpoint on.
    let mut unconfirmed = complete.pending.clone();
    loop {
        let behind = 1 + dice.below(2);
        let mut sealed = Vec::new();
        for _ in 0..behind {
            for (subtask, writer) in writers.iter_mut().enumerate() {
                let until = (state.read[subtask] + dice.below(6) as u32).min(COUNT);
                write(disk, writer, (state.read[subtask]..until).map(|i| 2 * i + subtask as u32))?;
                state.read[subtask] = until;
                writer.seal(CheckpointId(state.id + 1));
            }
            state.id += 1;
            sealed.push((state.id, state.read));
        }
        for (id, read) in sealed {
            for writer in &mut writers {
                unconfirmed.extend(prepare(disk, writer)?);
            }
            if dice.below(5) == 0 {
                // The checkpoint does not come about; the next one names what this one would have.
                continue;
            }
            *complete = Checkpoint { id, read, pending: unconfirmed.clone() };
            disk.run(sink.commit(disk.io(), unconfirmed.clone()))?.unwrap();
            if dice.below(2) == 0 {
                unconfirmed.clear();
            }
        }
        if complete.read == [COUNT; 2] {
            return Some(());
        }
    }
}

/// Runs a job whose process is stopped again and again; each process makes a sink of its own. How often each number is visible in the end.
fn live(sink: impl Fn() -> Numbers, seed: u64) -> (SteppedDisk, BTreeMap<u32, usize>) {
    let disk = new_disk();
    let mut dice = SplitMix::new(seed);
    let mut complete = Checkpoint::default();
    let mut attempts = 1;
    loop {
        if attempts < 12 {
            disk.stop_before(dice.below(60));
        }
        let sink = sink();
        let finished = attempt(&disk, &sink, attempts, &mut complete, &mut dice);
        let finished = finished.and_then(|()| {
            let last =
                Recovery { attempt: Attempt(attempts), owner: attempts, is_last: true, ..from(Some(complete.id), &complete.pending) };
            recover(&disk, &sink, last)
        });
        let losses = [Loss::Nothing, Loss::Everything, Loss::Drawn(dice.next_u64())];
        disk.restart(losses[dice.below(3) as usize]);
        if finished.is_some() {
            break;
        }
        attempts += 1;
    }
    disk.restart(Loss::Everything);
    let mut times = BTreeMap::new();
    for (name, content) in all_files(&disk) {
        assert!(!name.starts_with('.'), "{name} is left over, seed {seed}");
        content.lines().for_each(|line| *times.entry(line.parse().unwrap()).or_default() += 1);
    }
    (disk, times)
}

#[test]
fn exactly_once_over_any_number_of_stops() {
    let sink = || sink().roll_at_bytes(12);
    for seed in 0..1500 {
        let (_, times) = live(sink, seed);
        assert_eq!(times.len(), 2 * COUNT as usize, "seed {seed}");
        assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
    }
}

#[test]
fn at_least_once_over_any_number_of_stops() {
    let sink = || sink().roll_at_bytes(12).delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    let mut twice = 0;
    for seed in 0..500 {
        let (_, times) = live(sink, seed);
        assert_eq!(times.len(), 2 * COUNT as usize, "seed {seed}");
        twice += times.values().filter(|times| **times > 1).count();
    }
    assert!(twice > 0, "otherwise nobody needs it");
}

#[test]
fn at_most_once_over_any_number_of_stops() {
    let sink = || sink().roll_at_bytes(12).delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let mut missing = BTreeSet::new();
    for seed in 0..500 {
        let (_, times) = live(sink, seed);
        assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
        missing.extend((2 * COUNT as usize != times.len()).then_some(seed));
    }
    assert!(!missing.is_empty(), "otherwise it is exactly once");
}

#[test]
fn at_least_once_shows_an_epoch_without_waiting_for_its_checkpoint() {
    let disk = new_disk();
    let sink = sink().delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut first = writer(&disk, &sink, 0, 1, 1, 64);
    write(&disk, &mut first, [1]).unwrap();
    first.seal(CheckpointId(1));
    assert_eq!(prepare(&disk, &mut first), Some(None));
    disk.restart(Loss::Everything);
    assert_eq!(names(&disk), [format!("part-{JOB}-0-1-0-1.txt")]);
    // After a failure it is shown again, beside what was.
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut second = writer(&disk, &sink, 0, 2, 1, 64);
    write(&disk, &mut second, [1]).unwrap();
    second.seal(CheckpointId(1));
    prepare(&disk, &mut second).unwrap();
    assert_eq!(names(&disk), [format!("part-{JOB}-0-1-0-1.txt"), format!("part-{JOB}-0-1-0-2.txt")]);
    let recovery = Recovery { discard_later_output: true, ..from(None, &[]) };
    recover(&disk, &sink, recovery).unwrap().unwrap();
    assert!(names(&disk).is_empty());
}

#[test]
fn at_most_once_drops_what_may_have_been_shown() {
    let sink = sink().roll_at_bytes(8).delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let (disk, second) = interrupted(&sink);
    commit(&disk, &sink, &second[1..]);
    for _ in 0..2 {
        recover(&disk, &sink, from(Some(2), &second)).unwrap().unwrap();
        // Who does not know what became of it may ask again.
        commit(&disk, &sink, &second);
    }
    assert_eq!(names(&disk), ["notes".to_owned(), visible(0, 1, 0), visible(1, 2, 0)]);
}
