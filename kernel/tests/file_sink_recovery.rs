//! The file sink, stopped before each of its operations: what is visible is what checkpoints stand for, once, and nothing is left over.
#![allow(clippy::unwrap_used)]

mod memory_disk;

use memory_disk::{Loss, MemoryDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg::connectors::{DeliveryGuarantee, FileSink, FileTransaction, Lines, PreparedFile};
use thalweg::io::{Rng, SplitMix};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};

const JOB: JobId = JobId(0xfeed);
const DIR: &str = "all/the/results";
const LOSSES: [Loss; 6] = [Loss::Nothing, Loss::Everything, Loss::Some(1), Loss::Some(2), Loss::Some(3), Loss::Some(4)];

type Numbers = FileSink<u32, Lines<fn(u32, &mut String)>>;
type Writer = <Numbers as Sink>::Writer;

fn sink() -> Numbers {
    let line: fn(u32, &mut String) = |number, line| line.push_str(&number.to_string());
    FileSink::<u32>::lines(DIR, line)
}

fn from(restored: Option<u64>, committed: &[FileTransaction]) -> Recovery<FileTransaction> {
    Recovery {
        job: JOB,
        attempt: Attempt(9),
        restored: restored.map(CheckpointId),
        committed: committed.to_vec(),
        discard_later_output: false,
        is_last: false,
    }
}

fn recover(disk: &Rc<MemoryDisk>, sink: &Numbers, recovery: Recovery<FileTransaction>) -> Option<Result<(), SinkError>> {
    disk.run(sink.recover(disk.io(), recovery))
}

fn refusal(disk: &Rc<MemoryDisk>, sink: &Numbers, recovery: Recovery<FileTransaction>) -> String {
    match recover(disk, sink, recovery) {
        Some(Err(SinkError::Invalid(reason))) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn commit(disk: &Rc<MemoryDisk>, sink: &Numbers, transactions: &[FileTransaction]) {
    disk.run(sink.commit(disk.io(), transactions.to_vec())).unwrap().unwrap();
}

fn writer(disk: &Rc<MemoryDisk>, sink: &Numbers, subtask: usize, attempt: u64, epoch: u64, block: usize) -> Writer {
    sink.writer(SinkContext {
        io: disk.io(),
        subtask,
        parallelism: 2,
        write_block_bytes: block,
        job: JOB,
        attempt: Attempt(attempt),
        epoch: CheckpointId(epoch),
    })
}

/// Writes `numbers`, waiting for room. `None` if the process stops meanwhile.
fn write(disk: &MemoryDisk, writer: &mut Writer, numbers: impl IntoIterator<Item = u32>) -> Option<()> {
    for number in numbers {
        while !writer.ready() {
            disk.run(poll_fn(|cx| writer.poll_progress(cx)))?.unwrap();
        }
        writer.write(0, number);
    }
    Some(())
}

fn prepare(disk: &MemoryDisk, writer: &mut Writer) -> Option<Option<FileTransaction>> {
    Some(disk.run(poll_fn(|cx| writer.poll_prepare(cx)))?.unwrap())
}

/// One epoch of one subtask, prepared.
fn epoch(disk: &Rc<MemoryDisk>, sink: &Numbers, subtask: usize, attempt: u64, epoch: u64, numbers: &[u32]) -> FileTransaction {
    let mut writer = writer(disk, sink, subtask, attempt, epoch, 4);
    write(disk, &mut writer, numbers.iter().copied()).unwrap();
    writer.seal(CheckpointId(epoch));
    prepare(disk, &mut writer).unwrap().unwrap()
}

/// The names of the visible files, the hidden ones last.
fn names(disk: &MemoryDisk) -> Vec<String> {
    let mut names: Vec<_> = disk.files(DIR).into_iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| (name.starts_with('.'), name.clone()));
    names
}

fn visible(subtask: usize, epoch: u64, roll: u64) -> String {
    format!("part-{JOB}-{subtask}-{epoch}-{roll}.txt")
}

/// Epoch 1 is visible, epoch 2 prepared in three files of two subtasks, epoch 3 prepared and not named by a checkpoint, epoch 4 begun; and others have
/// left something too.
fn interrupted(sink: &Numbers) -> (Rc<MemoryDisk>, Vec<FileTransaction>) {
    let disk = MemoryDisk::new();
    recover(&disk, sink, from(None, &[])).unwrap().unwrap();
    commit(&disk, sink, &[epoch(&disk, sink, 0, 1, 1, &[1, 2])]);
    let second = vec![epoch(&disk, sink, 0, 1, 2, &[1000, 1001, 1002]), epoch(&disk, sink, 1, 1, 2, &[7])];
    assert_eq!(second.iter().map(|transaction| transaction.files.len()).sum::<usize>(), 3);
    epoch(&disk, sink, 1, 1, 3, &[8]);
    let mut begun = writer(&disk, sink, 0, 1, 4, 1);
    write(&disk, &mut begun, [9, 10, 11]).unwrap();
    disk.put(format!("{DIR}/.part-0-0.csv.0123456789abcdef.inprogress"), "of an older version");
    disk.put(format!("{DIR}/notes"), "of the user");
    (disk, second)
}

fn assert_second_epoch_is_visible(disk: &MemoryDisk, what: &str) {
    let expected = [
        ("notes".to_owned(), "of the user"),
        (visible(0, 1, 0), "1\n2\n"),
        (visible(0, 2, 0), "1000\n1001\n"),
        (visible(0, 2, 1), "1002\n"),
        (visible(1, 2, 0), "7\n"),
    ];
    assert_eq!(disk.files(DIR), expected.map(|(name, content)| (name, content.to_owned())), "{what}");
}

/// Stops `act` before each of its operations, loses what may be lost, and recovers.
fn stop_everywhere(act: impl Fn(&Rc<MemoryDisk>, &Numbers, &[FileTransaction]) -> bool) {
    let sink = sink().roll_at_bytes(8);
    for loss in LOSSES {
        let mut operations = 0;
        loop {
            let (disk, second) = interrupted(&sink);
            disk.stop_before(operations);
            let finished = act(&disk, &sink, &second);
            disk.restart(loss);
            recover(&disk, &sink, from(Some(2), &second)).unwrap().unwrap();
            assert_second_epoch_is_visible(&disk, &format!("stopped before operation {operations}, {loss:?}"));
            disk.restart(Loss::Everything);
            assert_second_epoch_is_visible(&disk, &format!("and the power fails then, {operations}, {loss:?}"));
            if finished {
                break;
            }
            operations += 1;
        }
        assert!(operations >= 8, "{operations} operations were gone through");
    }
}

#[test]
fn a_recovery_that_is_stopped_anywhere_is_made_up_for_by_the_next_one() {
    stop_everywhere(|disk, sink, second| recover(disk, sink, from(Some(2), second)).is_some());
}

#[test]
fn a_commit_that_is_stopped_anywhere_is_made_up_for_by_the_next_recovery() {
    stop_everywhere(|disk, sink, second| disk.run(sink.commit(disk.io(), second.to_vec())).is_some());
}

#[test]
fn committing_twice_in_parts_and_out_of_order_changes_nothing() {
    let sink = sink().roll_at_bytes(8);
    let (disk, second) = interrupted(&sink);
    commit(&disk, &sink, &second[1..]);
    commit(&disk, &sink, &second);
    commit(&disk, &sink, &second[..1]);
    let again: Vec<_> = second.iter().chain(&second).cloned().collect();
    commit(&disk, &sink, &again);
    recover(&disk, &sink, from(Some(2), &second)).unwrap().unwrap();
    assert_second_epoch_is_visible(&disk, "after four commits");
}

#[test]
fn what_is_committed_stays_so_when_the_power_fails_at_once() {
    let sink = sink().roll_at_bytes(8);
    let (disk, second) = interrupted(&sink);
    commit(&disk, &sink, &second);
    disk.restart(Loss::Everything);
    let names = names(&disk);
    for PreparedFile { hidden, visible } in second.iter().flat_map(|transaction| &transaction.files) {
        assert!(names.contains(visible) && !names.contains(hidden), "{names:?}");
    }
}

#[test]
fn results_that_somebody_has_removed_are_an_error_that_names_them() {
    let sink = sink().roll_at_bytes(8);
    let (disk, second) = interrupted(&sink);
    let PreparedFile { hidden, visible } = &second[1].files[0];
    disk.take(format!("{DIR}/{hidden}"));
    let error = disk.run(sink.commit(disk.io(), second.clone())).unwrap().unwrap_err().to_string();
    assert!(error.contains("results lost") && error.contains(&format!("{DIR}/{visible}")) && error.contains(hidden), "{error}");
}

#[test]
fn a_damaged_transaction_reaches_no_file_outside_of_the_folder() {
    let sink = sink().roll_at_bytes(8);
    let (disk, second) = interrupted(&sink);
    for (hidden, visible) in
        [("../x", "part-0-0.txt"), (".part-000000000000feed-0-2-0-1./../x.inprogress", &second[0].files[0].visible[..])]
    {
        let files = vec![PreparedFile { hidden: hidden.to_owned(), visible: visible.to_owned() }];
        let error = disk.run(sink.commit(disk.io(), vec![FileTransaction { job: JOB.0, files }])).unwrap().unwrap_err().to_string();
        assert!(error.contains("the checkpoint is damaged"), "{error}");
    }
    let of_two = [second[0].clone(), FileTransaction { job: 1, files: vec![] }];
    assert!(disk.run(sink.commit(disk.io(), of_two.to_vec())).unwrap().unwrap_err().to_string().contains("two jobs"));
}

#[test]
fn results_of_others_are_refused_before_anything_is_changed() {
    for name in ["part-0-0.txt", "part-00000-5f1c.snappy.parquet", "part-000000000000beef-0-1-0.txt"] {
        let disk = MemoryDisk::new();
        disk.put(format!("{DIR}/{name}"), "old");
        disk.put(format!("{DIR}/.part-x.inprogress"), "half");
        let reason = refusal(&disk, &sink(), from(None, &[]));
        assert!(reason.starts_with(&format!("{DIR} already holds results ({name});")) && reason.contains("--overwrite"), "{reason}");
        assert_eq!(names(&disk).len(), 2);
    }
    let disk = MemoryDisk::new();
    disk.put(format!("{DIR}/part-time.csv"), "no result");
    recover(&disk, &sink(), from(None, &[])).unwrap().unwrap();
}

#[test]
fn results_to_be_overwritten_go_with_the_first_commit_and_not_before() {
    let disk = MemoryDisk::new();
    disk.put(format!("{DIR}/part-5-0.txt"), "old");
    disk.put(format!("{DIR}/part-000000000000beef-0-1-0.txt"), "older");
    let sink = sink().overwrite(true);
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let first = epoch(&disk, &sink, 1, 1, 1, &[1]);
    // The first attempt is given up, and so is the job: the old results are still there.
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    recover(&disk, &sink, Recovery { is_last: true, ..from(None, &[]) }).unwrap().unwrap();
    assert_eq!(names(&disk), ["part-000000000000beef-0-1-0.txt", "part-5-0.txt"]);
    assert!(disk.run(sink.commit(disk.io(), vec![first])).unwrap().is_err(), "it was given up");

    // Restored in another process, with the job's own results: its next commit still removes the others.
    let first = epoch(&disk, &sink, 1, 2, 1, &[1]);
    let sink = self::sink().overwrite(true);
    recover(&disk, &sink, from(Some(1), std::slice::from_ref(&first))).unwrap().unwrap();
    assert_eq!(names(&disk), [visible(1, 1, 0)]);
    disk.put(format!("{DIR}/part-6-0.txt"), "somebody does not keep to the rules");
    recover(&disk, &sink, from(Some(1), &[])).unwrap().unwrap();
    assert_eq!(names(&disk).len(), 2);
    commit(&disk, &sink, &[epoch(&disk, &sink, 0, 3, 2, &[2])]);
    assert_eq!(names(&disk), [visible(0, 2, 0), visible(1, 1, 0)]);
}

#[test]
fn a_job_without_any_result_overwrites_too() {
    let disk = MemoryDisk::new();
    disk.put(format!("{DIR}/part-5-0.txt"), "old");
    let sink = sink().overwrite(true);
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut transactions = Vec::new();
    for subtask in 0..2 {
        let mut writer = writer(&disk, &sink, subtask, 1, 1, 64);
        for checkpoint in [1, 2] {
            writer.seal(CheckpointId(checkpoint));
            transactions.extend(prepare(&disk, &mut writer).unwrap());
        }
    }
    assert_eq!(transactions, [FileTransaction { job: JOB.0, files: vec![] }]);
    commit(&disk, &sink, &transactions);
    assert!(names(&disk).is_empty());
    disk.restart(Loss::Everything);
    assert!(names(&disk).is_empty());
}

#[test]
fn results_later_than_the_restored_checkpoint_are_refused_unless_they_are_discarded() {
    let sink = sink();
    for (restored, place) in [(Some(1), "checkpoint 1"), (None, "the beginning")] {
        let disk = MemoryDisk::new();
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        let transactions: Vec<_> = (1..4).map(|checkpoint| epoch(&disk, &sink, 0, 1, checkpoint, &[1])).collect();
        commit(&disk, &sink, &transactions);
        recover(&disk, &sink, from(Some(3), &transactions)).unwrap().unwrap();
        let reason = refusal(&disk, &sink, from(restored, &[]));
        assert!(reason.contains(&format!("later than {place},")) && reason.contains("--discard-later-output"), "{reason}");
        assert_eq!(names(&disk).len(), 3);
        // Not even overwriting allows it: that is for the results of others.
        refusal(&disk, &sink.clone().overwrite(true), from(restored, &[]));

        recover(&disk, &sink, Recovery { discard_later_output: true, ..from(restored, &[]) }).unwrap().unwrap();
        disk.restart(Loss::Everything);
        assert_eq!(names(&disk), restored.map(|_| visible(0, 1, 0)).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn the_last_recovery_refuses_nothing_and_leaves_alone_what_is_not_the_jobs() {
    let sink = sink().roll_at_bytes(8);
    let (disk, second) = interrupted(&sink);
    disk.put(format!("{DIR}/.part-000000000000beef-0-1-0-1.txt.inprogress"), "of another job");
    disk.put(format!("{DIR}/part-5-0.txt"), "of another job");
    recover(&disk, &sink, Recovery { is_last: true, ..from(Some(1), &second) }).unwrap().unwrap();
    let expected = [
        "notes".to_owned(),
        visible(0, 1, 0),
        visible(0, 2, 0),
        visible(0, 2, 1),
        visible(1, 2, 0),
        "part-5-0.txt".to_owned(),
        ".part-0-0.csv.0123456789abcdef.inprogress".to_owned(),
        ".part-000000000000beef-0-1-0-1.txt.inprogress".to_owned(),
    ];
    assert_eq!(names(&disk), expected);
    // Without a folder there is nothing to do, and none is made.
    let disk = MemoryDisk::new();
    recover(&disk, &sink, Recovery { is_last: true, ..from(None, &[]) }).unwrap().unwrap();
    assert_eq!(disk.operations(), 1);
}

#[test]
fn files_are_rolled_by_size_at_whole_records_whatever_the_blocks() {
    for block in [1, 2, 3, 7, 64] {
        for roll_at_bytes in [0, 1, 10, 11, 64, 1000] {
            let disk = MemoryDisk::new();
            let sink = sink().roll_at_bytes(roll_at_bytes);
            recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
            let transaction = epoch_in_blocks(&disk, &sink, block, 95..115);
            commit(&disk, &sink, std::slice::from_ref(&transaction));
            let files: BTreeMap<_, _> = disk.files(DIR).into_iter().collect();
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

fn epoch_in_blocks(disk: &Rc<MemoryDisk>, sink: &Numbers, block: usize, numbers: std::ops::Range<u32>) -> FileTransaction {
    let mut writer = writer(disk, sink, 0, 1, 1, block);
    write(disk, &mut writer, numbers).unwrap();
    writer.seal(CheckpointId(1));
    prepare(disk, &mut writer).unwrap().unwrap()
}

#[test]
fn an_empty_epoch_has_no_file_and_a_skipped_checkpoint_gives_its_number_to_nobody() {
    let disk = MemoryDisk::new();
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
    let disk = MemoryDisk::new();
    let sink = sink();
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let mut writer = writer(&disk, &sink, 0, 1, 1, 64);
    let mut cx = Context::from_waker(Waker::noop());
    disk.stall_syncs(true);
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
    disk.stall_syncs(false);
    // Without being asked for, so that a writer that is waited for becomes ready.
    while !writer.ready() {
        disk.run(poll_fn(|cx| writer.poll_progress(cx))).unwrap().unwrap();
    }
    let transactions: Vec<_> = (0..3).map(|_| prepare(&disk, &mut writer).unwrap().unwrap()).collect();
    commit(&disk, &sink, &transactions);
    let contents: Vec<_> = disk.files(DIR).into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, ["1\n", "2\n", "3\n"]);
}

#[test]
fn neither_rolled_files_nor_empty_epochs_pile_up_behind_a_slow_disk() {
    let mut cx = Context::from_waker(Waker::noop());
    for rolls in [true, false] {
        let disk = MemoryDisk::new();
        let sink = sink().roll_at_bytes(1);
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        let mut writer = writer(&disk, &sink, 0, 1, 1, 64);
        disk.stall_syncs(true);
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
        disk.stall_syncs(false);
        while !writer.ready() {
            disk.run(poll_fn(|cx| writer.poll_progress(cx))).unwrap().unwrap();
        }
    }
}

#[test]
fn after_any_failed_operation_nothing_more_is_prepared_and_the_writer_comes_to_rest() {
    let sink = sink().roll_at_bytes(8);
    for failing in 0.. {
        let disk = MemoryDisk::new();
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        disk.fail(failing);
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
        let contents: String = disk.files(DIR).into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, "0\n1\n2\n3\n4\n5\n".repeat(prepared.len()), "operation {failing} failed");
        if error.is_none() {
            assert!(failing > 10);
            break;
        }
    }
}

#[test]
fn a_writer_that_is_closed_leaves_no_operation_behind() {
    let sink = sink().roll_at_bytes(8);
    for steps in 0..40 {
        let disk = MemoryDisk::new();
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
    let reason = refusal(&MemoryDisk::new(), &sink().suffix("-7.csv"), from(None, &[]));
    assert!(reason.contains("has to begin with a dot"), "{reason}");
}

#[test]
fn objects_are_written_as_lines_of_json() {
    let disk = MemoryDisk::new();
    let sink = FileSink::<(String, f64)>::json_lines(DIR, |(name, number), object| {
        object.field("name", name).field("number", number);
    });
    let recovery =
        Recovery { job: JOB, attempt: Attempt(1), restored: None, committed: vec![], discard_later_output: false, is_last: false };
    disk.run(sink.recover(disk.io(), recovery)).unwrap().unwrap();
    let (job, attempt, epoch) = (JOB, Attempt(1), CheckpointId(1));
    let mut writer = sink.writer(SinkContext { io: disk.io(), subtask: 0, parallelism: 1, write_block_bytes: 8, job, attempt, epoch });
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
    assert_eq!(disk.files(DIR), [(format!("part-{JOB}-0-1-0.jsonl"), expected.to_owned())]);
}

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
fn attempt(disk: &Rc<MemoryDisk>, sink: &Numbers, number: u64, complete: &mut Checkpoint, dice: &mut SplitMix) -> Option<()> {
    let restored = (complete.id > 0).then_some(complete.id);
    recover(disk, sink, Recovery { attempt: Attempt(number), ..from(restored, &complete.pending) })?.unwrap();
    let mut state = Checkpoint { pending: vec![], ..complete.clone() };
    let mut writers: Vec<_> = (0..2).map(|subtask| writer(disk, sink, subtask, number, state.id + 1, 5)).collect();
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

/// Runs a job whose process is stopped again and again. How often each number is visible in the end.
fn live(sink: &Numbers, seed: u64) -> (Rc<MemoryDisk>, BTreeMap<u32, usize>) {
    let disk = MemoryDisk::new();
    let mut dice = SplitMix::new(seed);
    let mut complete = Checkpoint::default();
    let mut attempts = 1;
    loop {
        if attempts < 12 {
            disk.stop_before(dice.below(60));
        }
        let finished = attempt(&disk, sink, attempts, &mut complete, &mut dice);
        let finished = finished.and_then(|()| {
            let last = Recovery { attempt: Attempt(attempts), is_last: true, ..from(Some(complete.id), &complete.pending) };
            recover(&disk, sink, last)
        });
        let losses = [Loss::Nothing, Loss::Everything, Loss::Some(dice.next_u64())];
        disk.restart(losses[dice.below(3) as usize]);
        if finished.is_some() {
            break;
        }
        attempts += 1;
    }
    disk.restart(Loss::Everything);
    let mut times = BTreeMap::new();
    for (name, content) in disk.files(DIR) {
        assert!(!name.starts_with('.'), "{name} is left over, seed {seed}");
        content.lines().for_each(|line| *times.entry(line.parse().unwrap()).or_default() += 1);
    }
    (disk, times)
}

#[test]
fn exactly_once_over_any_number_of_stops() {
    let sink = sink().roll_at_bytes(12);
    for seed in 0..1500 {
        let (_, times) = live(&sink, seed);
        assert_eq!(times.len(), 2 * COUNT as usize, "seed {seed}");
        assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
    }
}

#[test]
fn at_least_once_over_any_number_of_stops() {
    let sink = sink().roll_at_bytes(12).delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    let mut twice = 0;
    for seed in 0..500 {
        let (_, times) = live(&sink, seed);
        assert_eq!(times.len(), 2 * COUNT as usize, "seed {seed}");
        twice += times.values().filter(|times| **times > 1).count();
    }
    assert!(twice > 0, "otherwise nobody needs it");
}

#[test]
fn at_most_once_over_any_number_of_stops() {
    let sink = sink().roll_at_bytes(12).delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let mut missing = BTreeSet::new();
    for seed in 0..500 {
        let (_, times) = live(&sink, seed);
        assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
        missing.extend((2 * COUNT as usize != times.len()).then_some(seed));
    }
    assert!(!missing.is_empty(), "otherwise it is exactly once");
}

#[test]
fn at_least_once_shows_an_epoch_without_waiting_for_its_checkpoint() {
    let disk = MemoryDisk::new();
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
