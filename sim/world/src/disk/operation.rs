//! Operations of a disk: numbered, delayed, hit by faults, and under way until they take effect.
//!
//! An operation is submitted when its future is first polled. It takes effect at one moment, which is its submission or its completion as the
//! stream of the disk decides (a sync always at its completion, and only for what was done before its submission). A future that is dropped
//! in between gives up the result, not the operation: like one that the kernel already has, it is still carried out.
//!
//! The disk knows what is under way, and for whom. When a process dies, each such operation of it is done or is not, in any order, a write perhaps in part; what the
//! dead process still asks for is never submitted.

use super::faults::{DiskFaultKind, OperationClass};
use super::handle::DiskAccess;
use super::model::{ECANCELED, EIO, ENOSPC};
use super::{DiskState, DiskUser, OfUser, SimulatedDisk};
use crate::clock::sleep_until;
use crate::kill_plan::OperationStage;
use crate::process::Process;
use crate::rng::Draw;
use crate::tasks::{NO_CORE, Tasks};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use thalweg_io::{IoError, Rng, yield_now};

/// What an operation knows when it takes effect.
#[derive(Clone, Copy)]
pub(crate) struct Submission {
    /// The model's mark when it was submitted.
    pub(super) mark: u64,
    /// The fault that hits it.
    pub(super) fault: Option<DiskFaultKind>,
    /// The process that asked.
    pub(super) user: DiskUser,
    /// The life of the disk's users in which it was submitted: it does nothing in a later one.
    life: u64,
    /// The process died while it was under way.
    pub(super) interrupted: bool,
}

impl Submission {
    /// The error that a fault reports.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.fault {
            Some(DiskFaultKind::Error | DiskFaultKind::Forgotten) => Err(io::Error::from_raw_os_error(EIO)),
            Some(DiskFaultKind::Full | DiskFaultKind::FullAtSync) => Err(io::Error::from_raw_os_error(ENOSPC)),
            _ => Ok(()),
        }
    }
}

type Effect<T> = Box<dyn FnOnce(&SimulatedDisk, &Submission) -> io::Result<T>>;

enum Stage<T> {
    Waiting(Submission, Effect<T>),
    Over(Option<io::Result<T>>),
}

/// An operation that the disk has.
struct Operation<T> {
    stage: RefCell<Stage<T>>,
}

/// An operation that is under way, whatever its result.
pub(super) trait UnderWay {
    /// Does it.
    fn apply(&self, disk: &SimulatedDisk, interrupted: bool);

    /// Gives it up.
    fn lose(&self);
}

impl<T> UnderWay for Operation<T> {
    fn apply(&self, disk: &SimulatedDisk, interrupted: bool) {
        let Stage::Waiting(submission, effect) = self.stage.replace(Stage::Over(None)) else { return };
        let result = run_effect(disk, &Submission { interrupted, ..submission }, effect);
        self.stage.replace(Stage::Over(Some(result)));
    }

    fn lose(&self) {
        drop(self.stage.replace(Stage::Over(None)));
    }
}

pub(super) fn run_effect<T>(disk: &SimulatedDisk, submission: &Submission, effect: Effect<T>) -> io::Result<T> {
    if disk.state.borrow().life != submission.life {
        // Submitted before a crash: the drive never saw it.
        return Err(io::Error::from_raw_os_error(EIO));
    }
    match submission.fault {
        Some(DiskFaultKind::Cancelled { done }) => {
            if done {
                drop(effect(disk, submission));
            }
            Err(io::Error::from_raw_os_error(ECANCELED))
        }
        _ => effect(disk, submission),
    }
}

/// How an operation will go.
struct Course {
    number: u64,
    submission: Submission,
    /// It takes effect at once.
    early: bool,
    due_ns: u64,
    /// How often it yields before it completes.
    yields: u64,
}

impl DiskState {
    /// Counts an operation; what it is to know, and which of the planned faults hits it.
    pub(super) fn count(&mut self, user: DiskUser, class: OperationClass, path: &str) -> Submission {
        self.operations += 1;
        let fault = self.faults.hit(class, path);
        self.faults_injected += u64::from(fault.is_some());
        Submission { mark: self.model.mark(), fault, user, life: self.life, interrupted: false }
    }

    /// Numbers an operation and draws how it will go.
    fn submit(&mut self, user: DiskUser, class: OperationClass, path: &str, now_ns: u64) -> Course {
        if self.config.room_from_ms.take_if(|from| now_ns >= *from * 1_000_000).is_some() {
            self.model.make_room();
            self.faults.make_room();
        }
        let number = self.operations;
        let submission = self.count(user, class, path);
        let is_sync = matches!(class, OperationClass::Sync | OperationClass::SyncDirectory);
        let early = self.stream.chance(self.config.early_effect_per_mille) && !is_sync;
        let yields = self.stream.below(3);
        let mut latency_ms = 0;
        if !self.stream.chance(self.config.instant_per_mille) {
            // Mostly a quarter of the maximum at most, now and then all of it.
            let max = if self.stream.chance(900) { self.config.latency_ms_max.div_ceil(4) } else { self.config.latency_ms_max };
            latency_ms = self.stream.between(1, max.max(1));
        }
        if let Some((_, ms_max)) = self.config.slow.filter(|(part, _)| path.contains(part)) {
            latency_ms += self.stream.between(1, ms_max);
        }
        if let Some(DiskFaultKind::Stall { ms }) = submission.fault {
            latency_ms += ms;
        }
        let due_ns = now_ns + if latency_ms > 0 { latency_ms * 1_000_000 + self.stream.below(1_000_000) } else { 0 };
        Course { number, submission, early, due_ns, yields }
    }
}

impl DiskAccess for Rc<Process> {
    async fn operate<T: 'static>(
        self,
        operation: &'static str,
        object: PathBuf,
        class: OperationClass,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> Result<T, IoError> {
        let process = self;
        process.unless_gone().await;
        let disk = process.around.disk.clone();
        let place = object.to_string_lossy();
        process.note_operation(operation, &place);
        let Course { number, submission, early, due_ns, yields } =
            disk.state.borrow_mut().submit(process.user, class, &place, process.tasks.now_ns());
        process.note(operation, &place, [number as i64, due_ns as i64, 0]);
        if let Some(fault) = submission.fault {
            process.note("disk.fault", &format!("{fault:?} on {place}"), [number as i64, 0, 0]);
        }
        let shared = Rc::new(Operation { stage: RefCell::new(Stage::Waiting(submission, Box::new(effect))) });
        let of_user = OfUser { user: process.user, due_ns, operation: Rc::<Operation<T>>::clone(&shared) };
        disk.state.borrow_mut().under_way.insert(number, of_user);
        let waiting = Waiting { disk, process, number, due_ns, operation: shared };
        let planned = waiting.process.count_operation();
        if early || planned.is_some_and(|(stage, _)| stage == OperationStage::Done) {
            waiting.finish();
        }
        if let Some((_, fault)) = planned {
            waiting.process.strike(fault, None);
        }
        for _ in 0..yields {
            yield_now().await;
        }
        sleep_until(&waiting.process.tasks, due_ns).await;
        waiting.process.unless_gone().await;
        waiting.finish();
        let result = match &mut *waiting.operation.stage.borrow_mut() {
            Stage::Over(result) => result.take(),
            Stage::Waiting(..) => None,
        };
        // An operation is settled without a result only when its process is dead, and then nobody gets here.
        result.expect("invariant: an operation takes effect once").map_err(|error| IoError::at(verb(operation), &object, error))
    }
}

/// The name of an operation in the trace, as an error message has it.
pub(super) fn verb(operation: &'static str) -> &'static str {
    operation.strip_prefix("disk.").unwrap_or(operation)
}

/// An operation that the program waits for.
struct Waiting<T: 'static> {
    disk: SimulatedDisk,
    process: Rc<Process>,
    number: u64,
    due_ns: u64,
    operation: Rc<Operation<T>>,
}

impl<T> Waiting<T> {
    /// Lets the operation take effect if it has not.
    fn finish(&self) {
        finish(&self.disk, self.number);
    }
}

/// Lets the operation with this number take effect if it has not.
fn finish(disk: &SimulatedDisk, number: u64) {
    // The effect uses the disk: it must not be borrowed here.
    let under_way = disk.state.borrow_mut().under_way.remove(&number);
    if let Some(OfUser { operation, .. }) = under_way {
        operation.apply(disk, false);
    }
}

/// Lets the operation with this number take effect when it is due, whether anybody waits for it or not.
fn finish_when_due(disk: &SimulatedDisk, tasks: &Rc<Tasks>, number: u64, due_ns: u64) {
    let (disk, its_tasks) = (disk.clone(), Rc::clone(tasks));
    let abandoned = async move {
        sleep_until(&its_tasks, due_ns).await;
        finish(&disk, number);
    };
    tasks.spawn(NO_CORE, "world/abandoned-disk-operation", Box::pin(abandoned));
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if self.process.is_gone() || !self.disk.state.borrow().under_way.contains_key(&self.number) {
            return;
        }
        finish_when_due(&self.disk, &self.process.tasks, self.number, self.due_ns);
    }
}

impl SimulatedDisk {
    /// The run is over, and every process that used the disk is gone. What was under way is done or is not; open files are closed.
    pub(crate) fn end_of_run(&self) {
        self.settle(|_| true);
        let state = &mut *self.state.borrow_mut();
        state.life += 1;
        state.users.clear();
        state.model.close_all();
    }

    /// A process is gone, and the disk lives on for the others. What it had under way is done or is not; the files it had open are closed.
    pub(crate) fn end_of_user(&self, user: DiskUser) {
        self.settle(|under_way| under_way.user == user);
        let state = &mut *self.state.borrow_mut();
        for (inode, count) in state.users.remove(&user).unwrap_or_default() {
            (0..count).for_each(|_| state.model.close(inode));
        }
    }

    /// A process is stopped: what it has under way comes to its end all the same.
    pub(crate) fn carry_on_for(&self, user: DiskUser, tasks: &Rc<Tasks>) {
        let left: Vec<(u64, u64)> = {
            let state = self.state.borrow();
            let of_user = state.under_way.iter().filter(|(_, under_way)| under_way.user == user);
            of_user.map(|(number, under_way)| (*number, under_way.due_ns)).collect()
        };
        left.into_iter().for_each(|(number, due_ns)| finish_when_due(self, tasks, number, due_ns));
    }

    /// Those of the operations under way that are `meant` are done or are not, each by itself and in any order.
    fn settle(&self, meant: impl Fn(&OfUser) -> bool) {
        let (mut left, mut stream) = {
            let state = &mut *self.state.borrow_mut();
            let (settled, others) = std::mem::take(&mut state.under_way).into_iter().partition(|(_, under_way)| meant(under_way));
            state.under_way = others;
            let settled: BTreeMap<u64, OfUser> = settled;
            (settled.into_values().map(|of_user| of_user.operation).collect::<Vec<_>>(), state.end_stream.clone())
        };
        while !left.is_empty() {
            let operation = left.swap_remove(stream.below(left.len() as u64) as usize);
            let is_done = stream.chance(500);
            if is_done {
                operation.apply(self, true);
            } else {
                operation.lose();
            }
            let name = if is_done { "under way at the end, and done" } else { "under way at the end, and lost" };
            self.state.borrow_mut().faults.count(name);
        }
        self.state.borrow_mut().end_stream = stream;
    }
}
