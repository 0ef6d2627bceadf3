//! When and how an incarnation of a job, or a process of a cluster, dies.
//!
//! A plan names one point: a virtual time, an operation of the disk, or the n-th event of a name, which aims at a window of a protocol. From that
//! instant no task of the incarnation is polled again, and whatever its destructors do at the door changes nothing. What the disk was doing then
//! is settled by the disk: each operation under way was done or was not.
//!
//! Plain data: a plan can be printed, replayed and made simpler. Everything is counted from 0 and from the start of the incarnation.

use crate::disk::CrashStyle;
use crate::rng::Draw;
use std::cell::{Cell, RefCell};
use std::fmt;
use thalweg_io::Rng;

/// A point in the life of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// After so much virtual time, amid work or at rest.
    Time {
        /// How much, in milliseconds; at least 1.
        ms: u64,
    },
    /// When this operation of the disk has been submitted. It is under way like any other: it may or may not be done.
    Submitted {
        /// Its number.
        operation: u64,
    },
    /// When this operation of the disk has been done and nobody has learned of it.
    Done {
        /// Its number.
        operation: u64,
    },
    /// When an event was observed.
    Event {
        /// Its name, for instance `job.commit`.
        name: &'static str,
        /// How many of that name came before it.
        nth: u64,
    },
}

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillKind {
    /// The process alone, as by `kill -9`: what it has written stays, synced or not.
    Process,
    /// The machine: of what was not synced, the style decides.
    PowerLoss(CrashStyle),
}

/// The death of an incarnation. If it ends before the point is reached, nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillPlan {
    /// When.
    pub at: KillPoint,
    /// How.
    pub kind: KillKind,
}

/// How an incarnation ended, if it did not end badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncarnationEnd<T> {
    /// Its main future completed.
    Finished(T),
    /// It was killed as planned.
    Killed(Killed),
}

/// What is known of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// Virtual time since the start of the incarnation, in nanoseconds.
    pub at_ns: u64,
    /// Operations that the disk had been given by the incarnation.
    pub at_operation: u64,
    /// The event that was aimed at, if it was one.
    pub window: Option<&'static str>,
    /// How.
    pub kind: KillKind,
}

impl KillPlan {
    /// The death of the process alone.
    #[must_use]
    pub fn process(at: KillPoint) -> Self {
        Self { at, kind: KillKind::Process }
    }

    /// The loss of power.
    #[must_use]
    pub fn power_loss(at: KillPoint, style: CrashStyle) -> Self {
        Self { at, kind: KillKind::PowerLoss(style) }
    }

    /// Draws a death. At least half aim at one of `windows`, events that were seen in a run without a death, each with how often; a part of the
    /// rest hits one of so many `operations`, or a moment of so many milliseconds.
    ///
    /// With `windows` empty and the two others zero it falls on the first operation or millisecond.
    #[must_use]
    pub fn draw(stream: &mut dyn Rng, windows: &[(&'static str, u64)], operations: u64, ms: u64) -> Self {
        let at = if !windows.is_empty() && stream.chance(600) {
            let (name, times) = stream.pick(windows);
            KillPoint::Event { name, nth: stream.below(times.max(1)) }
        } else if stream.chance(700) {
            let operation = stream.below(operations.max(1));
            if stream.chance(500) { KillPoint::Submitted { operation } } else { KillPoint::Done { operation } }
        } else {
            KillPoint::Time { ms: stream.between(1, ms.max(1)) }
        };
        let kind = match stream.below(8) {
            0..=3 => KillKind::Process,
            4 => KillKind::PowerLoss(CrashStyle::LoseUnsynced),
            _ => KillKind::PowerLoss(CrashStyle::Random),
        };
        Self { at, kind }
    }
}

impl<T> IncarnationEnd<T> {
    /// What it finished with.
    #[must_use]
    pub fn finished(self) -> Option<T> {
        match self {
            Self::Finished(value) => Some(value),
            Self::Killed(_) => None,
        }
    }

    /// Its death.
    #[must_use]
    pub fn killed(&self) -> Option<Killed> {
        match self {
            Self::Finished(_) => None,
            Self::Killed(killed) => Some(*killed),
        }
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.kind == KillKind::Process { "killed" } else { "lost power" };
        write!(f, "{how} at {:.6} ms after {} operations", self.at_ns as f64 / 1e6, self.at_operation)?;
        self.window.map_or(Ok(()), |window| write!(f, ", in the window {window}"))
    }
}

/// What is planned for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessFault {
    /// It dies.
    Kill(KillKind),
    /// It is stopped, as by SIGSTOP, and goes on after a while: time passes without it, and nobody tells it.
    Pause {
        /// How long, in milliseconds.
        ms: u64,
    },
}

/// Where an operation is when something planned happens at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationStage {
    /// It has been submitted, and is under way.
    Submitted,
    /// It has been done, and nobody has learned of it.
    Done,
}

struct Planned {
    at: KillPoint,
    fault: ProcessFault,
    /// Events of its name so far.
    events: u64,
}

/// What is planned for one process, and what has been counted towards it.
#[derive(Default)]
pub(crate) struct KillSwitch {
    planned: RefCell<Vec<Planned>>,
    operations: Cell<u64>,
}

impl KillSwitch {
    pub(crate) fn new(plan: Option<KillPlan>) -> Self {
        let switch = Self::default();
        if let Some(KillPlan { at, kind }) = plan {
            switch.add(at, ProcessFault::Kill(kind));
        }
        switch
    }

    /// Plans something more. Events are counted from now on, all else from the start of the process. Times are not looked after here.
    pub(crate) fn add(&self, at: KillPoint, fault: ProcessFault) {
        self.planned.borrow_mut().push(Planned { at, fault, events: 0 });
    }

    /// When, in nanoseconds of virtual time, and how to kill, if a time was planned.
    pub(crate) fn death_by_time(&self) -> Option<(u64, KillKind)> {
        self.planned.borrow().iter().find_map(|planned| match (planned.at, planned.fault) {
            (KillPoint::Time { ms }, ProcessFault::Kill(kind)) => Some((ms.max(1).saturating_mul(1_000_000), kind)),
            _ => None,
        })
    }

    /// Operations counted so far.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// Counts an operation; what happens at it.
    pub(crate) fn count_operation(&self) -> Option<(OperationStage, ProcessFault)> {
        let number = self.operations.replace(self.operations.get() + 1);
        self.planned.borrow().iter().find_map(|planned| match planned.at {
            KillPoint::Submitted { operation } if operation == number => Some((OperationStage::Submitted, planned.fault)),
            KillPoint::Done { operation } if operation == number => Some((OperationStage::Done, planned.fault)),
            _ => None,
        })
    }

    /// Counts an event; what happens at it.
    pub(crate) fn count_event(&self, event: &str) -> Option<ProcessFault> {
        let mut hit = None;
        for planned in self.planned.borrow_mut().iter_mut() {
            let KillPoint::Event { name, nth } = planned.at else { continue };
            if name != event {
                continue;
            }
            if planned.events == nth {
                hit = hit.or(Some(planned.fault));
            }
            planned.events += 1;
        }
        hit
    }
}
