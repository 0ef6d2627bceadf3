//! Faults of operations: what can happen to one, which ones it hits, and how faults are drawn.
//!
//! A fault is a numbered event in a schedule: it names the operations it is meant for and hits some of them in a row, counted from 0 in the order of
//! submission through all incarnations. So it can be printed, dropped, shortened or aimed by hand; nothing about it is decided later. More than one in
//! a row is an episode: a disk that is full, slow or broken for a while.
//!
//! The door's contract leaves no room for a short read, so there is none.

use crate::rng::Draw;
use std::collections::BTreeMap;
use thalweg_io::Rng;

/// How often what happened, by name.
pub type FaultCounts = BTreeMap<&'static str, u64>;

/// The faults among what happened: not what became of operations that were under way at the end of a process or a run.
pub fn only_faults(mut injected: FaultCounts) -> FaultCounts {
    injected.retain(|name, _| !name.starts_with("under way"));
    injected
}

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// The kind of operation it is meant for; `None` for all.
    pub class: Option<OperationClass>,
    /// A part of the path of those operations; empty for all.
    pub path: &'static str,
    /// How many of those operations go unharmed before it.
    pub at_operation: u64,
    /// How many it hits in a row; at least 1.
    pub operations: u64,
    /// What happens to them.
    pub kind: DiskFaultKind,
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationClass {
    /// Opening what exists, listing, measuring.
    Look,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Making, linking or renaming: a new name needs room.
    Name,
    /// Removing a name.
    Unlink,
    /// Making a file's content durable.
    Sync,
    /// Making a directory's names durable.
    SyncDirectory,
}

/// What can happen to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaultKind {
    /// It fails with an I/O error. A write may have been done in part; a sync has not made durable what it should have, and the next one will
    /// "succeed" without it, as on Linux.
    Error,
    /// A sync fails with an I/O error, and what it should have made durable is gone at once: reads show what was there before.
    Forgotten,
    /// It fails because the disk is full. A write may have been done in part. An operation that needs no room is not affected.
    Full,
    /// A sync fails because the disk is full, as on file systems that look for room late. What it should have made durable never will be.
    FullAtSync,
    /// It is reported as cancelled.
    Cancelled {
        /// And was done all the same.
        done: bool,
    },
    /// It takes this much longer, in milliseconds.
    Stall {
        /// How much.
        ms: u64,
    },
    /// A read returns one bit wrong; the next one may not. Silent.
    Misread,
    /// A write never reaches the drive, though the page cache shows it and a sync "succeeds". Silent.
    Phantom,
}

/// Every kind that a program is told of or that only takes time: it has to answer, and nothing that it was promised is broken. Of errors of a sync one
/// is drawn; [`DiskFaultKind::FullAtSync`], which a store tells from others, is for tests of that store.
pub const REPORTED_FAULTS: [DiskFaultKind; 8] = [
    DiskFaultKind::Error,
    DiskFaultKind::Forgotten,
    DiskFaultKind::Full,
    DiskFaultKind::Cancelled { done: false },
    DiskFaultKind::Cancelled { done: true },
    DiskFaultKind::Stall { ms: 20 },
    DiskFaultKind::Stall { ms: 500 },
    DiskFaultKind::Stall { ms: 20_000 },
];

/// The kinds that nobody is told of: a program can but notice them, by its checksums.
pub const SILENT_FAULTS: [DiskFaultKind; 2] = [DiskFaultKind::Misread, DiskFaultKind::Phantom];

impl DiskFault {
    /// Hits the operation with this number, whatever it is.
    #[must_use]
    pub fn at(at_operation: u64, kind: DiskFaultKind) -> Self {
        Self { class: None, path: "", at_operation, operations: 1, kind }
    }

    /// Hits the operation of a class with this number among those of its class.
    #[must_use]
    pub fn of(class: OperationClass, at_operation: u64, kind: DiskFaultKind) -> Self {
        Self { class: Some(class), ..Self::at(at_operation, kind) }
    }

    /// The same among operations on paths with this part.
    #[must_use]
    pub fn on(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The same for so many operations in a row.
    #[must_use]
    pub fn lasting(self, operations: u64) -> Self {
        Self { operations, ..self }
    }

    /// Draws faults of the kinds in `menu` among the next `operations`: as many as `per_mille` of them would be, but no more than 100.
    #[must_use]
    pub fn draw(stream: &mut dyn Rng, menu: &[DiskFaultKind], per_mille: u32, operations: u64) -> Vec<Self> {
        let expected_thousandths = operations.saturating_mul(per_mille.into()).min(100_000);
        let count = expected_thousandths / 1000 + u64::from(stream.below(1000) < expected_thousandths % 1000);
        let mut draw_one = |_| {
            let kind = stream.pick(menu);
            let class = kind.classes().filter(|_| stream.chance(800)).map(|classes| stream.pick(classes));
            let longest = match kind {
                DiskFaultKind::Full => 200,
                DiskFaultKind::Stall { ms } if ms < 1_000 => 50,
                DiskFaultKind::Error => 3,
                _ => 1,
            };
            // Operations of a class are fewer than all: aim at the early ones.
            let magnitude = stream.between(0, u64::from(operations.max(1).ilog2()));
            let at_operation = stream.between(0, (1 << magnitude).min(operations));
            Self { class, path: "", at_operation, operations: stream.between(1, longest), kind }
        };
        (0..count).map(&mut draw_one).collect()
    }

    fn is_meant_for(&self, class: OperationClass, path: &str) -> bool {
        self.class.is_none_or(|meant| meant == class) && path.contains(self.path)
    }
}

impl DiskFaultKind {
    /// The classes worth aiming at; `None` if all are alike.
    fn classes(self) -> Option<&'static [OperationClass]> {
        use OperationClass::{Name, Read, Sync, SyncDirectory, Write};
        Some(match self {
            Self::Error => &[Read, Write, Sync, SyncDirectory, Name],
            Self::Full => &[Write, Name],
            Self::Cancelled { .. } => &[Write, Name, Sync],
            Self::Forgotten | Self::FullAtSync => &[Sync],
            Self::Misread => &[Read],
            Self::Phantom => &[Write],
            Self::Stall { .. } => return None,
        })
    }

    /// Whether it harms an operation of this class.
    fn harms(self, class: OperationClass) -> bool {
        match self {
            Self::Error | Self::Cancelled { .. } | Self::Stall { .. } => true,
            Self::Full | Self::FullAtSync | Self::Forgotten | Self::Misread | Self::Phantom => {
                self.classes().is_some_and(|harmed| harmed.contains(&class))
            }
        }
    }

    /// What it is counted as when it hits an operation of this class.
    fn name(self, class: OperationClass) -> &'static str {
        match (self, class) {
            (Self::Error, OperationClass::Read) => "EIO on read",
            (Self::Error, OperationClass::Write) => "EIO on write",
            (Self::Error, OperationClass::Sync) => "EIO on sync",
            (Self::Error, OperationClass::SyncDirectory) => "EIO on directory sync",
            (Self::Error, _) => "EIO on names",
            (Self::Forgotten, _) => "EIO on sync, and content forgotten",
            (Self::Full, _) => "ENOSPC",
            (Self::FullAtSync, _) => "ENOSPC on sync",
            (Self::Cancelled { done: true }, _) => "cancelled and done",
            (Self::Cancelled { done: false }, _) => "cancelled",
            (Self::Stall { .. }, _) => "stall",
            (Self::Misread, _) => "misread",
            (Self::Phantom, _) => "phantom write",
        }
    }
}

/// The faults of a disk, and how far each has come.
pub(super) struct FaultSchedule {
    faults: Vec<(DiskFault, u64)>,
    injected: FaultCounts,
}

impl FaultSchedule {
    pub(super) fn new(faults: &[DiskFault]) -> Self {
        Self { faults: faults.iter().map(|fault| (*fault, 0)).collect(), injected: FaultCounts::new() }
    }

    /// Adds a fault that counts from now on.
    pub(super) fn add(&mut self, fault: DiskFault) {
        self.faults.push((fault, 0));
    }

    /// Nothing fails any more for want of room.
    pub(super) fn make_room(&mut self) {
        self.faults.retain(|(fault, _)| !matches!(fault.kind, DiskFaultKind::Full | DiskFaultKind::FullAtSync));
    }

    /// Drops all faults.
    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    /// What happens to the next operation. Of several faults that hit it the first counts.
    pub(super) fn hit(&mut self, class: OperationClass, path: &str) -> Option<DiskFaultKind> {
        let mut hit = None;
        for (fault, seen) in self.faults.iter_mut().filter(|(fault, _)| fault.is_meant_for(class, path)) {
            let number = *seen;
            *seen += 1;
            let is_hit = (fault.at_operation..fault.at_operation.saturating_add(fault.operations)).contains(&number);
            if is_hit && hit.is_none() && fault.kind.harms(class) {
                hit = Some(fault.kind);
            }
        }
        if let Some(kind) = hit {
            self.count(kind.name(class));
        }
        hit
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(super) fn injected(&self) -> &FaultCounts {
        &self.injected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_io::SplitMix;

    #[test]
    fn a_fault_counts_only_the_operations_it_is_meant_for() {
        let fault = DiskFault::of(OperationClass::Sync, 1, DiskFaultKind::Error).on("state/").lasting(2);
        let mut schedule = FaultSchedule::new(&[fault]);
        let hits: Vec<_> = [
            (OperationClass::Sync, "state/a"),
            (OperationClass::Sync, "out/a"),
            (OperationClass::Write, "state/a"),
            (OperationClass::Sync, "state/b"),
            (OperationClass::Sync, "state/c"),
            (OperationClass::Sync, "state/d"),
        ]
        .into_iter()
        .map(|(class, path)| schedule.hit(class, path).is_some())
        .collect();
        assert_eq!(hits, [false, false, false, true, true, false]);
        assert_eq!(schedule.injected(), &FaultCounts::from([("EIO on sync", 2)]));
    }

    #[test]
    fn intensity_is_kept_and_one_seed_draws_one_schedule() {
        let draw = |seed, per_mille| DiskFault::draw(&mut SplitMix::new(seed), &REPORTED_FAULTS, per_mille, 200);
        assert_eq!(draw(3, 100), draw(3, 100));
        assert_eq!(draw(3, 100).len(), 20);
        assert_eq!(draw(3, 0), []);
        let few: usize = (0..1000).map(|seed| draw(seed, 1).len()).sum();
        assert!((150..250).contains(&few), "{few}");
    }
}
