//! A disk without a world around it, for a test that goes step by step through everything that it is asked for.
//!
//! Files, durability, faults and what each operation does are those of every simulated disk. Left out is what a world draws: here an operation is
//! pending once (a lock: twice), so that somebody else can come between, and takes effect when it is polled again; one that is dropped before that was never
//! made, where a world would have carried it out. So the order in which things happen is that in which the test polls, "before operation `n`" is one moment,
//! and a test can go through all of them.
//!
//! ```
//! use std::path::Path;
//! use thalweg_io::{Buffer, IoError, OpenMode};
//! use thalweg_world::{Loss, SteppedDisk};
//!
//! async fn publish(disk: &SteppedDisk) -> Result<(), IoError> {
//!     let door = disk.door();
//!     let file = door.open(Path::new("/new"), OpenMode::CreateNew).await?;
//!     file.write_at(0, Buffer::from(&b"content"[..])).await?;
//!     file.sync().await?;
//!     door.link(Path::new("/new"), Path::new("/shown")).await?;
//!     door.sync_dir(Path::new("/")).await
//! }
//!
//! // Wherever power fails: what is shown is whole.
//! for operation in 0.. {
//!     let disk = SteppedDisk::new();
//!     disk.stop_before(operation);
//!     let finished = disk.run(publish(&disk));
//!     disk.restart(Loss::Everything);
//!     let shown = disk.model().content(Path::new("/shown")).map(<[u8]>::to_vec).ok();
//!     assert_eq!(shown, finished.is_some().then(|| b"content".to_vec()));
//!     if finished.is_some() {
//!         assert_eq!(operation, 5);
//!         break;
//!     }
//! }
//! ```

use super::faults::{DiskFaultKind, OperationClass};
use super::handle::{DiskAccess, DiskHandle};
use super::operation::{Submission, run_effect, verb};
use super::stepped_io::{Time, io_with, this_process};
use super::{CrashStyle, DiskUser, SimulatedDisk};
use crate::config::WorldConfig;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg_io::{Disk, Io, IoError, ProcessIdentity, SplitMix, yield_now};

/// Polls after which a future counts as one that waits for ever.
const POLLS_MAX: u32 = 1_000_000;

/// What becomes of what was not synced when everything stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Only the processes die: everything stays.
    Nothing,
    /// Power fails, and all of it is gone.
    Everything,
    /// Power fails, and each piece has a fate of its own, drawn from this seed: as [`CrashStyle::Random`].
    Drawn(u64),
}

/// Where everything stops.
#[derive(Clone, Copy)]
enum Stop {
    Before(u64),
    After(u64),
}

type Watcher = Box<dyn FnMut(&str, &Path)>;

/// See the module. Clones are handles to the same disk; what is done to it from outside, it shares with every [`SimulatedDisk`].
#[derive(Clone)]
pub struct SteppedDisk {
    stage: Rc<Stage>,
}

struct Stage {
    disk: SimulatedDisk,
    time: Time,
    stop: Cell<Option<Stop>>,
    is_stopped: Cell<bool>,
    /// Those that live and have asked for a door.
    processes: RefCell<Vec<(ProcessIdentity, DiskUser)>>,
    watcher: RefCell<Option<Watcher>>,
}

/// The access of one process.
#[derive(Clone)]
struct Step {
    stage: Rc<Stage>,
    user: DiskUser,
}

impl SteppedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty disk that draws from `seed` what is drawn at all: how far a write comes that fails, and which bit is misread.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let stage = Stage {
            disk: SimulatedDisk::new(seed, WorldConfig::calm().disk),
            time: Time::default(),
            stop: Cell::new(None),
            is_stopped: Cell::new(false),
            processes: RefCell::default(),
            watcher: RefCell::default(),
        };
        Self { stage: Rc::new(stage) }
    }

    /// The door of the one process that most tests have.
    #[must_use]
    pub fn door(&self) -> Rc<dyn Disk> {
        self.door_of(&this_process())
    }

    /// The door of a process. One that was killed has none; asked for again, it is a new process of the same name.
    #[must_use]
    pub fn door_of(&self, process: &ProcessIdentity) -> Rc<dyn Disk> {
        let stage = Rc::clone(&self.stage);
        let known = stage.processes.borrow().iter().find(|(known, _)| known == process).map(|(_, user)| *user);
        let user = known.unwrap_or_else(|| {
            let user = stage.disk.new_user();
            stage.processes.borrow_mut().push((process.clone(), user));
            user
        });
        Rc::new(DiskHandle::new(Step { stage, user }))
    }

    /// The handle of the one process that most tests have: number 1 on the host `here`. Of the outside it has this disk, and a time that goes on by a
    /// millisecond whenever somebody who sleeps is polled.
    #[must_use]
    pub fn io(&self) -> Io {
        self.io_of(&this_process())
    }

    /// The same for another process.
    #[must_use]
    pub fn io_of(&self, process: &ProcessIdentity) -> Io {
        io_with(process, self.door_of(process), &self.stage.time)
    }

    /// Everything stops before the `n`th operation from now, from 0: it is not done, and nothing is answered any more.
    pub fn stop_before(&self, n: u64) {
        self.stage.stop.set(Some(Stop::Before(self.operations() + n)));
    }

    /// Everything stops after the `n`th operation from now, from 0: it has been done, and nobody learns of it.
    pub fn stop_after(&self, n: u64) {
        self.stage.stop.set(Some(Stop::After(self.operations() + n)));
    }

    /// Whether everything has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.stage.is_stopped.get()
    }

    /// Everything is started again after a stop: all processes are new ones, and nothing is planned.
    pub fn restart(&self, loss: Loss) {
        self.stage.stop.set(None);
        self.stage.is_stopped.set(false);
        self.stage.processes.borrow_mut().clear();
        self.heal();
        self.end_of_run();
        match loss {
            Loss::Nothing => {}
            Loss::Everything => self.crash(CrashStyle::LoseUnsynced),
            Loss::Drawn(seed) => self.crash_drawn(&mut SplitMix::new(seed), CrashStyle::Random),
        }
    }

    /// A process is killed, and the others live on: its locks are free, its files closed, and nothing that it asks for is done any more.
    pub fn kill(&self, process: &ProcessIdentity) {
        let (dead, living) = self.stage.processes.take().into_iter().partition(|(known, _)| known == process);
        self.stage.processes.replace(living);
        let dead: Vec<_> = dead;
        dead.into_iter().for_each(|(_, user)| self.end_of_user(user));
    }

    /// Has `watcher` told of each operation before it is done: its name, as an error has it, and its path.
    pub fn watch(&self, watcher: impl FnMut(&str, &Path) + 'static) {
        *self.stage.watcher.borrow_mut() = Some(Box::new(watcher));
    }

    /// Polls `future` to its end; `None` if everything stops before.
    ///
    /// # Panics
    /// If it waits for something that does not happen.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        for _ in 0..POLLS_MAX {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(output);
            }
            if self.has_stopped() {
                return None;
            }
        }
        panic!("it does not come to an end");
    }
}

impl Default for SteppedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for SteppedDisk {
    type Target = SimulatedDisk;

    fn deref(&self) -> &SimulatedDisk {
        &self.stage.disk
    }
}

impl Step {
    /// Passes as long as something that the process asks for is done.
    async fn unless_over(&self) {
        if self.stage.is_stopped.get() || !self.stage.disk.state.borrow().users.contains_key(&self.user) {
            pending::<()>().await;
        }
    }

    /// Everything stops, and this never goes on.
    async fn stop<T>(&self) -> T {
        self.stage.is_stopped.set(true);
        pending().await
    }
}

impl DiskAccess for Step {
    async fn operate<T: 'static>(
        self,
        operation: &'static str,
        object: PathBuf,
        class: OperationClass,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> Result<T, IoError> {
        yield_now().await;
        self.unless_over().await;
        let Stage { disk, time, stop, watcher, .. } = &*self.stage;
        let number = disk.operations();
        if matches!(stop.get(), Some(Stop::Before(at)) if number >= at) {
            return self.stop().await;
        }
        if let Some(watcher) = &mut *watcher.borrow_mut() {
            watcher(verb(operation), &object);
        }
        let submission = disk.state.borrow_mut().count(self.user, class, &object.to_string_lossy());
        if let Some(DiskFaultKind::Stall { ms }) = submission.fault {
            time.sleep_ms(ms).await;
            self.unless_over().await;
        }
        let result = run_effect(disk, &submission, Box::new(effect));
        if matches!(stop.get(), Some(Stop::After(at)) if number >= at) {
            drop(result);
            return self.stop().await;
        }
        if operation == "disk.lock" {
            // Others may come to see it before its holder does.
            yield_now().await;
        }
        result.map_err(|error| IoError::at(verb(operation), &object, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DiskFault;
    use std::collections::BTreeSet;
    use thalweg_io::{Buffer, OpenMode, UnixMillis};

    /// Five operations, the last of which makes durable what the others did.
    async fn publish(disk: &SteppedDisk) -> Result<(), IoError> {
        let door = disk.door();
        let file = door.open(Path::new("/a"), OpenMode::CreateNew).await?;
        file.write_at(0, Buffer::from(&[7; 2_000][..])).await?;
        file.sync().await?;
        door.link(Path::new("/a"), Path::new("/b")).await?;
        door.sync_dir(Path::new("/")).await
    }

    fn names(disk: &SteppedDisk) -> Vec<String> {
        disk.files("/").unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_stop_is_before_or_after_one_operation_and_nothing_is_done_behind_it() {
        let done: [&[&str]; 6] = [&[], &["a"], &["a"], &["a"], &["a", "b"], &["a", "b"]];
        for n in 0..5 {
            let disk = SteppedDisk::new();
            disk.stop_before(n);
            assert!(disk.run(publish(&disk)).is_none() && disk.has_stopped());
            assert_eq!((names(&disk), disk.operations()), (done[n as usize].iter().map(ToString::to_string).collect(), n));
            assert!(disk.run(disk.door().list(Path::new("/"))).is_none());
            disk.restart(Loss::Nothing);
            disk.stop_after(n);
            disk.take("/a").ok();
            disk.take("/b").ok();
            assert!(disk.run(publish(&disk)).is_none());
            assert_eq!(names(&disk), done[n as usize + 1]);
            disk.restart(Loss::Everything);
            assert_eq!(names(&disk), if n == 4 { vec!["a", "b"] } else { vec![] });
        }
    }

    #[test]
    fn a_drawn_loss_is_the_same_again_and_others_are_others() {
        let left = |seed| {
            let disk = SteppedDisk::new();
            disk.stop_before(2);
            assert!(disk.run(publish(&disk)).is_none());
            disk.restart(Loss::Drawn(seed));
            disk.files("/").unwrap()
        };
        let all: BTreeSet<_> = (0..40).map(left).collect();
        assert_eq!(all, (0..40).map(left).collect());
        assert!(all.len() > 4 && all.contains(&vec![]), "{} kinds of loss", all.len());
    }

    #[test]
    fn faults_hit_the_operation_they_are_planned_for() {
        for (n, kind, number) in [(1, DiskFaultKind::Error, 5), (3, DiskFaultKind::Full, 28), (2, DiskFaultKind::FullAtSync, 28)] {
            let disk = SteppedDisk::new();
            disk.plan_fault(DiskFault::at(n, kind));
            let told = disk.run(publish(&disk)).unwrap().unwrap_err();
            assert_eq!((told.raw_os_error(), disk.operations()), (Some(number), n + 1));
        }
        let disk = SteppedDisk::new();
        disk.plan_fault(DiskFault::at(2, DiskFaultKind::Stall { ms: 50 }));
        let mut polls = 0;
        let mut future = pin!(publish(&disk));
        while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            polls += 1;
        }
        assert_eq!(polls, 5 + 50);
    }

    #[test]
    fn the_lock_of_a_process_ends_with_it_and_so_does_what_it_asks_for() {
        let disk = SteppedDisk::new();
        disk.put("/file", "").unwrap();
        let [first, second] = [1, 2].map(|pid| ProcessIdentity { host: "here".to_owned(), pid, started: UnixMillis(0) });
        let open = |process| disk.run(disk.door_of(process).open(Path::new("/file"), OpenMode::Write)).unwrap().unwrap();
        let [of_first, of_second] = [&first, &second].map(open);
        let lock = |file: &Rc<dyn thalweg_io::File>| disk.run(file.try_lock()).unwrap().unwrap();
        let held = lock(&of_first);
        assert!(held.is_some() && lock(&of_second).is_none());
        disk.kill(&first);
        let held_by_second = lock(&of_second);
        assert!(held_by_second.is_some());
        let mut of_the_dead = of_first.len();
        assert!((0..10).all(|_| of_the_dead.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()));
        // Held and free at once: the first one's new life is another process.
        drop(held);
        assert!(lock(&open(&first)).is_none());
        disk.do_without_locks();
        assert_eq!(disk.run(of_second.try_lock()).unwrap().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn whoever_watches_is_told_of_each_operation_before_it_is_done() {
        let (disk, seen) = (SteppedDisk::new(), Rc::new(RefCell::new(Vec::new())));
        let told = Rc::clone(&seen);
        disk.watch(move |operation, path| told.borrow_mut().push(format!("{operation} {}", path.display())));
        disk.run(publish(&disk)).unwrap().unwrap();
        assert_eq!(*seen.borrow(), ["create /a", "write to /a", "sync /a", "link /a to /b", "sync directory /"]);
    }
}
