//! A newest entry that somebody has removed, and something else in the place of one.

use crate::job::{DIR, JOB, assert_nothing_left_over, begin, dir, files, open, take, with_checkpoints};
use thalweg_io::UnixMillis;
use thalweg_storage::checkpoint::*;
use thalweg_world::SteppedDisk;

fn entry(number: u64) -> String {
    format!("{DIR}/log-{number:020}.entry")
}

fn head(number: u64) -> String {
    format!("{DIR}/log-{number:020}.head")
}

/// The number of the newest entry.
fn newest(disk: &SteppedDisk) -> u64 {
    disk.run(open(disk)).unwrap().unwrap().1.newest.unwrap().number
}

/// What whoever looks into the folder is told: the same to all.
fn told(disk: &SteppedDisk) -> CheckpointError {
    let opened = disk.run(open(disk)).unwrap().map(|(_, history)| history.newest.map(|entry| entry.number));
    let listed = disk.run(list(&*disk.door(), dir())).unwrap().map(drop);
    let inspected = disk.run(inspect(&*disk.door(), dir())).unwrap().map(drop);
    let loaded = disk.run(load_path(&*disk.door(), dir())).unwrap().map(drop);
    let error = opened.expect_err("it is noticed");
    for other in [listed, inspected, loaded] {
        assert_eq!(other.expect_err("it is noticed").to_string(), error.to_string());
    }
    error
}

/// Each kind of newest entry: an attempt, a checkpoint, the end of the job.
fn folders() -> [SteppedDisk; 3] {
    let begun = with_checkpoints(2).0;
    begun.run(begin(&begun)).unwrap().unwrap();
    let (finished, mut store, _) = with_checkpoints(2);
    finished.run(store.finish_job(UnixMillis(9))).unwrap().unwrap();
    [begun, with_checkpoints(3).0, finished]
}

/// It was passed over in silence: the job went on from the entry before, and from an older state.
#[test]
fn a_newest_entry_that_was_removed_is_missed_and_the_cure_is_told() {
    for disk in folders() {
        let number = newest(&disk);
        let content = files(&disk);
        disk.take(entry(number)).unwrap();
        let error = told(&disk);
        let (file, second) = (entry(number), head(number));
        assert!(error.is_damage() && matches!(&error, CheckpointError::MissingEntry { .. }), "{error}");
        let parts = [&format!("{file} is missing"), &format!("cp {second} {file}"), &entry(number - 1), &format!("remove {second}")];
        assert!(parts.iter().all(|part| error.to_string().contains(*part)), "{error}");
        assert!(disk.run(begin(&disk)).unwrap().is_err(), "nothing begins");

        // As it says.
        let copy = files(&disk).remove(&second[DIR.len() + 1..]).unwrap();
        disk.put(&file, copy).unwrap();
        assert_eq!(files(&disk), content);
        assert_eq!(newest(&disk), number);
        disk.take(&file).unwrap();
        disk.take(&second).unwrap();
        assert_eq!(newest(&disk), number - 1, "a person has said so");
    }
}

#[test]
fn a_log_without_any_entry_is_no_new_folder() {
    let (disk, ..) = with_checkpoints(3);
    let last = newest(&disk);
    (1..=last).for_each(|number| disk.take(entry(number)).unwrap());
    let error = told(&disk).to_string();
    assert!(error.contains(&format!("{} is missing", entry(last))) && error.contains("to go on from the beginning"), "{error}");
}

#[test]
fn an_older_entry_that_was_removed_is_nobodys_loss() {
    let (disk, mut store, attempt) = with_checkpoints(3);
    disk.take(entry(newest(&disk) - 1)).unwrap();
    assert!(disk.run(list(&*disk.door(), dir())).unwrap().is_ok());
    disk.run(take(&disk, &mut store, attempt, CheckpointId(4))).unwrap().unwrap();
    assert_nothing_left_over(&disk);
}

/// A listing is not of one instant: one that passes the place of an entry before it comes may see its head all the same.
#[test]
fn an_entry_that_comes_while_the_folder_is_being_listed_is_not_missed() {
    let (disk, ..) = with_checkpoints(3);
    let number = newest(&disk);
    disk.pass_over_once(entry(number));
    assert_eq!(newest(&disk), number);
}

/// It was taken for another attempt that has taken over.
#[test]
fn a_folder_with_the_name_of_the_next_entry_is_not_an_entry() {
    for ahead in [1, 5] {
        let (disk, mut running, attempt) = with_checkpoints(2);
        let number = newest(&disk) + ahead;
        disk.put_dir(entry(number)).unwrap();
        let error = told(&disk);
        assert!(matches!(&error, CheckpointError::NotAnEntry { .. }) && !error.is_fenced(), "{error}");
        assert!(error.to_string().starts_with(&format!("{} is a folder and not an entry of the log", entry(number))), "{error}");
        // To a job that runs it comes in the way when it is at that number.
        for id in 3..3 + ahead - 1 {
            disk.run(take(&disk, &mut running, attempt, CheckpointId(id))).unwrap().unwrap();
        }
        let error = disk.run(take(&disk, &mut running, attempt, CheckpointId(2 + ahead))).unwrap().unwrap_err();
        assert!(matches!(&error, CheckpointError::NotAnEntry { .. }) && error.to_string().contains("move it out"), "{error}");
        disk.take(entry(number)).unwrap();
        let (mut store, attempt, history) = disk.run(begin(&disk)).unwrap().unwrap();
        disk.run(take(&disk, &mut store, attempt, history.next_checkpoint())).unwrap().unwrap();
        assert_nothing_left_over(&disk);
    }
}

#[test]
fn a_folder_with_the_name_of_an_old_entry_is_left_alone() {
    let (disk, ..) = with_checkpoints(20);
    disk.put_dir(entry(2)).unwrap();
    assert!(disk.run(list(&*disk.door(), dir())).unwrap().is_ok());
    let (mut store, history) = disk.run(open(&disk)).unwrap().unwrap();
    disk.run(store.begin_attempt(JOB, crate::job::newest(&history), UnixMillis(1))).unwrap().unwrap();
}
