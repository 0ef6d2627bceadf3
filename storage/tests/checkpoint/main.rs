//! Checkpoints on a disk that fails, fills up, forgets and lies.

#![allow(clippy::unwrap_used, reason = "tests")]

mod by_the_page;
mod crashes;
mod damage;
mod fencing;
mod full;
mod golden;
mod history;
mod job;
mod layered_damage;
mod missing;
mod round_trip;
mod sections;
