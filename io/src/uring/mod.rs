//! The backend on Linux's io_uring: one pinned thread per core, each with an executor of its own.
//!
//! Tasks, timers and the sleep of an idle core are glommio's. Files and sockets go through a second ring per core, driven with the `io-uring` crate
//! ([`raw`]): glommio has no full fsync and no `linkat`, its files stumble over new and empty ones, and it gives a buffer up with the future that
//! waits for it. glommio waits for the second ring's eventfd on its own, so that one sleep covers both and nothing polls in a loop.
//!
//! glommio is named in this folder and nowhere else.

mod address;
mod availability;
mod clock;
mod core_thread;
mod cores;
mod disk;
mod descriptor;
mod file;
mod net;
mod random;
mod raw;
mod spawner;

pub use cores::UringCores;
