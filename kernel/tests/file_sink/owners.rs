//! Whose a folder is: one job's at a time, whatever two of them do.

use crate::memory_disk::{Loss, MemoryDisk, process};
use crate::results::{DIR, LOSSES, Numbers, OWNER_FILES, files, from, names, owner_files, sink, write};
use std::cell::Cell;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg::connectors::{DeliveryGuarantee, FileTransaction};
use thalweg::io::{Io, IoError, OpenMode, ProcessIdentity, Rng, SplitMix};
use thalweg::sink::{Recovery, Sink, SinkContext, SinkError, SinkWriter};

/// A process that runs a job with a sink of its own.
struct Process {
    disk: Rc<MemoryDisk>,
    identity: ProcessIdentity,
    sink: Numbers,
    /// By which the process knows its own.
    owner: u64,
    job: JobId,
    attempt: u64,
    checkpoints: Option<PathBuf>,
}

impl Process {
    /// The first attempt of a job of its own, without checkpoints.
    fn new(disk: &Rc<MemoryDisk>, pid: u32) -> Self {
        let (identity, owner) = (process("here", pid), u64::from(pid));
        Self { disk: Rc::clone(disk), identity, sink: sink(), owner, job: JobId(owner), attempt: 1, checkpoints: None }
    }

    fn io(&self) -> Io {
        self.disk.io_of(self.identity.clone())
    }

    fn recovery(&self) -> Recovery<FileTransaction> {
        let Self { owner, job, .. } = *self;
        Recovery { owner, job, attempt: Attempt(self.attempt), checkpoints: self.checkpoints.clone(), ..from(None, &[]) }
    }

    fn recover_with(&self, recovery: Recovery<FileTransaction>) -> Result<(), SinkError> {
        self.disk.run(self.sink.recover(self.io(), recovery)).unwrap()
    }

    fn recover(&self) -> Result<(), SinkError> {
        self.recover_with(self.recovery())
    }

    /// Looks, as before an attempt that is written into a log.
    fn check(&self) -> Result<(), SinkError> {
        self.disk.run(self.sink.check(self.io(), self.recovery())).unwrap()
    }

    fn take_over(&self) -> Result<(), SinkError> {
        self.recover_with(Recovery { take_over_output: true, ..self.recovery() })
    }

    fn finish(&self) {
        self.recover_with(Recovery { is_last: true, ..self.recovery() }).unwrap();
    }

    /// What it is told when it wants a folder that it cannot have; it has left everything as it was.
    fn refusal(&self) -> String {
        let before = self.disk.files(DIR);
        let (Err(SinkError::Invalid(seen)), Err(SinkError::Invalid(reason))) = (self.check(), self.recover()) else {
            panic!("it is not refused")
        };
        assert_eq!(seen, reason);
        assert_eq!(self.disk.files(DIR), before);
        // What follows a refusal.
        self.finish();
        assert_eq!(self.disk.files(DIR), before);
        reason
    }

    fn epoch_or(&self, epoch: u64, number: u32) -> Result<Option<FileTransaction>, IoError> {
        let (io, owner, job) = (self.io(), self.owner, self.job);
        let (attempt, epoch) = (Attempt(self.attempt), CheckpointId(epoch));
        let mut writer = self.sink.writer(SinkContext { io, subtask: 0, parallelism: 1, write_block_bytes: 4, job, owner, attempt, epoch });
        write(&self.disk, &mut writer, [number]).unwrap();
        writer.seal(epoch);
        self.disk.run(std::future::poll_fn(|cx| writer.poll_prepare(cx))).unwrap()
    }

    fn epoch(&self, epoch: u64, number: u32) -> FileTransaction {
        self.epoch_or(epoch, number).unwrap().unwrap()
    }

    fn commit(&self, transaction: FileTransaction) -> Result<(), SinkError> {
        self.disk.run(self.sink.commit(self.io(), vec![transaction])).unwrap()
    }
}

#[track_caller]
fn assert_overtaken(result: Result<(), SinkError>) {
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("taken over by process 2 on here")), "{result:?}");
}

#[test]
fn a_second_job_is_refused_while_the_first_one_lives() {
    let disk = MemoryDisk::new();
    let (first, second) = (Process::new(&disk, 1), Process::new(&disk, 2));
    first.recover().unwrap();
    let prepared = first.epoch(1, 5);
    let overwriting = Process { sink: sink().overwrite(true), ..Process::new(&disk, 3) };
    for refused in [&second, &overwriting] {
        let reason = refused.refusal();
        let named = ["belongs to a job that runs", "process 1 on here", "started 2023-11-14T22:13:20Z", "--take-over-output"];
        assert!(named.iter().all(|part| reason.contains(part)), "{reason}");
    }
    first.commit(prepared).unwrap();
    first.finish();
    assert_eq!(disk.files(DIR).len(), 1, "nothing is left beside the results");
    overwriting.recover().unwrap();
    overwriting.commit(overwriting.epoch(1, 6)).unwrap();
    overwriting.finish();
    assert_eq!(disk.files(DIR).len(), 1);
}

#[test]
fn a_folder_is_its_owners_from_attempt_to_attempt() {
    let disk = MemoryDisk::new();
    let mut first = Process::new(&disk, 1);
    first.recover().unwrap();
    first.attempt = 2;
    first.check().unwrap();
    first.recover().unwrap();
    Process::new(&disk, 2).refusal();
    assert_eq!(owner_files(&disk).len(), 1);
}

#[test]
fn the_folder_of_a_job_that_has_died_is_taken_over() {
    let disk = MemoryDisk::new();
    let (first, second) = (Process::new(&disk, 1), Process::new(&disk, 2));
    first.recover().unwrap();
    first.epoch(1, 5);
    disk.kill(first.identity.clone());
    second.check().unwrap();
    second.recover().unwrap();
    assert!(names(&disk).is_empty(), "what the dead one has begun is gone");
    assert_eq!(owner_files(&disk).len(), 1);
    second.commit(second.epoch(1, 6)).unwrap();
    second.finish();
    assert_eq!(disk.files(DIR).len(), 1);
}

#[test]
fn an_owner_that_was_paused_shows_and_removes_nothing_after_a_take_over() {
    for overwrites in [false, true] {
        let disk = MemoryDisk::new();
        disk.put(format!("{DIR}/part-5-0.txt"), "old");
        let both = [1, 2].map(|pid| Process { sink: sink().overwrite(true), ..Process::new(&disk, pid) });
        let [mut paused, taker] = both;
        paused.recover().unwrap();
        let (before, named) = (paused.epoch(1, 5), taker.recovery());
        taker.take_over().unwrap();
        // Also what it has prepared since.
        let since = paused.epoch(2, 6);
        if overwrites {
            taker.commit(taker.epoch(1, 7)).unwrap();
        }
        let shown: Vec<_> = files(&disk).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_overtaken(paused.commit(before));
        assert_overtaken(paused.commit(since));
        paused.attempt = 2;
        assert_overtaken(paused.check());
        assert_overtaken(paused.recover());
        let named_by_a_checkpoint = vec![paused.epoch(3, 8)];
        assert_overtaken(paused.recover_with(Recovery { is_last: true, committed: named_by_a_checkpoint, ..paused.recovery() }));
        let visible: Vec<_> = files(&disk).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_eq!(visible, shown);
        assert_eq!(named.owner, 2);
        taker.commit(taker.epoch(2, 9)).unwrap();
        taker.finish();
        assert!(owner_files(&disk).is_empty());
    }
}

/// The paused one was the first owner, and its successor has ended and made room for somebody who is the first owner again.
#[test]
fn an_owner_that_was_paused_does_not_take_the_third_ones_file_for_its_own() {
    let disk = MemoryDisk::new();
    let [paused, second, third] = [1, 2, 3].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    second.take_over().unwrap();
    second.finish();
    third.recover().unwrap();
    assert_eq!(owner_files(&disk)[0].0, format!("{OWNER_FILES}1"));
    let result = paused.commit(paused.epoch(1, 5));
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("process 3 on here")), "{result:?}");
}

#[test]
fn a_writer_that_shows_by_itself_shows_nothing_after_a_take_over() {
    let disk = MemoryDisk::new();
    let [paused, taker] =
        [1, 2].map(|pid| Process { sink: sink().delivery_guarantee(DeliveryGuarantee::AtLeastOnce), ..Process::new(&disk, pid) });
    paused.recover().unwrap();
    assert_eq!(paused.epoch_or(1, 5).unwrap(), None);
    let before = names(&disk);
    // Another job's results are in the way of anything but overwriting them.
    let taker = Process { sink: taker.sink.clone().overwrite(true), ..taker };
    taker.take_over().unwrap();
    let error = paused.epoch_or(2, 6).unwrap_err().to_string();
    assert!(error.contains("taken over by process 2"), "{error}");
    assert_eq!(names(&disk).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());
    assert_eq!(taker.epoch_or(1, 7).unwrap(), Some(FileTransaction { job: 2, files: vec![] }));
}

#[test]
fn a_writer_that_shows_by_itself_shows_nothing_when_its_successor_has_ended() {
    let disk = MemoryDisk::new();
    let at_least_once = || sink().delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    let paused = Process { sink: at_least_once(), ..Process::new(&disk, 1) };
    let taker = Process { sink: at_least_once(), ..Process::new(&disk, 2) };
    paused.recover().unwrap();
    taker.take_over().unwrap();
    assert_eq!(taker.epoch_or(1, 7).unwrap(), None);
    taker.finish();
    let shown = names(&disk);
    let error = paused.epoch_or(1, 5).unwrap_err().to_string();
    assert!(error.contains("has ended, or somebody has removed"), "{error}");
    assert_eq!(names(&disk).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), shown.iter().collect::<Vec<_>>());
}

/// Whoever loses the folder at the very end, or loses all of it, does not end as if its results were there.
#[test]
fn the_end_of_a_job_that_has_lost_its_folder_is_no_success() {
    let disk = MemoryDisk::new();
    let [paused, taker] = [1, 2].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    taker.take_over().unwrap();
    assert_overtaken(paused.recover_with(Recovery { is_last: true, ..paused.recovery() }));
    taker.finish();
    // Of a folder that is gone as a whole.
    let bereft = Process::new(&disk, 3);
    bereft.recover().unwrap();
    disk.take(format!("{DIR}/{}1", OWNER_FILES));
    disk.take(DIR);
    let result = bereft.recover_with(Recovery { is_last: true, ..bereft.recovery() });
    assert!(matches!(&result, Err(SinkError::Overtaken(_))), "{result:?}");
}

#[test]
fn a_newer_attempt_of_the_same_job_takes_the_folder_from_one_that_is_paused() {
    let disk = MemoryDisk::new();
    let attempt = |pid: u32, attempt: u64, host: &str, checkpoints: &str| Process {
        identity: process(host, pid),
        job: JobId(7),
        attempt,
        checkpoints: Some(checkpoints.into()),
        ..Process::new(&disk, pid)
    };
    let older = attempt(1, 1, "here", "chk");
    older.recover().unwrap();
    let shown_twice_otherwise = older.epoch(1, 5);
    // A copy of the job that has a log of its own is not the same.
    attempt(3, 2, "here", "another-chk").refusal();
    let newer = attempt(2, 2, "there", "chk");
    newer.check().unwrap();
    newer.recover().unwrap();
    let result = older.commit(shown_twice_otherwise);
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("process 2 on there")), "{result:?}");
    // The older one cannot take it back.
    let back = attempt(4, 1, "here", "chk");
    assert!(back.refusal().contains("process 2 on there"));
    newer.commit(newer.epoch(1, 5)).unwrap();
    assert_eq!(names(&disk).len(), 1);
}

#[test]
fn an_owner_that_cannot_be_judged_keeps_the_folder_until_somebody_knows_better() {
    let judged_by_nobody: [fn(&Rc<MemoryDisk>); 5] = [
        |disk| {
            let elsewhere = Process { identity: process("there", 9), ..Process::new(disk, 9) };
            elsewhere.recover().unwrap();
            disk.kill(elsewhere.identity.clone());
        },
        |disk| {
            disk.has_no_locks(true);
            Process::new(disk, 9).recover().unwrap();
        },
        |disk| {
            Process::new(disk, 9).recover().unwrap();
            let (name, content) = owner_files(disk).pop().unwrap();
            disk.put(format!("{DIR}/{name}"), &content[..content.len() / 2]);
        },
        |disk| disk.put(format!("{DIR}/{OWNER_FILES}18446744073709551614"), ""),
        |disk| {
            let of_another_user = Process::new(disk, 9);
            of_another_user.recover().unwrap();
            disk.kill(of_another_user.identity);
            disk.close(format!("{DIR}/{OWNER_FILES}1"));
        },
    ];
    for (case, leave) in judged_by_nobody.into_iter().enumerate() {
        let disk = MemoryDisk::new();
        leave(&disk);
        let second = Process::new(&disk, 2);
        let reason = second.refusal();
        assert!(reason.contains("nobody can tell whether it still runs") && reason.contains("--take-over-output"), "{case}: {reason}");
        second.take_over().unwrap();
        second.commit(second.epoch(1, 5)).unwrap();
        second.finish();
        assert_eq!(disk.files(DIR).len(), 1, "{case}");
    }
}

#[test]
fn a_folder_with_the_name_of_an_owner_file_is_none() {
    let disk = MemoryDisk::new();
    disk.put(format!("{DIR}/{OWNER_FILES}2/notes"), "of the user");
    let first = Process::new(&disk, 1);
    first.recover().unwrap();
    first.commit(first.epoch(1, 5)).unwrap();
    first.finish();
    assert_eq!(names(&disk).len(), 1);
}

/// Found by the simulator: the successor had taken the folder, shown its results and ended, and the job that went on then took the folder anew and
/// overwrote them.
#[test]
fn an_owner_that_finds_no_file_of_anybody_shows_and_takes_nothing() {
    let disk = MemoryDisk::new();
    let paused = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
    let taker = Process::new(&disk, 2);
    paused.recover().unwrap();
    taker.take_over().unwrap();
    taker.commit(taker.epoch(1, 5)).unwrap();
    taker.finish();
    let shown = disk.files(DIR);
    let last = || paused.recover_with(Recovery { is_last: true, ..paused.recovery() });
    for result in [paused.commit(paused.epoch(1, 6)), paused.check(), paused.recover(), last()] {
        assert!(
            matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("has ended, or somebody has removed")),
            "{result:?}"
        );
    }
    let visible: Vec<_> = disk.files(DIR).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
    assert_eq!(visible, shown);
    // Started again it is a job like any other.
    let again = Process { sink: sink().overwrite(true), ..Process::new(&disk, 3) };
    again.recover().unwrap();
    again.commit(again.epoch(1, 7)).unwrap();
    again.finish();
    assert_eq!(disk.files(DIR).len(), 1);
}

#[test]
fn two_sinks_of_a_job_that_mean_one_folder_are_told_so() {
    let disk = MemoryDisk::new();
    let first = Process::new(&disk, 1);
    let second = Process::new(&disk, 1);
    first.recover().unwrap();
    let reason = second.refusal();
    assert!(reason.contains("two sinks of this job write to all/the/results"), "{reason}");
    assert_eq!(first.commit(first.epoch(1, 5)).map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn a_job_that_reads_the_folder_it_writes_is_refused() {
    let disk = MemoryDisk::new();
    let first = Process::new(&disk, 1);
    for input in ["all/the/results", "./all/the/./results/"] {
        let recovery = Recovery { inputs: vec!["elsewhere".into(), input.into()], ..first.recovery() };
        let checked = disk.run(first.sink.check(first.io(), recovery.clone())).unwrap();
        for refused in [checked, first.recover_with(recovery)] {
            assert!(matches!(&refused, Err(SinkError::Invalid(reason)) if reason.contains("are one folder")), "{refused:?}");
        }
    }
    assert_eq!(disk.files("all/the").len() + disk.files(DIR).len(), 0);
}

/// `--overwrite` would remove the input.
#[test]
fn a_job_that_reads_a_result_in_the_folder_it_writes_is_refused() {
    for name in ["part-5-0.txt", "part-000000000000beef-0-1-0.txt", ".part-000000000000beef-0-1-0-1.txt.inprogress"] {
        for dir in [DIR, "./all/the/./results/", "another/name"] {
            let disk = MemoryDisk::new();
            disk.put(format!("{DIR}/{name}"), "input");
            disk.name_also(DIR, "another/name");
            let first = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
            let recovery = Recovery { inputs: vec![format!("{dir}/{name}").into()], ..first.recovery() };
            let checked = disk.run(first.sink.check(first.io(), recovery.clone())).unwrap();
            let refused = [(dir != "another/name").then_some(checked), Some(first.recover_with(recovery))];
            for refused in refused.into_iter().flatten() {
                assert!(
                    matches!(&refused, Err(SinkError::Invalid(reason)) if reason.contains("lies in the output")),
                    "{dir}/{name}: {refused:?}"
                );
            }
            first.finish();
            assert_eq!(disk.files(DIR).len(), 1, "{dir}/{name}: {:?}", disk.files(DIR));
        }
    }
    // What no job ever removes may be read.
    let disk = MemoryDisk::new();
    disk.put(format!("{DIR}/numbers.txt"), "input");
    let first = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
    first.recover_with(Recovery { inputs: vec![format!("{DIR}/numbers.txt").into()], ..first.recovery() }).unwrap();
}

/// Those in between are gone: a successor removes the lower numbers one by one.
#[test]
fn an_owner_is_overtaken_by_any_higher_number() {
    let disk = MemoryDisk::new();
    let [paused, taker] = [1, 2].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    let of_the_first = owner_files(&disk);
    taker.take_over().unwrap();
    let (_, of_the_second) = owner_files(&disk).pop().unwrap();
    disk.take(format!("{DIR}/{OWNER_FILES}2"));
    disk.put(format!("{DIR}/{OWNER_FILES}3"), of_the_second);
    disk.put(format!("{DIR}/{OWNER_FILES}1"), &of_the_first[0].1);
    assert_overtaken(paused.commit(paused.epoch(1, 5)));
}

/// One with a higher number than the next owner's is nobody's later.
#[test]
fn what_a_dead_process_has_left_on_its_way_to_a_folder_is_removed_and_nothing_else() {
    let disk = MemoryDisk::new();
    let [of_the_dead, of_the_living] = [7, 8].map(|number| format!("{OWNER_FILES}{number}-00000000000000fe.tmp"));
    for name in [&of_the_dead, &of_the_living] {
        disk.put(format!("{DIR}/{name}"), "");
    }
    let living = disk.io_of(process("here", 5)).disk();
    let path = PathBuf::from(format!("{DIR}/{of_the_living}"));
    let file = disk.run(living.open(&path, OpenMode::Write)).unwrap().unwrap();
    let lock = disk.run(file.try_lock()).unwrap().unwrap();
    Process::new(&disk, 1).recover().unwrap();
    let left: Vec<String> = owner_files(&disk).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, [format!("{OWNER_FILES}1"), of_the_living]);
    drop(lock);
}

/// Whose file is taken for a left-over one, because it is not locked yet, begins anew. All ways in which one comes between the other's steps once.
#[test]
fn whoever_takes_a_folder_holds_the_lock_on_its_file_whatever_others_remove() {
    for (before, during, between) in (10..40).flat_map(|a| (10..24).flat_map(move |b| (3..9).map(move |c| (a, b, c)))) {
        let disk = MemoryDisk::new();
        let [first, taker] = [1, 2].map(|pid| Process::new(&disk, pid));
        let mut of_first = Polled::new(first.sink.recover(first.io(), first.recovery()));
        let taking = Recovery { take_over_output: true, ..taker.recovery() };
        let mut of_taker = Polled::new(taker.sink.recover(taker.io(), taking));
        of_first.poll(before);
        of_taker.poll(during);
        of_first.poll(between);
        of_taker.poll(100_000);
        of_first.poll(100_000);
        let (of_first, of_taker) = (of_first.output.unwrap(), of_taker.output.unwrap());
        let case = format!("{before}, {during}, {between}");
        assert!(of_taker.is_ok(), "{case}: {of_taker:?}");
        assert!(matches!(of_first, Ok(()) | Err(SinkError::Invalid(_) | SinkError::Overtaken(_))), "{case}: {of_first:?}");
        let left = owner_files(&disk);
        assert!(left.iter().all(|(_, content)| content.contains(r#""is_locked":true"#)), "{case}: {left:?}");
    }
}

/// A future that is polled so many times, and what has come of it.
struct Polled<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    output: Option<T>,
}

impl<T> Polled<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), output: None }
    }

    fn poll(&mut self, times: usize) {
        for _ in 0..times {
            if self.output.is_none()
                && let Poll::Ready(output) = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                self.output = Some(output);
            }
        }
    }
}

/// So wherever it stops, the one that was in force before is the last to go, and nobody before it comes to be in force again.
#[test]
fn the_owners_before_go_in_the_order_of_their_numbers() {
    for operations in 0.. {
        let disk = MemoryDisk::new();
        for number in [8, 9, 10, 11] {
            disk.put(format!("{DIR}/{OWNER_FILES}{number}"), "");
        }
        let taker = Process::new(&disk, 2);
        disk.stop_before(operations);
        let taking = taker.sink.recover(taker.io(), Recovery { take_over_output: true, ..taker.recovery() });
        let finished = disk.run(taking).is_some();
        let left: Vec<u64> = owner_files(&disk).iter().filter_map(|(name, _)| name[OWNER_FILES.len()..].parse().ok()).collect();
        for (lower, higher) in [(8, 9), (9, 10), (10, 11)] {
            assert!(!left.contains(&lower) || left.contains(&higher), "operation {operations}: {left:?}");
        }
        if finished {
            assert_eq!(left, [12]);
            break;
        }
    }
}

/// Whatever fails while a folder is taken: the next attempt takes it, and nothing is left in the end.
#[test]
fn a_failure_while_a_folder_is_taken_is_made_up_for_by_the_next_attempt() {
    for of_the_dead in [false, true] {
        let mut operations = 0;
        loop {
            let disk = MemoryDisk::new();
            if of_the_dead {
                let dead = Process::new(&disk, 9);
                dead.recover().unwrap();
                disk.kill(dead.identity);
            }
            let first = Process::new(&disk, 1);
            disk.fail(operations);
            let failed = first.recover();
            disk.heal();
            let has_failed = matches!(&failed, Err(SinkError::Io(_)));
            assert!(has_failed || failed.is_ok(), "operation {operations}: {failed:?}");
            if has_failed && operations % 2 == 0 {
                first.recover().unwrap();
                first.commit(first.epoch(1, 5)).unwrap();
            }
            first.finish();
            assert!(owner_files(&disk).is_empty(), "operation {operations}: {:?}", owner_files(&disk));
            if !has_failed && disk.operations() > operations {
                break;
            }
            operations += 1;
        }
        assert!(operations > 12, "{operations} operations were gone through");
    }
}

/// Wherever a process dies while it takes a folder, and whatever the disk loses: the next one takes it without being asked to.
#[test]
fn a_death_while_a_folder_is_taken_is_followed() {
    for loss in LOSSES {
        for of_the_dead in [false, true] {
            let mut operations = 0;
            loop {
                let disk = MemoryDisk::new();
                if of_the_dead {
                    Process::new(&disk, 9).recover().unwrap();
                    disk.restart(loss);
                }
                let first = Process::new(&disk, 1);
                disk.stop_before(operations);
                let finished = disk.run(first.sink.recover(first.io(), first.recovery())).is_some();
                disk.restart(loss);
                let second = Process::new(&disk, 2);
                second.check().unwrap_or_else(|error| panic!("operation {operations}, {loss:?}: {error}"));
                second.recover().unwrap();
                assert_eq!(owner_files(&disk).len(), 1, "operation {operations}, {loss:?}: {:?}", owner_files(&disk));
                second.commit(second.epoch(1, 5)).unwrap();
                second.finish();
                disk.restart(Loss::Everything);
                assert_eq!(disk.files(DIR).len(), 1, "operation {operations}, {loss:?}: {:?}", disk.files(DIR));
                if finished {
                    break;
                }
                operations += 1;
            }
            assert!(operations > 8, "{operations} operations were gone through");
        }
    }
}

/// Polls two futures in an order that the dice decide.
fn race<A, B>(disk: &MemoryDisk, a: impl Future<Output = A>, b: impl Future<Output = B>, dice: &mut SplitMix) -> (A, B) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut of_a, mut of_b) = (None, None);
    let mut cx = Context::from_waker(Waker::noop());
    fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>, output: &mut Option<T>, cx: &mut Context<'_>) {
        if output.is_none()
            && let Poll::Ready(ready) = future.as_mut().poll(cx)
        {
            *output = Some(ready);
        }
    }
    let runs = Cell::new(0);
    while of_a.is_none() || of_b.is_none() {
        runs.set(runs.get() + 1);
        assert!(runs.get() < 100_000 && !disk.has_stopped());
        match dice.below(2) {
            0 => poll(&mut a, &mut of_a, &mut cx),
            _ => poll(&mut b, &mut of_b, &mut cx),
        }
    }
    (of_a.unwrap(), of_b.unwrap())
}

/// For a moment they hold the lock that tells the living from the dead.
#[test]
fn those_who_only_look_are_not_taken_for_the_owner() {
    for seed in 0..300 {
        let mut dice = SplitMix::new(seed);
        let disk = MemoryDisk::new();
        let dead = Process::new(&disk, 9);
        dead.recover().unwrap();
        disk.kill(dead.identity);
        let [looks, takes] = [1, 2].map(|pid| Process::new(&disk, pid));
        let looking = async {
            for _ in 0..1 + seed % 3 {
                // The other may have taken it by now.
                drop(looks.sink.check(looks.io(), looks.recovery()).await);
            }
        };
        let (taken, ()) = race(&disk, takes.sink.recover(takes.io(), takes.recovery()), looking, &mut dice);
        assert!(taken.is_ok(), "seed {seed}: {taken:?}");
    }
}

#[test]
fn of_two_jobs_that_begin_at_once_one_gets_the_folder_and_every_line_is_there_once() {
    for seed in 0..3000 {
        let mut dice = SplitMix::new(seed);
        let disk = MemoryDisk::new();
        if dice.below(2) == 0 {
            let dead = Process::new(&disk, 9);
            dead.recover().unwrap();
            disk.kill(dead.identity);
        }
        let [first, second] = [1, 2].map(|pid| Process::new(&disk, pid));
        // As a job begins: it looks, takes, and if it is refused then, cleans up.
        let takings = [&first, &second].map(|process| async {
            process.sink.check(process.io(), process.recovery()).await?;
            let taken = process.sink.recover(process.io(), process.recovery()).await;
            if taken.is_err() {
                process.sink.recover(process.io(), Recovery { is_last: true, ..process.recovery() }).await.unwrap();
            }
            taken
        });
        let [of_first, of_second] = takings;
        let (of_first, of_second) = race(&disk, of_first, of_second, &mut dice);
        let owners: Vec<&Process> = [(&first, &of_first), (&second, &of_second)]
            .into_iter()
            .filter(|(_, taken)| taken.is_ok())
            .map(|(process, _)| process)
            .collect();
        for refused in [&of_first, &of_second] {
            assert!(matches!(refused, Ok(()) | Err(SinkError::Invalid(_))), "seed {seed}: {refused:?}");
        }
        let [owner] = owners[..] else { panic!("seed {seed}: {of_first:?}, {of_second:?}") };
        owner.commit(owner.epoch(1, 5)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(names(&disk).len(), 1, "seed {seed}");
    }
}

#[test]
fn names_are_as_documented() {
    let disk = MemoryDisk::new();
    let first = Process { job: JobId(0xfeed), checkpoints: Some("chk".into()), ..Process::new(&disk, 1) };
    first.recover().unwrap();
    let (name, content) = owner_files(&disk).pop().unwrap();
    assert_eq!(name, ".thalweg-owner-1");
    let (first_line, body) = content.split_once('\n').unwrap();
    assert!(first_line.starts_with("thalweg-owner 1 ") && first_line.len() == 24, "{first_line}");
    let expected = r#"{"job":"000000000000feed","attempt":1,"owner":"0000000000000001","checkpoints":"chk","host":"here","pid":1,"started_ms":1700000000000,"is_locked":true}"#;
    assert_eq!(body, format!("{expected}\n"));
}
