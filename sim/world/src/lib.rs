//! A simulated world: disk, network, clocks and tasks in virtual time, on one thread, from one seed.
//!
//! A [`World`] owns a file system, a network and clocks of its own and gives whatever runs in it the same doors that production gives (`thalweg_io`), and
//! it knows nothing above that door. The executor and the virtual time are madsim's; disk, network, wall clocks, the scheduling policy and the faults are
//! ours. One seed decides everything: the same seed gives the same run, and each [`Outcome`] carries the hash that proves it.
//!
//! What runs here and what is right about it is the simulator's affair (`thalweg-sim`), or that of whoever tests something of their own.
//!
//! ```
//! use thalweg_io::{Clock, MonotonicNs};
//! use thalweg_world::{World, WorldConfig};
//!
//! let world = World::new(7, WorldConfig::calm());
//! let outcome = world.run(|cores| async move {
//!     cores.on_core(|io| Box::pin(async move {
//!         io.clock().sleep_until(MonotonicNs(io.clock().now().0 + 5_000_000)).await;
//!         "five virtual milliseconds later"
//!     })).await
//! });
//! assert_eq!(outcome.expect_done(), "five virtual milliseconds later");
//! ```

// For `panics` alone; this lint does not listen to an `allow` closer to the macro.
#![allow(clippy::disallowed_macros, reason = "a panic hook learns only from a thread-local for whom it is called")]

// rustdoc does not see the flags of `[build] rustflags`; the crates it links do.
#[cfg(not(any(madsim, doc, doctest)))]
compile_error!(
    "thalweg-world needs `--cfg madsim`, which .cargo/config.toml sets. An environment variable RUSTFLAGS silently replaces that line: \
     unset it, or add `--cfg madsim` to it."
);

mod clock;
mod cluster;
mod config;
mod cores;
pub mod cpu;
mod disk;
mod kill_plan;
mod net;
mod outcome;
mod panics;
mod process;
mod rng;
mod schedule;
mod tasks;
mod trace;
mod world;

pub use clock::ClockStep;
pub use cluster::{SimCluster, SimMachine, SimNetwork, SimProcess, both};
pub use config::{ClockConfig, DiskConfig, LatencyShape, NetConfig, WorldConfig};
pub use cores::SimCores;
pub use disk::{
    CrashStyle, Damage, DiskFault, DiskFaultKind, DiskModel, FaultCounts, InodeId, Loss, OperationClass, REPORTED_FAULTS, Rot,
    SILENT_FAULTS, SimulatedDisk, SteppedDisk, StillDisk, at_once, only_faults,
};
pub use kill_plan::{IncarnationEnd, KillKind, KillPlan, KillPoint, Killed, ProcessFault};
pub use net::{Between, HONEST_NET_FAULTS, MachineKey, NetFault, NetFaultKind, NetMoment};
pub use outcome::{Ending, Outcome, RunStats, TaskReport};
pub use rng::Draw;
pub use schedule::SchedulePolicy;
pub use trace::{Oracle, Origin, TraceEvent, Violation};
pub use world::{Lives, World};
