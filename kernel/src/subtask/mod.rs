//! One parallel instance of a task, from the moment it is built on its core until it has come to rest.
//!
//! `driven.rs` is what it looks like to `driver.rs`, which drives it, slice by slice (`slice.rs`, `clock.rs`); `context.rs` is what it is built with, `chain_loop.rs` what every kind of subtask does alike with its
//! chain, `operator_info.rs` what an operator knows of itself and how calls of user functions are guarded, `panics.rs` what becomes of a panic in one. `busy_time.rs`
//! measures what it does with its time; `acknowledge.rs` stores its snapshots and tells the coordinator.

pub(crate) mod acknowledge;
pub(crate) mod busy_time;
pub(crate) mod chain_loop;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod driven;
pub(crate) mod driver;
pub(crate) mod operator_info;
pub(crate) mod panics;
pub(crate) mod slice;
