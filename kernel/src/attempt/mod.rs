//! One attempt of a job: its subtasks, the checkpoints it takes, and how it ends.
//!
//! `coordinator.rs`, `checkpoint_coordinator.rs` and `transactions.rs` decide (pure), `run.rs` carries out. `deployment.rs` is sent to the workers,
//! `placement.rs` says which worker runs which subtask, `wiring.rs` which channels lie between subtasks, `shape.rs` describes the tasks, `roster.rs` knows
//! the worker of each subtask, `splits.rs` holds the splits to be read. `collecting.rs` gathers a checkpoint, `folder.rs` stores it,
//! `stored_files.rs` knows what subtasks have stored, `sinks.rs` has results shown, `room.rs` knows which writers wait because a disk is full, `telling.rs` reports checkpoints to the outside.

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
pub(crate) mod stored_files;
pub(crate) mod telling;
pub(crate) mod transactions;
pub(crate) mod wiring;
