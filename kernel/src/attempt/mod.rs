//! One attempt of a job: its subtasks, the checkpoints it takes, and how it ends.
//!
//! `coordinator.rs`, `checkpoint_coordinator.rs` and `transactions.rs` decide (pure), `run.rs` carries out. `deployment.rs` is what a worker is told,
//! `placement.rs` says which of them runs which subtask, `wiring.rs` which channels lie between those, `shape.rs` the same of tasks, `roster.rs` whose each subtask is, `splits.rs` what there is to read.
//! `collecting.rs` gathers a checkpoint, `folder.rs` is where it is stored, `sinks.rs` has results shown,
//! `room.rs` knows who waits because a disk is full, `telling.rs` says outside how it went.

pub(crate) mod checkpoint_coordinator;
pub(crate) mod collecting;
pub(crate) mod coordinator;
pub(crate) mod deployment;
pub(crate) mod folder;
pub(crate) mod placement;
pub(crate) mod room;
pub(crate) mod roster;
pub(crate) mod run;
pub(crate) mod shape;
pub(crate) mod sinks;
pub(crate) mod splits;
pub(crate) mod telling;
pub(crate) mod transactions;
pub(crate) mod wiring;
