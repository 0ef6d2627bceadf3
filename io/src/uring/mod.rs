//! The backend on Linux's io_uring: one pinned thread per core, each with an executor of its own.
//!
//! A core is a loop: take in outside events (woken tasks, timers, completions), run tasks, and when none has work sleep in the kernel until an operation
//! completes, a timer is due or another core rings. Every wait goes through the core's one ring.
//!
//! Why not glommio, which this began on: version 0.9 goes to sleep with tasks still queued, for good if nothing outside wakes it, when its thread
//! loses the CPU for the length of the preemption timer between arming it and running the first queue. `run_task_queues` then returns `false`, as if
//! nothing were queued, and `run` parks. Seen with the timer at 1 ms, on one core and on two; not seen at the default of 100 ms, where the window is
//! narrower, not shut. It has no full fsync and no `linkat` either, and refuses to start with little locked memory (docs: decision 0008).

mod address;
mod availability;
pub(crate) mod clock;
mod core_thread;
mod cores;
mod descriptor;
pub(crate) mod disk;
pub(crate) mod file;
mod helper;
pub(crate) mod identity;
pub mod machine;
pub(crate) mod monotonic;
mod net;
mod open_files;
mod placement;
pub(crate) mod random;
mod raw;
mod scheduler;
pub(crate) mod timers;

pub use cores::UringCores;
