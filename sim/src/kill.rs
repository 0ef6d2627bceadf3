//! When and how an incarnation of a job dies.
//!
//! A plan names one point: a virtual time, an operation of the disk, or the n-th event of a name, which aims at a window of a protocol. From that
//! instant no task of the incarnation is polled again, and whatever its destructors do at the door changes nothing. What the disk was doing then
//! is settled by the disk: each operation under way was done or was not.
//!
//! Plain data: a plan can be printed, replayed and made simpler. Everything is counted from 0 and from the start of the incarnation.

use crate::disk::CrashStyle;
use crate::rng::Draw;
use std::cell::Cell;
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

/// Whether an operation is the last of its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastOperation {
    /// It is not.
    No,
    /// It is, and remains under way.
    Submitted,
    /// It is, and is done first.
    Done,
}

/// The plan of one incarnation, and what has been counted towards it.
pub(crate) struct KillSwitch {
    plan: Option<KillPlan>,
    operations: Cell<u64>,
    events: Cell<u64>,
}

impl KillSwitch {
    pub(crate) fn new(plan: Option<KillPlan>) -> Self {
        Self { plan, operations: Cell::new(0), events: Cell::new(0) }
    }

    /// When to kill, in nanoseconds of virtual time, if a time was planned.
    pub(crate) fn time_ns(&self) -> Option<u64> {
        match self.plan?.at {
            KillPoint::Time { ms } => Some(ms.max(1).saturating_mul(1_000_000)),
            _ => None,
        }
    }

    /// Counts an operation.
    pub(crate) fn count_operation(&self) -> LastOperation {
        let number = self.operations.replace(self.operations.get() + 1);
        match self.plan.map(|plan| plan.at) {
            Some(KillPoint::Submitted { operation }) if operation == number => LastOperation::Submitted,
            Some(KillPoint::Done { operation }) if operation == number => LastOperation::Done,
            _ => LastOperation::No,
        }
    }

    /// Counts an event; whether it is the last of the incarnation.
    pub(crate) fn count_event(&self, event: &str) -> bool {
        match self.plan.map(|plan| plan.at) {
            Some(KillPoint::Event { name, nth }) if name == event => self.events.replace(self.events.get() + 1) == nth,
            _ => false,
        }
    }

    /// The death that has come now.
    pub(crate) fn death(&self, at_ns: u64, window: Option<&'static str>) -> Option<Killed> {
        self.plan.map(|plan| Killed { at_ns, at_operation: self.operations.get(), window, kind: plan.kind })
    }
}
