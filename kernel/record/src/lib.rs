//! The values that flow through a job, and the terms that store, engine and connectors share: records and keys, the key groups that keys fall into, the
//! numbers of jobs, attempts and checkpoints, event time.
//!
//! It stands below the store and the engine and knows neither of them. Users find all of it in the crate `thalweg`, whose paths the derives write into a
//! user's code; a crate below `thalweg` that derives records says `extern crate thalweg_record as thalweg;`, as this one does.
//!
//! Not here: the in-band elements, which belong to the engine, and where anything is stored.

extern crate self as thalweg;

pub mod hex;
mod ids;
mod key_groups;
pub mod record;
mod time;

pub use ids::{Attempt, CheckpointId, JobId};
pub use key_groups::{HashRange, KeyGroups};
pub use time::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};
