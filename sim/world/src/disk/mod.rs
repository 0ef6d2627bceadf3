//! A simulated disk: a model that knows what is durable, an asynchronous door to it, and the faults between the two.
//!
//! `model` is a pure state machine of files and directories with a volatile and a durable version of everything; `bytes` is the content of
//! one file, `durability` what becomes of names, `survival` what a crash leaves of both. `operation` gives each call latency, faults and a
//! completion out of order, `faults` says which, and `handle` makes them the door's traits; `rot` damages what is at rest. `stepped` is the other
//! way to the same disk, without a world: for tests that go through all operations of something, one by one; `quirks` is what they may ask for
//! besides. This file holds what they share: one disk, which outlives the runs on it, and its random streams.

mod bytes;
mod durability;
mod faults;
mod handle;
mod model;
mod operation;
mod outside;
mod quirks;
mod rot;
mod stepped;
mod stepped_io;
mod still;
mod survival;

pub use faults::only_faults;
pub use faults::{DiskFault, DiskFaultKind, FaultCounts, OperationClass, REPORTED_FAULTS, SILENT_FAULTS};
pub(crate) use handle::DiskHandle;
pub use model::{DiskModel, InodeId};
pub use rot::{Damage, Rot};
pub use stepped::{Loss, SteppedDisk};
pub use still::{StillDisk, at_once};
pub use survival::CrashStyle;

use crate::config::DiskConfig;
use faults::FaultSchedule;
use operation::UnderWay;
use quirks::Quirks;
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use thalweg_io::{Rng, SplitMix};

/// A process that uses a disk. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiskUser(u64);

impl DiskUser {
    /// From 1, as the system's own first process has it.
    pub(crate) fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// A lock on a file. It ends with its process, or when power fails.
struct HeldLock {
    user: DiskUser,
    life: u64,
    /// Gone when it was given up.
    guard: Weak<()>,
}

/// An operation that is under way, for whom, and until when.
struct OfUser {
    user: DiskUser,
    due_ns: u64,
    operation: Rc<dyn UnderWay>,
}

/// A disk. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Rc<RefCell<DiskState>>,
}

pub(crate) struct DiskState {
    model: DiskModel,
    config: DiskConfig,
    faults: FaultSchedule,
    under_way: BTreeMap<u64, OfUser>,
    /// The processes that use the disk, and how often each has which file open.
    users: BTreeMap<DiskUser, BTreeMap<InodeId, u32>>,
    next_user: u64,
    locks: BTreeMap<InodeId, HeldLock>,
    quirks: Quirks,
    /// Who wrote to a file last: when power fails on one machine, that is whose page cache it lay in.
    writers: BTreeMap<InodeId, DiskUser>,
    faults_injected: u64,
    operations: u64,
    /// Grows when the process that uses the disk ends, and when power fails: what is left of before does nothing any more.
    life: u64,
    stream: SplitMix,
    /// How far writes come that are not done as a whole.
    part_stream: SplitMix,
    end_stream: SplitMix,
    crash_stream: SplitMix,
    rot_stream: SplitMix,
}

impl DiskState {
    /// Locks a file for a process, unless somebody who lives holds the lock: one that is only stopped does.
    fn try_lock(&mut self, inode: InodeId, user: DiskUser) -> io::Result<Option<Arc<()>>> {
        if self.quirks.has_no_locks {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (users, life) = (&self.users, self.life);
        self.locks.retain(|_, held| held.life == life && users.contains_key(&held.user) && held.guard.strong_count() > 0);
        if self.locks.contains_key(&inode) {
            return Ok(None);
        }
        let guard = Arc::new(());
        self.locks.insert(inode, HeldLock { user, life, guard: Arc::downgrade(&guard) });
        Ok(Some(guard))
    }
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, config: DiskConfig) -> Self {
        let state = DiskState {
            model: DiskModel::new(config.capacity_bytes),
            faults: FaultSchedule::new(&config.faults),
            under_way: BTreeMap::new(),
            users: BTreeMap::new(),
            locks: BTreeMap::new(),
            quirks: Quirks::default(),
            next_user: 0,
            writers: BTreeMap::new(),
            faults_injected: 0,
            operations: 0,
            life: 0,
            stream: SplitMix::stream(seed, "disk"),
            part_stream: SplitMix::stream(seed, "disk/part"),
            end_stream: SplitMix::stream(seed, "disk/end"),
            rot_stream: SplitMix::stream(seed, "disk/rot"),
            crash_stream: SplitMix::stream(seed, "disk/crash"),
            config,
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// Puts a file at `path`, durably and with the directories above it, replacing what was there.
    ///
    /// # Errors
    /// If the path cannot name a file here.
    pub fn put(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        self.state.borrow_mut().model.put(path.as_ref(), bytes.into())
    }

    /// Makes the directory at `path`, durably and with those above it; not an error if it exists.
    ///
    /// # Errors
    /// If a file is in the way.
    pub fn put_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.state.borrow_mut().model.put_dir(path.as_ref()).map(drop)
    }

    /// Takes away what is at `path`, durably: a file, or a directory with all that is in it.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn take(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.state.borrow_mut().model.take(path.as_ref())
    }

    /// The files directly in the directory at `path` as a program would read them now: names in order, with their contents.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn files(&self, path: impl AsRef<Path>) -> io::Result<Vec<(String, Vec<u8>)>> {
        self.state.borrow().model.files(path.as_ref())
    }

    /// The files directly in each of these directories that exists, by their paths, with their contents.
    pub fn files_in(&self, folders: &[impl AsRef<str>]) -> Vec<(String, Vec<u8>)> {
        let of_folder = |folder: &str| {
            let files = self.files(folder).unwrap_or_default();
            files.into_iter().map(|(name, content)| (format!("{folder}/{name}"), content)).collect::<Vec<_>>()
        };
        folders.iter().flat_map(|folder| of_folder(folder.as_ref())).collect()
    }

    /// Power fails: see [`DiskModel::crash`]. Open files are closed, and what was under way is not done any more.
    pub fn crash(&self, style: CrashStyle) {
        let mut stream = self.state.borrow().crash_stream.clone();
        self.crash_drawn(&mut stream, style);
        self.state.borrow_mut().crash_stream = stream;
    }

    /// The same with what is drawn at all drawn from `stream`, and not from the disk's own.
    pub fn crash_drawn(&self, stream: &mut dyn Rng, style: CrashStyle) {
        let state = &mut *self.state.borrow_mut();
        state.life += 1;
        state.users.values_mut().for_each(BTreeMap::clear);
        state.model.crash(stream, style);
    }

    /// Power fails on a machine whose processes were `users`, all dead by now, and the disk lives on for the others: of what they wrote to files and
    /// did not sync, `style` decides. Names are not its business: as with a file server, they are where everybody sees them.
    pub(crate) fn crash_of(&self, users: &[DiskUser], style: CrashStyle) {
        let state = &mut *self.state.borrow_mut();
        let files = state.writers.iter().filter(|(_, user)| users.contains(user)).map(|(inode, _)| *inode).collect();
        state.writers.retain(|_, user| !users.contains(user));
        state.model.crash_content(&mut state.crash_stream, style, &files);
    }

    /// Begins to be used by another process.
    pub(crate) fn new_user(&self) -> DiskUser {
        let state = &mut *self.state.borrow_mut();
        let user = DiskUser(state.next_user);
        state.next_user += 1;
        state.users.insert(user, BTreeMap::new());
        user
    }

    /// The model, to look at.
    #[must_use]
    pub fn model(&self) -> Ref<'_, DiskModel> {
        Ref::map(self.state.borrow(), |state| &state.model)
    }

    /// Operations that were submitted so far: the number of the next one.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations
    }

    /// Adds a fault, which counts operations from now on.
    pub fn plan_fault(&self, fault: DiskFault) {
        self.state.borrow_mut().faults.add(fault);
    }

    /// No planned fault happens any more.
    pub fn heal(&self) {
        self.state.borrow_mut().faults.heal();
    }

    /// What was done to operations, files at rest and unsynced pieces so far, by name.
    #[must_use]
    pub fn injected(&self) -> FaultCounts {
        let state = self.state.borrow();
        let mut all = state.faults.injected().clone();
        for (name, count) in state.model.tally() {
            *all.entry(name).or_default() += count;
        }
        all
    }

    /// Faults of operations that were injected so far.
    #[must_use]
    pub fn faults_injected(&self) -> u64 {
        self.state.borrow().faults_injected
    }
}
