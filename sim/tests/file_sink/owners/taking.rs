//! How a folder of results is taken, step by step: whatever fails or comes between, one has it in the end.

use super::{Process, process};
use crate::results::{DIR, LOSSES, OWNER_FILES, all_files, names, new_disk, owner_files};
use std::cell::Cell;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use thalweg::io::{OpenMode, Rng, SplitMix};
use thalweg::sink::{Recovery, Sink, SinkError};
use thalweg_world::{DiskFault, DiskFaultKind, Loss, SteppedDisk};

/// One with a higher number than the next owner's is nobody's later.
#[test]
fn what_a_dead_process_has_left_on_its_way_to_a_folder_is_removed_and_nothing_else() {
    let disk = new_disk();
    let [of_the_dead, of_the_living] = [7, 8].map(|number| format!("{OWNER_FILES}{number}-00000000000000fe.tmp"));
    for name in [&of_the_dead, &of_the_living] {
        disk.put(format!("{DIR}/{name}"), "").unwrap();
    }
    let living = disk.door_of(&process("here", 5));
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
        let disk = new_disk();
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
        let disk = new_disk();
        for number in [8, 9, 10, 11] {
            disk.put(format!("{DIR}/{OWNER_FILES}{number}"), "").unwrap();
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
            let disk = new_disk();
            if of_the_dead {
                let dead = Process::new(&disk, 9);
                dead.recover().unwrap();
                disk.kill(&dead.identity);
            }
            let first = Process::new(&disk, 1);
            disk.plan_fault(DiskFault::at(operations, DiskFaultKind::Error));
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
                let disk = new_disk();
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
                assert_eq!(all_files(&disk).len(), 1, "operation {operations}, {loss:?}: {:?}", all_files(&disk));
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
fn race<A, B>(disk: &SteppedDisk, a: impl Future<Output = A>, b: impl Future<Output = B>, dice: &mut SplitMix) -> (A, B) {
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
        let disk = new_disk();
        let dead = Process::new(&disk, 9);
        dead.recover().unwrap();
        disk.kill(&dead.identity);
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
        let disk = new_disk();
        if dice.below(2) == 0 {
            let dead = Process::new(&disk, 9);
            dead.recover().unwrap();
            disk.kill(&dead.identity);
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
