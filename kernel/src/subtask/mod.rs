//! One parallel instance of a task, from the moment it is built on its core until it has come to rest.
//!
//! `driven.rs` is the interface to `driver.rs`, which drives a subtask slice by slice (`slice.rs`, `clock.rs`); `context.rs` holds the surroundings it is
//! built with, `chain_loop.rs` how every kind of subtask runs its chain, `operator_info.rs` what an operator knows of itself and how calls of user
//! functions are guarded, `panics.rs` turns panics of user functions into text. `busy_time.rs` and `durations.rs` measure how it spends its time;
//! `acknowledge.rs` stores its snapshots and tells the coordinator, `snapshot_sizes.rs` shows how large they are.

pub(crate) mod acknowledge;
pub(crate) mod busy_time;
pub(crate) mod chain_loop;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod driven;
pub(crate) mod driver;
pub(crate) mod durations;
pub(crate) mod operator_info;
pub(crate) mod panics;
pub(crate) mod slice;
pub(crate) mod snapshot_sizes;
