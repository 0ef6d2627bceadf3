//! Stopped before each of its operations: what is visible is what checkpoints stand for, once, and nothing is left over.

use crate::results::{
    DIR, JOB, LOSSES, Numbers, commit, epoch, files, from, names, new_disk, prepare, recover, refusal, sink, visible, write, writer,
};
use thalweg::checkpoint::CheckpointId;
use thalweg::connectors::{FileTransaction, PreparedFile};
use thalweg::sink::{Recovery, Sink, SinkWriter};
use thalweg_world::{Loss, SteppedDisk};

/// Epoch 1 is visible, epoch 2 prepared in three files of two subtasks, epoch 3 prepared and not named by a checkpoint, epoch 4 begun; and others have
/// left something too.
pub fn interrupted(sink: &Numbers) -> (SteppedDisk, Vec<FileTransaction>) {
    let disk = new_disk();
    recover(&disk, sink, from(None, &[])).unwrap().unwrap();
    commit(&disk, sink, &[epoch(&disk, sink, 0, 1, 1, &[1, 2])]);
    let second = vec![epoch(&disk, sink, 0, 1, 2, &[1000, 1001, 1002]), epoch(&disk, sink, 1, 1, 2, &[7])];
    assert_eq!(second.iter().map(|transaction| transaction.files.len()).sum::<usize>(), 3);
    epoch(&disk, sink, 1, 1, 3, &[8]);
    let mut begun = writer(&disk, sink, 0, 1, 4, 1);
    write(&disk, &mut begun, [9, 10, 11]).unwrap();
    disk.put(format!("{DIR}/.part-0-0.csv.0123456789abcdef.inprogress"), "of an older version").unwrap();
    disk.put(format!("{DIR}/notes"), "of the user").unwrap();
    (disk, second)
}

fn assert_second_epoch_is_visible(disk: &SteppedDisk, what: &str) {
    let expected = [
        ("notes".to_owned(), "of the user"),
        (visible(0, 1, 0), "1\n2\n"),
        (visible(0, 2, 0), "1000\n1001\n"),
        (visible(0, 2, 1), "1002\n"),
        (visible(1, 2, 0), "7\n"),
    ];
    assert_eq!(files(disk), expected.map(|(name, content)| (name, content.to_owned())), "{what}");
}

/// Stops `act` before each of its operations, loses what may be lost, and recovers.
fn stop_everywhere(act: impl Fn(&SteppedDisk, &Numbers, &[FileTransaction]) -> bool) {
    for loss in LOSSES {
        let mut operations = 0;
        loop {
            let sink = sink().roll_at_bytes(8);
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
    disk.take(format!("{DIR}/{hidden}")).unwrap();
    let error = disk.run(sink.commit(disk.io(), second.clone())).unwrap().unwrap_err().to_string();
    assert!(error.contains("results lost") && error.contains(&format!("{DIR}/{visible}")) && error.contains(hidden), "{error}");
}

/// Found by the simulator (seed 20130813, two leaders): the one that was overtaken removed what the attempt that had overtaken it had prepared, and a
/// checkpoint named.
#[test]
fn a_recovery_leaves_alone_what_a_later_attempt_has_prepared() {
    let (sink, disk) = (sink(), new_disk());
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    let (older, later) = (epoch(&disk, &sink, 1, 8, 1, &[1]), epoch(&disk, &sink, 0, 10, 1, &[2]));
    recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
    commit(&disk, &sink, &[later]);
    let lost = disk.run(sink.commit(disk.io(), vec![older])).unwrap().unwrap_err().to_string();
    assert!(lost.contains("results lost"), "{lost}");
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
        let disk = new_disk();
        disk.put(format!("{DIR}/{name}"), "old").unwrap();
        disk.put(format!("{DIR}/.part-x.inprogress"), "half").unwrap();
        let reason = refusal(&disk, &sink(), from(None, &[]));
        assert!(reason.starts_with(&format!("{DIR} already holds results ({name});")) && reason.contains("have them replaced"), "{reason}");
        assert_eq!(names(&disk).len(), 2);
    }
    let disk = new_disk();
    disk.put(format!("{DIR}/part-time.csv"), "no result").unwrap();
    recover(&disk, &sink(), from(None, &[])).unwrap().unwrap();
}

#[test]
fn results_to_be_overwritten_go_with_the_first_commit_and_not_before() {
    let disk = new_disk();
    disk.put(format!("{DIR}/part-5-0.txt"), "old").unwrap();
    disk.put(format!("{DIR}/part-000000000000beef-0-1-0.txt"), "older").unwrap();
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
    disk.put(format!("{DIR}/part-6-0.txt"), "somebody does not keep to the rules").unwrap();
    recover(&disk, &sink, from(Some(1), &[])).unwrap().unwrap();
    assert_eq!(names(&disk).len(), 2);
    commit(&disk, &sink, &[epoch(&disk, &sink, 0, 3, 2, &[2])]);
    assert_eq!(names(&disk), [visible(0, 2, 0), visible(1, 1, 0)]);
}

#[test]
fn a_job_without_any_result_overwrites_too() {
    let disk = new_disk();
    disk.put(format!("{DIR}/part-5-0.txt"), "old").unwrap();
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
    for (restored, place) in [(Some(1), "checkpoint 1"), (None, "the beginning")] {
        let (disk, sink) = (new_disk(), sink());
        recover(&disk, &sink, from(None, &[])).unwrap().unwrap();
        let transactions: Vec<_> = (1..4).map(|checkpoint| epoch(&disk, &sink, 0, 1, checkpoint, &[1])).collect();
        commit(&disk, &sink, &transactions);
        recover(&disk, &sink, from(Some(3), &transactions)).unwrap().unwrap();
        let reason = refusal(&disk, &sink, from(restored, &[]));
        assert!(reason.contains(&format!("later than {place},")) && reason.contains("have the later results removed"), "{reason}");
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
    disk.put(format!("{DIR}/.part-000000000000beef-0-1-0-1.txt.inprogress"), "of another job").unwrap();
    disk.put(format!("{DIR}/part-5-0.txt"), "of another job").unwrap();
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
    let disk = new_disk();
    recover(&disk, &sink, Recovery { is_last: true, ..from(None, &[]) }).unwrap().unwrap();
    assert_eq!(disk.operations(), 1);
}
