//! The simulated world: the simulator that runs the engine unchanged, in virtual time, on one thread, from one seed.
//!
//! A [`World`] owns a file system, a network and clocks of its own and gives the engine the same doors that production gives it
//! (`thalweg_io`). The executor and the virtual time are madsim's; disk, network, wall clocks, the scheduling policy and the faults are
//! ours. One seed decides everything, so a failure is a number: the same seed gives the same run, and each [`Outcome`] carries the hash that
//! proves it.
//!
//! Deliberately absent: threads, real time, real files. No crate imports this one; the engine does not know that it exists.
//!
//! ```
//! use thalweg_io::{Clock, MonotonicNs};
//! use thalweg_sim::{World, WorldConfig};
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

// rustdoc does not see the flags of `[build] rustflags`; the crates it links do.
#[cfg(not(any(madsim, doc, doctest)))]
compile_error!(
    "thalweg-sim needs `--cfg madsim`, which .cargo/config.toml sets. An environment variable RUSTFLAGS silently replaces that line: \
     unset it, or add `--cfg madsim` to it."
);

pub mod campaign;
mod clusters;
pub mod finding;
mod judge;
mod lives;
pub mod marks;
pub mod mutants;
pub mod oracles;
mod part_name;
pub mod reference;
pub mod run;
mod runs;
pub mod scenario;

pub use thalweg_world::{
    Between, ClockConfig, ClockStep, CrashStyle, Damage, DiskConfig, DiskFault, DiskFaultKind, DiskModel, Ending, FaultCounts,
    HONEST_NET_FAULTS, IncarnationEnd, InodeId, KillKind, KillPlan, KillPoint, Killed, LatencyShape, Lives, MachineKey, NetConfig,
    NetFault, NetFaultKind, NetMoment, OperationClass, Oracle, Origin, Outcome, ProcessFault, REPORTED_FAULTS, Rot, RunStats,
    SILENT_FAULTS, SchedulePolicy, SimCluster, SimCores, SimMachine, SimNetwork, SimProcess, SimulatedDisk, TaskReport, TraceEvent,
    Violation, World, WorldConfig, both,
};
