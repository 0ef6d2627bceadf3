//! The file sink, over a disk in memory that can be stopped before each operation.
#![allow(clippy::unwrap_used)]

mod full_disk;
mod guarantees;
mod owners;
mod recovery;
mod results;
mod writing;
