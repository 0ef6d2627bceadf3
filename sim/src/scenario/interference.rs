//! Interferences with a job while it runs: none, a user's panic, a cancellation, a stop, a silence, a fault of the disk.
//!
//! A scenario has one interference at most. Each demands its own reaction of the engine; two at a time would only show which came first.

use std::time::Duration;
use thalweg::JobControl;
use thalweg_io::{CoreMain, Cores, Io, Rng, SplitMix, yield_now};
use thalweg_world::Draw;
use thalweg_world::SimCores;
use thalweg_world::{DiskFault, DiskFaultKind, OperationClass};

/// A point in time. Polls reach every point of a short job; milliseconds reach the waits of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After this many polls of a task that does nothing else.
    Polls(u64),
    /// After this much virtual time.
    Millis(u64),
}

/// An interference from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interference {
    /// Nothing.
    None,
    /// The user's map panics at the record with this id.
    Panic {
        /// The record's id.
        id: u64,
    },
    /// The job is cancelled.
    Cancel(Moment),
    /// The job is stopped.
    Stop(Moment),
    /// The input falls silent for a long time before its last record. Meanwhile all earlier records must arrive.
    Silence {
        /// The number of records that the sinks have by then.
        records: u64,
    },
    /// An operation of the disk fails.
    DiskFault(DiskFault),
    /// The disk has limited room beside the input, until more is made.
    SmallDisk {
        /// The room in bytes.
        spare_bytes: u64,
    },
}

/// When room is made on a full disk, in milliseconds from the start.
pub(crate) const ROOM_FROM_MS: u64 = 30_000;
/// The time by which a job that has waited for room must have finished, in milliseconds from the start: most take a few seconds, the slowest two minutes.
pub(crate) const ROOM_USED_MS: u64 = 300_000;
/// The length of the silence, in milliseconds.
pub(crate) const SILENCE_MS: u64 = 600_000;
/// The time by which all records sent before the silence must have arrived, in milliseconds from the start: pauses, limited rates and rare metrics take
/// less than a minute together.
const ARRIVED_MS: u64 = 300_000;
/// How often the arrival is checked, in milliseconds.
const LOOK_EVERY_MS: u64 = 5_000;

impl Moment {
    pub(crate) fn draw(stream: &mut SplitMix) -> Self {
        if stream.chance(700) {
            let magnitude = stream.between(0, 11);
            Self::Polls(stream.between(0, 1 << magnitude))
        } else {
            Self::Millis(stream.pick(&[1, 5, 20, 100, 1_000]))
        }
    }
}

impl Interference {
    /// Whether the disk is full for a while: the results wait for it.
    pub(crate) fn is_full_disk(self) -> bool {
        matches!(self, Self::SmallDisk { .. } | Self::DiskFault(DiskFault { kind: DiskFaultKind::Full, .. }))
    }

    /// Draws an interference for a job that touches no disk and whose records have `ids`.
    pub(crate) fn draw(stream: &mut SplitMix, ids: &[u64]) -> Self {
        match stream.below(100) {
            0..10 if !ids.is_empty() => Self::Panic { id: stream.pick(ids) },
            10..20 => Self::Cancel(Moment::draw(stream)),
            20..30 => Self::Stop(Moment::draw(stream)),
            _ => Self::None,
        }
    }

    /// Draws an interference for a job that reads and writes files.
    pub(crate) fn draw_with_disk(stream: &mut SplitMix) -> Self {
        match stream.below(100) {
            0..8 => Self::Cancel(Moment::draw(stream)),
            8..14 => Self::Stop(Moment::draw(stream)),
            14..30 => {
                let kind = match stream.below(8) {
                    0 | 1 => DiskFaultKind::Error,
                    2..=4 => DiskFaultKind::Full,
                    5 => DiskFaultKind::Stall { ms: stream.pick(&[50, 5_000]) },
                    6 => DiskFaultKind::Cancelled { done: stream.chance(500) },
                    _ => return Self::DiskFault(DiskFault::of(OperationClass::Sync, stream.below(6), DiskFaultKind::Forgotten)),
                };
                let fault = if kind == DiskFaultKind::Full && stream.chance(700) {
                    // Where results get their visible names. Chance alone hits that too seldom: a thousand runs must include a commit that waits.
                    DiskFault::of(OperationClass::Name, stream.below(4), kind).on("inprogress to ")
                } else if stream.chance(500) {
                    let magnitude = stream.between(2, 8);
                    DiskFault::at(stream.between(0, 1 << magnitude), kind)
                } else {
                    // Reads are far more frequent than all other operations.
                    let class =
                        stream.pick(&[OperationClass::Write, OperationClass::Name, OperationClass::Sync, OperationClass::SyncDirectory]);
                    let magnitude = stream.between(0, 4);
                    DiskFault::of(class, stream.between(0, 1 << magnitude), kind)
                };
                let is_alone = matches!(kind, DiskFaultKind::Error | DiskFaultKind::Cancelled { .. }) || stream.chance(500);
                // The virtual time of a world is limited.
                let longest = if kind == (DiskFaultKind::Stall { ms: 5_000 }) { 30 } else { 1_000 };
                Self::DiskFault(fault.lasting(if is_alone { 1 } else { stream.pick(&[3, longest]) }))
            }
            30..36 => Self::SmallDisk { spare_bytes: stream.pick(&[0, 1, 100, 1_000]) },
            _ => Self::None,
        }
    }

    /// Carries out a cancellation or a stop, on a core of its own.
    pub(crate) fn start(self, cores: &SimCores, control: JobControl) {
        let (moment, act): (_, fn(&JobControl)) = match self {
            Self::Silence { records } => return start_core(cores, Box::new(move |_, io| Box::pin(wait_for_arrival(io, control, records)))),
            Self::Cancel(moment) => (moment, |control| drop(control.cancel())),
            Self::Stop(moment) => (moment, |control| drop(control.stop())),
            Self::None | Self::Panic { .. } | Self::DiskFault(_) | Self::SmallDisk { .. } => return,
        };
        start_at(cores, moment, control, act);
    }
}

/// One in this many jobs that are steered is asked for a checkpoint just before.
const ONE_IS_ASKED_OF: u64 = 3;

/// Calls `act` at a moment, from a core of its own.
pub(crate) fn start_at(cores: &SimCores, moment: Moment, control: JobControl, act: fn(&JobControl)) {
    let (Moment::Polls(number) | Moment::Millis(number)) = moment;
    let main: CoreMain = Box::new(move |_, io| {
        Box::pin(async move {
            match moment {
                Moment::Polls(polls) => {
                    for _ in 0..polls {
                        yield_now().await;
                    }
                }
                Moment::Millis(ms) => sleep_ms(&io, ms).await,
            }
            if number % ONE_IS_ASKED_OF == 0 {
                drop(control.checkpoint());
            }
            act(&control);
        })
    });
    start_core(cores, main);
}

fn start_core(cores: &SimCores, main: CoreMain) {
    if let Ok(group) = cores.start(vec![main]) {
        group.join();
    }
}

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(io.clock().now().after(Duration::from_millis(ms))).await;
}

/// Stops the job once `records` have arrived, and cancels it if they do not.
async fn wait_for_arrival(io: Io, control: JobControl, records: u64) {
    for _ in 0..ARRIVED_MS / LOOK_EVERY_MS {
        sleep_ms(&io, LOOK_EVERY_MS).await;
        if control.metrics().total("numRecordsSend").unsigned_abs() >= records {
            drop(control.stop());
            return;
        }
    }
    control.cancel();
}
