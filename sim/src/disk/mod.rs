//! A simulated disk: a model that knows what is durable, an asynchronous door to it, and the faults between the two.
//!
//! `model` is a pure state machine of files and directories with a volatile and a durable version of everything; `bytes` is the content of
//! one file, `durability` what becomes of names. `handle` gives the engine the door's traits on it, with latencies and completions out of order. This file holds what the two
//! share: one disk, which outlives the runs on it, its random stream and its list of faults.

mod bytes;
mod durability;
mod handle;
mod model;

pub use bytes::CrashStyle;
pub(crate) use handle::DiskHandle;
pub use model::{DiskModel, InodeId};

use crate::config::DiskConfig;
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use thalweg_io::SplitMix;

/// A fault of the disk: a numbered event that can be printed, dropped or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// The operation it hits: every call to the disk counts, from 0, in the order of submission, through all runs.
    pub at_operation: u64,
    /// What happens to it.
    pub kind: DiskFaultKind,
}

/// What can happen to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaultKind {
    /// It fails with an I/O error. A write may have been done in part; a sync has not made durable what it should have, and the next one will
    /// "succeed" without it, as on Linux.
    Error,
    /// It fails because the disk is full, for this once, and has done nothing. An operation that needs no room is not affected.
    Full,
    /// It takes this much longer, in milliseconds.
    Stall {
        /// How much.
        ms: u64,
    },
}

/// A disk. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Rc<RefCell<DiskState>>,
}

pub(crate) struct DiskState {
    model: DiskModel,
    config: DiskConfig,
    faults: BTreeMap<u64, DiskFaultKind>,
    faults_injected: u64,
    operations: u64,
    crashes: u64,
    stream: SplitMix,
    crash_stream: SplitMix,
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, config: DiskConfig) -> Self {
        let state = DiskState {
            model: DiskModel::new(config.capacity_bytes),
            faults: config.faults.iter().map(|fault| (fault.at_operation, fault.kind)).collect(),
            faults_injected: 0,
            operations: 0,
            crashes: 0,
            stream: SplitMix::stream(seed, "disk"),
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

    /// The files directly in the directory at `path` as a program would read them now: names in order, with their contents.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn files(&self, path: impl AsRef<Path>) -> io::Result<Vec<(String, Vec<u8>)>> {
        self.state.borrow().model.files(path.as_ref())
    }

    /// Power fails: see [`DiskModel::crash`]. What was under way is decided with the rest. Open files are closed.
    pub fn crash(&self, style: CrashStyle) {
        let state = &mut *self.state.borrow_mut();
        state.crashes += 1;
        state.model.crash(&mut state.crash_stream, style);
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

    /// Faults that were injected so far.
    #[must_use]
    pub fn faults_injected(&self) -> u64 {
        self.state.borrow().faults_injected
    }
}
