//! Each fault of the network: what it does, what it leaves, and that both can be planned.

#![allow(clippy::unwrap_used, reason = "a test")]

mod bytes;
mod connections;
mod connects;
mod duo;
mod partitions;
mod schedules;
#[path = "../common/talk.rs"]
mod talk;
