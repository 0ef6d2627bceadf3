//! Files as they are written: rolled, sealed by epochs, given up.

use crate::results::{
    DIR, JOB, Numbers, OWNER, commit, files, from, names, new_disk, prepare, recover, refusal, seeded_disk, sink, stall_syncs, visible,
    write, writer,
};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use thalweg::checkpoint::{Attempt, CheckpointId};
use thalweg::connectors::{FileSink, FileTransaction};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkWriter};
use thalweg_world::{DiskFault, DiskFaultKind, Loss, SteppedDisk};

#[test]
fn files_are_rolled_by_size_at_whole_records_whatever_the_blocks() {
    for block in [1, 2, 3, 7, 64] {
        for roll_at_bytes in [0, 1, 10, 11, 64, 1000] {
            let disk = new_disk();
            let sink = sink().roll_at_bytes(roll_at_bytes);
            recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
            let transaction = epoch_in_blocks(&disk, &sink, block, 95..115);
            commit(&disk, &sink, std::slice::from_ref(&transaction));
            let files: BTreeMap<_, _> = files(&disk).into_iter().collect();
            let contents: Vec<_> = transaction.files.iter().map(|file| files[&file.visible].clone()).collect();
            assert_eq!(files.len(), contents.len());
            assert_eq!(contents.concat(), (95..115).map(|number| format!("{number}\n")).collect::<String>());
            for content in &contents {
                assert!(content.ends_with('\n') && content.len() < roll_at_bytes.max(1) as usize + 4, "{content:?}");
            }
            for content in &contents[..contents.len() - 1] {
                assert!(content.len() as u64 >= roll_at_bytes, "{content:?}");
            }
        }
    }
}

fn epoch_in_blocks(disk: &SteppedDisk, sink: &Numbers, block: usize, numbers: std::ops::Range<u32>) -> FileTransaction {
    let mut writer = writer(disk, sink, 0, 1, 1, block);
    write(disk, &mut writer, numbers).unwrap();
    writer.seal(CheckpointId(1));
    prepare(disk, &mut writer).unwrap().unwrap()
}

#[test]
fn an_empty_epoch_has_no_file_and_a_skipped_checkpoint_gives_its_number_to_nobody() {
    let disk = new_disk();
    let sink = sink();
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut writer = writer(&disk, &sink, 0, 1, 1, 64);
    writer.seal(CheckpointId(1));
    assert_eq!(prepare(&disk, &mut writer), Some(None));
    assert!(names(&disk).is_empty());
    // The barriers of 2 and 3 never came.
    write(&disk, &mut writer, [5]).unwrap();
    writer.seal(CheckpointId(4));
    writer.seal(CheckpointId(5));
    write(&disk, &mut writer, [6]).unwrap();
    writer.seal(CheckpointId(6));
    let prepared: Vec<_> = (0..3).map(|_| prepare(&disk, &mut writer).unwrap()).collect();
    assert_eq!(prepared[1], None);
    let shown: Vec<_> = prepared.into_iter().flatten().flat_map(|transaction| transaction.files).map(|file| file.visible).collect();
    assert_eq!(shown, [visible(0, 4, 0), visible(0, 6, 0)]);
}

#[test]
fn sealed_epochs_are_finished_behind_the_writer_and_only_so_many() {
    let disk = new_disk();
    let sink = sink();
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut writer = writer(&disk, &sink, 0, 1, 1, 64);
    let mut cx = Context::from_waker(Waker::noop());
    stall_syncs(&disk);
    for checkpoint in 1..=3 {
        assert!(writer.ready(), "with {} epochs behind", checkpoint - 1);
        writer.write(0, checkpoint as u32);
        writer.seal(CheckpointId(checkpoint));
        for _ in 0..10 {
            let _ = writer.poll_progress(&mut cx);
        }
        assert!(writer.poll_prepare(&mut cx).is_pending());
    }
    assert!(!writer.ready());
    disk.heal();
    // Without being asked for, so that a writer that is waited for becomes ready.
    while !writer.ready() {
        disk.run(poll_fn(|cx| writer.poll_progress(cx))).unwrap().unwrap();
    }
    let transactions: Vec<_> = (0..3).map(|_| prepare(&disk, &mut writer).unwrap().unwrap()).collect();
    commit(&disk, &sink, &transactions);
    let contents: Vec<_> = files(&disk).into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, ["1\n", "2\n", "3\n"]);
}

#[test]
fn neither_rolled_files_nor_empty_epochs_pile_up_behind_a_slow_disk() {
    let mut cx = Context::from_waker(Waker::noop());
    for rolls in [true, false] {
        let disk = new_disk();
        let sink = sink().roll_at_bytes(1);
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        let mut writer = writer(&disk, &sink, 0, 1, 1, 64);
        stall_syncs(&disk);
        writer.write(0, 1);
        for step in 1..=3 {
            assert!(writer.ready(), "step {step}");
            if rolls && step > 1 {
                writer.write(0, 1)
            } else if !rolls {
                writer.seal(CheckpointId(step))
            }
            for _ in 0..10 {
                let _ = writer.poll_progress(&mut cx);
            }
        }
        assert!(!writer.ready(), "rolls: {rolls}");
        disk.heal();
        while !writer.ready() {
            disk.run(poll_fn(|cx| writer.poll_progress(cx))).unwrap().unwrap();
        }
    }
}

#[test]
fn after_any_failed_operation_nothing_more_is_prepared_and_the_writer_comes_to_rest() {
    for failing in 0.. {
        let (disk, sink) = (seeded_disk(failing), sink().roll_at_bytes(8));
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        disk.plan_fault(DiskFault::at(failing, DiskFaultKind::Error));
        let mut writer = writer(&disk, &sink, 0, 1, 1, 4);
        for checkpoint in 1..3 {
            (0..6).for_each(|number| writer.write(0, number));
            writer.seal(CheckpointId(checkpoint));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut prepared = Vec::new();
        let mut error = None;
        for _ in 0..200 {
            if prepared.len() < 2
                && let Poll::Ready(result) = writer.poll_prepare(&mut cx)
            {
                match result {
                    Ok(transaction) => prepared.push(transaction.unwrap()),
                    Err(failed) => assert!(error.replace(failed).is_none(), "it is told once"),
                }
            }
        }
        assert_eq!(error.is_some(), prepared.len() < 2);
        disk.run(poll_fn(|cx| writer.poll_close(cx))).unwrap();
        let rested = disk.operations();
        assert!(writer.poll_close(&mut cx).is_ready());
        assert_eq!(disk.operations(), rested);
        // What was prepared before the failure is good.
        disk.restart(Loss::Everything);
        recover(&disk, &sink, from(Some(2), &prepared)).unwrap().unwrap();
        let contents: String = files(&disk).into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, "0\n1\n2\n3\n4\n5\n".repeat(prepared.len()), "operation {failing} failed");
        if error.is_none() {
            assert!(failing > 10);
            break;
        }
    }
}

#[test]
fn a_writer_that_is_closed_leaves_no_operation_behind() {
    for steps in 0..40 {
        let (disk, sink) = (new_disk(), sink().roll_at_bytes(8));
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        let mut writer = writer(&disk, &sink, 0, 1, 1, 4);
        (0..20).for_each(|number| writer.write(0, number));
        writer.seal(CheckpointId(1));
        (0..5).for_each(|number| writer.write(0, number));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..steps {
            let _ = writer.poll_progress(&mut cx);
        }
        disk.run(poll_fn(|cx| writer.poll_close(cx))).unwrap();
        // Nothing that is polled or dropped from now on reaches the disk.
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        drop(writer);
        assert!(names(&disk).is_empty());
    }
}

#[test]
fn a_suffix_that_would_blur_the_names_is_refused() {
    let reason = refusal(&new_disk(), &sink().suffix("-7.csv"), from(None, &[]));
    assert!(reason.contains("has to begin with a dot"), "{reason}");
}

#[test]
fn objects_are_written_as_lines_of_json() {
    let disk = new_disk();
    let sink = FileSink::<(String, f64)>::json_lines(DIR, |(name, number), object| {
        object.field("name", name).field("number", number);
    });
    let recovery = Recovery { attempt: Attempt(1), ..from(None, &[]) };
    disk.run(sink.recover(disk.io(), recovery)).unwrap().unwrap();
    let (job, owner, attempt, epoch) = (JOB, OWNER, Attempt(1), CheckpointId(1));
    let mut writer =
        sink.writer(SinkContext { io: disk.io(), subtask: 0, parallelism: 1, write_block_bytes: 8, job, owner, attempt, epoch });
    for (name, number) in [("plain", 1.5), ("\"a\\b\"\r\n\u{7}é\u{2028}", f64::NAN), ("", -0.0)] {
        while !writer.ready() {
            disk.run(poll_fn(|cx| writer.poll_progress(cx))).unwrap().unwrap();
        }
        writer.write(0, (name, number));
    }
    writer.seal(epoch);
    let transaction = disk.run(poll_fn(|cx| writer.poll_prepare(cx))).unwrap().unwrap();
    disk.run(sink.commit(disk.io(), transaction.into_iter().collect())).unwrap().unwrap();
    let expected = concat!(
        "{\"name\":\"plain\",\"number\":1.5}\n",
        "{\"name\":\"\\\"a\\\\b\\\"\\r\\n\\u0007é\u{2028}\",\"number\":null}\n",
        "{\"name\":\"\",\"number\":-0.0}\n"
    );
    assert_eq!(files(&disk), [(format!("part-{JOB}-0-1-0.jsonl"), expected.to_owned())]);
}
