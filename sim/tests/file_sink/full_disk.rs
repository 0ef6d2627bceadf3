//! A disk that is full: it is waited for wherever it is met, and then everything is there once (docs/src/semantics.md#o-7).

use crate::results::{DIR, Numbers, OWNER, Writer, commit, epoch, files, fill, from, names, new_disk, recover, seeded_disk, sink, writer};
use std::task::{Context, Poll, Waker};
use thalweg::checkpoint::CheckpointId;
use thalweg::connectors::{DeliveryGuarantee, FileTransaction};
use thalweg::sink::{Recovery, Sink, SinkError, SinkWriter};
use thalweg_world::{Loss, SteppedDisk};

/// Polls of a second, in which nothing else happens: a sleep takes a millisecond each.
const SECOND: u32 = 1_000;

/// Two epochs of six numbers, in files and blocks of a few.
fn two_epochs(disk: &SteppedDisk, sink: &Numbers) -> Writer {
    let mut writer = writer(disk, sink, 0, 1, 1, 4);
    for checkpoint in 1..3 {
        (0..6).for_each(|number| writer.write(0, number));
        writer.seal(CheckpointId(checkpoint));
    }
    writer
}

fn ready(disk: &SteppedDisk, delivery: DeliveryGuarantee) -> Numbers {
    let sink = sink().roll_at_bytes(8).delivery_guarantee(delivery);
    recover(disk, &sink, from(None, &[])).unwrap().unwrap();
    sink
}

/// What is prepared within so many polls.
fn prepared(writer: &mut Writer, epochs: usize, polls: u32) -> Vec<Option<FileTransaction>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut prepared = Vec::new();
    for _ in 0..polls {
        if prepared.len() < epochs
            && let Poll::Ready(transaction) = writer.poll_prepare(&mut cx)
        {
            prepared.push(transaction.unwrap());
        }
    }
    prepared
}

fn contents(disk: &SteppedDisk) -> String {
    files(disk).into_iter().map(|(_, content)| content).collect()
}

#[test]
fn results_wait_wherever_the_disk_is_full_and_then_each_is_there_once() {
    for delivery in [DeliveryGuarantee::ExactlyOnce, DeliveryGuarantee::AtLeastOnce] {
        for full_from in 0.. {
            let disk = seeded_disk(full_from);
            let sink = ready(&disk, delivery);
            fill(&disk, full_from);
            let mut writer = two_epochs(&disk, &sink);
            let mut transactions = prepared(&mut writer, 2, 3 * SECOND);
            let is_over = transactions.len() == 2;
            let reason = writer.waits_for_room();
            assert_eq!(reason.is_some(), !is_over, "full from operation {full_from} on");
            assert!(reason.is_none_or(|reason| reason.contains(DIR)), "people are told where");
            disk.heal();
            transactions.extend(prepared(&mut writer, 2 - transactions.len(), 3 * SECOND));
            assert_eq!((transactions.len(), writer.waits_for_room()), (2, None), "full from operation {full_from} on");
            commit(&disk, &sink, &transactions.into_iter().flatten().collect::<Vec<_>>());
            assert_eq!(contents(&disk), "0\n1\n2\n3\n4\n5\n".repeat(2), "full from operation {full_from} on");
            if is_over {
                assert!(full_from > 10);
                break;
            }
        }
    }
}

#[test]
fn a_writer_that_waits_tries_once_a_second_and_takes_no_more_than_it_can_hold() {
    let disk = new_disk();
    let sink = ready(&disk, DeliveryGuarantee::ExactlyOnce);
    fill(&disk, 0);
    let mut writer = writer(&disk, &sink, 0, 1, 1, 4);
    let mut taken = 0;
    let mut cx = Context::from_waker(Waker::noop());
    let before = disk.operations();
    for _ in 0..10 * SECOND {
        if writer.ready() {
            writer.write(0, taken);
            taken += 1;
        }
        let _ = writer.poll_progress(&mut cx);
    }
    assert!(taken < 20, "{taken} records are held");
    let tries = disk.operations() - before;
    assert!((5..=12).contains(&tries), "{tries} operations in ten seconds");
}

#[test]
fn a_writer_that_waits_comes_to_rest_at_once() {
    for full_from in 0..20 {
        let disk = seeded_disk(full_from);
        let sink = ready(&disk, DeliveryGuarantee::AtLeastOnce);
        fill(&disk, full_from);
        let mut writer = two_epochs(&disk, &sink);
        let is_over = prepared(&mut writer, 2, 3 * SECOND).len() == 2;
        assert!(!is_over);
        let mut cx = Context::from_waker(Waker::noop());
        let polls = (1..SECOND).find(|_| writer.poll_close(&mut cx).is_ready());
        assert!(polls.is_some_and(|polls| polls < 10), "full from operation {full_from} on: {polls:?} polls");
        let rested = disk.operations();
        assert!(writer.poll_close(&mut cx).is_ready());
        assert_eq!(disk.operations(), rested);
    }
}

#[test]
fn a_commit_without_room_is_done_again_as_a_whole() {
    for full_from in 0.. {
        let disk = seeded_disk(full_from);
        let sink = ready(&disk, DeliveryGuarantee::ExactlyOnce);
        let transactions = [epoch(&disk, &sink, 0, 1, 1, &[1, 2, 3, 4, 5, 6]), epoch(&disk, &sink, 1, 1, 1, &[7, 8])];
        fill(&disk, full_from);
        let told = disk.run(sink.commit(disk.io(), transactions.to_vec())).unwrap();
        assert!(matches!(told, Ok(()) | Err(SinkError::NoRoom(_))), "{told:?}");
        disk.heal();
        commit(&disk, &sink, &transactions);
        assert!(names(&disk).iter().all(|name| !name.starts_with('.')));
        assert_eq!(contents(&disk), "1\n2\n3\n4\n5\n6\n7\n8\n", "full from operation {full_from} on");
        if told.is_ok() {
            assert!(full_from > 3);
            break;
        }
    }
}

#[test]
fn a_recovery_without_room_is_done_again_as_a_whole() {
    for full_from in 0.. {
        let disk = seeded_disk(full_from);
        let of_before = ready(&disk, DeliveryGuarantee::ExactlyOnce);
        let transactions = [epoch(&disk, &of_before, 0, 1, 1, &[1, 2, 3, 4, 5, 6])];
        drop(epoch(&disk, &of_before, 0, 1, 2, &[7]));
        // The process has died, and the next one takes the folder over.
        disk.restart(Loss::Nothing);
        let sink = sink();
        let recovery = || Recovery { owner: OWNER + 1, ..from(Some(1), &transactions) };
        fill(&disk, full_from);
        let told = recover(&disk, &sink, recovery()).unwrap();
        assert!(matches!(told, Ok(()) | Err(SinkError::NoRoom(_))), "{told:?}");
        disk.heal();
        recover(&disk, &sink, recovery()).unwrap().unwrap();
        assert_eq!(contents(&disk), "1\n2\n3\n4\n5\n6\n", "full from operation {full_from} on");
        if told.is_ok() {
            assert!(full_from > 3);
            break;
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_waited_for() {
    let disk = new_disk();
    fill(&disk, 0);
    let told = recover(&disk, &sink(), from(None, &[])).unwrap();
    assert!(matches!(&told, Err(SinkError::NoRoom(error)) if error.to_string().contains("all")), "{told:?}");
    disk.heal();
    ready(&disk, DeliveryGuarantee::ExactlyOnce);
}
