//! Operations of a disk: numbered, delayed, hit by faults, and under way until they take effect.
//!
//! An operation is submitted when its future is first polled. It takes effect at one moment, which is its submission or its completion as the
//! stream of the disk decides (a sync always at its completion, and only for what was done before its submission). A future that is dropped
//! in between gives up the result, not the operation: like one that the kernel already has, it is still carried out.
//!
//! The disk knows what is under way. When the process dies, each such operation is done or is not, in any order, a write perhaps in part; what the
//! dead process still asks for is never submitted.

use super::faults::{DiskFaultKind, OperationClass};
use super::model::{ECANCELED, EIO, ENOSPC};
use super::{DiskState, SimulatedDisk};
use crate::clock::sleep_until;
use crate::kill::LastOperation;
use crate::rng::Draw;
use crate::tasks::{NO_CORE, Tasks};
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use thalweg_io::{IoError, Rng, yield_now};

/// What an operation knows when it takes effect.
#[derive(Clone, Copy)]
pub(super) struct Submission {
    /// The model's mark when it was submitted.
    pub(super) mark: u64,
    /// The fault that hits it.
    pub(super) fault: Option<DiskFaultKind>,
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
            Some(DiskFaultKind::Full) => Err(io::Error::from_raw_os_error(ENOSPC)),
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

fn run_effect<T>(disk: &SimulatedDisk, submission: &Submission, effect: Effect<T>) -> io::Result<T> {
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
    /// Numbers an operation and draws how it will go.
    fn submit(&mut self, class: OperationClass, path: &str, now_ns: u64) -> Course {
        let number = self.operations;
        self.operations += 1;
        let fault = self.faults.hit(class, path);
        self.faults_injected += u64::from(fault.is_some());
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
        if let Some(DiskFaultKind::Stall { ms }) = fault {
            latency_ms += ms;
        }
        let due_ns = now_ns + if latency_ms > 0 { latency_ms * 1_000_000 + self.stream.below(1_000_000) } else { 0 };
        let submission = Submission { mark: self.model.mark(), fault, life: self.life, interrupted: false };
        Course { number, submission, early, due_ns, yields }
    }
}

/// Carries `effect` out on the model, sooner or later.
pub(super) async fn operate<T: 'static>(
    disk: SimulatedDisk,
    tasks: Rc<Tasks>,
    operation: &'static str,
    object: PathBuf,
    class: OperationClass,
    effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
) -> Result<T, IoError> {
    tasks.unless_stopped().await;
    let place = object.to_string_lossy();
    tasks.note_operation(operation, &place);
    let Course { number, submission, early, due_ns, yields } = disk.state.borrow_mut().submit(class, &place, tasks.now_ns());
    tasks.note(operation, &place, [number as i64, due_ns as i64, 0]);
    if let Some(fault) = submission.fault {
        tasks.note("disk.fault", &format!("{fault:?} on {place}"), [number as i64, 0, 0]);
    }
    let shared = Rc::new(Operation { stage: RefCell::new(Stage::Waiting(submission, Box::new(effect))) });
    disk.state.borrow_mut().under_way.insert(number, Rc::<Operation<T>>::clone(&shared));
    let waiting = Waiting { disk, tasks, number, due_ns, operation: shared };
    let last = waiting.tasks.kill_switch.count_operation();
    if early || last == LastOperation::Done {
        waiting.finish();
    }
    if last != LastOperation::No {
        waiting.tasks.kill(None);
    }
    for _ in 0..yields {
        yield_now().await;
    }
    sleep_until(&waiting.tasks, due_ns).await;
    waiting.tasks.unless_stopped().await;
    waiting.finish();
    let result = match &mut *waiting.operation.stage.borrow_mut() {
        Stage::Over(result) => result.take(),
        Stage::Waiting(..) => None,
    };
    // An operation is settled without a result only when its process is dead, and then nobody gets here.
    result.expect("invariant: an operation takes effect once").map_err(|error| IoError::at(verb(operation), &object, error))
}

/// The name of an operation in the trace, as an error message has it.
fn verb(operation: &'static str) -> &'static str {
    operation.strip_prefix("disk.").unwrap_or(operation)
}

/// An operation that the program waits for.
struct Waiting<T: 'static> {
    disk: SimulatedDisk,
    tasks: Rc<Tasks>,
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
    let operation = disk.state.borrow_mut().under_way.remove(&number);
    if let Some(operation) = operation {
        operation.apply(disk, false);
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if self.tasks.is_stopped() || !self.disk.state.borrow().under_way.contains_key(&self.number) {
            return;
        }
        let (disk, tasks, number, due_ns) = (self.disk.clone(), Rc::clone(&self.tasks), self.number, self.due_ns);
        let abandoned = async move {
            sleep_until(&tasks, due_ns).await;
            finish(&disk, number);
        };
        self.tasks.spawn(NO_CORE, "world/abandoned-disk-operation", Box::pin(abandoned));
    }
}

impl SimulatedDisk {
    /// The process that used the disk is gone. What was under way is done or is not; open files are closed.
    pub(crate) fn end_of_process(&self) {
        let (mut left, mut stream) = {
            let state = &mut *self.state.borrow_mut();
            (std::mem::take(&mut state.under_way).into_values().collect::<Vec<_>>(), state.end_stream.clone())
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
        let state = &mut *self.state.borrow_mut();
        state.end_stream = stream;
        state.life += 1;
        state.model.close_all();
    }
}
