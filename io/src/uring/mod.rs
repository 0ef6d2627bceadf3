//! The backend on Linux's io_uring: one pinned thread per core, each with an executor of its own.
//!
//! A core is a loop: take in what came from outside (woken tasks, timers, completions), run tasks, and when none has work sleep in the
//! kernel until an operation completes, a timer is due or another core rings. Everything that waits, waits on the core's one ring.
//!
//! Why not glommio, which this began on: with its preemption timer at 1 ms, two cores that woke each other through a ring hung, both asleep, after some
//! thousand exchanges. Read from its code, not proven: `run_task_queues` returns `false` with tasks still queued when the latency ring holds an
//! event that wakes nobody (a preemption timer, its own eventfd), and `run` then parks. At the default of 100 ms the window is narrower, not shut.
//! It has no full fsync and no `linkat` either, and refuses to start with little locked memory.

mod address;
mod availability;
mod clock;
mod core_thread;
mod cores;
mod descriptor;
mod disk;
mod file;
mod helper;
mod net;
mod random;
mod raw;
mod scheduler;
mod timers;

pub use cores::UringCores;
